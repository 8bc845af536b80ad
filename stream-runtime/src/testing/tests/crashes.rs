//! Workers that are killed in the middle of something leave what a process leaves that was killed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::{WORDS, app, seconds};
use crate::testing::driver::Armed;
use crate::testing::{FaultKind, Faults, TestApp};

/// Has a worker count one word, and another one during whose commit it is killed at this point.
fn killed_at(app: &mut TestApp, point: &'static str) {
    app.send(&WORDS, "red", "red").settle();
    app.world().arm(Armed {
        number: 0,
        worker: 0,
        point: Some(point),
        passes: 1,
    });
    app.send(&WORDS, "red", "red").advance(seconds(2));
    let lives = app.world().workers[0].lives();
    assert!(!lives, "it was killed at {point}");
}

/// The counts that are on a worker's disk.
fn on_disk(app: &mut TestApp) -> Vec<u8> {
    let world = app.world();
    let (sub_topology, _) = world.tasks_of("seen").expect("it has the table");
    let mut found = Vec::new();
    world.workers[0]
        .disk
        .scan(&sub_topology, 0, "seen", &mut |_, value| {
            found.extend(value.last());
            ControlFlow::Continue(())
        });
    found
}

#[test]
fn a_worker_that_is_killed_behind_a_store_batch_loses_it_or_not() {
    let found = |seed| {
        let mut app = app().seed(seed);
        killed_at(&mut app, "after-store");
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
    killed_at(&mut app, "before-end-transaction");
    app.advance(seconds(5));
    let is_open = app.world().network.hides_records();
    assert!(is_open, "nobody has ended it");
    app.advance(seconds(10));
    let is_open = app.world().network.hides_records();
    assert!(!is_open, "the broker ends it when its time is over");
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
