//! Agents as plain functions, and sends from outside of agents.

use stream_runtime::prelude::*;
use stream_runtime::testing;

use crate::support::bench::program;
use crate::support::{Bench, assert_mentions, input, wait_until};

#[table]
static FUNCTIONS_COUNT: Table<String, u64>;

#[topic]
static FUNCTIONS_NOTES: Topic<String, String>;
#[topic]
static FUNCTIONS_OTHERS: Topic<String, u64>;

#[agent(topic = "functions-words")]
async fn count(word: String) -> u64 {
    FUNCTIONS_NOTES.send(&word, &format!("saw {word}")).await;
    let count = FUNCTIONS_COUNT.update(&word, |count| {
        *count += 1;
        *count
    });
    FUNCTIONS_OTHERS.send(&word, &count).await;
    count
}

#[test]
fn an_agent_can_be_called_as_a_function_with_tables_in_memory() {
    assert_eq!(testing::run(count("a".to_owned())), 1);
    assert_eq!(testing::run(count("a".to_owned())), 2);
    assert_eq!(testing::run(count("b".to_owned())), 1);
    assert_eq!(testing::run(async { FUNCTIONS_COUNT.get("a") }), Some(2));
}

#[test]
fn what_an_agent_sends_when_it_is_called_can_be_taken_once_topic_by_topic() {
    testing::run(count("a".to_owned()));
    testing::run(count("b".to_owned()));
    let note = |word: &str| (word.to_owned(), format!("saw {word}"));
    assert_eq!(testing::sent(&FUNCTIONS_NOTES), [note("a"), note("b")]);
    assert_eq!(testing::sent(&FUNCTIONS_NOTES), []);
    assert_eq!(
        testing::sent(&FUNCTIONS_OTHERS),
        [("a".to_owned(), 1), ("b".to_owned(), 1)]
    );
}

#[agent(topic = "functions-words")]
async fn send_on(word: String) {
    FUNCTIONS_NOTES.send(&word, &word).await;
}

fn bench() -> Bench {
    Bench::new(&[("functions-words", 1), ("functions-notes", 1)])
}

#[test]
fn a_send_from_outside_is_refused_where_several_programs_run() {
    let benches = [bench(), bench()];
    let running = benches.each_ref().map(|bench| bench.start([send_on::agent()]));
    let (key, value) = ("k".to_owned(), "v".to_owned());
    let sent = block_on(FUNCTIONS_NOTES.send(&key, &value).delivered());
    let error = sent.expect_err("it cannot be told which").to_string();
    assert_mentions(&error, &["several programs", &benches[0].id, &benches[1].id]);
    for running in running {
        running.stop().expect("all is well");
    }
}

static ASKED: std::sync::Mutex<Option<String>> = std::sync::Mutex::new(None);

#[agent(topic = "functions-words")]
async fn wait_for_delivery(word: String) {
    let refused = FUNCTIONS_NOTES
        .send(&word, &word)
        .delivered()
        .await
        .expect_err("not in an agent");
    *ASKED.lock().expect("nobody panics with it") = Some(refused.to_string());
}

#[test]
fn an_agent_cannot_wait_for_the_delivery_of_its_own_sends() {
    let bench = bench();
    bench.produce("functions-words", [input("a")]);
    let running = bench.start([wait_for_delivery::agent()]);
    bench.wait_for_commit("functions-words", 0, 1);
    running.stop().expect("all is well");
    let asked = ASKED.lock().expect("nobody panics with it").clone();
    assert_mentions(
        &asked.expect("it was refused"),
        &["functions-notes", "inside an agent", ".delivered()"],
    );
    assert_eq!(bench.end("functions-notes"), 0);
}

/// Where one program runs in the process, which other tests would disturb: [`alone`] runs in a process of its own.
#[test]
fn a_send_from_outside_is_delivered_where_one_program_runs() {
    let this = std::env::current_exe().expect("a test knows its program");
    let output = std::process::Command::new(this)
        .args(["--exact", "functions::alone", "--ignored", "--nocapture"])
        .output()
        .expect("it can be run again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "runs in a process of its own, started by the test above"]
fn alone() {
    let bench = bench();
    let (key, value) = ("k".to_owned(), "v".to_owned());
    let error = block_on(FUNCTIONS_NOTES.send(&key, &value).delivered()).expect_err("nothing runs yet");
    assert_mentions(&error.to_string(), &["no program runs"]);
    let app = program(&bench.id, &bench.broker.bootstrap(), [send_on::agent()]);
    let running = app.start().expect("the program starts");
    let sent = FUNCTIONS_NOTES
        .send(&key, &value)
        .header("from", "outside")
        .delivered();
    let delivery = block_on(sent).expect("the broker takes it");
    assert_eq!(
        (delivery.topic.as_str(), delivery.partition, delivery.offset),
        ("functions-notes", 0, 0)
    );
    block_on(async { FUNCTIONS_NOTES.send(&key, &value).await });
    let notes = bench.read("functions-notes");
    assert_eq!(notes.len(), 2);
    assert_eq!(notes[0].headers, [("from".to_owned(), Some(b"outside".to_vec()))]);
    wait_until("the task runs", || !running.running_tasks().is_empty());
    running.stop().expect("all is well");
    block_on(FUNCTIONS_NOTES.send(&key, &value).delivered()).expect_err("nothing runs any more");
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built")
        .block_on(future)
}
