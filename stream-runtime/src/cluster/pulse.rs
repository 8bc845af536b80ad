//! What a task shows of itself while it works, for others to look at from their threads.
//!
//! Its thread alone writes, plain stores without order, so that a record costs next to nothing by it. A look may
//! mix two moments of a task that moves; who stands still looks the same from everywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What a task is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Doing {
    /// No record is open.
    Nothing,
    /// An agent runs at this moment, on the task's thread.
    Polling,
    /// An agent is at a record and waits for something.
    Awaiting,
    /// An agent failed and its next try is due later.
    BackingOff,
    /// No record is opened before a commit is through.
    Holding,
    /// The producer takes no more.
    Sending,
}

impl Doing {
    fn from_u8(value: u8) -> Self {
        const ALL: [Doing; 6] = [
            Doing::Nothing,
            Doing::Polling,
            Doing::Awaiting,
            Doing::BackingOff,
            Doing::Holding,
            Doing::Sending,
        ];
        let found = ALL.into_iter().find(|doing| *doing as u8 == value);
        found.unwrap_or(Self::Nothing)
    }
}

/// What the commit of a thread is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Committing {
    /// No commit is under way.
    Nothing,
    /// Changes are handed to the producer.
    Staging,
    /// The producer delivers.
    Delivering,
    /// The offsets are on their way.
    Storing,
    /// The transaction is being committed.
    Ending,
    /// The transaction is being aborted.
    Aborting,
    /// A transactional producer is being made.
    Renewing,
    /// It is asked whether the transaction was committed.
    Looking,
}

impl Committing {
    pub(super) fn from_u8(value: u8) -> Self {
        const ALL: [Committing; 8] = [
            Committing::Nothing,
            Committing::Staging,
            Committing::Delivering,
            Committing::Storing,
            Committing::Ending,
            Committing::Aborting,
            Committing::Renewing,
            Committing::Looking,
        ];
        let found = ALL.into_iter().find(|committing| *committing as u8 == value);
        found.unwrap_or(Self::Nothing)
    }

    /// What is waited for.
    pub(super) fn waits_for(self) -> &'static str {
        match self {
            Self::Nothing => "nothing is waited for",
            Self::Staging => "the producer takes no more changes of tables",
            Self::Delivering => "the broker does not acknowledge what was sent",
            Self::Storing => "the broker does not store the offsets",
            Self::Ending => "the broker does not commit the transaction",
            Self::Aborting => "the broker does not abort the transaction",
            Self::Renewing => "the broker does not give the transactional producer its name",
            Self::Looking => "the broker does not say whether the last transaction was committed",
        }
    }
}

/// Written by a task, read by anybody.
#[derive(Debug)]
pub(crate) struct Pulse {
    partition: i32,
    inputs: Vec<Arc<str>>,
    agents: Vec<(&'static str, Counts)>,
    /// Records that every agent is done with.
    finished: AtomicU64,
    /// Records that wait, the open one included.
    waiting: AtomicUsize,
    doing: AtomicU8,
    /// The agent that ran last.
    agent: AtomicUsize,
    /// The record that was opened last.
    input: AtomicUsize,
    offset: AtomicI64,
    /// How often an agent failed on it.
    failures: AtomicU32,
}

/// A count that one thread adds to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        // One writer: no other addition can come between.
        self.0.store(self.0.load(Relaxed) + 1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How an agent fared on one task.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub errors: Count,
    pub retries: Count,
    pub skipped: Count,
    pub dead_letters: Count,
}

/// How an agent fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FailureCounts {
    pub errors: u64,
    pub retries: u64,
    pub skipped: u64,
    pub dead_letters: u64,
}

impl std::ops::AddAssign for FailureCounts {
    fn add_assign(&mut self, other: Self) {
        self.errors += other.errors;
        self.retries += other.retries;
        self.skipped += other.skipped;
        self.dead_letters += other.dead_letters;
    }
}

/// A task as it looked at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskLook {
    /// `<sub-topology>/<partition>`.
    pub name: String,
    pub finished: u64,
    pub waiting: usize,
    pub doing: Doing,
    /// The agent that ran last.
    pub agent: &'static str,
    /// The record that was opened last: `topic/partition offset n`.
    pub record: String,
    pub failures: u32,
}

impl Pulse {
    pub(crate) fn new(
        partition: i32,
        inputs: &[Arc<str>],
        agents: impl Iterator<Item = &'static str>,
    ) -> Arc<Self> {
        Arc::new(Self {
            partition,
            inputs: inputs.to_vec(),
            agents: agents.map(|name| (name, Counts::default())).collect(),
            finished: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            doing: AtomicU8::new(Doing::Nothing as u8),
            agent: AtomicUsize::new(0),
            input: AtomicUsize::new(0),
            offset: AtomicI64::new(-1),
            failures: AtomicU32::new(0),
        })
    }

    /// A record was opened.
    pub(crate) fn opened(&self, input: usize, offset: i64) {
        self.input.store(input, Relaxed);
        self.offset.store(offset, Relaxed);
    }

    /// An agent is about to run.
    pub(crate) fn polling(&self, agent: usize) {
        self.agent.store(agent, Relaxed);
        self.doing.store(Doing::Polling as u8, Relaxed);
    }

    /// It gave its thread back.
    pub(crate) fn polled(&self) {
        self.doing.store(Doing::Nothing as u8, Relaxed);
    }

    /// Every agent is done with the record.
    pub(crate) fn closed(&self) {
        self.finished.store(self.finished.load(Relaxed) + 1, Relaxed);
    }

    /// Where the task stands at the end of a turn.
    pub(crate) fn stands(&self, doing: Doing, waiting: usize, failures: u32) {
        self.doing.store(doing as u8, Relaxed);
        self.waiting.store(waiting, Relaxed);
        self.failures.store(failures, Relaxed);
    }

    pub(crate) fn counts(&self, agent: usize) -> &Counts {
        &self.agents[agent].1
    }

    /// How each agent fared here.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static str, FailureCounts)> {
        self.agents.iter().map(|(name, counts)| {
            let counts = FailureCounts {
                errors: counts.errors.get(),
                retries: counts.retries.get(),
                skipped: counts.skipped.get(),
                dead_letters: counts.dead_letters.get(),
            };
            (*name, counts)
        })
    }

    pub(crate) fn look(&self, name: String) -> TaskLook {
        let agent = self.agents.get(self.agent.load(Relaxed));
        let topic = self.inputs.get(self.input.load(Relaxed));
        TaskLook {
            name,
            finished: self.finished.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            doing: Doing::from_u8(self.doing.load(Relaxed)),
            agent: agent.map_or("", |(name, _)| name),
            record: format!(
                "{}/{} offset {}",
                topic.map_or("", |topic| topic),
                self.partition,
                self.offset.load(Relaxed)
            ),
            failures: self.failures.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_shows_what_the_task_said_last() {
        let pulse = Pulse::new(3, &["a".into(), "b".into()], ["first", "second"].into_iter());
        pulse.opened(1, 17);
        pulse.polling(1);
        let look = pulse.look("a/3".to_owned());
        assert_eq!(
            (look.doing, look.agent, &*look.record),
            (Doing::Polling, "second", "b/3 offset 17")
        );
        pulse.polled();
        for doing in [Doing::Awaiting, Doing::BackingOff, Doing::Holding, Doing::Sending] {
            pulse.stands(doing, 4, 2);
            let look = pulse.look("a/3".to_owned());
            assert_eq!((look.doing, look.waiting, look.failures), (doing, 4, 2));
        }
        pulse.closed();
        assert_eq!(pulse.look("a/3".to_owned()).finished, 1);
    }
}
