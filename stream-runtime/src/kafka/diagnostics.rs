//! What librdkafka says of itself, made fit to read: one line for a broker that goes away and one when it
//! is back, and never the same line over and over.
//!
//! All clients of a cluster share one of these, since they all lose the same brokers at the same time.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode;

use crate::clock;

/// A line is not written again within this time.
const QUIET: Duration = Duration::from_secs(30);

/// More different lines than this are not told apart; a line is about 100 bytes.
const REMEMBERED: usize = 256;

/// Filters and words the messages of all clients of one cluster.
#[derive(Debug)]
pub(super) struct Diagnostics {
    bootstrap: String,
    /// No broker can be reached. Apart from the lock, because every record asks.
    down: AtomicBool,
    seen: Mutex<HashMap<String, Seen>>,
}

#[derive(Debug)]
struct Seen {
    written: Instant,
    held_back: u64,
}

impl Diagnostics {
    pub(super) fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            down: AtomicBool::new(false),
            seen: Mutex::default(),
        }
    }

    /// The addresses of the cluster, for messages.
    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A broker has answered.
    pub(super) fn reached(&self) {
        if self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::Relaxed) {
            tracing::info!(target: TARGET, "a broker of {} can be reached again", self.bootstrap);
        }
    }

    /// An error that the client keeps retrying by itself.
    pub(super) fn error(&self, code: RDKafkaErrorCode, text: &str) {
        match code {
            RDKafkaErrorCode::AllBrokersDown => {
                if !self.down.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        target: TARGET,
                        "no broker of {} can be reached: work waits, and goes on by itself when one is back",
                        self.bootstrap
                    );
                }
            }
            // Of clients that are closing, whose last events nobody reads, and of messages taken back on purpose.
            RDKafkaErrorCode::PartitionEOF
            | RDKafkaErrorCode::BrokerDestroy
            | RDKafkaErrorCode::InProgress
            | RDKafkaErrorCode::PurgeQueue
            | RDKafkaErrorCode::PurgeInflight => tracing::debug!(target: TARGET, "{text}"),
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut => self.say(
                text,
                |text| tracing::warn!(target: TARGET, "a broker cannot be reached, the client keeps trying: {text}"),
            ),
            RDKafkaErrorCode::Authentication => self.say(text, |text| {
                tracing::error!(
                    target: TARGET,
                    "{} refuses the credentials, the client keeps trying: {text}",
                    self.bootstrap
                );
            }),
            code => self.say(text, |text| tracing::warn!(target: TARGET, "{code}: {text}")),
        }
    }

    /// A line of librdkafka's own log, with its syslog level.
    pub(super) fn log(&self, level: i32, facility: &str, text: &str) {
        match (level, facility) {
            // Connection failures come as errors too, properties of the other kind of client are ignored
            // on purpose, and the poll interval comes as an error.
            (_, "FAIL" | "CONFWARN" | "MAXPOLL") => tracing::debug!(target: TARGET, "{facility}: {text}"),
            (0..=2, _) => self.say(text, |text| tracing::error!(target: TARGET, "{facility}: {text}")),
            (3 | 4, _) => self.say(text, |text| tracing::warn!(target: TARGET, "{facility}: {text}")),
            (5 | 6, _) => tracing::debug!(target: TARGET, "{facility}: {text}"),
            _ => tracing::trace!(target: TARGET, "{facility}: {text}"),
        }
    }

    /// Writes a line unless it was written a short while ago; times and counts in it do not make it another.
    fn say(&self, text: &str, write: impl FnOnce(&str)) {
        match self.admit(text, clock::now()) {
            Some(0) => write(text),
            Some(held_back) => write(&format!("{text} (and {held_back} times more)")),
            None => {}
        }
    }

    /// How often the line was held back since it was last written; `None` when it is to be held back now.
    fn admit(&self, text: &str, now: Instant) -> Option<u64> {
        let key = text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        let mut seen = self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if seen.len() >= REMEMBERED && !seen.contains_key(&key) {
            seen.clear();
        }
        match seen.entry(key) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Seen {
                    written: now,
                    held_back: 0,
                });
                Some(0)
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let seen = entry.get_mut();
                if now.duration_since(seen.written) < QUIET {
                    seen.held_back += 1;
                    return None;
                }
                seen.written = now;
                Some(std::mem::take(&mut seen.held_back))
            }
        }
    }
}

/// The target of everything said here.
const TARGET: &str = "stream_runtime::kafka";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_in_a_while_and_says_how_often_it_was_held_back() {
        let diagnostics = Diagnostics::new("localhost:9092");
        let start = clock::now();
        let line = |millis: u64| format!("Connect failed (after {millis}ms)");
        assert_eq!(diagnostics.admit(&line(0), start), Some(0));
        assert_eq!(diagnostics.admit(&line(3), start + Duration::from_secs(1)), None);
        assert_eq!(diagnostics.admit(&line(5), start + Duration::from_secs(2)), None);
        assert_eq!(diagnostics.admit(&line(1), start + QUIET), Some(2));
        assert_eq!(diagnostics.admit("another line", start), Some(0));
    }
}
