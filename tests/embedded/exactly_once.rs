//! Programs with `processing_guarantee = "exactly_once"`.

use std::time::Duration;

use stream_runtime::embedded::NewTopic;
use stream_runtime::prelude::*;

use crate::support::{Bench, assert_mentions, input, wait_until};

/// Words, by themselves.
#[topic(internal, partitions = 2)]
static ONCE_SORTED: Topic<String, String>;

#[table]
static ONCE_COUNTS: Table<String, u64>;

#[agent(topic = "words")]
async fn sort_words(word: String) {
    ONCE_SORTED.send(&word, &word).await;
}

#[agent(topic = ONCE_SORTED, sink = "once-counts")]
async fn count_words(word: String) -> String {
    let count = ONCE_COUNTS.update(&word, |count| {
        *count += 1;
        *count
    });
    format!("{word} {count}")
}

#[test]
fn a_program_over_a_repartition_topic_is_drained_and_its_outputs_are_there_once() {
    let bench = Bench::new(&[("words", 2), ("once-counts", 1)]);
    let words = || (0..100).map(|n| input(["a", "b", "c"][n % 3]));
    bench.produce("words", words());
    let app = || {
        let app = bench.app([sort_words::agent(), count_words::agent()]);
        app.set("processing_guarantee", "exactly_once")
    };
    let running = app().start().expect("the program starts");
    // Offsets behind the markers of the transactions, too.
    running
        .drain(Duration::from_secs(60))
        .expect("everything is processed");
    running.stop().expect("all is well");
    bench.produce("words", words());
    let running = app().start().expect("the program starts");
    running
        .drain(Duration::from_secs(60))
        .expect("everything is processed");
    running.stop().expect("all is well");
    let mut texts = bench.texts("once-counts");
    texts.sort();
    let mut wanted: Vec<_> = [("a", 68), ("b", 66), ("c", 66)]
        .into_iter()
        .flat_map(|(word, times)| (1..=times).map(move |count| format!("{word} {count}")))
        .collect();
    wanted.sort();
    assert_eq!(texts, wanted);
}

#[topic(name = "once-padded")]
static ONCE_PADDED: Topic<(), String>;

#[table]
static ONCE_SEEN: Table<String, u64>;

#[agent(topic = "sizes")]
async fn pad(size: String) {
    let count = ONCE_SEEN.update("all", |count| {
        *count += 1;
        *count
    });
    let length: usize = size.parse().expect("a size");
    ONCE_PADDED
        .send(&(), &format!("{count}{}", "x".repeat(length)))
        .await;
}

#[test]
fn a_transaction_that_cannot_be_committed_is_tried_again_and_nothing_of_it_is_seen() {
    let bench = Bench::new(&[("sizes", 1)]);
    bench.create(NewTopic::new("once-padded", 1).with("max.message.bytes", "10000"));
    bench.produce("sizes", ["10", "20"].map(input));
    let app = bench
        .app([pad::agent()])
        .set("processing_guarantee", "exactly_once")
        .set("kafka.compression.type", "none");
    let running = app.start().expect("the program starts");
    bench.wait_for_commit("sizes", 0, 2);
    // The broker refuses this one, however often it is tried.
    bench.produce("sizes", ["30", "50000", "40"].map(input));
    wait_until("the worker has given up", || running.has_failed());
    let error = running.stop().expect_err("transactions fail").to_string();
    assert_mentions(&error, &["transactions in a row", "once-padded"]);
    assert_eq!(bench.committed("sizes", 0), Some(2));
    let first: Vec<_> = bench
        .texts("once-padded")
        .iter()
        .map(|text| text[..1].to_owned())
        .collect();
    assert_eq!(first, ["1", "2"]);
}
