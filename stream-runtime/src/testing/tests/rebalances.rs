//! Partitions that move while the broker takes nothing.

use super::{COUNTS, WORDS, counted, four, seconds, send_all, shares};
use crate::prelude::*;
use crate::testing::TestApp;

/// Has no table.
#[agent(topic = WORDS, sink = COUNTS)]
async fn measure(word: String) -> u64 {
    word.len() as u64
}

/// Whether the broker takes neither records nor offsets, while groups go on.
fn refuse(app: &mut TestApp, all: bool) {
    app.world().network.lock().behaviour.refuses = u32::from(all);
}

#[test]
fn partitions_are_given_back_in_time_though_nothing_can_be_committed() {
    let mut app = four(1).exactly_once();
    app.settle();
    send_all(&mut app);
    refuse(&mut app, true);
    app.advance(seconds(1)).scale(2).advance(seconds(1));
    assert_eq!(shares(&mut app)[0], 4, "it tries to commit");
    // Half of the session's time is for that.
    app.advance(seconds(4));
    assert_eq!(shares(&mut app)[0], 2);
    refuse(&mut app, false);
    app.settle();
    counted(&mut app, 1);
}

#[test]
fn what_waits_for_the_broker_when_partitions_are_lost_is_never_written() {
    let mut app = four(2);
    send_all(&mut app);
    app.settle();
    counted(&mut app, 1);
    refuse(&mut app, true);
    send_all(&mut app);
    app.advance(seconds(1)).cut_off(0, true);
    refuse(&mut app, false);
    app.advance(seconds(20));
    assert_eq!(shares(&mut app)[1], 4, "worker 1 has everything");
    counted(&mut app, 2);
    // It is not heard before it knows that it has lost its partitions.
    refuse(&mut app, true);
    app.cut_off(0, false).advance(seconds(5));
    refuse(&mut app, false);
    app.settle();
    counted(&mut app, 2);
}

#[test]
fn outputs_that_the_broker_does_not_take_end_no_worker_that_gives_partitions_back() {
    let mut app = four(1).agents([measure::agent()]);
    app.settle();
    send_all(&mut app);
    refuse(&mut app, true);
    app.advance(seconds(1)).scale(2).advance(seconds(5));
    assert_eq!(shares(&mut app)[0], 2, "it goes on with the others");
    refuse(&mut app, false);
    app.settle();
    let words: std::collections::BTreeSet<_> =
        app.outputs(&COUNTS).into_iter().map(|(word, _)| word).collect();
    assert_eq!(words.len(), 5);
}
