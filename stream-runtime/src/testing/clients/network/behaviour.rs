//! How a network behaves, and the clients on it as far as chance may vary what they do.

use std::time::Duration;

use crate::cluster::thread::VALUES_DUE;

/// How a network behaves. The default is a good one: a millisecond to the broker and back, nothing breaks.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    /// The time of a request to the broker, and of its answer back.
    pub(crate) latency: (Duration, Duration),
    /// How often a connection breaks: once in so many requests, never for 0.
    pub(crate) breaks: u32,
    /// The longest time until a client notices that nobody answers.
    pub(crate) patience: Duration,
    /// How often a broker refuses a request for the moment: once in so many of those that it may, never for 0.
    pub(crate) refuses: u32,
    /// How long a client waits before it asks again after it got no answer, or one that passes.
    pub(crate) back_off: (Duration, Duration),
    /// How much one fetch brings, in bytes; a whole batch at least.
    pub(crate) fetch_bytes: (u64, u64),
    /// How much a client fetches ahead of its owner, in bytes.
    pub(crate) queue_bytes: usize,
    /// How long a producer waits for more records before it sends a batch that has room.
    pub(crate) linger: (Duration, Duration),
    /// How many records it puts into one batch at most.
    pub(crate) batch_records: (u64, u64),
    /// How many batches it puts into one request at most.
    pub(crate) request_batches: (u64, u64),
    /// How many records it takes before it is full.
    pub(crate) send_queue: usize,
    /// When a step of a transaction ends at the latest, whatever the brokers do.
    pub(crate) step_deadline: Duration,
    /// Bytes of values in the memory of a thread that make a commit due.
    pub(crate) values_due: usize,
    /// How often a batch that was sent twice is acknowledged without its offset: once in so many times, never for 0.
    pub(crate) unknown_offsets: u32,
}

impl Default for Behaviour {
    fn default() -> Self {
        let latency = Duration::from_micros(500);
        Self {
            latency: (latency, latency),
            breaks: 0,
            patience: Duration::from_secs(1),
            refuses: 0,
            back_off: (Duration::from_millis(10), Duration::from_millis(50)),
            fetch_bytes: (1 << 20, 1 << 20),
            queue_bytes: 8 << 20,
            linger: (Duration::ZERO, Duration::ZERO),
            batch_records: (10_000, 10_000),
            request_batches: (1000, 1000),
            send_queue: 500_000,
            step_deadline: Duration::from_secs(30),
            values_due: VALUES_DUE,
            unknown_offsets: 0,
        }
    }
}
