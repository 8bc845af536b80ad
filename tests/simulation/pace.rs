//! How soon what a record came to is seen.

use std::time::Duration;

use stream_runtime::prelude::*;
use stream_runtime::testing::TestApp;

/// Words, one a record.
#[topic(name = "pace-words", partitions = 1)]
static WORDS: Topic<(), String>;

/// How often each was seen.
#[topic(name = "pace-counts", partitions = 1)]
static COUNTS: Topic<(), u64>;

#[table]
static PACE_SEEN: Table<String, u64>;
const CHANGELOG: &str = "test-pace-seen-changelog";

#[agent(topic = WORDS, sink = COUNTS)]
async fn count_words(word: String) -> u64 {
    PACE_SEEN.update(&word, |seen| {
        *seen += 1;
        *seen
    })
}

#[test]
fn a_transaction_does_not_wait_for_its_interval_where_there_is_nothing_else_to_do() {
    let mut app = TestApp::new()
        .agents([count_words::agent()])
        .exactly_once()
        .set("commit_interval", "2m")
        .set("transaction_timeout", "10m");
    app.advance(Duration::from_secs(30));
    for count in 1..=3 {
        app.send(&WORDS, (), "red").advance(Duration::from_millis(500));
        let seen: Vec<_> = app.outputs(&COUNTS).into_iter().map(|(_, seen)| seen).collect();
        assert_eq!(seen, (1..=count).collect::<Vec<_>>());
        // A small part of the interval lies between two of them at least.
        app.advance(Duration::from_secs(10));
    }
    assert_eq!(app.table(&PACE_SEEN).get("red"), Some(&3));
}

#[test]
fn the_interval_counts_from_the_first_record_after_a_pause() {
    let mut app = TestApp::new()
        .agents([count_words::agent()])
        .set("commit_interval", "10s");
    app.advance(Duration::from_secs(60));
    app.send(&WORDS, (), "red").advance(Duration::from_secs(8));
    assert_eq!(app.outputs(&COUNTS).len(), 1, "it is processed at once");
    assert_eq!(app.records(CHANGELOG).len(), 0, "and not committed");
    app.advance(Duration::from_secs(3));
    assert_eq!(app.records(CHANGELOG).len(), 1);
}
