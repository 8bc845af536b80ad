//! The broker as a value: topics, groups, transactions and what waits, changed by one request at a time.
//!
//! No input and output, no clock, no randomness: whoever drives it says what time it is, calls
//! [`State::advance`] when [`State::next_deadline`] has come, and hands on what
//! [`State::take_completions`] gives. Requests that cannot be answered yet are known by their
//! [`Token`].

use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::time::Duration;

use super::api::{self, Request, Response};
use super::compaction;
use super::coordinator::Groups;
use super::fetches::Fetches;
use super::topics::Topics;
use super::transactions::Transactions;

/// How often the logs are looked at for what is too old or too much.
const RETENTION_INTERVAL: Duration = Duration::from_secs(300);

/// The time of one call: since the start, and of the records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Monotonic, since the broker was started.
    pub(crate) elapsed: Duration,
    /// Milliseconds since the Unix epoch.
    pub(crate) wall_ms: i64,
}

/// A request that is to be answered later; the driver's own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u64);

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) token: Token,
    pub(crate) client_id: StrBytes,
    pub(crate) host: StrBytes,
    /// The version of the request, and so of its answer.
    pub(crate) version: i16,
}

/// What comes of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Ready(Response),
    /// It will be among the completions.
    Later,
    /// The client does not want one.
    Nothing,
}

/// A late answer.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    pub(crate) response: Response,
}

/// Something that happens at its time unless it has become pointless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A fetch has waited long enough.
    Fetch(Token),
    /// A group may have a member to expel or a rebalance to end.
    Group(StrBytes),
    /// A transaction may have been open too long.
    Transaction(StrBytes),
    Compaction,
    Retention,
}

/// Deadlines in their order. Nothing is taken out early: a timer checks whether it still means anything.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeMap<(Duration, u64), Timer>,
    set: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Duration, timer: Timer) {
        self.set += 1;
        self.by_time.insert((at, self.set), timer);
    }

    fn next(&self) -> Option<Duration> {
        self.by_time.keys().next().map(|(at, _)| *at)
    }

    fn pop_due(&mut self, elapsed: Duration) -> Option<Timer> {
        let first = self.by_time.first_entry()?;
        (first.key().0 <= elapsed).then(|| first.remove())
    }
}

/// What the broker says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) host: StrBytes,
    pub(crate) port: u16,
    pub(crate) auto_create_topics: bool,
    pub(crate) initial_rebalance_delay: Duration,
    /// How often the logs are looked at for compaction.
    pub(crate) compaction_interval: Duration,
}

/// The node's number.
pub(crate) const NODE: i32 = 1;
/// The cluster's name.
pub(crate) const CLUSTER: &str = "embedded-stream-broker";

/// Everything the broker knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) identity: Identity,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) transactions: Transactions,
    pub(crate) fetches: Fetches,
    pub(crate) producer_ids: i64,
    pub(crate) timers: Timers,
    pub(crate) completions: Vec<Completion>,
}

impl State {
    /// A broker without topics.
    pub(crate) fn new(identity: Identity, now: Now) -> Self {
        let mut timers = Timers::default();
        timers.set(now.elapsed + identity.compaction_interval, Timer::Compaction);
        timers.set(now.elapsed + RETENTION_INTERVAL, Timer::Retention);
        let groups = Groups::new(identity.initial_rebalance_delay, now.wall_ms);
        Self {
            identity,
            topics: Topics::default(),
            groups,
            transactions: Transactions::default(),
            fetches: Fetches::default(),
            producer_ids: 0,
            timers,
            completions: Vec::new(),
        }
    }

    /// Answers one request.
    pub(crate) fn handle(&mut self, now: Now, caller: &Caller, request: Request) -> Answer {
        api::handle(self, now, caller, request)
    }

    /// Does what was due at this time or before.
    pub(crate) fn advance(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.elapsed) {
            match timer {
                Timer::Fetch(token) => api::fetch::finish(self, token),
                Timer::Group(id) => self
                    .groups
                    .expire(&id, now, &mut self.timers, &mut self.completions),
                Timer::Transaction(id) => {
                    if let Some(ended) = self.transactions.expire(&id, now, &mut self.timers) {
                        api::transactions::finish(self, now, ended);
                    }
                }
                Timer::Compaction => {
                    self.compact(now);
                    let next = now.elapsed + self.identity.compaction_interval;
                    self.timers.set(next, Timer::Compaction);
                }
                Timer::Retention => {
                    self.retain(now);
                    self.timers
                        .set(now.elapsed + RETENTION_INTERVAL, Timer::Retention);
                }
            }
        }
    }

    /// When [`State::advance`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// The answers that have become ready since the last call.
    pub(crate) fn take_completions(&mut self) -> Vec<Completion> {
        std::mem::take(&mut self.completions)
    }

    fn compact(&mut self, now: Now) {
        for topic in self.topics.values_mut().filter(|topic| topic.config.compact) {
            for partition in &mut topic.partitions {
                compaction::compact(&mut partition.log, now.wall_ms, &topic.config);
            }
        }
    }

    fn retain(&mut self, now: Now) {
        for topic in self.topics.values_mut().filter(|topic| topic.config.delete) {
            for partition in &mut topic.partitions {
                partition.log.retain(now.wall_ms, &topic.config);
            }
        }
    }
}
