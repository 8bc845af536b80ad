//! The promises, each with what is done to a program to break it, in the short form.

use crate::abilities;
use crate::judge::Promise;
use crate::schedule::{Kind, crash_points};
use crate::settings::Guarantee;

/// One promise under faults.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) guarantee: Guarantee,
    pub(crate) promise: Promise,
    pub(crate) kinds: Vec<(Kind, usize)>,
}

/// What can be promised under at-least-once when workers die, and what not yet.
pub(crate) fn promise_of_crashes() -> Promise {
    if abilities::EXACT_TABLES {
        Promise::ExactTables
    } else {
        Promise::NothingLess
    }
}

/// However workers die, are started, and whatever becomes of their directories: nothing is missing, tables count
/// each record of their input once, and what is repeated is what was not committed.
pub(crate) fn workers_that_die_lose_nothing_and_count_once() -> Trial {
    Trial {
        guarantee: Guarantee::AtLeastOnce,
        promise: promise_of_crashes(),
        kinds: vec![
            (Kind::Kill, 4),
            (Kind::CrashPoint, crash_points(Guarantee::AtLeastOnce).len()),
            (Kind::Workers, 1),
            (Kind::DeleteState, 1),
            (Kind::OlderState, 1),
            (Kind::FullDisk, 1),
        ],
    }
}

/// Workers that are away and come back, and a broker that does: nothing is missing.
/// What such a worker had handed to its system can still be written after others have taken over, so no more is
/// promised of tables.
pub(crate) fn workers_that_come_back_lose_nothing() -> Trial {
    Trial {
        guarantee: Guarantee::AtLeastOnce,
        promise: Promise::NothingMissing,
        kinds: vec![
            (Kind::Broker, 2),
            (Kind::Freeze, 1),
            (Kind::Cut, 2),
            (Kind::HalfOpen, 1),
            (Kind::Slow, 1),
            (Kind::Kill, 1),
        ],
    }
}

/// Whatever happens, everything is there once and in order.
pub(crate) fn everything_counts_once_whatever_happens() -> Trial {
    Trial {
        guarantee: Guarantee::ExactlyOnce,
        promise: Promise::ExactlyOnce,
        kinds: vec![
            (Kind::Kill, 3),
            (Kind::CrashPoint, crash_points(Guarantee::ExactlyOnce).len()),
            (Kind::Workers, 1),
            (Kind::DeleteState, 1),
            (Kind::OlderState, 1),
            (Kind::FullDisk, 1),
            (Kind::Broker, 2),
            (Kind::Freeze, 2),
            (Kind::Cut, 1),
            (Kind::HalfOpen, 1),
            (Kind::Slow, 1),
        ],
    }
}
