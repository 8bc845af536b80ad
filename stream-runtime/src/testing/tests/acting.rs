//! What a test does to a program, call by call.

use super::{WORDS, app};

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
