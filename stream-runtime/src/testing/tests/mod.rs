//! What tests of programs may rely on: the driver, faults and simulations, with a program as small as can be.

mod acting;
mod allocations;
mod crashes;
mod disk;
mod effects;
mod filling;
mod pressure;
mod rebalances;
mod sending;
mod simulating;
mod supervision;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::prelude::*;
use crate::testing::TestApp;

/// Words, keyed by themselves.
#[topic(name = "words")]
static WORDS: Topic<String, String>;

/// Every new count, keyed by its word.
#[topic(name = "counts")]
static COUNTS: Topic<String, u64>;

/// How often each word came.
#[table(name = "seen")]
static SEEN: Table<String, u64>;

/// Counts words.
#[agent(topic = WORDS, sink = COUNTS)]
async fn count(word: Event<String, String>) -> u64 {
    SEEN.update(&word.key, |seen| {
        *seen += 1;
        *seen
    })
}

/// One worker with one partition, which nothing happens to.
fn app() -> TestApp {
    TestApp::new().agents([count::agent()]).partition_count(1)
}

/// Four partitions, and a group that notices soon who is gone.
fn four(workers: usize) -> TestApp {
    TestApp::new()
        .agents([count::agent()])
        .workers(workers)
        .set("session_timeout", "6s")
        .set("heartbeat_interval", "500ms")
}

/// How many tasks each worker runs.
fn shares(app: &mut TestApp) -> Vec<usize> {
    app.running_tasks().iter().map(Vec::len).collect()
}

/// Sends every word once.
fn send_all(app: &mut TestApp) {
    for word in ["red", "green", "blue", "white", "black"] {
        app.send(&WORDS, word, word);
    }
}

/// Each of them was counted so often, and put out as often.
fn counted(app: &mut TestApp, times: u64) {
    let seen = BTreeMap::from(app.table(&SEEN));
    assert!(
        seen.len() == 5 && seen.values().all(|seen| *seen == times),
        "{seen:?}"
    );
    assert_eq!(app.outputs(&COUNTS).len() as u64, 5 * times);
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The counts that are on the disk of worker 0, of its partition 0.
fn on_disk(app: &mut TestApp) -> Vec<u8> {
    on_disk_of(app, 0, 0)
}

/// The counts that are on the disk of a worker, of one partition.
fn on_disk_of(app: &mut TestApp, worker: usize, partition: i32) -> Vec<u8> {
    let world = app.world();
    let (sub_topology, _) = world.tasks_of("seen").expect("it has the table");
    let mut found = Vec::new();
    world.workers[worker]
        .disk
        .scan(&sub_topology, partition, "seen", &mut |_, value| {
            found.extend(value.last());
            ControlFlow::Continue(())
        });
    found
}
