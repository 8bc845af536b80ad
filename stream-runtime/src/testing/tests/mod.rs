//! What tests of programs may rely on: the driver, faults and simulations, with a program as small as can be.

mod acting;
mod crashes;
mod pressure;
mod rebalances;
mod simulating;
mod supervision;

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

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
