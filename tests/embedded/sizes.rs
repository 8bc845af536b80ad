//! Records that are larger than somebody takes.

use stream_runtime::embedded::NewTopic;
use stream_runtime::prelude::*;

use crate::support::{Bench, assert_mentions, input, log, wait_until};

#[table]
static SIZES_SEEN: Table<String, u64>;

#[topic]
static SIZES_PADDED: Topic<(), String>;

#[agent(topic = "sizes", on_error = skip)]
async fn pad_or_skip(size: usize) {
    SIZES_SEEN.update("all", |seen| *seen += 1);
    SIZES_PADDED.send(&(), &"x".repeat(size)).await;
}

#[agent(topic = "sizes", on_error = retry(times = 1, backoff = "1ms"))]
async fn pad_or_stop(size: usize) {
    SIZES_SEEN.update("all", |seen| *seen += 1);
    SIZES_PADDED.send(&(), &"x".repeat(size)).await;
}

#[test]
fn a_value_that_is_too_large_for_the_producer_fails_its_record_alone() {
    log::keep();
    let bench = Bench::new(&[("sizes", 1), ("sizes-padded", 1)]);
    bench.produce("sizes", ["10", "3000000", "20"].map(input));
    let running = bench.start([pad_or_skip::agent()]);
    bench.wait_for_commit("sizes", 0, 3);
    running.stop().expect("skipped records stop nobody");
    let lengths: Vec<_> = bench.texts("sizes-padded").iter().map(String::len).collect();
    assert_eq!(lengths, [10, 20]);
    assert!(log::has(&[
        "pad_or_skip",
        "sizes/0 offset 1",
        "`sizes-padded`",
        "3000000 bytes",
        "message.max.bytes"
    ]));
}

#[test]
fn a_value_that_is_too_large_for_the_producer_stops_the_task_if_the_policy_says_so() {
    let bench = Bench::new(&[("sizes", 1), ("sizes-padded", 1)]);
    bench.produce("sizes", ["10", "3000000", "20"].map(input));
    let running = bench.start([pad_or_stop::agent()]);
    wait_until("the worker has stopped", || running.has_failed());
    let error = running.stop().expect_err("a task has stopped").to_string();
    assert_mentions(
        &error,
        &[
            "pad_or_stop",
            "sizes/0 offset 1",
            "sizes-padded",
            "message.max.bytes",
        ],
    );
    assert_eq!(bench.committed("sizes", 0), Some(1));
    assert_eq!(bench.end("sizes-padded"), 1);
}

#[test]
fn with_a_larger_limit_the_same_value_goes_through() {
    let bench = Bench::new(&[("sizes", 1)]);
    bench.create(NewTopic::new("sizes-padded", 1).with("max.message.bytes", "5000000"));
    bench.produce("sizes", ["3000000"].map(input));
    let app = bench
        .app([pad_or_skip::agent()])
        .set("kafka.message.max.bytes", "5000000");
    let running = app.start().expect("the program starts");
    bench.wait_for_commit("sizes", 0, 1);
    running.stop().expect("all is well");
    assert_eq!(bench.end("sizes-padded"), 1);
}

#[test]
fn a_value_that_is_too_large_for_the_topic_ends_the_worker_with_nothing_committed() {
    let bench = Bench::new(&[("sizes", 1)]);
    bench.create(NewTopic::new("sizes-padded", 1).with("max.message.bytes", "10000"));
    bench.produce("sizes", ["50000"].map(input));
    let app = bench
        .app([pad_or_skip::agent()])
        .set("kafka.compression.type", "none");
    let running = app.start().expect("the program starts");
    wait_until("the worker has failed", || running.has_failed());
    let error = running.stop().expect_err("a record was refused").to_string();
    assert_mentions(&error, &["sizes-padded", "max.message.bytes"]);
    assert_eq!(bench.committed("sizes", 0), Some(0));
    assert_eq!(bench.end("sizes-padded"), 0);
}
