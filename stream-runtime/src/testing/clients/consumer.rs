//! [`GroupConsumer`] over the simulated network.
//!
//! Invariants: while a rebalance waits for the owner nothing is fetched, and what was fetched ahead is forgotten; what was
//! committed, or is committed, is told by a poll; work of a membership that has ended is never committed under the next.
//! Who is a member, and what waits, is [`super::membership`]'s; what is read, [`super::fetcher`]'s.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::OffsetCommitRequest;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::Notify;

use super::alarm::Alarm;
use super::fetcher::{Fetcher, Purpose};
use super::identity::COORDINATOR;
use super::membership::{Member, Membership, Waiting};
use super::network::{Call, Client, Lane, Net, NoAnswer, Port, Process, SharedNetwork};
use super::offsets::{self, Committed};
use crate::broker::api::{Response, text};
use crate::error::{Error, Result};
use crate::kafka::{
    ClientSettings, CommitOffset, CommitOutcome, GroupConsumer, GroupMembership, Rebalance, RecordSink,
    StartOffset, TopicPartition,
};
use crate::testing::effects;

/// The connection for questions, which are not a member's.
const QUESTIONS: Lane = 2;

/// A member of a group.
pub(crate) struct VirtualConsumer(Port<Consuming>);

struct Consuming {
    group: StrBytes,
    membership: Membership,
    fetcher: Fetcher,
    commit: Commit,
    question: Question,
    alarm: Alarm,
    wake: Arc<Notify>,
}

enum Commit {
    Idle,
    /// The coordinator reads no request behind a JoinGroup that waits.
    Held(Member, OffsetCommitRequest),
    Running(Member, Call),
    Ended(CommitOutcome),
    /// The owner has polled since.
    Told(CommitOutcome),
}

enum Question {
    None,
    /// To be asked at this time.
    Pausing(Vec<TopicPartition>, Duration),
    Asked(Vec<TopicPartition>, Call),
    Answered(Vec<Option<CommitOffset>>),
    /// The owner has polled since.
    Told(Vec<Option<CommitOffset>>),
}

impl VirtualConsumer {
    /// `member` is the name of the thread in its worker, which is part of its lasting name if it has one.
    pub(crate) fn boxed(
        network: &SharedNetwork,
        process: Process,
        settings: &ClientSettings,
        member: &str,
        wake: Arc<Notify>,
    ) -> Box<dyn GroupConsumer> {
        let group = text(settings.group.as_str());
        let consuming = Consuming {
            membership: Membership::new(settings, member, Arc::clone(&wake)),
            fetcher: Fetcher::new(Purpose::Group(group.clone()), Arc::clone(&wake)),
            group,
            commit: Commit::Idle,
            question: Question::None,
            alarm: Alarm::default(),
            wake,
        };
        Box::new(Self(network.connect(process, &settings.client_id, consuming)))
    }

    /// Lets the client do something, and then what follows from it.
    fn with<R>(&self, act: impl FnOnce(&mut Consuming, &mut Net<'_>) -> R) -> R {
        self.0.with(|consuming, net| {
            let result = act(consuming, net);
            consuming.settle(net);
            result
        })
    }
}

impl GroupConsumer for VirtualConsumer {
    fn subscribe(&mut self, topics: &[Arc<str>]) -> Result<()> {
        self.with(|consuming, net| consuming.membership.subscribe(topics, net));
        Ok(())
    }

    fn poll(&mut self, sink: &mut dyn RecordSink, max: usize) -> Result<usize> {
        self.with(|consuming, net| {
            consuming.membership.polled(net);
            consuming.tell();
            if let Some(failure) = consuming.membership.failure() {
                return Err(failure);
            }
            consuming.fetcher.give(sink, max, net)
        })
    }

    fn rebalance(&mut self) -> Option<Rebalance> {
        self.with(|consuming, _| consuming.rebalance())
    }

    fn assign(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        self.with(|consuming, net| {
            if let Some((at, _)) = partitions.iter().find(|(at, _)| consuming.fetcher.reads(at)) {
                return Err(Error::broker(format!(
                    "the client did not take on {}[{}]: it has it already",
                    at.topic, at.partition
                )));
            }
            consuming.fetcher.start(partitions, net);
            consuming.membership.taken_on(net);
            Ok(())
        })
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.with(|consuming, net| consuming.give_up(partitions, net));
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.with(|consuming, net| consuming.fetcher.pause(partitions, net));
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.with(|consuming, net| consuming.fetcher.resume(partitions, net));
        Ok(())
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<()> {
        self.with(|consuming, net| consuming.commit(offsets, net))
    }

    fn commit_outcome(&mut self) -> Option<CommitOutcome> {
        self.with(
            |consuming, _| match std::mem::replace(&mut consuming.commit, Commit::Idle) {
                Commit::Told(outcome) => Some(outcome),
                other => {
                    consuming.commit = other;
                    None
                }
            },
        )
    }

    fn fetch_committed(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.with(|consuming, net| {
            consuming.question = Question::Pausing(partitions.to_vec(), net.now());
            consuming.ask(net);
        });
        Ok(())
    }

    fn committed(&mut self) -> Option<Vec<Option<CommitOffset>>> {
        self.with(
            |consuming, _| match std::mem::replace(&mut consuming.question, Question::None) {
                Question::Told(answer) => Some(answer),
                other => {
                    consuming.question = other;
                    None
                }
            },
        )
    }

    fn seek(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        self.with(|consuming, net| {
            if let Some((at, _)) = partitions.iter().find(|(at, _)| !consuming.fetcher.reads(at)) {
                return Err(Error::usage(format!(
                    "{}[{}] is not assigned, so it has no position",
                    at.topic, at.partition
                )));
            }
            consuming.fetcher.start(partitions, net);
            Ok(())
        })
    }

    fn membership(&self) -> Option<GroupMembership> {
        let member = self.with(|consuming, _| consuming.membership.current())?;
        Some(GroupMembership(Box::new(member)))
    }

    fn close(self: Box<Self>, _: Duration) {
        // Whether it arrives, nobody waits for.
        self.0.with(|consuming, net| consuming.membership.leave(net));
    }
}

impl Consuming {
    /// What follows from whatever was done.
    fn settle(&mut self, net: &mut Net<'_>) {
        if self.membership.waiting().is_some() {
            self.fetcher.hold();
        } else {
            self.fetcher.release(net);
        }
        if let Commit::Held(member, request) = &self.commit
            && !self.membership.is_joining()
        {
            let call = net.call(COORDINATOR, offsets::COMMIT_VERSION, request.clone());
            self.commit = Commit::Running(member.clone(), call);
        }
        let of_question = match &self.question {
            Question::Pausing(_, until) => Some(*until),
            _ => None,
        };
        let due = self.membership.next_due().into_iter();
        let due = due.chain([self.fetcher.next_due(net.now()), of_question]);
        self.alarm.set(due, net);
    }

    /// The owner polls: it may see what has ended.
    fn tell(&mut self) {
        self.commit = match std::mem::replace(&mut self.commit, Commit::Idle) {
            Commit::Ended(outcome) => Commit::Told(outcome),
            other => other,
        };
        self.question = match std::mem::replace(&mut self.question, Question::None) {
            Question::Answered(answer) => Question::Told(answer),
            other => other,
        };
    }

    fn rebalance(&self) -> Option<Rebalance> {
        Some(match self.membership.waiting()? {
            Waiting::Assign { partitions, .. } => Rebalance::Assign(partitions.clone()),
            Waiting::Revoke { partitions, .. } => Rebalance::Revoke(partitions.clone()),
            Waiting::Lost {
                with_companions: true,
            } => Rebalance::Lost(self.fetcher.partitions().cloned().collect()),
            Waiting::Lost {
                with_companions: false,
            } => Rebalance::Lost(self.membership.owned().iter().cloned().collect()),
        })
    }

    fn give_up(&mut self, partitions: &[TopicPartition], net: &mut Net<'_>) {
        let has_more = self.fetcher.partitions().any(|at| !partitions.contains(at));
        let all_lost = Waiting::Lost {
            with_companions: true,
        };
        if has_more && self.membership.waiting() == Some(&all_lost) {
            // It answers what was to be given back before everything was lost, which the owner is told next.
            return;
        }
        self.fetcher.stop(partitions);
        self.membership.given_up(has_more, net);
    }

    fn commit(&mut self, offsets: &[CommitOffset], net: &mut Net<'_>) -> Result<()> {
        if matches!(self.commit, Commit::Held(..) | Commit::Running(..)) {
            return Err(Error::usage("a commit is under way: wait for its outcome"));
        }
        if offsets.iter().any(|offset| offset.offset < 0) {
            return Err(Error::usage("an offset to commit is negative"));
        }
        let Some(member) = self.membership.speaker() else {
            let reason = "this worker is no member of its group".to_owned();
            self.end_commit(CommitOutcome::Fenced(reason));
            return Ok(());
        };
        if offsets.is_empty() {
            self.end_commit(CommitOutcome::Done);
            return Ok(());
        }
        let request = offsets::commit(&member, offsets);
        // A broker may be one that reads it nevertheless.
        self.commit = if self.membership.is_joining() && net.random().one_in(2) {
            Commit::Held(member, request)
        } else {
            let call = net.call(COORDINATOR, offsets::COMMIT_VERSION, request);
            Commit::Running(member, call)
        };
        Ok(())
    }

    fn committed(&mut self, member: &Member, answer: &Result<Response, NoAnswer>, net: &mut Net<'_>) {
        let Ok(Response::OffsetCommit(response)) = answer else {
            // It may have been done.
            effects::count("commit of unknown outcome");
            let reason = "the broker did not answer".to_owned();
            let speaker = self.membership.speaker();
            let is_over = speaker.is_none_or(|speaker| speaker.member_id != member.member_id);
            self.end_commit(if is_over {
                CommitOutcome::Fenced(reason)
            } else {
                CommitOutcome::Retry(reason)
            });
            return;
        };
        let outcome = match offsets::refusal(response) {
            None => CommitOutcome::Done,
            Some((at, error)) => {
                let is_over = self.membership.refused(member, error, net);
                let reason = format!("{}[{}]: {error}", at.topic, at.partition);
                match error {
                    ResponseError::UnknownMemberId | ResponseError::FencedInstanceId => {
                        CommitOutcome::Fenced(reason)
                    }
                    ResponseError::IllegalGeneration if is_over => CommitOutcome::Fenced(reason),
                    ResponseError::OffsetMetadataTooLarge
                    | ResponseError::InvalidCommitOffsetSize
                    | ResponseError::InvalidGroupId => CommitOutcome::Failed(reason),
                    _ => CommitOutcome::Retry(reason),
                }
            }
        };
        self.end_commit(outcome);
    }

    fn end_commit(&mut self, outcome: CommitOutcome) {
        if let CommitOutcome::Fenced(_) = outcome {
            effects::count("member fenced");
        }
        self.commit = Commit::Ended(outcome);
        self.wake.notify_one();
    }

    /// Asks what is committed, if it is time.
    fn ask(&mut self, net: &mut Net<'_>) {
        let Question::Pausing(partitions, until) = &mut self.question else {
            return;
        };
        if *until > net.now() {
            return;
        }
        if partitions.is_empty() {
            self.question = Question::Answered(Vec::new());
            self.wake.notify_one();
            return;
        }
        let request = offsets::ask_committed(&self.group, partitions);
        let call = net.call(QUESTIONS, offsets::COMMITTED_VERSION, request);
        self.question = Question::Asked(std::mem::take(partitions), call);
    }

    fn learn(
        &mut self,
        partitions: Vec<TopicPartition>,
        answer: &Result<Response, NoAnswer>,
        net: &mut Net<'_>,
    ) {
        let again = |partitions, net: &mut Net<'_>| Question::Pausing(partitions, net.now() + net.back_off());
        let Ok(Response::OffsetFetch(response)) = answer else {
            self.question = again(partitions, net);
            return;
        };
        let found = offsets::committed(response, &partitions);
        if found.contains(&Committed::Unstable) {
            self.question = again(partitions, net);
            return;
        }
        let found = found.into_iter().map(|found| match found {
            Committed::Offset(offset) => Some(offset),
            Committed::Nothing | Committed::Unstable => None,
        });
        self.question = Question::Answered(found.collect());
        self.wake.notify_one();
    }
}

impl Client for Consuming {
    fn answered(&mut self, call: Call, mut answer: Result<Response, NoAnswer>, net: &mut Net<'_>) {
        let is_known =
            self.fetcher.answered(call, &mut answer, net) || self.membership.answered(call, &answer, net);
        if !is_known {
            match (&self.commit, &mut self.question) {
                (Commit::Running(member, own), _) if *own == call => {
                    let member = member.clone();
                    self.committed(&member, &answer, net);
                }
                (_, Question::Asked(partitions, own)) if *own == call => {
                    let partitions = std::mem::take(partitions);
                    self.learn(partitions, &answer, net);
                }
                // Of a question that another one has replaced, or of a leave.
                _ => {}
            }
        }
        self.settle(net);
    }

    fn alarm(&mut self, _: u64, net: &mut Net<'_>) {
        self.alarm.went_off(net);
        self.membership.step(net);
        self.fetcher.fetch(net);
        self.ask(net);
        self.settle(net);
    }
}
