//! What becomes of workers that end.

use super::{SEEN, WORDS, app, seconds};
use crate::error::Error;
use crate::testing::{FaultKind, Faults, TestApp};

/// Has a worker end by itself, since its disk is full.
fn fill_disk(app: &mut TestApp) {
    app.settle();
    app.world().workers[0].disk.set_full(true);
    app.send(&WORDS, "red", "red").advance(seconds(10));
}

#[test]
fn a_worker_that_ends_by_itself_under_faults_is_told_and_started_again() {
    let mut app = app().faults(Faults::of([FaultKind::ClockJump])).traced();
    fill_disk(&mut app);
    app.world().workers[0].disk.set_full(false);
    app.settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&1));
    let told: Vec<_> = app.schedule.told.iter().map(ToString::to_string).collect();
    let wanted = "worker 0 ends by itself: the simulated disk is full";
    assert!(told.iter().any(|line| line.contains(wanted)), "{told:?}");
    let trace = app.trace();
    assert!(trace.iter().any(|line| line.contains(wanted)), "{trace:?}");
}

#[test]
#[should_panic(expected = "worker 0 has ended: the simulated disk is full")]
fn a_worker_that_ends_by_itself_without_faults_fails_the_test() {
    let mut app = app().faults(Faults::none());
    fill_disk(&mut app);
    app.settle();
}

#[test]
#[should_panic(expected = "worker 0 has ended: it is none: this is a defect of the runtime")]
fn a_defect_is_no_fault() {
    let mut app = app().faults(Faults::of([FaultKind::ClockJump]));
    app.settle();
    let error = Error::state("it is none: this is a defect of the runtime");
    app.world().workers[0].failure = Some(error);
    let (running, schedule) = app.running();
    crate::testing::driver::Timetable::worker_ended(schedule, &mut running.driver.world, 0);
}

#[test]
fn what_the_test_has_ended_stays_so() {
    let mut app = app()
        .workers(3)
        .faults(Faults::of([FaultKind::Kill]).every(seconds(2)));
    app.advance(seconds(5)).kill(1).stop(2);
    app.send(&WORDS, "red", "red").advance(seconds(60)).settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&1));
    let lives: Vec<_> = app.world().workers.iter().map(|worker| worker.lives()).collect();
    assert_eq!(lives, [true, false, false]);
    app.start(1).advance(seconds(60)).settle();
    assert!(app.world().workers[1].lives());
}
