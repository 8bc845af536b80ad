//! What faults are to cause, it is seen that they do.

use super::{COUNTS, SEEN, WORDS, app, counted, four, on_disk, seconds, send_all};
use crate::testing::Faults;

/// What stands in the traces of runs under all faults. Of disks and clocks, which no trace shows, the tests below tell.
const SEEN_IN_TRACES: &[&str] = &[
    // Workers and the broker.
    "killed",
    "is killed at",
    "frozen: true",
    "cut off: true",
    "broker away: true",
    "ends by itself",
    // Connections break amid requests.
    "gets no answer",
    // The broker refuses for the moment: records, offsets, transactions.
    "is refused in part",
    "NotLeaderOrFollower",
    "TxnOffsetCommit",
    "ConcurrentTransactions",
    "NotCoordinator",
    "CoordinatorLoadInProgress",
    "UnstableOffsetCommit",
    // The group goes on: with the worker, or without it.
    "RebalanceInProgress",
    "IllegalGeneration",
    "UnknownMemberId",
    // Another producer has the id, or a transaction took too long.
    "InvalidProducerEpoch",
];

#[test]
fn what_faults_are_to_cause_is_seen_within_some_seeds() {
    let mut missing = SEEN_IN_TRACES.to_vec();
    for seed in 0..40 {
        let mut app = four(2).exactly_once().set("transaction_timeout", "10s");
        app = app.seed(seed).faults(Faults::all()).traced();
        for _ in 0..30 {
            send_all(&mut app);
            app.advance(seconds(1));
        }
        app.settle();
        counted(&mut app, 30);
        let trace = app.trace();
        missing.retain(|wanted| !trace.iter().any(|line| line.contains(wanted)));
        if missing.is_empty() {
            return;
        }
    }
    panic!("never seen: {missing:?}");
}

#[test]
fn an_older_copy_of_a_disk_takes_the_place_of_what_was_there() {
    let mut app = app();
    app.send(&WORDS, "red", "red").settle();
    app.stop(0);
    let copy = app.world().workers[0].disk.copy();
    app.start(0).send(&WORDS, "red", "red").settle().stop(0);
    assert_eq!(on_disk(&mut app), [2]);
    app.world().workers[0].disk.put_back(&copy);
    assert_eq!(on_disk(&mut app), [1]);
    app.start(0).send(&WORDS, "red", "red").settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&3));
}

#[test]
fn a_slow_disk_takes_its_time() {
    let commits_after = |write_time| {
        let mut app = app().exactly_once();
        app.settle();
        app.world().workers[0].disk.set_write_time(write_time);
        let began = app.elapsed();
        for count in 1..=2 {
            app.send(&WORDS, "red", "red");
            let patience = app.elapsed() + seconds(60);
            while app.outputs(&COUNTS).len() < count {
                assert!(app.elapsed() < patience, "record {count} has no output");
                app.advance(seconds(1) / 100);
            }
        }
        app.elapsed() - began
    };
    assert!(commits_after(seconds(3)) >= commits_after(seconds(0)) + seconds(3) - seconds(1));
}
