//! [`GroupConsumer`] over rdkafka.
//!
//! Invariants: librdkafka waits in a rebalance until it is answered, and we answer each exactly once, on
//! the owner's thread; the set of paused partitions is ours and applied anew after every assignment; work
//! of a membership that has ended is never committed under the next one.
//!
//! While a rebalance waits, librdkafka fetches nothing for *any* partition of this member and drops what it
//! has fetched ahead (`rd_kafka_assignment_pause`), and it notes no other rebalance: not even that the
//! broker has put the member out. It would then join again under another name, still holding what it had,
//! while others may have worked on it in between. So the member's name is compared, and when it has changed
//! everything is lost and a fresh client joins.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

use super::context::Context;
use super::diagnostics::Diagnostics;
use super::native::{Event, EventQueue};
use super::{
    ClientSettings, CommitOffset, CommitOutcome, GroupConsumer, Rebalance, RecordSink, StartOffset,
    TopicPartition, config,
};
use crate::error::{Error, Result};

/// A member of the group.
pub(super) struct RdKafkaGroupConsumer {
    queue: EventQueue<BaseConsumer<Context>>,
    inbox: Inbox,
    membership: Membership,
    topics: Vec<Arc<str>>,
    assigned: HashSet<TopicPartition>,
    paused: HashSet<TopicPartition>,
    commit: Commit,
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

struct Committed {
    error: Option<RDKafkaErrorCode>,
    failures: Vec<(String, i32, RDKafkaErrorCode)>,
}

impl RdKafkaGroupConsumer {
    pub(super) fn new(
        settings: &ClientSettings,
        diagnostics: &Arc<Diagnostics>,
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
        let reported = matches!(self.inbox.rebalances.front(), None | Some(Rebalance::Lost(_)));
        if reported || self.assigned.is_empty() || self.queue.member_id().as_ref() == Some(name) {
            return;
        }
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

    /// Puts a fresh client in the place of one that was put out.
    fn renew(&mut self) -> Result<()> {
        let fresh = connect(&self.settings, &self.diagnostics, &self.wake)?;
        subscribe(&fresh, &self.topics)?;
        let old = std::mem::replace(&mut self.queue, fresh);
        let assigned = self.assigned.drain().collect::<Vec<_>>();
        self.paused.clear();
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
        subscribe(&self.queue, topics)
    }

    fn poll(&mut self, sink: &mut dyn RecordSink, max: usize) -> Result<usize> {
        self.notice_expulsion();
        let mut records = 0;
        while records < max && !matches!(self.membership, Membership::Expelled(_)) {
            let (inbox, diagnostics) = (&mut self.inbox, &self.diagnostics);
            let mut noted = false;
            let more = self.queue.next(|event| match event {
                Event::Record(record) => {
                    sink.record(record);
                    records += 1;
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
        let list = list_from(partitions);
        match self.consumer().rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer().incremental_assign(&list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer().assign(&list),
        }
        .map_err(|error| {
            let places = partitions.iter().map(|(at, _)| at);
            Error::broker(format!("the client did not take on {}", named(places))).with_source(error)
        })?;
        if let Some(Rebalance::Assign(_)) = self.inbox.rebalances.front() {
            self.inbox.rebalances.pop_front();
            self.membership = Membership::Current(self.queue.member_id());
        }
        let places = partitions.iter().map(|(at, _)| at.clone()).collect::<Vec<_>>();
        self.assigned.extend(places.iter().cloned());
        self.apply_pauses(&places)
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
        let known = partitions
            .iter()
            .filter(|at| self.assigned.contains(at))
            .collect::<Vec<_>>();
        match self.consumer().rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                let list = list_of(known.iter().copied());
                self.consumer().incremental_unassign(&list)
            }
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer().unassign(),
        }
        .map_err(|error| {
            Error::broker(format!("the client did not give up {}", named(known))).with_source(error)
        })?;
        if let Some(Rebalance::Revoke(_) | Rebalance::Lost(_)) = self.inbox.rebalances.front() {
            self.inbox.rebalances.pop_front();
        }
        for at in partitions {
            self.assigned.remove(at);
            self.paused.remove(at);
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.paused.extend(partitions.iter().cloned());
        self.apply_pauses(&assigned_of(&self.assigned, partitions))
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for at in partitions {
            self.paused.remove(at);
        }
        self.apply_pauses(&assigned_of(&self.assigned, partitions))
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
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for offset in offsets {
            let mut element = list.add_partition(&offset.at.topic, offset.at.partition);
            element
                .set_offset(Offset::Offset(offset.offset))
                .map_err(|error| Error::usage("an offset to commit is negative").with_source(error))?;
            // Each call allocates, and an empty one means the same as none.
            if !offset.metadata.is_empty() {
                element.set_metadata(&offset.metadata);
            }
        }
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

    fn fetch_committed(&mut self, _: &[TopicPartition]) -> Result<()> {
        Err(Error::usage("committed offsets are not asked for yet"))
    }

    fn committed(&mut self) -> Option<Vec<Option<CommitOffset>>> {
        None
    }

    fn seek(&mut self, _: &[(TopicPartition, StartOffset)]) -> Result<()> {
        Err(Error::usage("positions are not changed yet"))
    }

    fn membership(&self) -> Option<super::GroupMembership> {
        None
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
        let assigned = self.assigned.drain().collect::<Vec<_>>();
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

/// The error to end with; `None` for those that the client keeps retrying.
fn verdict(code: RDKafkaErrorCode, fatal: bool, text: &str, at: Option<(&str, i32)>) -> Option<Error> {
    let place = at
        .map(|(topic, partition)| format!(" ({topic}[{partition}])"))
        .unwrap_or_default();
    let advice = match code {
        RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::UnreleasedInstanceId => {
            "another worker has the same instance id: give each worker its own"
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => "grant this client READ on the topic",
        RDKafkaErrorCode::GroupAuthorizationFailed => "grant this client READ on the group",
        RDKafkaErrorCode::InconsistentGroupProtocol => {
            "members of this group that are not workers of this program use another protocol: \
             stop them, or change the program's id"
        }
        RDKafkaErrorCode::InvalidSessionTimeout => {
            "the broker allows no such session time-out (group.min.session.timeout.ms, \
             group.max.session.timeout.ms): change the setting"
        }
        RDKafkaErrorCode::InvalidGroupId => "the broker does not accept the program's id as a group",
        RDKafkaErrorCode::UnsupportedAssignor => "the broker has no such assignor: change the setting",
        _ if fatal => "this worker must be started again",
        _ => return None,
    };
    Some(Error::broker(format!("{text}{place}: {advice}")))
}

impl Committed {
    fn outcome(&self, lost: bool) -> CommitOutcome {
        let Some(code) = self.failures.first().map(|(_, _, code)| *code).or(self.error) else {
            return CommitOutcome::Done;
        };
        let text = match self.failures.first() {
            Some((topic, partition, code)) => format!("{topic}[{partition}]: {code}"),
            None => code.to_string(),
        };
        match code {
            RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::FencedMemberEpoch
            | RDKafkaErrorCode::AssignmentLost
            | RDKafkaErrorCode::Fatal => CommitOutcome::Fenced(text),
            RDKafkaErrorCode::IllegalGeneration if lost => CommitOutcome::Fenced(text),
            RDKafkaErrorCode::OffsetMetadataTooLarge
            | RDKafkaErrorCode::InvalidCommitOffsetSize
            | RDKafkaErrorCode::InvalidGroupId
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::InvalidArgument => CommitOutcome::Failed(text),
            // Whatever else may pass: brokers that are away, coordinators that move, and a commit that crossed
            // a rebalance in which this member keeps its partitions (librdkafka has decided that it is not
            // lost before it reports the commit).
            _ => CommitOutcome::Retry(text),
        }
    }
}

/// One list for librdkafka, without offsets.
pub(super) fn list_of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for at in partitions {
        list.add_partition(&at.topic, at.partition);
    }
    list
}

/// One list for librdkafka, with the offsets at which to start.
pub(super) fn list_from(partitions: &[(TopicPartition, StartOffset)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (at, start) in partitions {
        let offset = match start {
            StartOffset::Committed => Offset::Stored,
            StartOffset::Beginning => Offset::Beginning,
            StartOffset::At(offset) => Offset::Offset((*offset).max(0)),
        };
        let set: Result<(), KafkaError> = list.add_partition(&at.topic, at.partition).set_offset(offset);
        set.expect("these offsets can be represented");
    }
    list
}

/// `topic[0], topic[1]`, for messages.
pub(super) fn named<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> String {
    let names = partitions
        .into_iter()
        .map(|at| format!("{}[{}]", at.topic, at.partition))
        .collect::<Vec<_>>();
    if names.is_empty() {
        "no partition".to_owned()
    } else {
        names.join(", ")
    }
}

fn assigned_of(assigned: &HashSet<TopicPartition>, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
    partitions
        .iter()
        .filter(|at| assigned.contains(at))
        .cloned()
        .collect()
}

/// The same places, with one allocation a topic.
fn shared_names(partitions: Vec<(String, i32)>) -> Vec<TopicPartition> {
    let mut last: Option<Arc<str>> = None;
    partitions
        .into_iter()
        .map(|(topic, partition)| {
            let topic = match &last {
                Some(last) if **last == *topic => Arc::clone(last),
                _ => last.insert(Arc::from(topic)).clone(),
            };
            TopicPartition { topic, partition }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: RDKafkaErrorCode, lost: bool) -> CommitOutcome {
        let committed = Committed {
            error: Some(code),
            failures: vec![("orders".to_owned(), 3, code)],
        };
        committed.outcome(lost)
    }

    #[test]
    fn a_commit_without_errors_is_done() {
        let committed = Committed {
            error: None,
            failures: Vec::new(),
        };
        assert!(matches!(committed.outcome(false), CommitOutcome::Done));
    }

    #[test]
    fn a_commit_that_crossed_a_rebalance_is_tried_again_unless_the_assignment_is_lost() {
        let code = RDKafkaErrorCode::IllegalGeneration;
        assert!(matches!(outcome(code, false), CommitOutcome::Retry(_)));
        assert!(matches!(outcome(code, true), CommitOutcome::Fenced(_)));
        assert!(matches!(
            outcome(RDKafkaErrorCode::UnknownMemberId, false),
            CommitOutcome::Fenced(_)
        ));
    }

    #[test]
    fn a_commit_that_never_succeeds_names_the_partition() {
        let CommitOutcome::Failed(text) = outcome(RDKafkaErrorCode::OffsetMetadataTooLarge, false) else {
            panic!("must fail");
        };
        assert!(text.starts_with("orders[3]: "), "{text}");
    }

    #[test]
    fn only_what_does_not_heal_alone_ends_the_consumer() {
        let code = RDKafkaErrorCode::TopicAuthorizationFailed;
        let error = verdict(code, false, "denied", Some(("orders", 1))).expect("an error");
        assert_eq!(
            error.to_string(),
            "denied (orders[1]): grant this client READ on the topic"
        );
        assert!(verdict(RDKafkaErrorCode::AllBrokersDown, false, "down", None).is_none());
        assert!(verdict(RDKafkaErrorCode::Unknown, true, "broken", None).is_some());
    }
}
