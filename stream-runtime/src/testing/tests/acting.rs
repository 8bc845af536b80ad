//! What a test does to a program, call by call.

use super::{SEEN, WORDS, app, seconds};
use crate::testing::{FaultKind, Faults};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

#[test]
fn a_worker_writes_by_its_own_clock_until_it_is_set_right() {
    let mut app = app();
    app.settle();
    app.world().set_clock(0, -2 * DAY);
    app.send(&WORDS, "red", "red").settle();
    app.kill(0).start(0).send(&WORDS, "red", "red").settle();
    app.world().set_clock(0, 0);
    app.send(&WORDS, "red", "red").settle();
    let now = app.now_millis();
    let ages: Vec<_> = app
        .records("test-seen-changelog")
        .iter()
        .map(|record| (now - record.timestamp) / DAY)
        .collect();
    assert_eq!(ages, [2, 2, 0]);
}

#[test]
fn a_broker_that_is_away_is_worked_without_until_it_is_back() {
    let mut app = app();
    app.settle().broker_away(true).send(&WORDS, "red", "red");
    app.advance(seconds(20));
    assert_eq!(app.table(&SEEN).get("red"), None);
    app.broker_away(false).settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&1));
}

#[test]
#[should_panic(
    expected = "worker 0 would wait for the broker, which is away: let it come back with `broker_away(false)`"
)]
fn a_worker_is_not_started_while_the_broker_is_away() {
    app().settle().kill(0).broker_away(true).start(0);
}

#[test]
fn a_worker_that_faults_have_ended_starts_when_the_test_lets_the_broker_come_back() {
    let restarts = Faults::of([FaultKind::Kill]).every(seconds(1));
    let mut app = app().faults(restarts);
    app.broker_away(true).advance(seconds(60));
    let lives = app.world().workers[0].lives();
    assert!(!lives, "it was killed and waits");
    app.broker_away(false).send(&WORDS, "red", "red").settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&1));
}
