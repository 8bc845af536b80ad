//! Workers that are killed in the middle of something leave what a process leaves that was killed.

use std::collections::BTreeSet;

use super::{COUNTS, SEEN, WORDS, app, four, on_disk, seconds};
use crate::testing::{CommitStep, FaultKind, Faults, TestApp};

/// Has a worker count one word, and another one during whose commit it is killed at this step.
fn killed_at(app: &mut TestApp, step: CommitStep) {
    app.send(&WORDS, "red", "red").settle();
    app.send(&WORDS, "red", "red").kill_at(0, step);
}

#[test]
fn a_worker_that_is_killed_behind_a_store_batch_loses_it_or_not() {
    let found = |seed| {
        let mut app = app().seed(seed);
        killed_at(&mut app, CommitStep::AfterStore);
        on_disk(&mut app)
    };
    let found: Vec<_> = (0..20).map(found).collect();
    for counts in [vec![1], vec![2]] {
        assert!(found.contains(&counts), "{counts:?} is among {found:?}");
    }
}

#[test]
fn a_worker_that_is_killed_in_a_transaction_leaves_it_open() {
    let mut app = app().exactly_once().set("transaction_timeout", "10s").traced();
    killed_at(&mut app, CommitStep::BeforeEndTransaction);
    app.advance(seconds(5));
    let is_open = app.world().network.hides_records();
    assert!(is_open, "nobody has ended it");
    app.advance(seconds(10));
    let is_open = app.world().network.hides_records();
    assert!(!is_open, "the broker ends it when its time is over");
}

/// What a crash at this step of a commit leaves of it on the broker: outputs that all can see, and changes of the table.
fn left_by(mut app: TestApp, step: CommitStep) -> (usize, usize) {
    killed_at(&mut app, step);
    let lives = app.world().workers[0].lives();
    assert!(!lives, "{step:?}");
    let left = (
        app.outputs(&COUNTS).len() - 1,
        app.records("test-seen-changelog")
            .iter()
            .filter(|record| record.key.as_deref() == Some(b"red"))
            .count()
            - 1,
    );
    app.start(0).settle();
    let seen = app.table(&SEEN).get("red").copied();
    assert_eq!(seen, Some(2), "{step:?}");
    left
}

#[test]
fn a_worker_that_the_test_kills_at_a_step_has_come_so_far() {
    for &step in CommitStep::AT_LEAST_ONCE {
        let (outputs, changes) = left_by(app(), step);
        let is_sent = step >= CommitStep::Changelog;
        assert!(
            !is_sent || (outputs, changes) == (1, 1),
            "{step:?}: {outputs} {changes}"
        );
        assert!(is_sent || changes == 0, "{step:?}: {changes}");
    }
    for &step in CommitStep::EXACTLY_ONCE {
        let is_committed = step >= CommitStep::AfterEndTransaction;
        let many = usize::from(is_committed);
        assert_eq!(left_by(app().exactly_once(), step), (many, many), "{step:?}");
    }
}

#[test]
fn a_worker_that_the_test_kills_at_a_step_is_not_started_by_faults() {
    let faults = Faults::of([FaultKind::Kill]).every(seconds(2));
    let mut app = four(2).faults(faults);
    for _ in 0..5 {
        app.send(&WORDS, "red", "red").send(&WORDS, "blue", "blue");
    }
    app.kill_at(0, CommitStep::Outputs).advance(seconds(60)).settle();
    let lives = app.world().workers[0].lives();
    assert!(!lives, "the test alone starts it");
}

#[test]
#[should_panic(expected = "a commit has no step AfterOffsets under ExactlyOnce, but [Outputs, ")]
fn a_step_of_the_other_guarantee_is_told() {
    app().exactly_once().kill_at(0, CommitStep::AfterOffsets);
}

#[test]
#[should_panic(expected = "worker 0 does not come to Outputs within 900s of virtual time")]
fn a_worker_that_does_not_come_to_a_step_is_told() {
    app().settle().kill_at(0, CommitStep::Outputs);
}

/// The points that workers were killed at, with some seeds.
fn points(app: impl Fn() -> TestApp) -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    for seed in 0..40 {
        let faults = Faults::of([FaultKind::KillInCommit]).every(seconds(1));
        let mut app = app().seed(seed).faults(faults);
        for _ in 0..20 {
            app.send(&WORDS, "red", "red").advance(seconds(2));
        }
        for told in &app.schedule.told {
            let told = told.to_string();
            points.extend(
                told.rsplit_once("is killed at ")
                    .map(|(_, point)| point.to_owned()),
            );
        }
    }
    points
}

#[test]
fn every_step_of_a_commit_is_one_that_workers_are_killed_at() {
    let found = points(app);
    let all = [
        "after-offsets",
        "after-store",
        "before-offsets",
        "before-store",
        "call",
        "changelog",
        "outputs",
    ];
    assert!(found.iter().eq(all), "{found:?}");
    let found = points(|| app().exactly_once());
    let all = [
        "after-end-transaction",
        "after-store",
        "before-end-transaction",
        "before-store",
        "call",
        "changelog",
        "outputs",
    ];
    assert!(found.iter().eq(all), "{found:?}");
}
