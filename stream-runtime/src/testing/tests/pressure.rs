//! Producers that take no more for the moment, and commits that take their time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{COUNTS, SEEN, WORDS, app, seconds};
use crate::prelude::*;
use crate::testing::TestApp;

/// A thread that could not hand over what was sent before a commit turned without an end, so that no time passed.
#[test]
fn a_full_producer_is_waited_for() {
    let mut app = app().exactly_once();
    app.settle();
    let slow = Duration::from_millis(100);
    let network = app.world().network.clone();
    network.lock().behaviour.send_queue = 2;
    network.lock().behaviour.latency = (slow, slow);
    for _ in 0..50 {
        app.send(&WORDS, "red", "red");
    }
    app.settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&50));
    assert_eq!(app.outputs(&COUNTS).len(), 50);
}

/// What is small.
#[topic(name = "seeds")]
static SEEDS: Topic<String, String>;

/// A quarter of a mebibyte of each.
#[topic(name = "trees")]
static TREES: Topic<String, Vec<u8>>;

static GROWN: AtomicU64 = AtomicU64::new(0);

#[agent(topic = SEEDS, sink = TREES)]
async fn grow(_seed: String) -> Option<Vec<u8>> {
    GROWN.fetch_add(1, Ordering::Relaxed);
    Some(vec![0; 256 << 10])
}

#[test]
fn what_tasks_keep_back_while_a_transaction_ends_is_bounded_for_the_thread() {
    let mut app = TestApp::new().agents([grow::agent()]).partition_count(8);
    app = app.exactly_once();
    app.settle();
    let takes = |app: &mut TestApp, time| app.world().network.lock().behaviour.latency = (time, time);
    takes(&mut app, seconds(1));
    // An idle thread commits what it has done, here by five requests of two seconds each.
    app.send(&SEEDS, "oak", "acorn").advance(seconds(3));
    for n in 0..200 {
        app.send_with(&SEEDS, "oak", "acorn", |record| record.partition(n % 8));
    }
    app.advance(seconds(5));
    let kept_back = GROWN.load(Ordering::Relaxed) - 1;
    // 16 MiB, and of each task one record more.
    assert!((64..=72).contains(&kept_back), "{kept_back}");
    takes(&mut app, Duration::from_millis(1));
    app.settle();
    assert_eq!(app.outputs(&TREES).len(), 201);
}
