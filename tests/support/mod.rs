//! What the tests of a worker have in common: a broker, a program, clients beside it, and waiting.

pub(crate) mod bench;
pub(crate) mod gate;
pub(crate) mod log;
pub(crate) mod proxy;

pub(crate) use bench::{Bench, input};
pub(crate) use gate::Gate;

use std::time::{Duration, Instant};

/// How long anything may take before a test fails. Nothing is proven by it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Tries until there is something, or panics with `what` at the deadline.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until it holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || holds().then_some(()));
}

/// Fails unless `text` has every one of `parts`.
#[track_caller]
pub(crate) fn assert_mentions(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}
