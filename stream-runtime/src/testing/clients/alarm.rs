//! The alarm of a client that has several things to do at their times.
//!
//! Alarms of the network cannot be taken back, so one is set for the earliest time alone, and whoever is called looks what is
//! due.

use std::time::Duration;

use super::network::Net;

/// The next alarm.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Duration>);

impl Alarm {
    /// Has the client called at the earliest of these times at the latest.
    pub(super) fn set(&mut self, times: impl IntoIterator<Item = Option<Duration>>, net: &mut Net<'_>) {
        let Some(earliest) = times.into_iter().flatten().min() else {
            return;
        };
        if self.0.is_none_or(|set| earliest < set) {
            self.0 = Some(earliest);
            net.alarm(earliest.saturating_sub(net.now()), 0);
        }
    }

    /// An alarm went off, maybe one that was set before an earlier one.
    pub(super) fn went_off(&mut self, net: &Net<'_>) {
        if self.0.is_some_and(|set| set <= net.now()) {
            self.0 = None;
        }
    }
}
