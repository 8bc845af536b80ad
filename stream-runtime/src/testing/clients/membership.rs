//! Membership in a consumer group: the classic protocol with cooperative, incremental rebalances, as librdkafka speaks it.
//!
//! Join, synchronise, beat; join again when the group rebalances or when something was given back. What a rebalance changes
//! waits for the owner, and while it does this member joins nothing. Members that were put out (by the broker, or by
//! their own clock) say so, and join as new ones once the owner has given up everything.
//!
//! Not here: fetching, offsets, and which partitions go along ([`super::consumer`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::Notify;

use super::assignor::{self, Assignments, Subscription};
use super::census::{self, Census};
use super::identity::Identity;
use super::network::{Call, Net, NoAnswer};
use crate::broker::api::Response;
use crate::error::Error;
use crate::kafka::{ClientSettings, TopicPartition};
use crate::testing::effects;

/// What [`GroupMembership`](crate::kafka::GroupMembership) holds: goes with the offsets of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) group: String,
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    pub(crate) instance_id: Option<String>,
}

/// What waits for the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waiting {
    /// To be taken on. Afterwards it joins again if something was given back before.
    Assign {
        partitions: Vec<TopicPartition>,
        rejoins: bool,
    },
    /// To be given back, before others are to be taken on.
    Revoke {
        partitions: Vec<TopicPartition>,
        then: Vec<TopicPartition>,
    },
    /// What the group has assigned belongs to others; with what went along or without, which comes to the same.
    Lost { with_companions: bool },
}

/// A member of a group, or somebody who wants to be one.
#[derive(Debug)]
pub(super) struct Membership {
    identity: Identity,
    heartbeat_interval: Duration,
    topics: Vec<Arc<str>>,
    stage: Stage,
    waiting: Option<Waiting>,
    /// What the group has assigned and the owner has.
    owned: BTreeSet<TopicPartition>,
    /// Under this id the owner has what it has.
    holds_as: Option<StrBytes>,
    heartbeat: Option<Call>,
    heartbeat_at: Duration,
    /// When the broker was last heard of.
    heard_at: Duration,
    /// When the owner last polled.
    polled_at: Duration,
    /// The owner has not polled for so long that this member has left; it joins again when it does.
    is_abandoned: bool,
    census: Option<Census>,
    failure: Option<String>,
    wake: Arc<Notify>,
}

#[derive(Debug)]
enum Stage {
    /// Nothing was subscribed to, or it has left.
    Outside,
    /// It joins at this time.
    Pausing(Duration),
    Joining(Call),
    /// The leader asks how many partitions there are, to assign them to these.
    Counting(Call, BTreeMap<StrBytes, Subscription>),
    Synchronising(Call),
    Steady,
    /// Put out, and the owner has to answer before it joins again.
    Expelled,
    /// Nothing helps.
    Failed,
}

impl Membership {
    pub(super) fn new(settings: &ClientSettings, member: &str, wake: Arc<Notify>) -> Self {
        Self {
            identity: Identity::new(settings, member),
            heartbeat_interval: settings.heartbeat_interval,
            topics: Vec::new(),
            stage: Stage::Outside,
            waiting: None,
            owned: BTreeSet::new(),
            holds_as: None,
            heartbeat: None,
            heartbeat_at: Duration::ZERO,
            heard_at: Duration::ZERO,
            polled_at: Duration::ZERO,
            is_abandoned: false,
            census: None,
            failure: None,
            wake,
        }
    }

    pub(super) fn subscribe(&mut self, topics: &[Arc<str>], net: &mut Net<'_>) {
        self.topics = topics.to_vec();
        self.polled_at = net.now();
        self.join(net);
    }

    /// What waits for the owner.
    pub(super) fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }

    /// What the group has assigned and the owner has.
    pub(super) fn owned(&self) -> &BTreeSet<TopicPartition> {
        &self.owned
    }

    /// Whether everything is lost and the owner has not said yet that it knows.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Lost { .. }))
    }

    /// Whether the coordinator answers a JoinGroup or SyncGroup at some time, and nothing else before.
    pub(super) fn is_joining(&self) -> bool {
        matches!(self.stage, Stage::Joining(_) | Stage::Synchronising(_))
    }

    /// As whom offsets are committed.
    pub(super) fn speaker(&self) -> Option<Member> {
        let is_out = matches!(self.stage, Stage::Outside | Stage::Expelled | Stage::Failed);
        self.identity.member().filter(|_| !is_out && !self.is_lost())
    }

    /// As whom the owner has what it has.
    pub(super) fn current(&self) -> Option<Member> {
        let holds = self.holds_as.as_ref().is_some_and(|id| *id == self.identity.id);
        self.speaker().filter(|_| holds)
    }

    /// What ends this member for good.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.as_ref().map(Error::broker)
    }

    /// The owner polls.
    pub(super) fn polled(&mut self, net: &mut Net<'_>) {
        self.polled_at = net.now();
        if std::mem::take(&mut self.is_abandoned) {
            self.step(net);
        }
    }

    /// The owner has taken on what it was asked to.
    pub(super) fn taken_on(&mut self, net: &mut Net<'_>) {
        match self.waiting.take() {
            Some(Waiting::Assign { partitions, rejoins }) => {
                self.owned.extend(partitions);
                self.holds_as = Some(self.identity.id.clone());
                if matches!(self.stage, Stage::Expelled) {
                    // Nobody had told, since there was nothing to lose.
                    self.lose(net);
                } else if rejoins {
                    self.join(net);
                }
            }
            other => self.waiting = other,
        }
    }

    /// The owner has given up what it was asked to; whether it has anything left.
    pub(super) fn given_up(&mut self, has_more: bool, net: &mut Net<'_>) {
        match self.waiting.take() {
            Some(Waiting::Revoke { partitions, then }) => {
                effects::count("partitions revoked");
                for at in &partitions {
                    self.owned.remove(at);
                }
                self.wait_for(Waiting::Assign {
                    partitions: then,
                    rejoins: true,
                });
            }
            Some(Waiting::Lost { .. }) => {
                effects::count("partitions lost");
                self.owned.clear();
                self.holds_as = None;
                self.join(net);
            }
            other => self.waiting = other,
        }
        if !has_more {
            self.holds_as = None;
        }
    }

    /// The broker has refused what this member has sent. True when it is one no longer.
    pub(super) fn refused(&mut self, sent: &Member, error: ResponseError, net: &mut Net<'_>) -> bool {
        if *self.identity.id != *sent.member_id {
            return true;
        }
        match error {
            ResponseError::UnknownMemberId => {
                self.identity.forget();
                self.lose(net);
            }
            ResponseError::FencedInstanceId => self.fail(error),
            ResponseError::IllegalGeneration => {
                let is_rebalancing = self.waiting.is_some() || !matches!(self.stage, Stage::Steady);
                if is_rebalancing || sent.generation != self.identity.generation {
                    return false;
                }
                self.identity.generation = -1;
                self.lose(net);
            }
            _ => return false,
        }
        true
    }

    /// Leaves the group for good. One with a lasting name stays until its session ends, since it may come back.
    pub(super) fn leave(&mut self, net: &mut Net<'_>) {
        self.stage = Stage::Outside;
        self.identity.leave(net);
    }

    /// Does what is due.
    pub(super) fn step(&mut self, net: &mut Net<'_>) {
        let now = net.now();
        if self.deadline_of_owner().is_some_and(|at| at <= now) {
            self.is_abandoned = true;
            self.identity.leave(net);
            self.identity.forget();
            self.lose(net);
        }
        if self.end_of_session().is_some_and(|at| at <= now) {
            self.identity.forget();
            self.lose(net);
        }
        if self.next_join().is_some_and(|at| at <= now) {
            self.join(net);
        }
        if self.next_heartbeat().is_some_and(|at| at <= now) {
            self.beat(net);
        }
        if self.next_count().is_some_and(|at| at <= now)
            && let Some(census) = &mut self.census
        {
            census.begin(net);
        }
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> [Option<Duration>; 5] {
        [
            self.deadline_of_owner(),
            self.end_of_session(),
            self.next_join(),
            self.next_heartbeat(),
            self.next_count(),
        ]
    }

    fn deadline_of_owner(&self) -> Option<Duration> {
        let takes_part = !matches!(self.stage, Stage::Outside | Stage::Failed) && !self.is_abandoned;
        takes_part.then(|| self.polled_at + self.identity.max_poll_interval)
    }

    fn end_of_session(&self) -> Option<Duration> {
        matches!(self.stage, Stage::Steady).then(|| self.heard_at + self.identity.session_timeout)
    }

    fn next_join(&self) -> Option<Duration> {
        match self.stage {
            Stage::Pausing(until) if !self.is_abandoned => Some(until),
            _ => None,
        }
    }

    fn next_heartbeat(&self) -> Option<Duration> {
        let may = matches!(self.stage, Stage::Steady) && self.heartbeat.is_none();
        may.then_some(self.heartbeat_at)
    }

    fn next_count(&self) -> Option<Duration> {
        self.census.as_ref().filter(|_| self.is_settled())?.next()
    }

    /// Whether it is a member and nothing waits.
    fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Steady) && self.waiting.is_none()
    }

    /// Takes the answer to a request. False when it is none of ours.
    pub(super) fn answered(
        &mut self,
        call: Call,
        answer: &Result<Response, NoAnswer>,
        net: &mut Net<'_>,
    ) -> bool {
        if self.heartbeat == Some(call) {
            self.heartbeat = None;
            if let Ok(Response::Heartbeat(response)) = answer {
                self.beaten(ResponseError::try_from_code(response.error_code), net);
            }
            return true;
        }
        if let Some(census) = self.census.as_mut().filter(|census| census.is_asked(call)) {
            let response = match answer {
                Ok(Response::Metadata(response)) => Some(response),
                _ => None,
            };
            if census.answered(response, net.now()) && self.is_settled() {
                self.join(net);
            }
            return true;
        }
        match (&self.stage, answer) {
            (Stage::Joining(own), answer) if *own == call => match answer {
                Ok(Response::JoinGroup(response)) => self.joined(response, net),
                _ => self.join_later(net),
            },
            (Stage::Counting(own, members), answer) if *own == call => match answer {
                Ok(Response::Metadata(response)) => {
                    let assigned = assignor::assign(members, &census::counts(response));
                    self.census = Some(Census::new(members, response, net.now()));
                    self.synchronise(&assigned, net);
                }
                _ => self.join_later(net),
            },
            (Stage::Synchronising(own), answer) if *own == call => match answer {
                Ok(Response::SyncGroup(response)) => self.synchronised(response, net),
                _ => self.join_later(net),
            },
            _ => return false,
        }
        true
    }

    fn join(&mut self, net: &mut Net<'_>) {
        self.heartbeat = None;
        self.census = None;
        if self.is_abandoned {
            self.stage = Stage::Pausing(net.now());
            return;
        }
        let subscription = Subscription {
            topics: self.topics.clone(),
            owned: self.owned.clone(),
            generation: self.identity.generation,
        };
        self.stage = Stage::Joining(self.identity.join(&subscription, net));
    }

    fn join_later(&mut self, net: &mut Net<'_>) {
        self.heartbeat = None;
        self.stage = Stage::Pausing(net.now() + net.back_off());
    }

    fn joined(&mut self, response: &JoinGroupResponse, net: &mut Net<'_>) {
        match ResponseError::try_from_code(response.error_code) {
            None => {
                self.identity.id = response.member_id.clone();
                self.identity.generation = response.generation_id;
                if response.leader == self.identity.id {
                    let members = response.members.iter();
                    let members = members.map(|member| {
                        let subscription = Subscription::decode(member.metadata.clone());
                        (member.member_id.clone(), subscription)
                    });
                    let members: BTreeMap<_, _> = members.collect();
                    self.stage = Stage::Counting(census::ask(&members, net), members);
                } else {
                    self.synchronise(&Assignments::new(), net);
                }
            }
            Some(ResponseError::MemberIdRequired) => {
                self.identity.id = response.member_id.clone();
                self.join(net);
            }
            Some(error) => self.not_joined(error, net),
        }
    }

    fn synchronise(&mut self, assigned: &Assignments<StrBytes>, net: &mut Net<'_>) {
        self.stage = Stage::Synchronising(self.identity.synchronise(assigned, net));
    }

    fn synchronised(&mut self, response: &SyncGroupResponse, net: &mut Net<'_>) {
        match ResponseError::try_from_code(response.error_code) {
            None => {
                self.stage = Stage::Steady;
                self.heard_at = net.now();
                self.heartbeat_at = net.now() + self.heartbeat_interval;
                let assigned = assignor::decode_assignment(response.assignment.clone());
                let added = assigned.difference(&self.owned).cloned().collect();
                let revoked: Vec<_> = self.owned.difference(&assigned).cloned().collect();
                self.wait_for(if revoked.is_empty() {
                    Waiting::Assign {
                        partitions: added,
                        rejoins: false,
                    }
                } else {
                    Waiting::Revoke {
                        partitions: revoked,
                        then: added,
                    }
                });
            }
            Some(ResponseError::RebalanceInProgress) => self.join(net),
            Some(error) => self.not_joined(error, net),
        }
    }

    fn not_joined(&mut self, error: ResponseError, net: &mut Net<'_>) {
        match error {
            ResponseError::UnknownMemberId => {
                self.identity.forget();
                self.lose(net);
            }
            ResponseError::IllegalGeneration => {
                self.identity.generation = -1;
                self.lose(net);
            }
            ResponseError::FencedInstanceId
            | ResponseError::InconsistentGroupProtocol
            | ResponseError::InvalidSessionTimeout
            | ResponseError::InvalidGroupId => self.fail(error),
            _ => self.join_later(net),
        }
    }

    fn beat(&mut self, net: &mut Net<'_>) {
        self.heartbeat = Some(self.identity.beat(net));
        self.heartbeat_at = net.now() + self.heartbeat_interval;
    }

    fn beaten(&mut self, error: Option<ResponseError>, net: &mut Net<'_>) {
        match error {
            None => self.heard_at = net.now(),
            Some(ResponseError::RebalanceInProgress) => {
                self.heard_at = net.now();
                // While the owner has to answer it is asked again by a later heartbeat.
                if self.waiting.is_none() {
                    self.join(net);
                }
            }
            Some(ResponseError::UnknownMemberId) => {
                self.identity.forget();
                self.lose(net);
            }
            Some(ResponseError::IllegalGeneration) => {
                self.identity.generation = -1;
                self.lose(net);
            }
            Some(error @ ResponseError::FencedInstanceId) => self.fail(error),
            Some(_) => {}
        }
    }

    /// What it has belongs to others. Who has nothing joins again at once.
    fn lose(&mut self, net: &mut Net<'_>) {
        if matches!(self.stage, Stage::Failed) {
            return;
        }
        self.heartbeat = None;
        self.census = None;
        self.stage = Stage::Expelled;
        match &self.waiting {
            Some(Waiting::Lost { .. }) => {}
            // There is nothing to lose before this is answered.
            Some(Waiting::Assign { .. }) if self.owned.is_empty() => {}
            Some(_) => self.wait_for(Waiting::Lost {
                with_companions: true,
            }),
            None if self.owned.is_empty() => self.join_later(net),
            None => {
                let with_companions = net.random().one_in(2);
                self.wait_for(Waiting::Lost { with_companions });
            }
        }
    }

    fn wait_for(&mut self, waiting: Waiting) {
        self.waiting = Some(waiting);
        self.wake.notify_one();
    }

    fn fail(&mut self, error: ResponseError) {
        let advice = match error {
            ResponseError::FencedInstanceId => {
                "another worker has the same instance id: give each worker its own"
            }
            ResponseError::InconsistentGroupProtocol => {
                "members of this group that are not workers of this program use another protocol"
            }
            ResponseError::InvalidSessionTimeout => {
                "the broker allows no such session time-out: change the setting"
            }
            _ => "the broker does not accept the program's id as a group",
        };
        self.stage = Stage::Failed;
        self.failure = Some(format!("{error}: {advice}"));
        self.wake.notify_one();
    }
}
