//! Records that agents give up are kept, with what is known of the failure.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use stream_runtime::embedded::NewTopic;
use stream_runtime::prelude::*;
use stream_runtime::{dead_letter, partition_of};

use crate::support::bench::{Output, program};
use crate::support::{Bench, DEADLINE, assert_mentions, input, log, wait_until};

/// The account in the headers of a dead letter, without `stream.dead-letter.` before the names.
fn account(letter: &Output) -> BTreeMap<&str, &str> {
    let headers = letter.headers.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("stream.dead-letter.")?;
        let value = value.as_deref().expect("every header of an account has a value");
        Some((name, std::str::from_utf8(value).expect("it is text")))
    });
    headers.collect()
}

#[table]
static LETTERS_SUMS: Table<String, i64>;

#[topic]
static LETTERS_NOTES: Topic<String, String>;

/// Writes and sends before it fails in the way the number says.
async fn add(key: String, number: i64) -> Result<(), std::io::Error> {
    LETTERS_SUMS.update(&key, |sum| *sum += number);
    LETTERS_NOTES.send(&key, &number.to_string()).await;
    match number {
        404 => Err(std::io::Error::other("not found")),
        500 => panic!("out of order"),
        _ => Ok(()),
    }
}

#[agent(topic = "numbers", on_error = dead_letter, tables = [LETTERS_SUMS])]
async fn add_one(Key(key): Key<String>, number: i64) -> Result<(), std::io::Error> {
    LETTERS_NOTES.def();
    add(key, number).await
}

#[agent(topic = "numbers", on_error = dead_letter, tables = [LETTERS_SUMS])]
async fn add_all(mut events: Stream<Event<String, i64>>) -> Result<(), std::io::Error> {
    LETTERS_NOTES.def();
    while let Some(event) = events.next().await {
        add(event.key, event.value).await?;
    }
    Ok(())
}

#[track_caller]
fn gives_up(agent: &'static stream_runtime::AgentDef) {
    let bench = Bench::new(&[("numbers", 1), ("letters-notes", 1)]);
    let values = ["1", "404", "2", "five", "500", "3"];
    let records = values.map(|value| input(value).key("k").at(1_000).header("trace", value));
    bench.produce("numbers", records);
    bench.produce("numbers", [input("6").at(2_000)]);
    let running = bench.start([agent]);
    bench.wait_for_commit("numbers", 0, 7);
    let [failures] = &running.failures()[..] else {
        panic!("one agent: {:?}", running.failures());
    };
    assert_eq!(
        (&*failures.agent, failures.errors, failures.dead_letters),
        (agent.name, 4, 4)
    );
    assert_eq!((failures.retries, failures.skipped), (0, 0));
    running.stop().expect("dead letters stop nobody");
    assert_eq!(bench.texts("letters-notes"), ["1", "2", "3"]);

    let mut letters = bench.read(&bench.internal("dead-letters"));
    letters.sort_by_key(|letter| account(letter)["offset"].to_owned());
    let expected = [
        ("1", "404", "error", "not found"),
        ("3", "five", "decode", "JSON: "),
        ("4", "500", "panic", "out of order"),
        ("6", "6", "decode", "the key: "),
    ];
    assert_eq!(letters.len(), expected.len());
    for (letter, (offset, value, error, message)) in letters.iter().zip(expected) {
        assert_eq!(letter.text(), value);
        let account = account(letter);
        for (name, is) in [
            ("app", &*bench.id),
            ("agent", agent.name),
            ("topic", "numbers"),
            ("partition", "0"),
            ("offset", offset),
            ("error", error),
            ("attempts", "1"),
        ] {
            assert_eq!(account[name], is, "{name} of {value}");
        }
        assert_mentions(account["message"], &[message]);
        assert!(account["failed-at"].parse::<i64>().expect("a number") > 1_600_000_000_000);
        let is_last = offset == "6";
        assert_eq!(letter.timestamp, if is_last { 2_000 } else { 1_000 });
        assert_eq!(account["timestamp"], letter.timestamp.to_string());
        let own: Vec<_> = letter
            .headers
            .iter()
            .filter(|(name, _)| !name.starts_with("stream."))
            .collect();
        match is_last {
            true => assert_eq!((letter.key.as_deref(), own.len()), (None, 0)),
            false => {
                assert_eq!(letter.key.as_deref(), Some(&b"k"[..]));
                assert_eq!(own, [&("trace".to_owned(), Some(value.into()))]);
            }
        }
    }
}

#[test]
fn a_record_that_fails_by_an_error_a_panic_or_its_bytes_is_kept_as_it_was_in_record_form() {
    gives_up(add_one::agent());
}

#[test]
fn a_record_that_fails_by_an_error_a_panic_or_its_bytes_is_kept_as_it_was_in_stream_form() {
    gives_up(add_all::agent());
}

#[agent(
    topic = "numbers",
    on_error = retry(times = 2, backoff = "1ms", then = dead_letter("numbers-failed"))
)]
async fn try_thrice(number: i64) -> Result<(), std::io::Error> {
    match number {
        404 => Err(std::io::Error::other("not found")),
        _ => Ok(()),
    }
}

#[test]
fn a_dead_letter_says_how_often_it_was_tried_and_goes_where_the_policy_says() {
    let bench = Bench::new(&[("numbers", 1), ("numbers-failed", 1)]);
    bench.produce("numbers", ["404", "1", "x"].map(input));
    let running = bench.start([try_thrice::agent()]);
    bench.wait_for_commit("numbers", 0, 3);
    let failures = &running.failures()[0];
    assert_eq!(
        (failures.errors, failures.retries, failures.dead_letters),
        (4, 2, 2)
    );
    running.stop().expect("dead letters stop nobody");
    let letters = bench.read("numbers-failed");
    let attempts: Vec<_> = letters
        .iter()
        .map(|letter| (letter.text(), account(letter)["attempts"].to_owned()))
        .collect();
    let expected =
        [("404", "3"), ("x", "1")].map(|(value, attempts)| (value.to_owned(), attempts.to_owned()));
    assert_eq!(attempts, expected);
    assert!(!bench.topics().contains_key(&bench.internal("dead-letters")));
}

#[test]
fn a_topic_of_others_for_dead_letters_is_not_created_and_its_name_is_told() {
    let bench = Bench::new(&[("numbers", 1)]);
    let app = bench.app([try_thrice::agent()]).set("startup_timeout", "200ms");
    let error = app.start().expect_err("a topic is missing").to_string();
    assert_mentions(&error, &["no topic `numbers-failed`"]);
    assert!(!bench.topics().contains_key("numbers-failed"));
}

#[topic(internal, partitions = 3, retention = "30d")]
static LETTERS_DECLARED: Topic<String, Vec<u8>>;

#[agent(topic = "numbers", on_error = dead_letter(LETTERS_DECLARED))]
async fn declare(_number: i64) {}

#[test]
fn the_programs_own_topic_is_created_and_keeps_its_records_and_a_declared_one_is_as_declared() {
    let bench = Bench::new(&[("numbers", 1), ("letters-notes", 1)]);
    bench.start([add_one::agent()]).stop().expect("nothing failed");
    let letters = bench.internal("dead-letters");
    assert_eq!(bench.topics()[&letters], 8);
    assert_eq!(
        bench.topic_setting(&letters, "retention.ms").as_deref(),
        Some("-1")
    );

    let bench = Bench::new(&[("numbers", 1)]);
    bench.start([declare::agent()]).stop().expect("nothing failed");
    let letters = bench.internal("letters-declared");
    assert_eq!(bench.topics()[&letters], 3);
    assert_eq!(
        bench.topic_setting(&letters, "retention.ms").as_deref(),
        Some("2592000000")
    );
}

#[test]
fn the_key_decides_the_partition_of_a_dead_letter() {
    let bench = Bench::new(&[("numbers", 1), ("letters-notes", 1)]);
    let keys: Vec<_> = (0..20).map(|n| format!("key {n}")).collect();
    bench.produce("numbers", keys.iter().map(|key| input("404").key(key)));
    let running = bench.start([add_one::agent()]);
    bench.wait_for_commit("numbers", 0, 20);
    running.stop().expect("dead letters stop nobody");
    let letters = bench.read(&bench.internal("dead-letters"));
    assert_eq!(letters.len(), 20);
    for letter in letters {
        let key = letter.key.as_deref().expect("it had one");
        assert_eq!(letter.partition.cast_unsigned(), partition_of(key, 8));
    }
}

static SECOND_IS_MENDED: AtomicBool = AtomicBool::new(false);

#[agent(topic = "numbers", name = "first", on_error = dead_letter)]
async fn first_gives_up(number: i64) -> Result<(), std::io::Error> {
    match number {
        404 => Err(std::io::Error::other("not found")),
        _ => Ok(()),
    }
}

#[agent(topic = "numbers", name = "second", on_error = retry(times = 0))]
async fn second_stops(number: i64) -> Result<(), std::io::Error> {
    match number == 404 && !SECOND_IS_MENDED.load(Ordering::SeqCst) {
        true => Err(std::io::Error::other("neither")),
        false => Ok(()),
    }
}

#[test]
fn a_dead_letter_is_part_of_its_record_and_goes_when_that_is_given_up() {
    let bench = Bench::new(&[("numbers", 1)]);
    bench.produce("numbers", ["1", "404", "2"].map(input));
    let agents = || [first_gives_up::agent(), second_stops::agent()];
    let running = bench.start(agents());
    wait_until("the worker has stopped", || running.has_failed());
    running.stop().expect_err("a task has stopped");
    assert_eq!(bench.committed("numbers", 0), Some(1));
    let letters = bench.internal("dead-letters");
    assert_eq!(bench.end(&letters), 0, "the record was not done");
    SECOND_IS_MENDED.store(true, Ordering::SeqCst);
    let running = bench.start(agents());
    bench.wait_for_commit("numbers", 0, 3);
    running.stop().expect("it comes through now");
    assert_eq!(bench.texts(&letters), ["404"]);
    // And not once more.
    let running = bench.start(agents());
    running.drain(DEADLINE).expect("all is processed");
    running.stop().expect("all is well");
    assert_eq!(bench.end(&letters), 1);
}

#[agent(topic = "texts", on_error = dead_letter("texts-failed"))]
async fn refuse(text: String) -> Result<(), std::io::Error> {
    Err(std::io::Error::other(format!(
        "refused: {}",
        &text[..text.len().min(5000)]
    )))
}

fn texts_bench(limit: &str) -> (Bench, App) {
    let bench = Bench::new(&[("texts", 1)]);
    bench.create(NewTopic::new("texts-failed", 1).with("max.message.bytes", "2000000"));
    let app = bench.app([refuse::agent()]).set("kafka.message.max.bytes", limit);
    (bench, app)
}

#[test]
fn where_headers_make_a_record_too_large_the_message_is_cut_short() {
    let (bench, app) = texts_bench("10000");
    // What goes beside the value: some 400 bytes.
    bench.produce("texts", ["x".repeat(3_000), "y".repeat(9_400)].map(input));
    let running = app.start().expect("the program starts");
    bench.wait_for_commit("texts", 0, 2);
    running.stop().expect("dead letters stop nobody");
    let letters = bench.read("texts-failed");
    let lengths: Vec<_> = letters
        .iter()
        .map(|letter| (letter.text().len(), account(letter)["message"].len()))
        .collect();
    assert_eq!(lengths[0], (3_000, 1_024));
    assert_eq!(lengths[1].0, 9_400);
    assert!(lengths[1].1 < 600, "{lengths:?}");
}

#[test]
fn a_record_that_is_too_large_as_a_dead_letter_stops_its_task_rather_than_be_lost() {
    let (bench, app) = texts_bench("10000");
    bench.produce(
        "texts",
        ["x".repeat(100), "y".repeat(9_900), "z".repeat(100)].map(input),
    );
    let running = app.start().expect("the program starts");
    wait_until("the worker has stopped", || running.has_failed());
    let error = running.stop().expect_err("a task has stopped").to_string();
    assert_mentions(
        &error,
        &[
            "`refuse`",
            "texts/0 offset 1",
            "dead letter",
            "message.max.bytes",
            "`texts-failed`",
        ],
    );
    assert_eq!(bench.committed("texts", 0), Some(1));
    assert_eq!(bench.end("texts-failed"), 1);
}

#[agent(topic = "poison", on_error = dead_letter)]
async fn swallow(_number: i64) {}

#[agent(topic = "poison", on_error = skip)]
async fn spit(_number: i64) {}

#[test]
fn a_flood_of_bad_records_is_kept_and_counted_and_some_lines_in_the_log() {
    const PILLS: usize = 3_000;
    log::keep();
    let bench = Bench::new(&[("poison", 1)]);
    bench.produce("poison", (0..PILLS).map(|n| input(format!("pill {n}"))));
    let running = bench.start([swallow::agent(), spit::agent()]);
    bench.wait_for_commit("poison", 0, PILLS as i64);
    let counted: Vec<_> = running
        .failures()
        .into_iter()
        .map(|agent| (agent.agent, agent.errors, agent.skipped, agent.dead_letters))
        .collect();
    let all = PILLS as u64;
    let expected = [("spit", all, all, 0), ("swallow", all, 0, all)];
    assert_eq!(
        counted,
        expected.map(|(agent, a, b, c)| (agent.to_owned(), a, b, c))
    );
    running.stop().expect("dead letters stop nobody");
    assert_eq!(bench.end(&bench.internal("dead-letters")), PILLS as i64);
    for (agent, what) in [("swallow", "dead letters"), ("spit", "skipped")] {
        let lines = log::lines(&["WARN", agent, "poison/0 offset", what]);
        let left_out: usize = log::lines(&["WARN", agent, "further records were passed over"])
            .iter()
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let at = words
                    .iter()
                    .position(|word| *word == "further")
                    .expect("it says so");
                let number = words[at - 1].trim_start_matches("message=");
                number.parse::<usize>().expect("a number")
            })
            .sum();
        assert_eq!(
            lines.len() + left_out,
            PILLS,
            "every record is in a line or in a count"
        );
        assert!(lines.len() < PILLS / 3, "{} lines", lines.len());
    }
}

static REPORTED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

#[agent(topic = "dead-letters")]
async fn report(bytes: Vec<u8>, headers: Headers) {
    let text = |name| String::from_utf8_lossy(headers.get(name).unwrap_or_default()).into_owned();
    let line = format!(
        "{} {} {} {}",
        String::from_utf8_lossy(&bytes),
        text(dead_letter::AGENT),
        text(dead_letter::TOPIC),
        text(dead_letter::ERROR)
    );
    REPORTED.lock().expect("nobody panics with it").push(line);
}

#[test]
fn an_agent_of_the_program_can_read_its_dead_letters() {
    let bench = Bench::new(&[("poison", 1)]);
    bench.produce("poison", ["1", "two"].map(input));
    let app = program(
        &bench.id,
        &bench.broker.bootstrap(),
        [swallow::agent(), report::agent()],
    );
    let running = app.start().expect("the program starts");
    wait_until("the dead letter is reported", || {
        !REPORTED.lock().expect("nobody panics with it").is_empty()
    });
    running.stop().expect("all is well");
    let reported = REPORTED.lock().expect("nobody panics with it");
    assert_eq!(*reported, ["two swallow poison decode"]);
}
