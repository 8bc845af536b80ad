//! Sends to places that no broker takes, and what a stopped task leaves alone.

use stream_runtime::prelude::*;

use crate::support::{Bench, assert_mentions, input, log, wait_until};

#[topic]
static PLACED: Topic<(), u64>;

#[agent(topic = "places", on_error = skip)]
async fn place(partition: u32) {
    PLACED.send(&(), &u64::from(partition)).partition(partition).await;
}

#[agent(topic = "moments", on_error = skip)]
async fn date(timestamp: i64) {
    PLACED
        .send(&(), &timestamp.unsigned_abs())
        .timestamp(timestamp)
        .await;
}

#[agent(topic = "halves", on_error = retry(times = 1, backoff = "1ms"))]
async fn only_small(number: u64) -> Result<(), String> {
    match number {
        0..100 => Ok(()),
        _ => Err(format!("{number} is too much")),
    }
}

#[test]
fn a_send_to_a_partition_that_is_not_there_fails_its_record_alone() {
    log::keep();
    let bench = Bench::new(&[("places", 1), ("placed", 2)]);
    bench.produce("places", ["1", "2", "4294967295", "0"].map(input));
    let running = bench.start([place::agent()]);
    bench.wait_for_commit("places", 0, 4);
    running.stop().expect("skipped records stop nobody");
    assert_eq!(bench.texts("placed"), ["0", "1"]);
    assert!(log::has(&[
        "place",
        "places/0 offset 1",
        "`placed` has no partition 2"
    ]));
}

#[test]
fn a_send_with_a_negative_timestamp_fails_its_record_alone() {
    log::keep();
    let bench = Bench::new(&[("moments", 1), ("placed", 1)]);
    bench.produce("moments", ["5", "-6", "7"].map(input));
    let running = bench.start([date::agent()]);
    bench.wait_for_commit("moments", 0, 3);
    running.stop().expect("skipped records stop nobody");
    assert_eq!(bench.texts("placed"), ["5", "7"]);
    assert!(log::has(&["date", "moments/0 offset 1", "timestamp -6"]));
}

#[test]
fn a_thread_whose_tasks_have_all_stopped_leaves_the_other_threads_alone() {
    let bench = Bench::new(&[("halves", 2)]);
    let app = bench.app([only_small::agent()]).set("threads", 2);
    let running = app.start().expect("the program starts");
    wait_until("both threads have a task", || running.running_tasks().len() == 2);
    bench.produce("halves", [input("100").to(0)]);
    wait_until("a task has stopped", || running.stopped_tasks().len() == 1);
    bench.produce("halves", ["1", "2"].map(|number| input(number).to(1)));
    bench.wait_for_commit("halves", 1, 2);
    assert!(!running.has_failed());
    bench.produce("halves", [input("200").to(1)]);
    wait_until("the worker does nothing any more", || running.has_failed());
    let error = running.stop().expect_err("tasks have stopped").to_string();
    assert_mentions(&error, &["halves/0 offset 0", "100 is too much"]);
    assert_mentions(&error, &["halves/1 offset 2", "200 is too much"]);
}
