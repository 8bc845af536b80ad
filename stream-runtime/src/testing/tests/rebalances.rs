//! Partitions that move while the broker takes nothing.

use std::collections::BTreeMap;

use super::{COUNTS, SEEN, WORDS, count, seconds};
use crate::testing::TestApp;

/// Four partitions, and a group that notices soon who is gone.
fn four(workers: usize) -> TestApp {
    TestApp::new()
        .agents([count::agent()])
        .workers(workers)
        .set("session_timeout", "6s")
        .set("heartbeat_interval", "500ms")
}

/// Whether the broker takes neither records nor offsets, while groups go on.
fn refuse(app: &mut TestApp, all: bool) {
    app.world().network.lock().behaviour.refuses = u32::from(all);
}

fn share_of(app: &mut TestApp, worker: usize) -> usize {
    app.running_tasks()[worker].len()
}

#[test]
fn partitions_are_given_back_in_time_though_nothing_can_be_committed() {
    let mut app = four(1).exactly_once();
    app.settle();
    for word in ["red", "green", "blue", "white", "black"] {
        app.send(&WORDS, word, word);
    }
    refuse(&mut app, true);
    app.advance(seconds(1)).scale(2).advance(seconds(1));
    assert_eq!(share_of(&mut app, 0), 4, "it tries to commit");
    // Half of the session's time is for that.
    app.advance(seconds(4));
    assert_eq!(share_of(&mut app, 0), 2);
    refuse(&mut app, false);
    app.settle();
    assert_eq!(app.outputs(&COUNTS).len(), 5);
    assert_eq!(BTreeMap::from(app.table(&SEEN)).len(), 5);
}

#[test]
fn what_waits_for_the_broker_when_partitions_are_lost_is_never_written() {
    let mut app = four(2).seed(1);
    app.settle();
    refuse(&mut app, true);
    let words = ["red", "green", "blue", "white", "black"];
    for word in words {
        app.send(&WORDS, word, word);
    }
    app.advance(seconds(1)).cut_off(0, true);
    refuse(&mut app, false);
    app.advance(seconds(20));
    assert_eq!(share_of(&mut app, 1), 4, "worker 1 has everything");
    assert_eq!(app.outputs(&COUNTS).len(), words.len());
    // It is not heard before it knows that it has lost its partitions.
    refuse(&mut app, true);
    app.cut_off(0, false).advance(seconds(5));
    refuse(&mut app, false);
    app.settle();
    assert_eq!(app.outputs(&COUNTS).len(), words.len());
    let seen = BTreeMap::from(app.table(&SEEN));
    assert!(
        seen.len() == words.len() && seen.values().all(|seen| *seen == 1),
        "{seen:?}"
    );
}
