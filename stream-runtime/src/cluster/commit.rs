//! One commit of a thread: changelog and outputs acknowledged, then offsets, then the stores.
//!
//! At-least-once: a crash before the offsets are stored repeats records, it never loses one. The commit is a
//! state that the thread's loop steps; no step waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::plan::{Blueprints, TaskId};
use super::task::Task;
use crate::clock;
use crate::error::{Error, Result};
use crate::kafka::{CommitOffset, CommitOutcome, GroupConsumer, OutgoingRecord, Producer, SendOutcome};
use crate::store::Batch;

/// The wait before offsets are sent again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How often a commit looks whether everything is delivered.
const DELIVERY_STEP: Duration = Duration::from_millis(1);
/// How often a commit that does not come through is complained about.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// A commit under way, or none.
#[derive(Debug, Default)]
pub(crate) enum Commit {
    #[default]
    None,
    /// The changelog is being handed to the producer: the part and the write that come next.
    Staging { round: Round, part: usize, write: usize },
    /// The producer delivers.
    Delivering(Round),
    /// The request with the offsets is under way.
    Storing(Round),
    /// The offsets are sent again at this time.
    Waiting(Round, Instant),
}

/// The tasks that take part in a commit, and what it brings them to.
#[derive(Debug)]
pub(crate) struct Round {
    parts: Vec<Part>,
    complained: Instant,
}

#[derive(Debug)]
struct Part {
    task: TaskId,
    offsets: Vec<CommitOffset>,
    batch: Batch,
}

impl Part {
    /// Sends changelog records from number `first` on; gives how many the producer took.
    fn hand_over(&self, first: usize, bench: &mut Bench<'_>) -> Result<usize> {
        let tables = &bench.blueprints.get(self.task).tables;
        let mut taken = 0;
        for change in self.batch.writes().skip(first) {
            let (table, changelog) = &tables[change.table];
            let outcome = bench.producer.send(OutgoingRecord {
                topic: changelog,
                partition: Some(self.task.partition),
                key: Some(change.key),
                value: change.value,
                headers: &[],
                timestamp: Some(change.timestamp),
            });
            match outcome {
                SendOutcome::Queued => taken += 1,
                SendOutcome::Full => break,
                SendOutcome::Refused(reason) => {
                    return Err(Error::broker(format!(
                        "the value of key `{}` in table `{}` cannot be written to its changelog `{changelog}`, so \
                         nothing was committed: {reason}. Keep less under one key, or raise `message.max.bytes` here \
                         (`--set message.max.bytes=…`) and `max.message.bytes` of the changelog",
                        String::from_utf8_lossy(change.key),
                        (table.def)().name
                    )));
                }
            }
        }
        Ok(taken)
    }
}

/// The thread's things that a commit works on.
pub(crate) struct Bench<'a> {
    pub blueprints: &'a Blueprints,
    pub tasks: &'a mut BTreeMap<TaskId, Task>,
    pub consumer: &'a mut dyn GroupConsumer,
    pub producer: &'a mut dyn Producer,
}

impl Commit {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether sends must wait: everything queued so far has to be acknowledged.
    pub(crate) fn holds_sends(&self) -> bool {
        matches!(self, Self::Staging { .. } | Self::Delivering(_))
    }

    /// Whether a task takes part.
    pub(crate) fn covers(&self, task: TaskId) -> bool {
        match self {
            Self::None => false,
            Self::Staging { round, .. }
            | Self::Delivering(round)
            | Self::Storing(round)
            | Self::Waiting(round, _) => round.parts.iter().any(|part| part.task == task),
        }
    }

    /// Begins a commit of tasks that stand at a cut.
    pub(crate) fn begin(tasks: &mut BTreeMap<TaskId, Task>, at_cut: &[TaskId]) -> Result<Self> {
        let mut parts = Vec::new();
        for id in at_cut {
            let Some(task) = tasks.get_mut(id) else {
                continue;
            };
            let mut batch = Batch::default();
            task.stage_into(&mut batch)?;
            let offsets = task.cut();
            if offsets.is_empty() && batch.is_empty() {
                task.hold = false;
            } else {
                // Until the store has the batch, an agent could read past it.
                task.hold = true;
                parts.push(Part {
                    task: *id,
                    offsets,
                    batch,
                });
            }
        }
        if parts.is_empty() {
            return Ok(Self::None);
        }
        let round = Round {
            parts,
            complained: clock::now(),
        };
        Ok(Self::Staging {
            round,
            part: 0,
            write: 0,
        })
    }

    /// Goes on as far as it can. Returns whether anything moved.
    pub(crate) fn step(&mut self, bench: &mut Bench<'_>) -> Result<bool> {
        let mut moved = false;
        loop {
            let before = std::mem::take(self);
            let (next, on) = before.advance(bench)?;
            *self = next;
            moved |= on;
            if !on || self.is_none() {
                return Ok(moved);
            }
        }
    }

    fn advance(self, bench: &mut Bench<'_>) -> Result<(Self, bool)> {
        match self {
            Self::None => Ok((Self::None, false)),
            Self::Staging { round, part, write } => Self::stage(round, part, write, bench),
            Self::Delivering(round) => {
                if let Some(failure) = bench.producer.take_failure() {
                    return Err(Error::broker(format!(
                        "a record could not be delivered, so nothing was committed: {failure}"
                    )));
                }
                match bench.producer.in_flight() {
                    0 => Ok((Self::store(round, bench)?, true)),
                    _ => Ok((Self::Delivering(round), false)),
                }
            }
            Self::Storing(round) => match bench.consumer.commit_outcome() {
                None => Ok((Self::Storing(round), false)),
                Some(outcome) => Ok((Self::stored(round, outcome, bench)?, true)),
            },
            Self::Waiting(round, at) if clock::now() < at => Ok((Self::Waiting(round, at), false)),
            Self::Waiting(round, _) => Ok((Self::store(round, bench)?, true)),
        }
    }

    /// Hands changelog records to the producer, until it takes no more.
    fn stage(round: Round, mut part: usize, mut write: usize, bench: &mut Bench<'_>) -> Result<(Self, bool)> {
        while let Some(current) = round.parts.get(part) {
            write += current.hand_over(write, bench)?;
            if write < current.batch.len() {
                return Ok((Self::Staging { round, part, write }, false));
            }
            part += 1;
            write = 0;
        }
        Ok((Self::Delivering(round), true))
    }

    fn store(round: Round, bench: &mut Bench<'_>) -> Result<Self> {
        let offsets: Vec<_> = round
            .parts
            .iter()
            .flat_map(|part| part.offsets.iter().cloned())
            .collect();
        bench.consumer.commit(&offsets)?;
        Ok(Self::Storing(round))
    }

    fn stored(mut round: Round, outcome: CommitOutcome, bench: &mut Bench<'_>) -> Result<Self> {
        match outcome {
            CommitOutcome::Done => {
                for part in &round.parts {
                    if let Some(task) = bench.tasks.get_mut(&part.task) {
                        task.committed(&part.offsets, &part.batch)?;
                    }
                }
                Ok(Self::None)
            }
            // A generation that has passed shows in a rebalance event soon: either the partitions are lost, and
            // `forget` ends this, or they are still ours and the next attempt carries the new generation.
            CommitOutcome::Retry(reason) | CommitOutcome::Fenced(reason) => {
                let now = clock::now();
                if now.duration_since(round.complained) > COMPLAIN_EVERY {
                    round.complained = now;
                    warn!("offsets are not committed yet, trying again: {reason}");
                } else {
                    debug!("offsets are committed again: {reason}");
                }
                Ok(Self::Waiting(round, now + RETRY_AFTER))
            }
            CommitOutcome::Failed(reason) => {
                Err(Error::broker(format!("offsets cannot be committed: {reason}")))
            }
        }
    }

    /// Takes tasks out of the commit: nothing of them may be written any more.
    pub(crate) fn forget(&mut self, lost: &[TaskId]) {
        let keep = |round: &mut Round| round.parts.retain(|part| !lost.contains(&part.task));
        match self {
            Self::None => return,
            Self::Staging { round, part, write } => {
                // Parts before the present one may go: begin with the first again, changelog writes may repeat.
                keep(round);
                (*part, *write) = (0, 0);
            }
            Self::Delivering(round) | Self::Storing(round) | Self::Waiting(round, _) => keep(round),
        }
        let empty = match self {
            Self::None => true,
            // An answer is still to come for it.
            Self::Storing(_) => false,
            Self::Staging { round, .. } | Self::Delivering(round) | Self::Waiting(round, _) => {
                round.parts.is_empty()
            }
        };
        if empty {
            *self = Self::None;
        }
    }

    /// When it wants to be stepped again, if nothing wakes the thread before.
    pub(crate) fn next_step(&self) -> Option<Instant> {
        match self {
            Self::Waiting(_, at) => Some(*at),
            // Deliveries are not reported one by one, so nothing wakes the thread for the last of them.
            Self::Staging { .. } | Self::Delivering(_) => Some(clock::now() + DELIVERY_STEP),
            Self::None | Self::Storing(_) => None,
        }
    }
}
