//! Work beside the threads of a worker, done again and again.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::error::{Error, Result};

/// A thread that does something every so often until this is dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    /// Closed to end it.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(super) fn start(
        name: &'static str,
        every: Duration,
        mut work: impl FnMut() + Send + 'static,
    ) -> Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let ticking = move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                work();
            }
        };
        let thread = Builder::new().name(name.to_owned()).spawn(ticking);
        let thread = thread
            .map_err(|error| Error::state(format!("the thread `{name}` cannot start")).with_source(error))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Has it begin nothing any more.
    pub(super) fn stop(&mut self) {
        self.stop.take();
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // It does not panic, and if it did, nothing would be lost with it.
            let _ = thread.join();
        }
    }
}
