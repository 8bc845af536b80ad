//! [`GroupConsumer`] over rdkafka.
//!
//! Invariants: librdkafka waits in a rebalance until it is answered, and we answer each exactly once, on
//! the owner's thread; the set of paused partitions is ours and applied anew after every assignment; work
//! of a membership that has ended is never committed under the next one.
//!
//! While a rebalance waits, librdkafka fetches nothing for *any* partition of this member and drops what it
//! has fetched ahead (`rd_kafka_assignment_pause`), and it notes no other rebalance: not even that the
//! broker has put the member out. It would then join again under another name, still holding what it had,
//! while others may have worked on it in between (or, under the newer group protocol, break for good). So the
//! member's name and generation are looked at, and when they are not what they were everything is lost and a fresh
//! client joins.

mod joining;
mod positions;
mod verdict;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::Notify;

use self::joining::Joining;
use self::positions::Positions;
use self::verdict::{Committed, verdict};
use super::committed::{CommittedOffsets, Question};
use super::context::Context;
use super::diagnostics::Diagnostics;
use super::lists::{list_from, list_of, list_with, named, shared_names, starts_of};
use super::native::{Event, EventQueue};
use super::{
    ClientSettings, CommitOffset, CommitOutcome, GroupConsumer, GroupMembership, Rebalance, RecordSink,
    StartOffset, TopicPartition, config,
};
use crate::error::{Error, Result};

/// The lowest generation of a group, or epoch of a member, that has partitions: librdkafka has −1 or 0 after it was
/// put out.
const FIRST_GENERATION: i32 = 1;

/// A member of the group.
pub(super) struct RdKafkaGroupConsumer {
    queue: EventQueue<BaseConsumer<Context>>,
    inbox: Inbox,
    membership: Membership,
    topics: Vec<Arc<str>>,
    assigned: HashSet<TopicPartition>,
    paused: HashSet<TopicPartition>,
    commit: Commit,
    offsets: Arc<CommittedOffsets>,
    question: Option<Question>,
    answer: Option<Vec<Option<CommitOffset>>>,
    positions: Positions,
    joining: Joining,
    settings: ClientSettings,
    diagnostics: Arc<Diagnostics>,
    wake: Arc<Notify>,
}

enum Membership {
    /// Under this name what is assigned was assigned.
    Current(Option<String>),
    /// The broker has put this member out, and librdkafka does not tell: once the owner has given up
    /// everything, a fresh client takes over. The old one still waits for this.
    Expelled(Rebalance),
}

enum Commit {
    Idle,
    Running,
    Ended(CommitOutcome),
}

/// What the queue gave beside records.
#[derive(Default)]
struct Inbox {
    /// Those that wait for an answer, oldest first. librdkafka sends a second one before the answer to the
    /// first only when the group protocol changes its mind, as while closing.
    rebalances: VecDeque<Rebalance>,
    /// The newest rebalance has just come.
    rebalanced: bool,
    committed: Option<Committed>,
    error: Option<Error>,
}

impl RdKafkaGroupConsumer {
    pub(super) fn new(
        settings: &ClientSettings,
        diagnostics: &Arc<Diagnostics>,
        offsets: &Arc<CommittedOffsets>,
        wake: Arc<Notify>,
    ) -> Result<Self> {
        Ok(Self {
            queue: connect(settings, diagnostics, &wake)?,
            inbox: Inbox::default(),
            membership: Membership::Current(None),
            topics: Vec::new(),
            assigned: HashSet::new(),
            paused: HashSet::new(),
            commit: Commit::Idle,
            offsets: Arc::clone(offsets),
            question: None,
            answer: None,
            positions: Positions::new(config::reset_to(settings), offsets, &wake),
            joining: Joining::Done,
            settings: settings.clone(),
            diagnostics: Arc::clone(diagnostics),
            wake,
        })
    }

    fn consumer(&self) -> &BaseConsumer<Context> {
        self.queue.client()
    }

    /// Judges what has just come in, while librdkafka's own state still belongs to it.
    fn judge(&mut self) {
        let lost =
            (self.inbox.rebalanced || self.inbox.committed.is_some()) && self.consumer().assignment_lost();
        if std::mem::take(&mut self.inbox.rebalanced)
            && lost
            && let Some(newest) = self.inbox.rebalances.back_mut()
            && let Rebalance::Revoke(partitions) = newest
        {
            *newest = Rebalance::Lost(std::mem::take(partitions));
        }
        if let Some(committed) = self.inbox.committed.take() {
            let outcome = committed.outcome(lost);
            if committed.expelled()
                && matches!(self.membership, Membership::Current(Some(_)))
                && self.may_be_unreported()
            {
                self.expel();
            }
            if matches!(outcome, CommitOutcome::Done) {
                self.diagnostics.reached();
            }
            self.commit = Commit::Ended(outcome);
        }
        self.notice_expulsion();
    }

    /// Only while a rebalance waits, or with one that comes after it, can librdkafka keep an expulsion to
    /// itself; all others it reports as a loss.
    fn notice_expulsion(&mut self) {
        let Membership::Current(Some(name)) = &self.membership else {
            return;
        };
        if !self.may_be_unreported() || self.assigned.is_empty() {
            return;
        }
        let now = self.queue.membership();
        if !now.is_some_and(|now| now.id() == name && now.generation() >= FIRST_GENERATION) {
            self.expel();
        }
    }

    fn may_be_unreported(&self) -> bool {
        !matches!(self.inbox.rebalances.front(), None | Some(Rebalance::Lost(_)))
    }

    fn expel(&mut self) {
        let waiting = self.inbox.rebalances.drain(..).next().expect("one is unreported");
        tracing::warn!(
            target: "stream_runtime::kafka",
            "this worker was put out of its group while it gave back partitions, and joins again: it did not \
             answer within the session's time-out or the poll interval"
        );
        let mut all = self.assigned.iter().cloned().collect::<Vec<_>>();
        all.sort();
        self.inbox.rebalances.push_back(Rebalance::Lost(all));
        self.membership = Membership::Expelled(waiting);
        if matches!(self.commit, Commit::Running) {
            let reason = "this worker was put out of its group".to_owned();
            self.commit = Commit::Ended(CommitOutcome::Fenced(reason));
        }
    }

    fn take_answer(&mut self) {
        match self.question.as_mut().and_then(Question::take) {
            Some(Ok(answer)) => self.answer = Some(answer),
            Some(Err(error)) => {
                self.inbox.error.get_or_insert(error);
            }
            None => return,
        }
        self.question = None;
    }

    /// Not while the member is put out: then everything is given up.
    fn step_positions(&mut self) {
        if matches!(self.membership, Membership::Expelled(_)) {
            return;
        }
        let done = self
            .positions
            .learn()
            .and_then(|()| self.begin())
            .and_then(|()| self.positions.step(self.queue.client()));
        if let Err(error) = done {
            self.inbox.error.get_or_insert(error);
        }
    }

    /// Has librdkafka take on what waited until it was known where it begins. Not while a rebalance waits, which
    /// librdkafka would take for answered. One that is still on its way may be answered early by that: it changes nothing
    /// about what is given back or comes, and a member that was put out is told by its name and generation.
    fn begin(&mut self) -> Result<()> {
        if !self.inbox.rebalances.is_empty() || !self.positions.may_begin() {
            return Ok(());
        }
        // The protocol is asked of librdkafka's own thread.
        let cooperates = matches!(
            self.consumer().rebalance_protocol(),
            RebalanceProtocol::Cooperative
        );
        if !cooperates || self.consumer().assignment_lost() {
            return Ok(());
        }
        let known = self.positions.take_beginning();
        let list = list_from(known.iter().map(|(at, offset)| (at, *offset)));
        let places = known.into_iter().map(|(at, _)| at).collect::<Vec<_>>();
        self.consumer()
            .incremental_assign(&list)
            .map_err(|error| not_taken_on(&places, error))?;
        self.apply_pauses(&places)
    }

    /// Those of them that are assigned and that librdkafka has.
    fn taken_on<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Vec<TopicPartition> {
        partitions
            .into_iter()
            .filter(|at| self.assigned.contains(at) && self.positions.is_taken_on(at))
            .cloned()
            .collect()
    }

    /// Puts a fresh client in the place of one that was put out.
    fn renew(&mut self) -> Result<()> {
        let fresh = connect(&self.settings, &self.diagnostics, &self.wake)?;
        subscribe(&fresh, &self.topics)?;
        let old = std::mem::replace(&mut self.queue, fresh);
        let assigned = self.taken_on(&self.assigned);
        self.assigned.clear();
        self.paused.clear();
        self.positions.clear();
        self.inbox = Inbox::default();
        let Membership::Expelled(waiting) =
            std::mem::replace(&mut self.membership, Membership::Current(None))
        else {
            return Ok(());
        };
        in_background(move || {
            leave(&old, &assigned, Some(&waiting));
            drop(old);
        });
        Ok(())
    }

    /// Pauses and resumes these as our own set says, since librdkafka keeps or forgets its flags as it
    /// pleases when partitions come and go.
    fn apply_pauses(&self, partitions: &[TopicPartition]) -> Result<()> {
        let (paused, flowing): (Vec<_>, Vec<_>) = partitions.iter().partition(|at| self.paused.contains(at));
        let change = |partitions: &[&TopicPartition], stop: bool| {
            if partitions.is_empty() {
                return Ok(());
            }
            let list = list_of(partitions.iter().copied());
            if stop {
                self.consumer().pause(&list)
            } else {
                self.consumer().resume(&list)
            }
        };
        change(&paused, true)
            .and_then(|()| change(&flowing, false))
            .map_err(|error| Error::broker("partitions could not be paused or resumed").with_source(error))
    }
}

impl GroupConsumer for RdKafkaGroupConsumer {
    fn subscribe(&mut self, topics: &[Arc<str>]) -> Result<()> {
        self.topics = topics.to_vec();
        subscribe(&self.queue, topics)?;
        self.joining = Joining::watch(&self.settings, &self.offsets, topics, &self.wake)?;
        Ok(())
    }

    fn poll(&mut self, sink: &mut dyn RecordSink, max: usize) -> Result<usize> {
        self.notice_expulsion();
        self.take_answer();
        self.step_positions();
        self.joining
            .step(&self.queue, self.diagnostics.bootstrap(), &self.wake)?;
        self.queue.set_headers_wanted(sink.wants_headers());
        let mut records = 0;
        if max == 0 {
            let (inbox, diagnostics) = (&mut self.inbox, &self.diagnostics);
            if self.queue.next_commit(|event| inbox.note(event, diagnostics)) {
                self.judge();
            }
        }
        while records < max && !matches!(self.membership, Membership::Expelled(_)) {
            let (inbox, diagnostics, positions) = (&mut self.inbox, &self.diagnostics, &self.positions);
            let mut noted = false;
            let more = self.queue.next(|event| match event {
                Event::Record(record) if positions.hide(record.topic, record.partition) => {}
                Event::Record(record) => {
                    sink.record(record);
                    records += 1;
                }
                Event::EndOfPartition {
                    topic,
                    partition,
                    offset,
                } => {
                    if !positions.hide(topic, partition) {
                        sink.end_of_partition(topic, partition, offset);
                    }
                }
                event => {
                    inbox.note(event, diagnostics);
                    noted = true;
                }
            });
            if noted {
                self.judge();
            }
            if !more {
                break;
            }
        }
        if records > 0 {
            self.diagnostics.reached();
        }
        match self.inbox.error.take() {
            Some(error) => Err(error),
            None => Ok(records),
        }
    }

    fn rebalance(&mut self) -> Option<Rebalance> {
        self.inbox.rebalances.front().cloned()
    }

    fn assign(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        let places = partitions.iter().map(|(at, _)| at.clone()).collect::<Vec<_>>();
        self.consumer()
            .incremental_assign(&list_from(starts_of(partitions)))
            .map_err(|error| not_taken_on(&places, error))?;
        if let Some(Rebalance::Assign(_)) = self.inbox.rebalances.front() {
            self.inbox.rebalances.pop_front();
            let member = self.queue.membership();
            self.membership = Membership::Current(member.map(|member| member.id().to_owned()));
        }
        self.assigned.extend(places.iter().cloned());
        self.positions.assign(partitions);
        self.apply_pauses(&self.taken_on(&places))
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.notice_expulsion();
        if matches!(self.membership, Membership::Expelled(_)) {
            // Others are lost as well, which the owner is told next; it gives all of them up then.
            if self.assigned.iter().any(|at| !partitions.contains(at)) {
                return Ok(());
            }
            return self.renew();
        }
        let known = self.taken_on(partitions);
        match self.consumer().rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                let list = list_of(&known);
                self.consumer().incremental_unassign(&list)
            }
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer().unassign(),
        }
        .map_err(|error| {
            Error::broker(format!("the client did not give up {}", named(&known))).with_source(error)
        })?;
        if let Some(Rebalance::Revoke(_) | Rebalance::Lost(_)) = self.inbox.rebalances.front() {
            self.inbox.rebalances.pop_front();
        }
        for at in partitions {
            self.assigned.remove(at);
            self.paused.remove(at);
        }
        self.positions.forget(partitions);
        if self.assigned.is_empty() {
            // Nothing is left that belongs to this membership.
            self.membership = Membership::Current(None);
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.paused.extend(partitions.iter().cloned());
        self.apply_pauses(&self.taken_on(partitions))
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for at in partitions {
            self.paused.remove(at);
        }
        self.apply_pauses(&self.taken_on(partitions))
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<()> {
        if matches!(self.commit, Commit::Running) {
            return Err(Error::usage("a commit is under way: wait for its outcome"));
        }
        if matches!(self.membership, Membership::Expelled(_)) {
            let reason = "this worker was put out of its group".to_owned();
            self.commit = Commit::Ended(CommitOutcome::Fenced(reason));
            return Ok(());
        }
        if offsets.is_empty() {
            self.commit = Commit::Ended(CommitOutcome::Done);
            return Ok(());
        }
        let list = list_with(offsets)
            .map_err(|error| Error::usage("an offset to commit is negative").with_source(error))?;
        match self.queue.commit(&list) {
            Ok(()) => {
                self.commit = Commit::Running;
                Ok(())
            }
            Err(error) => Err(Error::broker("the commit of offsets could not be started").with_source(error)),
        }
    }

    fn commit_outcome(&mut self) -> Option<CommitOutcome> {
        match std::mem::replace(&mut self.commit, Commit::Idle) {
            Commit::Ended(outcome) => Some(outcome),
            other => {
                self.commit = other;
                None
            }
        }
    }

    fn fetch_committed(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.answer = None;
        self.question = Some(self.offsets.ask(partitions, &self.wake)?);
        Ok(())
    }

    fn committed(&mut self) -> Option<Vec<Option<CommitOffset>>> {
        self.answer.take()
    }

    fn seek(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        if let Some((at, _)) = partitions.iter().find(|(at, _)| !self.assigned.contains(at)) {
            let place = named([at]);
            return Err(Error::usage(format!(
                "{place} is not assigned, so it has no position"
            )));
        }
        self.positions.seek(partitions);
        self.step_positions();
        Ok(())
    }

    fn membership(&self) -> Option<GroupMembership> {
        let Membership::Current(Some(name)) = &self.membership else {
            return None;
        };
        // Without a generation, or as a member that has joined again since, the broker would not tell this one
        // from one whose partitions are others' by now.
        if matches!(self.inbox.rebalances.front(), Some(Rebalance::Lost(_))) {
            return None;
        }
        let member = self.queue.membership()?;
        let current = member.generation() >= FIRST_GENERATION && member.id() == name;
        current.then(|| GroupMembership(Box::new(member)))
    }

    fn close(self: Box<Self>, deadline: Duration) {
        let (done, closed) = mpsc::channel::<()>();
        in_background(move || {
            drop(self);
            drop(done);
        });
        if let Err(mpsc::RecvTimeoutError::Timeout) = closed.recv_timeout(deadline) {
            tracing::warn!(
                target: "stream_runtime::kafka",
                "the group was not left within {deadline:?}: its brokers are away, and will notice by the \
                 session's time-out"
            );
        }
    }
}

impl Drop for RdKafkaGroupConsumer {
    fn drop(&mut self) {
        let assigned = self.taken_on(&self.assigned);
        let waiting = match &self.membership {
            Membership::Expelled(waiting) => Some(waiting),
            Membership::Current(_) => self.inbox.rebalances.front(),
        };
        leave(&self.queue, &assigned, waiting);
    }
}

fn connect(
    settings: &ClientSettings,
    diagnostics: &Arc<Diagnostics>,
    wake: &Arc<Notify>,
) -> Result<EventQueue<BaseConsumer<Context>>> {
    let consumer: BaseConsumer<Context> = config::group_consumer(settings)
        .create_with_context(Context::new(diagnostics))
        .map_err(config::refusal)?;
    let mut queue = EventQueue::of_consumer(consumer)
        .ok_or_else(|| Error::config("a member of a group needs the group's id: set the program's id"))?;
    queue.notify(Arc::clone(wake));
    Ok(queue)
}

fn not_taken_on(partitions: &[TopicPartition], error: KafkaError) -> Error {
    Error::broker(format!("the client did not take on {}", named(partitions))).with_source(error)
}

fn subscribe(queue: &EventQueue<BaseConsumer<Context>>, topics: &[Arc<str>]) -> Result<()> {
    let names = topics.iter().map(AsRef::as_ref).collect::<Vec<&str>>();
    queue.client().subscribe(&names).map_err(|error| {
        Error::broker(format!("the group could not be joined for {}", names.join(", "))).with_source(error)
    })
}

/// Leaves the group, and answers the rebalance that waits, so that closing does not wait for it.
///
/// Without leaving, a member that has no partitions would close without telling the broker, and the group's
/// next rebalance would wait for its session's time-out. Leaving comes first, since the answer would make
/// librdkafka join the next generation, and the broker reads no request behind a JoinGroup that waits.
fn leave(
    queue: &EventQueue<BaseConsumer<Context>>,
    assigned: &[TopicPartition],
    waiting: Option<&Rebalance>,
) {
    let consumer = queue.client();
    let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
    consumer.unsubscribe();
    let nothing = TopicPartitionList::new();
    let answered = match waiting {
        None => Ok(()),
        Some(Rebalance::Assign(_)) if cooperative => consumer.incremental_assign(&nothing),
        Some(Rebalance::Assign(_)) => consumer.assign(&nothing),
        Some(_) if cooperative => consumer.incremental_unassign(&list_of(assigned)),
        Some(_) => consumer.unassign(),
    };
    if let Err(error) = answered {
        tracing::debug!(target: "stream_runtime::kafka", "a rebalance was not answered: {error}");
    }
}

/// Leaving a group and closing a client wait for brokers, and for ever when they are gone.
fn in_background(close: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name("kafka-close".to_owned()).spawn(close);
    if let Err(error) = thread {
        tracing::warn!(target: "stream_runtime::kafka", "no thread to close a consumer: {error}");
    }
}

impl Inbox {
    fn note(&mut self, event: Event<'_>, diagnostics: &Diagnostics) {
        match event {
            Event::Rebalance { assign, partitions } => {
                let partitions = shared_names(partitions);
                self.rebalanced = true;
                self.rebalances.push_back(if assign {
                    Rebalance::Assign(partitions)
                } else {
                    Rebalance::Revoke(partitions)
                });
                diagnostics.reached();
            }
            Event::Commit { error, failures } => self.committed = Some(Committed { error, failures }),
            Event::Error {
                error,
                fatal,
                text,
                at,
            } => match verdict(error, fatal, text, at) {
                Some(error) => {
                    self.error.get_or_insert(error);
                }
                None => diagnostics.error(error, text),
            },
            Event::Log {
                level,
                facility,
                text,
            } => diagnostics.log(level, facility, text),
            Event::Record(_)
            | Event::EndOfPartition { .. }
            | Event::Delivered { .. }
            | Event::DeliveryFailed { .. }
            | Event::Other => {}
        }
    }
}
