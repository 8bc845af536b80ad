//! Records that are not what an agent takes.

use stream_runtime::prelude::*;

use crate::support::{Bench, assert_mentions, input, wait_until};

#[agent(topic = "numbers", sink = "doubled")]
async fn double_or_stop(number: u32) -> u32 {
    number * 2
}

#[agent(topic = "numbers", sink = "doubled", on_error = skip)]
async fn double_or_skip(number: u32) -> u32 {
    number * 2
}

#[topic(name = "doubled")]
static ERRORS_DOUBLED: Topic<(), u32>;

#[agent(topic = "numbers")]
async fn double_all_or_stop(mut numbers: Stream<u32>) {
    while let Some(number) = numbers.next().await {
        ERRORS_DOUBLED.send(&(), &(number * 2)).await;
    }
}

/// Its count goes on behind a record that it never saw.
#[agent(topic = "numbers", on_error = skip)]
async fn number_all_or_skip(mut numbers: Stream<u32>) {
    let mut seen = 0;
    while let Some(number) = numbers.next().await {
        seen += 1;
        ERRORS_DOUBLED.send(&(), &(number * 10 + seen)).await;
    }
}

fn bench() -> Bench {
    let bench = Bench::new(&[("numbers", 1), ("doubled", 1)]);
    bench.produce("numbers", ["1", "two", "3"].map(input));
    bench
}

#[track_caller]
fn stops(agent: &'static stream_runtime::AgentDef) {
    let bench = bench();
    let running = bench.start([agent]);
    wait_until("the worker has stopped", || running.has_failed());
    let error = running.stop().expect_err("a task has stopped").to_string();
    assert_mentions(
        &error,
        &[
            agent.name,
            "numbers/0 offset 1",
            "does not decode",
            "on_error = skip",
        ],
    );
    assert_eq!(bench.committed("numbers", 0), Some(1));
    assert_eq!(bench.texts("doubled"), ["2"]);
}

#[test]
fn a_record_that_does_not_decode_stops_an_agent_in_record_form() {
    stops(double_or_stop::agent());
}

#[test]
fn a_record_that_does_not_decode_stops_an_agent_in_stream_form() {
    stops(double_all_or_stop::agent());
}

#[test]
fn a_record_that_does_not_decode_is_passed_over_in_record_form_if_the_policy_says_so() {
    let bench = bench();
    let running = bench.start([double_or_skip::agent()]);
    bench.wait_for_commit("numbers", 0, 3);
    running.stop().expect("skipped records stop nobody");
    assert_eq!(bench.texts("doubled"), ["2", "6"]);
}

#[test]
fn a_record_that_does_not_decode_is_passed_over_in_stream_form_and_the_function_goes_on() {
    let bench = bench();
    let running = bench.start([number_all_or_skip::agent()]);
    bench.wait_for_commit("numbers", 0, 3);
    running.stop().expect("skipped records stop nobody");
    assert_eq!(bench.texts("doubled"), ["11", "32"]);
}

#[agent(topic = "numbers")]
async fn need_a_key(Key(_key): Key<String>, _number: u32) {}

#[test]
fn a_record_without_a_key_does_not_decode_where_a_key_is_needed() {
    let bench = Bench::new(&[("numbers", 1)]);
    bench.produce("numbers", [input("1").key("a"), input("2")]);
    let running = bench.start([need_a_key::agent()]);
    wait_until("the worker has stopped", || running.has_failed());
    let error = running.stop().expect_err("a task has stopped").to_string();
    assert_mentions(
        &error,
        &[
            "need_a_key",
            "numbers/0 offset 1",
            "the key: a text is needed, the record has none",
        ],
    );
    assert_eq!(bench.committed("numbers", 0), Some(1));
}

#[agent(topic = "numbers", sink = "keys")]
async fn need_no_key(Key(key): Key<Option<String>>, number: u32) -> String {
    format!("{key:?} {number}")
}

#[test]
fn an_optional_key_may_be_missing() {
    let bench = Bench::new(&[("numbers", 1), ("keys", 1)]);
    bench.produce("numbers", [input("1").key("a"), input("2")]);
    let running = bench.start([need_no_key::agent()]);
    bench.wait_for_records("keys", 2);
    running.stop().expect("all is well");
    assert_eq!(bench.texts("keys"), ["Some(\"a\") 1", "None 2"]);
}

#[agent(topic = "numbers")]
async fn return_early(mut numbers: Stream<u32>) {
    let number = numbers.next().await;
    ERRORS_DOUBLED.send(&(), &number.unwrap_or_default()).await;
}

#[test]
fn a_stream_agent_that_returns_while_its_partition_is_held_has_failed() {
    let bench = Bench::new(&[("numbers", 1), ("doubled", 1)]);
    bench.produce("numbers", [input("1")]);
    let running = bench.start([return_early::agent()]);
    wait_until("the worker has stopped", || running.has_failed());
    let error = running.stop().expect_err("a task has stopped").to_string();
    assert_mentions(
        &error,
        &[
            "return_early",
            "numbers/0 offset 0",
            "returned although its partition",
        ],
    );
    assert_eq!(bench.end("doubled"), 0);
}
