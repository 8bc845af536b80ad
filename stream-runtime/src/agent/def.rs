//! What `#[agent]` says about a function: one const descriptor, read by the registry and the topology.

use std::fmt;
use std::time::Duration;

use super::run::{AgentFuture, AgentStart};
use crate::record::Location;
use crate::record::topic::TopicDef;
use crate::table::TableDef;

/// An agent as declared.
#[derive(Debug)]
#[non_exhaustive]
pub struct AgentDef {
    /// The function's name, or the one given by `name = "…"`.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// Where it was declared.
    pub location: Location,
    /// How it takes records.
    pub form: Form,
    /// Where its records come from.
    pub input: TopicUse,
    /// Where what it returns goes: topics only, functions are not part of the topology.
    pub sinks: &'static [TopicUse],
    /// Paths in the function's body that may be topics or tables: those whose last segment is written in
    /// capitals. The topology draws its edges and finds an agent's tables by them.
    pub mentions: &'static [&'static str],
    /// Tables named by `tables = […]`.
    pub tables: &'static [fn() -> &'static TableDef],
    /// What happens when it fails.
    pub on_error: OnError,
    /// Whether it is given the headers of its records, alone or with the rest of an event.
    pub takes_headers: bool,
    /// Makes one instance.
    pub(crate) start: fn(AgentStart) -> AgentFuture,
}

/// The parts of an [`AgentDef`], as the macro gives them.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub struct AgentParts {
    pub name: &'static str,
    pub doc: &'static str,
    pub location: Location,
    pub form: Form,
    pub input: TopicUse,
    pub sinks: &'static [TopicUse],
    pub mentions: &'static [&'static str],
    pub tables: &'static [fn() -> &'static TableDef],
    pub on_error: OnError,
    pub takes_headers: bool,
    pub start: fn(AgentStart) -> AgentFuture,
}

impl AgentDef {
    #[doc(hidden)]
    pub const fn __new(parts: AgentParts) -> Self {
        Self {
            name: parts.name,
            doc: parts.doc,
            location: parts.location,
            form: parts.form,
            input: parts.input,
            sinks: parts.sinks,
            mentions: parts.mentions,
            tables: parts.tables,
            on_error: parts.on_error,
            takes_headers: parts.takes_headers,
            start: parts.start,
        }
    }

    /// Whether the headers of its records are ever looked at: dead letters keep them.
    pub(crate) fn needs_headers(&self) -> bool {
        self.takes_headers || self.on_error.then.dead_letters().is_some()
    }
}

/// How an agent takes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `async fn(Stream<T>)`: runs as long as the partition is held.
    Stream,
    /// `async fn(T) -> R`: runs once a record.
    Record,
}

/// A topic as an agent names it: a function, since a const cannot read the static it names.
pub type TopicUse = fn() -> &'static TopicDef;

/// What happens when an agent returns an error or panics, and when a record does not decode.
///
/// The failed record leaves nothing behind, no table write and no send. It is tried again `retries`
/// times, waiting `backoff` before the first and twice as long before each further one, `max_backoff` at most;
/// a record that does not decode is not tried again, since it would not decode then either. After that the
/// verdict holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnError {
    /// How often the record is tried again.
    pub retries: u32,
    /// The wait before the first retry.
    pub backoff: Duration,
    /// The longest wait before a retry.
    pub max_backoff: Duration,
    /// What then happens.
    pub then: Verdict,
}

/// The end of a record that keeps failing.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// The task stops, loudly; the record stays unprocessed and its offset uncommitted.
    Stop,
    /// The record is logged and passed over.
    Skip,
    /// The record is sent to this topic with what is known of the failure, logged, and passed over.
    DeadLetter(TopicUse),
}

impl Verdict {
    /// The topic of the dead letters, if there are to be any.
    pub fn dead_letters(&self) -> Option<&'static TopicDef> {
        match self {
            Self::DeadLetter(topic) => Some(topic()),
            Self::Stop | Self::Skip => None,
        }
    }
}

impl PartialEq for Verdict {
    /// Topics are compared by their declared names.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stop, Self::Stop) | (Self::Skip, Self::Skip) => true,
            (Self::DeadLetter(one), Self::DeadLetter(other)) => one().name == other().name,
            (Self::Stop | Self::Skip | Self::DeadLetter(_), _) => false,
        }
    }
}

impl Eq for Verdict {}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => f.write_str("Stop"),
            Self::Skip => f.write_str("Skip"),
            Self::DeadLetter(topic) => write!(f, "DeadLetter({})", topic().name),
        }
    }
}

impl OnError {
    /// Three retries, the first after 100 ms, then stop: nothing is skipped unasked.
    pub const DEFAULT: Self = Self {
        retries: 3,
        backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(60),
        then: Verdict::Stop,
    };

    /// The wait before retry number `attempt`, counted from 1.
    pub(crate) fn wait_before(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.backoff
            .saturating_mul(2_u32.pow(doublings))
            .min(self.max_backoff)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::codecs::Auto;
    use crate::record::topic::{Topic, TopicOptions};

    const HERE: Location = Location {
        file: "src/main.rs",
        line: 1,
        module: "shop",
    };
    static ORDERS: Topic<String, String> = Topic::__new::<Auto, Auto>(TopicOptions::named("orders", HERE));

    /// An agent that does nothing, for others to differ from.
    pub(crate) const PLAIN: AgentParts = AgentParts {
        name: "plain",
        doc: "",
        location: HERE,
        form: Form::Record,
        input: || ORDERS.def(),
        sinks: &[],
        mentions: &[],
        tables: &[],
        on_error: OnError::DEFAULT,
        takes_headers: false,
        start: |_| Box::pin(async { Ok(()) }),
    };

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy = OnError {
            backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(1),
            ..OnError::DEFAULT
        };
        let waits = [1, 2, 3, 4, 5, 1000].map(|attempt| policy.wait_before(attempt).as_millis());
        assert_eq!(waits, [200, 400, 800, 1000, 1000, 1000]);
    }
}
