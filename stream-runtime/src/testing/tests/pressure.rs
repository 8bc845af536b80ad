//! Producers that take no more for the moment.

use std::time::Duration;

use super::{COUNTS, SEEN, WORDS, app};

/// A thread that could not hand over what was sent before a commit turned without an end, so that no time passed.
#[test]
fn a_full_producer_is_waited_for() {
    let mut app = app().exactly_once();
    app.settle();
    let slow = Duration::from_millis(100);
    let network = app.world().network.clone();
    network.lock().behaviour.send_queue = 2;
    network.lock().behaviour.latency = (slow, slow);
    for _ in 0..50 {
        app.send(&WORDS, "red", "red");
    }
    app.settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&50));
    assert_eq!(app.outputs(&COUNTS).len(), 50);
}
