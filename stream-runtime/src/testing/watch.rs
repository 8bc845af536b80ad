//! Tells of runs that do not end, while they do not.
//!
//! A run that loops without awaiting anything has no virtual time in which it could be given up, and nobody can end a
//! thread from outside. So all that can be done is to say which it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;

/// The seeds of the runs that are under way.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<BTreeSet<u64>>);

/// A run that is under way.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    runs: &'a Runs,
    seed: u64,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.runs.lock().remove(&self.seed);
    }
}

impl Runs {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run begins; it ends when what is returned is dropped.
    pub(super) fn begin(&self, seed: u64) -> Begun<'_> {
        self.lock().insert(seed);
        Begun { runs: self, seed }
    }

    /// Tells once of each seed that runs for longer than this, until all senders of `over` are gone.
    pub(super) fn watch(&self, limit: Duration, over: &Receiver<()>, tell: impl Fn(u64)) {
        // When each was first seen, and `None` once it was told of.
        let mut seen = BTreeMap::new();
        while over.recv_timeout(limit / 8) == Err(RecvTimeoutError::Timeout) {
            let running = self.lock().clone();
            seen.retain(|seed, _| running.contains(seed));
            for seed in running {
                let since = seen.entry(seed).or_insert_with(|| Some(clock::now()));
                if since.take_if(|since| clock::now() - *since >= limit).is_some() {
                    tell(seed);
                }
            }
        }
    }
}
