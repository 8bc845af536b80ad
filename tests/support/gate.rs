//! Holding agents at a point of their code until a test lets them go on.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::wait_until;

/// A place in an agent's code that it passes only when it is let through.
#[derive(Debug)]
pub(crate) struct Gate {
    arrived: AtomicUsize,
    passes: Semaphore,
}

impl Gate {
    pub(crate) const fn new() -> Self {
        Self {
            arrived: AtomicUsize::new(0),
            passes: Semaphore::const_new(0),
        }
    }

    /// For agents: waits for a pass and uses it up.
    pub(crate) async fn pass(&self) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let pass = self.passes.acquire().await.expect("a gate is never closed");
        pass.forget();
    }

    /// For tests: waits until agents came here this many times.
    #[track_caller]
    pub(crate) fn wait_for(&self, arrivals: usize) {
        wait_until("an agent came to the gate", || self.arrived() >= arrivals);
    }

    pub(crate) fn arrived(&self) -> usize {
        self.arrived.load(Ordering::SeqCst)
    }

    /// Holds nobody any more.
    pub(crate) fn open(&self) {
        self.passes.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}
