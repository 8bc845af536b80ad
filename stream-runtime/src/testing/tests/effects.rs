//! What faults are to cause, it is seen that they do.

use std::time::Duration;

use super::{COUNTS, SEEN, WORDS, app, counted, four, on_disk, seconds, send_all};
use crate::testing::{Faults, TestApp};

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
    for seed in 0..200 {
        // So short that some take too long, once in 20 seeds.
        let mut app = four(2).exactly_once().set("transaction_timeout", "3s");
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

/// Whoever takes over from a worker that died between its offsets and the end of its transaction waits for that. Chance
/// brings it about once in a few hundred seeds.
#[test]
fn offsets_of_a_transaction_that_nobody_ends_are_waited_for() {
    let is_seen = (1..20).any(|moment| {
        let mut app = four(2).exactly_once().set("transaction_timeout", "60s").traced();
        app.settle();
        let takes = |app: &mut TestApp, time| app.world().network.lock().behaviour.latency = (time, time);
        takes(&mut app, seconds(1));
        send_all(&mut app);
        app.advance(seconds(moment)).kill(0);
        takes(&mut app, Duration::from_millis(1));
        app.settle();
        counted(&mut app, 1);
        app.trace()
            .iter()
            .any(|line| line.contains("UnstableOffsetCommit"))
    });
    assert!(is_seen);
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
