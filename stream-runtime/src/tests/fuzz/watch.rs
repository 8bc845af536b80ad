//! Notices in a long run that an input takes for ever, which a test cannot tell of itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::corpus::Corpus;
use crate::clock;

/// Any input is done with in a small part of this.
const TOO_LONG: Duration = Duration::from_secs(30);

/// The input that is being tried, and since when.
type Current = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

/// A thread that looks at what is being tried; it ends when this goes.
#[derive(Debug)]
pub(super) struct Watch(Current);

impl Watch {
    pub(super) fn start(target: &'static str) -> Self {
        let current = Current::default();
        let watched = Arc::downgrade(&current);
        std::thread::spawn(move || {
            while let Some(current) = watched.upgrade() {
                let current = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some((since, input)) = current
                    && clock::now() - since > TOO_LONG
                {
                    let path = Corpus::of(target).store("hang", &input);
                    eprintln!("fuzz {target}: this input takes for ever, and is now in the corpus: {path}");
                    std::process::abort();
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        Self(current)
    }

    pub(super) fn begin(&self, input: &[u8]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock::now(), input.to_vec()));
    }

    pub(super) fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
