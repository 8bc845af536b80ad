//! Looks at the threads of a worker from beside them, since one that is blocked cannot speak for itself.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::warn;

use super::Running;
use crate::clock;
use crate::cluster::status::ThreadStatus;
use crate::cluster::watchdog::{Notice, Watchdog};
use crate::error::{Error, Result};

/// A thread that looks at others until it is dropped.
#[derive(Debug)]
pub(super) struct Lookout {
    /// Closed to end it.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    stuck: Arc<Mutex<Vec<String>>>,
}

impl Lookout {
    /// Watches threads, each with its name.
    pub(super) fn start(stuck_after: Duration, threads: Vec<(String, ThreadStatus)>) -> Result<Self> {
        let stuck = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = mpsc::channel();
        let found = Arc::clone(&stuck);
        // Often enough that what is said of the time is nearly right.
        let every = (stuck_after / 8).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let watch = move || {
            let mut watchdog = Watchdog::new(stuck_after);
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let looks: Vec<_> = threads
                    .iter()
                    .filter_map(|(name, status)| status.look(name))
                    .collect();
                for notice in watchdog.look(clock::now(), &looks) {
                    match notice {
                        Notice::Stuck(sentence) => warn!("{sentence}"),
                        // As loud as what it takes back.
                        Notice::MovesAgain(sentence) => warn!("{sentence}"),
                    }
                }
                *found.lock().unwrap_or_else(PoisonError::into_inner) = watchdog.stuck().to_vec();
            }
        };
        let thread = std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(watch)
            .map_err(|error| Error::state("the watchdog cannot start").with_source(error))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            stuck,
        })
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It does not panic, and if it did, nothing would be lost with it.
            let _ = thread.join();
        }
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
