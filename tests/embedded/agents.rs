//! What agents are given and where what they make goes.

use std::sync::Mutex;

use stream_runtime::prelude::*;

use crate::support::{Bench, input, wait_until};

#[agent(topic = "words", sink = "shouted")]
async fn shout(word: String) -> String {
    word.to_uppercase()
}

#[test]
fn an_agent_in_record_form_runs_once_a_record() {
    let bench = Bench::new(&[("words", 1), ("shouted", 1)]);
    bench.produce("words", ["a", "b", "c"].map(input));
    let running = bench.start([shout::agent()]);
    bench.wait_for_records("shouted", 3);
    running.stop().expect("all is well");
    assert_eq!(bench.texts("shouted"), ["A", "B", "C"]);
}

#[topic]
static AGENTS_NUMBERED: Topic<(), String>;

/// Its local variable lives as long as the partition is held.
#[agent(topic = "words")]
async fn number(mut words: Stream<String>) {
    let mut seen = 0;
    while let Some(word) = words.next().await {
        seen += 1;
        AGENTS_NUMBERED.send(&(), &format!("{seen} {word}")).await;
    }
}

#[test]
fn an_agent_in_stream_form_keeps_its_variables_from_record_to_record() {
    let bench = Bench::new(&[("words", 1), ("agents-numbered", 1)]);
    bench.produce("words", ["a", "b", "c"].map(input));
    let running = bench.start([number::agent()]);
    bench.wait_for_records("agents-numbered", 3);
    running.stop().expect("all is well");
    assert_eq!(bench.texts("agents-numbered"), ["1 a", "2 b", "3 c"]);
}

#[agent(topic = "letters", sink = "described")]
async fn describe(
    Key(sender): Key<String>,
    letter: String,
    headers: Headers,
    Timestamp(sent): Timestamp,
) -> String {
    let via = headers.get("via").map(String::from_utf8_lossy);
    format!("{sender} {letter} {} {sent}", via.as_deref().unwrap_or("-"))
}

#[test]
fn extractors_give_the_key_the_headers_and_the_timestamp() {
    let bench = Bench::new(&[("letters", 1), ("described", 1)]);
    bench.produce(
        "letters",
        [
            input("hello")
                .key("ann")
                .header("via", "air")
                .at(1_700_000_000_123),
            input("bye").key("bob").at(1_700_000_000_456),
        ],
    );
    let running = bench.start([describe::agent()]);
    bench.wait_for_records("described", 2);
    running.stop().expect("all is well");
    assert_eq!(
        bench.texts("described"),
        ["ann hello air 1700000000123", "bob bye - 1700000000456"]
    );
}

#[agent(topic = "letters", sink = "described")]
async fn describe_event(event: Event<Option<String>, String>) -> String {
    format!(
        "{:?} {} {}/{}@{} {} {}",
        event.key,
        event.value,
        event.topic,
        event.partition,
        event.offset,
        event.timestamp,
        event.headers.iter().count()
    )
}

#[agent(topic = "letters")]
async fn describe_events(mut events: Stream<Event<Option<String>, String>>) {
    while let Some(event) = events.next().await {
        let headers = event.headers.iter().count();
        let line = format!("{:?} {}@{} {headers}", event.key, event.value, event.offset);
        AGENTS_NUMBERED.send(&(), &line).await;
    }
}

#[test]
fn an_event_is_the_whole_record_in_both_forms() {
    // One program each: headers that one agent takes would be there for both.
    let described = |agent, output| {
        let bench = Bench::new(&[("letters", 1), (output, 1)]);
        bench.produce(
            "letters",
            [
                input("hello")
                    .key("ann")
                    .header("via", "air")
                    .at(1_700_000_000_123),
                input("bye").at(1_700_000_000_456),
            ],
        );
        let running = bench.start([agent]);
        bench.wait_for_records(output, 2);
        running.stop().expect("all is well");
        bench.texts(output)
    };
    assert_eq!(
        described(describe_event::agent(), "described"),
        [
            "Some(\"ann\") hello letters/0@0 1700000000123 1",
            "None bye letters/0@1 1700000000456 0"
        ]
    );
    assert_eq!(
        described(describe_events::agent(), "agents-numbered"),
        ["Some(\"ann\") hello@0 1", "None bye@1 0"]
    );
}

#[agent(topic = "words")]
async fn choose(words: Stream<String>) {
    let mut chosen = words
        .filter(|word| word.len() > 1)
        .map(|word| word.to_uppercase())
        .enumerate();
    while let Some((n, word)) = chosen.next().await {
        AGENTS_NUMBERED.send(&(), &format!("{n} {word}")).await;
    }
}

#[test]
fn streams_are_filtered_mapped_and_numbered() {
    let bench = Bench::new(&[("words", 1), ("agents-numbered", 1)]);
    bench.produce("words", ["aa", "b", "cc", "d", "ee", "f"].map(input));
    let running = bench.start([choose::agent()]);
    bench.wait_for_commit("words", 0, 6);
    running.stop().expect("all is well");
    assert_eq!(bench.texts("agents-numbered"), ["0 AA", "1 CC", "2 EE"]);
}

static SUNK: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn remember(value: &u64) {
    SUNK.lock().expect("no test panicked here").push(*value);
}

#[agent(topic = "words", sinks = ["lengths", "copies", remember])]
async fn measure(word: String) -> Option<u64> {
    (word.len() > 1).then_some(word.len() as u64)
}

#[test]
fn several_sinks_get_what_is_returned_and_none_gets_nothing() {
    let bench = Bench::new(&[("words", 1), ("lengths", 1), ("copies", 1)]);
    bench.produce("words", ["aa", "b", "ccc"].map(input));
    let running = bench.start([measure::agent()]);
    bench.wait_for_commit("words", 0, 3);
    running.stop().expect("all is well");
    assert_eq!(bench.texts("lengths"), ["2", "3"]);
    assert_eq!(bench.texts("copies"), ["2", "3"]);
    assert_eq!(*SUNK.lock().expect("no test panicked here"), [2, 3]);
}

#[agent(topic = "words", sink = "letters")]
async fn spell(word: String) -> Result<Vec<String>, std::io::Error> {
    Ok(word.chars().map(String::from).collect())
}

#[test]
fn a_list_goes_to_the_sink_one_by_one() {
    let bench = Bench::new(&[("words", 1), ("letters", 1)]);
    bench.produce("words", ["ab", "", "c"].map(input));
    let running = bench.start([spell::agent()]);
    bench.wait_for_commit("words", 0, 3);
    running.stop().expect("all is well");
    assert_eq!(bench.texts("letters"), ["a", "b", "c"]);
}

#[test]
fn a_sink_gets_the_key_and_the_timestamp_of_the_record_and_not_its_headers() {
    let bench = Bench::new(&[("words", 1), ("shouted", 4)]);
    bench.produce(
        "words",
        [
            input("a")
                .key("foobar")
                .header("via", "air")
                .at(1_700_000_000_123),
            input("b").at(1_700_000_000_456),
        ],
    );
    let running = bench.start([shout::agent()]);
    bench.wait_for_records("shouted", 2);
    running.stop().expect("all is well");
    let mut shouted = bench.read("shouted");
    shouted.sort_by_key(|record| record.timestamp);
    assert_eq!(
        (shouted[0].key_text(), shouted[0].timestamp),
        ("foobar".to_owned(), 1_700_000_000_123)
    );
    assert_eq!(shouted[0].headers, []);
    // Where the Java client puts it.
    assert_eq!(shouted[0].partition, 1_357_151_166 % 4);
    assert_eq!(
        (shouted[1].key.clone(), shouted[1].timestamp),
        (None, 1_700_000_000_456)
    );
}

#[topic]
static AGENTS_PARCELS: Topic<String, String>;

#[agent(topic = "letters")]
async fn pack(letter: String, headers: Headers) {
    let addressee = "foobar".to_owned();
    AGENTS_PARCELS
        .send(&addressee, &letter)
        .headers(&headers)
        .header("packed", "yes")
        .await;
    AGENTS_PARCELS
        .send(&addressee, &letter)
        .partition(3)
        .timestamp(1_600_000_000_000)
        .await;
}

#[test]
fn a_send_takes_the_timestamp_of_the_record_unless_it_is_given_its_own() {
    let bench = Bench::new(&[("letters", 1), ("agents-parcels", 4)]);
    bench.produce("letters", [input("x").header("via", "air").at(1_700_000_000_123)]);
    let running = bench.start([pack::agent()]);
    bench.wait_for_records("agents-parcels", 2);
    running.stop().expect("all is well");
    let parcels = bench.read("agents-parcels");
    let (by_key, by_hand) = (&parcels[0], &parcels[1]);
    assert_eq!(
        (by_key.partition, by_key.timestamp),
        (1_357_151_166 % 4, 1_700_000_000_123)
    );
    assert_eq!(
        by_key.headers,
        [
            ("via".to_owned(), Some(b"air".to_vec())),
            ("packed".to_owned(), Some(b"yes".to_vec()))
        ]
    );
    assert_eq!((by_hand.partition, by_hand.timestamp), (3, 1_600_000_000_000));
    assert_eq!(by_hand.headers, []);
}

#[topic(compact)]
static AGENTS_NAMES: Topic<String, Option<String>>;
#[topic(compact)]
static AGENTS_NAMES_SEEN: Topic<String, Option<String>>;

#[agent(topic = AGENTS_NAMES, sink = "agents-events")]
async fn follow(Key(id): Key<String>, name: Option<String>) -> String {
    AGENTS_NAMES_SEEN.send(&id, &name).await;
    format!("{id} {name:?}")
}

#[test]
fn a_tombstone_is_none_and_none_is_sent_as_a_tombstone() {
    let bench = Bench::new(&[
        ("agents-names", 1),
        ("agents-names-seen", 1),
        ("agents-events", 1),
    ]);
    bench.produce(
        "agents-names",
        [
            input("ann").key("1"),
            input("").key("1"),
            input("").key("1").tombstone(),
        ],
    );
    let running = bench.start([follow::agent()]);
    bench.wait_for_records("agents-events", 3);
    running.stop().expect("all is well");
    assert_eq!(
        bench.texts("agents-events"),
        ["1 Some(\"ann\")", "1 Some(\"\")", "1 None"]
    );
    let values: Vec<_> = bench
        .read("agents-names-seen")
        .into_iter()
        .map(|record| record.value)
        .collect();
    assert_eq!(values, [Some(b"ann".to_vec()), Some(Vec::new()), None]);
}

#[agent(topic = "words", sink = "shouted")]
async fn first_reader(word: String) -> String {
    format!("first {word}")
}

#[agent(topic = "words", sink = "shouted")]
async fn second_reader(word: String) -> String {
    format!("second {word}")
}

#[test]
fn two_agents_of_one_topic_both_see_every_record() {
    let bench = Bench::new(&[("words", 1), ("shouted", 1)]);
    bench.produce("words", ["a", "b"].map(input));
    let running = bench.start([second_reader::agent(), first_reader::agent()]);
    bench.wait_for_records("shouted", 4);
    running.stop().expect("all is well");
    assert_eq!(
        bench.texts("shouted"),
        ["first a", "second a", "first b", "second b"]
    );
}

#[table]
static AGENTS_BALANCE: Table<String, i64>;

#[agent(topic = "deposits", sink = "balances")]
async fn deposit(Key(account): Key<String>, amount: i64) -> i64 {
    AGENTS_BALANCE.update(&account, |balance| {
        *balance += amount;
        *balance
    })
}

#[agent(topic = "withdrawals", sink = "balances")]
async fn withdraw(Key(account): Key<String>, amount: i64) -> i64 {
    AGENTS_BALANCE.update(&account, |balance| {
        *balance -= amount;
        *balance
    })
}

#[test]
fn two_agents_of_one_sub_topology_share_a_table() {
    let bench = Bench::new(&[("deposits", 4), ("withdrawals", 4), ("balances", 1)]);
    let running = bench.start([deposit::agent(), withdraw::agent()]);
    for account in 0..20 {
        bench.produce("deposits", [input("100").key(format!("account-{account}"))]);
    }
    bench.wait_for_records("balances", 20);
    for account in 0..20 {
        bench.produce("withdrawals", [input("30").key(format!("account-{account}"))]);
    }
    bench.wait_for_records("balances", 40);
    assert_eq!(running.running_tasks().len(), 4, "one task a partition number");
    running.stop().expect("all is well");
    let texts = bench.texts("balances");
    assert_eq!(texts.iter().filter(|text| *text == "100").count(), 20);
    assert_eq!(texts.iter().filter(|text| *text == "70").count(), 20);
}

static SPAWNED: Mutex<Option<String>> = Mutex::new(None);

#[table]
static AGENTS_COUNTS: Table<String, u64>;

#[agent(topic = "words")]
async fn spawn_counting(word: String) {
    AGENTS_COUNTS.update(&word, |count| *count += 1);
    let counting = tokio::spawn(async move { AGENTS_COUNTS.update(&word, |count| *count += 1) });
    let panic = counting.await.expect_err("tables are for agents").into_panic();
    let message = panic.downcast_ref::<String>().cloned();
    *SPAWNED.lock().expect("no test panicked here") = message;
}

#[test]
fn a_table_outside_a_running_agent_says_where_tables_can_be_used() {
    let bench = Bench::new(&[("words", 1)]);
    bench.produce("words", [input("a")]);
    let running = bench.start([spawn_counting::agent()]);
    bench.wait_for_commit("words", 0, 1);
    let here = std::panic::catch_unwind(|| AGENTS_COUNTS.get("a")).expect_err("tables are for agents");
    let here = here.downcast_ref::<String>().cloned();
    running.stop().expect("all is well");
    let expected = "table `agents-counts` was used outside a running agent: tables can be used in the body of an \
                    agent, and not in tasks it spawns";
    assert_eq!(here.as_deref(), Some(expected));
    assert_eq!(
        SPAWNED.lock().expect("no test panicked here").as_deref(),
        Some(expected)
    );
}

fn count_by_a_helper(word: &str) -> u64 {
    AGENTS_COUNTS.update(word, |count| {
        *count += 1;
        *count
    })
}

#[agent(topic = "words", sink = "shouted", on_error = skip)]
async fn helped(word: String) -> String {
    count_by_a_helper(&word).to_string()
}

#[agent(topic = "words", sink = "shouted", tables = [AGENTS_COUNTS])]
async fn helped_and_wired(word: String) -> String {
    count_by_a_helper(&word).to_string()
}

#[test]
fn a_table_that_only_a_helper_uses_fails_the_record_and_names_the_mend() {
    crate::support::log::keep();
    let bench = Bench::new(&[("words", 1), ("shouted", 1)]);
    bench.produce("words", [input("a")]);
    // The other agent brings the table into the program, elsewhere.
    let running = bench.start([helped::agent()]);
    bench.wait_for_commit("words", 0, 1);
    running.stop().expect("the record is skipped");
    assert_eq!(bench.end("shouted"), 0);
    wait_until("the log names the mend", || {
        crate::support::log::has(&[
            "table `agents-counts` is not wired",
            "tables = [AGENTS_COUNTS]",
            "helped",
        ])
    });
}

#[test]
fn a_table_that_only_a_helper_uses_works_when_the_agent_names_it() {
    let bench = Bench::new(&[("words", 1), ("shouted", 1)]);
    bench.produce("words", ["a", "b", "a"].map(input));
    let running = bench.start([helped_and_wired::agent()]);
    bench.wait_for_records("shouted", 3);
    running.stop().expect("all is well");
    assert_eq!(bench.texts("shouted"), ["1", "1", "2"]);
}
