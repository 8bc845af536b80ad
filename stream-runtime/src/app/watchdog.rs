//! Looks at the threads of a worker from beside them, since one that is blocked cannot speak for itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::Running;
use super::ticker::Ticker;
use crate::clock;
use crate::cluster::status::ThreadStatus;
use crate::cluster::watchdog::{Notice, Watchdog};
use crate::error::Result;

/// Looks until it is dropped.
#[derive(Debug)]
pub(super) struct Lookout {
    stuck: Arc<Mutex<Vec<String>>>,
    _looks: Ticker,
}

impl Lookout {
    /// Watches threads, each with its name.
    pub(super) fn start(stuck_after: Duration, threads: Vec<(String, ThreadStatus)>) -> Result<Self> {
        let stuck = Arc::new(Mutex::new(Vec::new()));
        let found = Arc::clone(&stuck);
        // Often enough that what is said of the time is nearly right.
        let every = (stuck_after / 8).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let mut watchdog = Watchdog::new(stuck_after);
        let look = move || {
            let looks = threads.iter().filter_map(|(name, status)| status.look(name));
            for notice in watchdog.look(clock::now(), &looks.collect::<Vec<_>>()) {
                match notice {
                    Notice::Stuck(sentence) => warn!("{sentence}"),
                    // As loud as what it takes back.
                    Notice::MovesAgain(sentence) => warn!("{sentence}"),
                }
            }
            *found.lock().unwrap_or_else(PoisonError::into_inner) = watchdog.stuck().to_vec();
        };
        Ok(Self {
            stuck,
            _looks: Ticker::start("watchdog", every, look)?,
        })
    }
}

impl Running {
    /// Tasks that have records to process and have finished none for longer than the setting `stuck_after`, a
    /// sentence each: for how long, at which record, and what keeps them. Threads that do not turn are among them.
    /// Empty while all is well.
    ///
    /// The same is logged as a warning, again whenever the time has doubled.
    pub fn stuck_tasks(&self) -> Vec<String> {
        let stuck = &self.parts().lookout.stuck;
        stuck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
