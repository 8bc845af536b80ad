//! One commit of a thread: outputs and changelog acknowledged, then offsets, then the stores.
//!
//! At-least-once stores the offsets when everything before them is acknowledged: a crash repeats records and never
//! loses one. Exactly-once puts outputs, changelog and offsets into one transaction: a crash leaves all or
//! nothing. Either way the store follows last, and so holds nothing that is not committed.
//!
//! The commit is a state that the thread's loop steps; no step waits. Meanwhile agents go on; what they send is
//! kept back while it would get into the commit that is under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::crash;
use super::cut::Cut;
use super::output::Output;
use super::plan::{Blueprints, TaskId};
use super::pulse::Committing;
use super::task::Task;
use crate::clock;
use crate::error::{Error, Result};
use crate::kafka::{
    CommitOffset, CommitOutcome, GroupConsumer, OutgoingRecord, Producer, SendOutcome, TopicPartition,
    TransactionOutcome,
};
use crate::store::Batch;

/// The wait before offsets are sent again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How often a commit looks whether everything is delivered.
const DELIVERY_STEP: Duration = Duration::from_millis(1);
/// How often a commit that does not come through is complained about.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// Transactions that fail one after the other before the worker gives up: what does not pass is not healed by trying.
const FAILURES: u32 = 8;
/// The wait before the first of them is tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The wait between a transaction and what is sent in the next. Brokers end one a little after they have said so, and
/// whoever is there before that is told to come back, which librdkafka does after 20 ms: 3 to 5 % of the transactions of an
/// idle thread met that, and with the wait 0.3 to 0.6 % do.
const SETTLING: Duration = Duration::from_millis(1);

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
    /// The transaction, offsets included, is being committed.
    Ending(Round),
    /// It was committed; the next transaction begins at this time.
    Settling(Instant),
    /// The transaction is being aborted, and then processed again.
    Aborting,
    /// One was aborted; the next begins at this time.
    Resting(Instant),
    /// The producer was of no more use, and a fresh one makes its name its own. Of this round it is not known whether
    /// it was committed.
    Renewing(Option<Round>),
    /// A fresh producer is made at this time.
    Pausing(Option<Round>, Instant),
    /// The committed offsets tell whether the round was committed.
    Looking(Round),
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
    cut: Cut,
    batch: Batch,
}

impl Part {
    /// Sends changelog records from number `next` on; gives the number of the first that the producer did not take.
    fn hand_over(&self, mut next: usize, bench: &mut Bench<'_>) -> Result<usize> {
        let tables = &bench.blueprints.get(self.task).tables;
        let producer = bench.output.producer();
        let mut many_at_a_time = true;
        while let Some(change) = self.batch.writes_from(next).next() {
            let table = &tables[change.table];
            let changelog = &table.changelog.topic;
            if many_at_a_time {
                let mut of_table = self
                    .batch
                    .writes_from(next)
                    .take_while(|write| write.table == change.table)
                    .map(|write| (write.key, write.value));
                let many = producer.send_many(changelog, self.task.partition, &mut of_table);
                next += many;
                many_at_a_time = many > 0;
                continue;
            }
            let outcome = producer.send(OutgoingRecord {
                topic: changelog,
                partition: Some(self.task.partition),
                key: Some(change.key),
                value: change.value,
                headers: &[],
                // Not the event's: how long records have been there decides what may be compacted away.
                timestamp: None,
            });
            match outcome {
                SendOutcome::Queued => next += 1,
                SendOutcome::Full => break,
                SendOutcome::Refused(reason) => {
                    return Err(Error::broker(format!(
                        "the value of key `{}` in table `{}` cannot be written to its changelog `{changelog}`, so \
                         nothing was committed: {reason}. Keep less under one key, or raise `message.max.bytes` here \
                         (`--set message.max.bytes=…`) and `max.message.bytes` of the changelog",
                        String::from_utf8_lossy(change.key),
                        table.name()
                    )));
                }
            }
        }
        Ok(next)
    }

    /// Everything is acknowledged: notes where that leaves the changelogs, for the offsets and for the store.
    fn seal(&mut self, blueprints: &Blueprints, producer: &dyn Producer) {
        let tables = &blueprints.get(self.task).tables;
        let mut written = vec![false; tables.len()];
        for change in self.batch.writes() {
            written[change.table] = true;
        }
        for (number, table) in tables.iter().enumerate() {
            let name = table.name();
            if written[number] {
                match producer.acknowledged(&table.changelog.topic, self.task.partition) {
                    Some(offset) => drop(self.cut.changelogs.insert(name.to_owned(), offset)),
                    None => drop(self.cut.changelogs.remove(name)),
                }
            }
            if let Some(offset) = self.cut.changelogs.get(name) {
                self.batch.set_changelog_offset(number, *offset);
            }
        }
        let inputs = self.offsets.iter();
        self.batch
            .set_inputs(inputs.map(|offset| (Arc::clone(&offset.at.topic), offset.offset)));
        let text = self.cut.to_string();
        for offset in &mut self.offsets {
            offset.metadata.clone_from(&text);
        }
    }

    /// Whether this is what the group has committed, to the letter: whoever has the task by now counts on from the
    /// same cut.
    fn is_in(&self, committed: &BTreeMap<&TopicPartition, &CommitOffset>) -> bool {
        let same = |offset: &CommitOffset| committed.get(&offset.at) == Some(&offset);
        self.offsets.iter().any(same)
    }
}

/// The thread's things that a commit works on.
pub(crate) struct Bench<'a> {
    pub blueprints: &'a Blueprints,
    pub tasks: &'a mut BTreeMap<TaskId, Task>,
    pub consumer: &'a mut dyn GroupConsumer,
    pub output: &'a mut Output,
    /// Transactions that failed since the last that did not.
    pub failures: &'a mut u32,
}

/// What the thread has to do after a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// Nothing moved.
    Still,
    Moved,
    /// What these tasks have done since their last commit was never done: they begin there again.
    Rewind(Vec<TaskId>),
}

impl Commit {
    /// The commit of a thread that begins: with transactions there is none before the producer is ready.
    pub(crate) fn at_start(output: &Output) -> Self {
        if output.is_transactional() {
            Self::Renewing(None)
        } else {
            Self::None
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// What it is at, for those who watch.
    pub(crate) fn shows(&self) -> Committing {
        match self {
            Self::None | Self::Settling(_) => Committing::Nothing,
            Self::Staging { .. } => Committing::Staging,
            Self::Delivering(_) => Committing::Delivering,
            Self::Storing(_) | Self::Waiting(..) => Committing::Storing,
            Self::Ending(_) => Committing::Ending,
            Self::Aborting | Self::Resting(_) => Committing::Aborting,
            Self::Renewing(_) | Self::Pausing(..) => Committing::Renewing,
            Self::Looking(_) => Committing::Looking,
        }
    }

    /// Whether what agents send must wait: it would get into the commit that is under way, or there is nothing to send
    /// it in.
    pub(crate) fn holds_sends(&self) -> bool {
        !matches!(self, Self::None | Self::Storing(_) | Self::Waiting(..))
    }

    /// Whether changes of tables are with the producer, or about to be, of which nobody knows whether they are written.
    pub(crate) fn has_changes_on_their_way(&self) -> bool {
        match self {
            Self::Staging { round, .. } | Self::Delivering(round) => round
                .parts
                .iter()
                .any(|part| part.batch.writes().next().is_some()),
            _ => false,
        }
    }

    /// Whether a task takes part.
    pub(crate) fn covers(&self, task: TaskId) -> bool {
        self.round()
            .is_some_and(|round| round.parts.iter().any(|part| part.task == task))
    }

    fn round(&self) -> Option<&Round> {
        match self {
            Self::None | Self::Settling(_) | Self::Aborting | Self::Resting(_) => None,
            Self::Renewing(round) | Self::Pausing(round, _) => round.as_ref(),
            Self::Staging { round, .. }
            | Self::Delivering(round)
            | Self::Storing(round)
            | Self::Waiting(round, _)
            | Self::Ending(round)
            | Self::Looking(round) => Some(round),
        }
    }

    fn round_mut(&mut self) -> Option<&mut Round> {
        match self {
            Self::None | Self::Settling(_) | Self::Aborting | Self::Resting(_) => None,
            Self::Renewing(round) | Self::Pausing(round, _) => round.as_mut(),
            Self::Staging { round, .. }
            | Self::Delivering(round)
            | Self::Storing(round)
            | Self::Waiting(round, _)
            | Self::Ending(round)
            | Self::Looking(round) => Some(round),
        }
    }

    /// Begins a commit of all tasks that have something to commit. Everything they sent is with the producer.
    pub(crate) fn begin(tasks: &mut BTreeMap<TaskId, Task>) -> Result<Self> {
        let mut parts = Vec::new();
        for (id, task) in tasks {
            let mut batch = Batch::default();
            let Some((offsets, cut)) = task.stage(&mut batch)? else {
                continue;
            };
            parts.push(Part {
                task: *id,
                offsets,
                cut,
                batch,
            });
        }
        if parts.is_empty() {
            return Ok(Self::None);
        }
        crash::point("outputs");
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

    /// Goes on as far as it can.
    pub(crate) fn step(&mut self, bench: &mut Bench<'_>) -> Result<Stepped> {
        let mut stepped = Stepped::Still;
        loop {
            let before = std::mem::take(self);
            let (next, this) = before.advance(bench)?;
            *self = next;
            match this {
                Stepped::Still => return Ok(stepped),
                Stepped::Rewind(tasks) => return Ok(Stepped::Rewind(tasks)),
                Stepped::Moved => stepped = Stepped::Moved,
            }
            if self.is_none() {
                return Ok(stepped);
            }
        }
    }

    fn advance(self, bench: &mut Bench<'_>) -> Result<(Self, Stepped)> {
        match self {
            Self::None => Ok((Self::None, Stepped::Still)),
            Self::Staging { round, part, write } => Self::stage(round, part, write, bench),
            Self::Delivering(round) => Self::deliver(round, bench),
            Self::Storing(round) => match bench.consumer.commit_outcome() {
                None => Ok((Self::Storing(round), Stepped::Still)),
                Some(outcome) => Ok((Self::stored(round, outcome, bench)?, Stepped::Moved)),
            },
            Self::Waiting(round, at) if clock::now() < at => Ok((Self::Waiting(round, at), Stepped::Still)),
            Self::Waiting(round, _) => Ok((Self::store(round, bench)?, Stepped::Moved)),
            Self::Ending(round) => match bench.output.outcome() {
                None => Ok((Self::Ending(round), Stepped::Still)),
                Some(outcome) => Self::ended(round, outcome, bench),
            },
            Self::Aborting => match bench.output.outcome() {
                None => Ok((Self::Aborting, Stepped::Still)),
                Some(outcome) => Self::aborted(outcome, bench),
            },
            Self::Renewing(round) => match bench.output.outcome() {
                None => Ok((Self::Renewing(round), Stepped::Still)),
                Some(outcome) => Self::renewed(round, outcome, bench),
            },
            Self::Settling(at) if clock::now() < at => Ok((Self::Settling(at), Stepped::Still)),
            Self::Resting(at) if clock::now() < at => Ok((Self::Resting(at), Stepped::Still)),
            Self::Settling(_) | Self::Resting(_) => Ok((Self::begin_next(bench)?, Stepped::Moved)),
            Self::Pausing(round, at) if clock::now() < at => Ok((Self::Pausing(round, at), Stepped::Still)),
            Self::Pausing(round, _) => {
                bench.output.renew()?;
                Ok((Self::Renewing(round), Stepped::Moved))
            }
            // The thread asks, and calls `looked`.
            Self::Looking(round) => Ok((Self::Looking(round), Stepped::Still)),
        }
    }

    /// Hands changelog records to the producer, until it takes no more.
    fn stage(
        round: Round,
        mut part: usize,
        mut write: usize,
        bench: &mut Bench<'_>,
    ) -> Result<(Self, Stepped)> {
        while let Some(current) = round.parts.get(part) {
            write = current.hand_over(write, bench)?;
            if write < current.batch.len() {
                return Ok((Self::Staging { round, part, write }, Stepped::Still));
            }
            part += 1;
            write = 0;
        }
        Ok((Self::Delivering(round), Stepped::Moved))
    }

    fn deliver(mut round: Round, bench: &mut Bench<'_>) -> Result<(Self, Stepped)> {
        let transactional = bench.output.is_transactional();
        let producer = bench.output.producer();
        if let Some(failure) = producer.take_failure() {
            if bench.output.is_broken() {
                return Ok((Self::renew(None, &failure, bench)?, rewind_all(bench)));
            }
            if transactional {
                return Self::abort(&failure, bench);
            }
            return Err(Error::broker(format!(
                "a record could not be delivered, so nothing was committed: {failure}"
            )));
        }
        if producer.in_flight() > 0 {
            return Ok((Self::Delivering(round), Stepped::Still));
        }
        crash::point("changelog");
        for part in &mut round.parts {
            part.seal(bench.blueprints, producer);
        }
        if !transactional {
            return Ok((Self::store(round, bench)?, Stepped::Moved));
        }
        let Some(member) = bench.consumer.membership() else {
            return Self::abort("this worker is no member of its group at the moment", bench);
        };
        let offsets = round.offsets();
        crash::point("before-end-transaction");
        bench.output.end(&offsets, member);
        Ok((Self::Ending(round), Stepped::Moved))
    }

    fn store(round: Round, bench: &mut Bench<'_>) -> Result<Self> {
        crash::point("before-offsets");
        bench.consumer.commit(&round.offsets())?;
        Ok(Self::Storing(round))
    }

    fn stored(mut round: Round, outcome: CommitOutcome, bench: &mut Bench<'_>) -> Result<Self> {
        match outcome {
            CommitOutcome::Done => {
                crash::point("after-offsets");
                round.apply(bench.tasks)?;
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

    fn ended(round: Round, outcome: TransactionOutcome, bench: &mut Bench<'_>) -> Result<(Self, Stepped)> {
        match outcome {
            TransactionOutcome::Done => {
                crash::point("after-end-transaction");
                *bench.failures = 0;
                let settled = clock::now() + SETTLING;
                round.apply(bench.tasks)?;
                Ok((Self::Settling(settled), Stepped::Moved))
            }
            TransactionOutcome::Abort(reason) => Self::abort(&reason, bench),
            TransactionOutcome::Fenced(reason) => Ok((Self::renew(None, &reason, bench)?, rewind_all(bench))),
            TransactionOutcome::Unknown(reason) => {
                let next = Self::renew(Some(round), &reason, bench)?;
                Ok((next, Stepped::Moved))
            }
            TransactionOutcome::Failed(reason) => Err(failed(&reason)),
        }
    }

    /// The next transaction, if the producer still is of use.
    fn begin_next(bench: &mut Bench<'_>) -> Result<Self> {
        match bench.output.begin() {
            Ok(()) => Ok(Self::None),
            Err(error) => Self::renew(None, &error.to_string(), bench),
        }
    }

    /// Starts to abort the transaction.
    fn abort(reason: &str, bench: &mut Bench<'_>) -> Result<(Self, Stepped)> {
        count_failure(bench.failures, reason)?;
        warn!("the transaction is aborted and its records are processed again: {reason}");
        bench.output.abort();
        Ok((Self::Aborting, Stepped::Moved))
    }

    fn aborted(outcome: TransactionOutcome, bench: &mut Bench<'_>) -> Result<(Self, Stepped)> {
        // The transaction has been counted as failed.
        let next = match outcome {
            TransactionOutcome::Done => Self::Resting(clock::now() + pause_after(*bench.failures)),
            TransactionOutcome::Abort(reason)
            | TransactionOutcome::Fenced(reason)
            | TransactionOutcome::Unknown(reason) => Self::pause(None, &reason, bench),
            TransactionOutcome::Failed(reason) => return Err(failed(&reason)),
        };
        Ok((next, rewind_all(bench)))
    }

    /// Has a fresh producer made, after a pause.
    fn renew(round: Option<Round>, reason: &str, bench: &mut Bench<'_>) -> Result<Self> {
        count_failure(bench.failures, reason)?;
        Ok(Self::pause(round, reason, bench))
    }

    fn pause(round: Option<Round>, reason: &str, bench: &Bench<'_>) -> Self {
        info!("the transactional producer is made anew: {reason}");
        Self::Pausing(round, clock::now() + pause_after(*bench.failures))
    }

    fn renewed(
        round: Option<Round>,
        outcome: TransactionOutcome,
        bench: &mut Bench<'_>,
    ) -> Result<(Self, Stepped)> {
        match outcome {
            TransactionOutcome::Done => match round {
                None => Ok((Self::begin_next(bench)?, Stepped::Moved)),
                Some(round) => Ok((Self::Looking(round), Stepped::Moved)),
            },
            // A broker that is away is waited for.
            TransactionOutcome::Unknown(reason) => {
                debug!("the transactional producer is not ready yet: {reason}");
                let at = clock::now() + RETRY_AFTER;
                Ok((Self::Pausing(round, at), Stepped::Moved))
            }
            TransactionOutcome::Abort(reason) | TransactionOutcome::Fenced(reason) => {
                Ok((Self::renew(round, &reason, bench)?, Stepped::Moved))
            }
            TransactionOutcome::Failed(reason) => Err(failed(&reason)),
        }
    }

    /// The partitions of which it has to be known what is committed.
    pub(crate) fn looks_at(&self) -> Option<Vec<TopicPartition>> {
        match self {
            Self::Looking(round) => Some(round.offsets().into_iter().map(|offset| offset.at).collect()),
            _ => None,
        }
    }

    /// What is committed decides of a transaction whether it was.
    pub(crate) fn looked(&mut self, answer: &[CommitOffset], bench: &mut Bench<'_>) -> Result<Stepped> {
        let Self::Looking(round) = std::mem::take(self) else {
            return Ok(Stepped::Still);
        };
        let committed: BTreeMap<_, _> = answer.iter().map(|offset| (&offset.at, offset)).collect();
        // One transaction: all of its parts or none. Others may have gone on from some of them.
        let was_committed = round.parts.iter().any(|part| part.is_in(&committed));
        info!(was_committed, "the fate of the last transaction is known");
        *self = Self::begin_next(bench)?;
        if !was_committed {
            return Ok(rewind_all(bench));
        }
        *bench.failures = 0;
        round.apply(bench.tasks)?;
        Ok(Stepped::Moved)
    }

    /// Takes tasks out of the commit: nothing of them may be written any more. `unfinished` when they have done what
    /// is not committed: a transaction that may hold some of it is aborted.
    pub(crate) fn forget(&mut self, lost: &[TaskId], unfinished: bool, output: &mut Output) {
        if let Some(round) = self.round_mut() {
            round.parts.retain(|part| !lost.contains(&part.task));
        }
        if output.is_transactional() {
            // One that is being ended is decided by the broker, which refuses those of a generation that has passed.
            let abortable = matches!(self, Self::None | Self::Staging { .. } | Self::Delivering(_));
            if unfinished && abortable {
                output.abort();
                *self = Self::Aborting;
            }
            return;
        }
        let empty = self.round().is_some_and(|round| round.parts.is_empty());
        match self {
            // Parts before the present one may be gone: begin with the first again, changelog writes may repeat.
            Self::Staging { part, write, .. } if !empty => (*part, *write) = (0, 0),
            // An answer is still to come for it.
            Self::Storing(_) => {}
            _ if empty => *self = Self::None,
            _ => {}
        }
    }

    /// When it wants to be stepped again, if nothing wakes the thread before.
    pub(crate) fn next_step(&self) -> Option<Instant> {
        match self {
            Self::Waiting(_, at) | Self::Pausing(_, at) | Self::Settling(at) | Self::Resting(at) => Some(*at),
            Self::Staging { .. } | Self::Delivering(_) => Some(clock::now() + DELIVERY_STEP),
            Self::None
            | Self::Storing(_)
            | Self::Ending(_)
            | Self::Aborting
            | Self::Renewing(_)
            | Self::Looking(_) => None,
        }
    }
}

impl Round {
    fn offsets(&self) -> Vec<CommitOffset> {
        self.parts
            .iter()
            .flat_map(|part| part.offsets.iter().cloned())
            .collect()
    }

    /// It is committed: the stores follow.
    fn apply(self, tasks: &mut BTreeMap<TaskId, Task>) -> Result<()> {
        crash::point("before-store");
        for part in self.parts {
            if let Some(task) = tasks.get_mut(&part.task) {
                task.committed(&part.offsets, part.cut, &part.batch)?;
            }
        }
        crash::point("after-store");
        Ok(())
    }
}

/// Everything since the last commit was in the transaction that is gone.
fn rewind_all(bench: &Bench<'_>) -> Stepped {
    Stepped::Rewind(bench.tasks.keys().copied().collect())
}

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE * 2_u32.pow(failures.saturating_sub(1))
}

fn count_failure(failures: &mut u32, reason: &str) -> Result<()> {
    *failures += 1;
    if *failures > FAILURES {
        return Err(Error::broker(format!(
            "{failures} transactions in a row could not be committed, the last because: {reason}"
        )));
    }
    Ok(())
}

fn failed(reason: &str) -> Error {
    Error::broker(format!("transactions cannot be committed: {reason}"))
}
