//! All consumer groups: which there are, who may change them, and the offsets they committed.
//!
//! What happens inside a group is [`super::group`]'s. A group comes to be when it is joined or when
//! offsets are committed for it, and goes when it is deleted, or when nobody came after all.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest, SyncGroupRequest,
    SyncGroupResponse, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::time::Duration;

use super::group::{Effects, Group, Phase};
use super::marker::Outcome;
use super::member::{refused_join, refused_sync};
use super::state::{Caller, Completion, Now, Timers};

/// Shorter sessions are refused. Apache Kafka's default is 6 seconds; a test wants less.
const SHORTEST_SESSION_MS: i32 = 100;
/// Longer ones too: half an hour, as Apache Kafka has it.
const LONGEST_SESSION_MS: i32 = 1_800_000;

/// The groups by id.
#[derive(Debug)]
pub(crate) struct Groups {
    by_id: BTreeMap<StrBytes, Group>,
    initial_delay: Duration,
    /// Member ids must not come again when a broker is started anew on the same port.
    started_ms: i64,
    ids: u64,
}

impl Groups {
    pub(crate) fn new(initial_delay: Duration, started_ms: i64) -> Self {
        Self {
            by_id: BTreeMap::new(),
            initial_delay,
            started_ms,
            ids: 0,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.by_id.values()
    }

    pub(crate) fn get(&self, id: &StrBytes) -> Option<&Group> {
        self.by_id.get(id)
    }

    /// Runs `act` on a group, sees to its timers, and forgets it if nothing is left of it.
    fn with<R>(
        &mut self,
        id: &StrBytes,
        now: Now,
        timers: &mut Timers,
        completions: &mut Vec<Completion>,
        act: impl FnOnce(&mut Group, &mut Effects<'_>) -> R,
    ) -> Option<R> {
        let group = self.by_id.get_mut(id)?;
        let initial_delay = self.initial_delay;
        let result = act(
            group,
            &mut Effects {
                now: now.elapsed,
                initial_delay,
                completions,
            },
        );
        group.schedule(timers);
        if group.is_nothing() {
            self.by_id.remove(id);
        }
        Some(result)
    }

    /// Takes a JoinGroup. `None`: the answer comes later.
    pub(crate) fn join(
        &mut self,
        request: &JoinGroupRequest,
        caller: &Caller,
        now: Now,
        timers: &mut Timers,
        completions: &mut Vec<Completion>,
    ) -> Option<JoinGroupResponse> {
        let id = &request.group_id.0;
        let refuse = |error| Some(refused_join(error, request.member_id.clone()));
        if id.is_empty() {
            return refuse(ResponseError::InvalidGroupId);
        }
        if !(SHORTEST_SESSION_MS..=LONGEST_SESSION_MS).contains(&request.session_timeout_ms) {
            return refuse(ResponseError::InvalidSessionTimeout);
        }
        if !self.by_id.contains_key(id) {
            if !request.member_id.is_empty() {
                return refuse(ResponseError::UnknownMemberId);
            }
            self.by_id.insert(id.clone(), Group::new(id.clone()));
        }
        self.ids += 1;
        let name = request.group_instance_id.as_ref().unwrap_or(&caller.client_id);
        let member_id = format!("{name}-{:x}-{}", self.started_ms, self.ids);
        self.with(id, now, timers, completions, |group, effects| {
            group.join(request, caller, || StrBytes::from_string(member_id), effects)
        })
        .flatten()
    }

    /// Takes a SyncGroup. `None`: the answer comes later.
    pub(crate) fn sync(
        &mut self,
        request: &SyncGroupRequest,
        caller: &Caller,
        now: Now,
        timers: &mut Timers,
        completions: &mut Vec<Completion>,
    ) -> Option<SyncGroupResponse> {
        let id = &request.group_id.0;
        let act = |group: &mut Group, effects: &mut Effects<'_>| group.sync(request, caller, effects);
        match self.with(id, now, timers, completions, act) {
            Some(answer) => answer,
            None => Some(refused_sync(ResponseError::UnknownMemberId)),
        }
    }

    /// Takes a heartbeat.
    ///
    /// # Errors
    ///
    /// What the member has to do.
    pub(crate) fn heartbeat(&mut self, request: &HeartbeatRequest, now: Now) -> Result<(), ResponseError> {
        let group = self
            .by_id
            .get_mut(&request.group_id.0)
            .ok_or(ResponseError::UnknownMemberId)?;
        let instance_id = request.group_instance_id.as_ref();
        group.heartbeat(
            &request.member_id,
            instance_id,
            request.generation_id,
            now.elapsed,
        )
    }

    /// Takes members out of a group; one result for each.
    pub(crate) fn leave(
        &mut self,
        id: &StrBytes,
        members: &[(StrBytes, Option<StrBytes>)],
        now: Now,
        timers: &mut Timers,
        completions: &mut Vec<Completion>,
    ) -> Vec<Result<(), ResponseError>> {
        let left = self.with(id, now, timers, completions, |group, effects| {
            members
                .iter()
                .map(|(id, instance)| group.leave(id, instance.as_ref(), effects))
                .collect()
        });
        left.unwrap_or_else(|| {
            members
                .iter()
                .map(|_| Err(ResponseError::UnknownMemberId))
                .collect()
        })
    }

    /// Does what time asks for in one group.
    pub(crate) fn expire(
        &mut self,
        id: &StrBytes,
        now: Now,
        timers: &mut Timers,
        completions: &mut Vec<Completion>,
    ) {
        self.with(id, now, timers, completions, Group::expire);
    }

    /// The group that a commit is for, made if it is a consumer without a group's membership.
    ///
    /// # Errors
    ///
    /// The member is none of this generation, or a rebalance is not over.
    pub(crate) fn committing(
        &mut self,
        request: &OffsetCommitRequest,
        now: Now,
    ) -> Result<&mut Group, ResponseError> {
        let generation = request.generation_id_or_member_epoch;
        let instance_id = request.group_instance_id.as_ref();
        let group = self.writing(&request.group_id.0, generation)?;
        if generation < 0 && group.phase == Phase::Empty {
            return Ok(group);
        }
        if generation < 0 && request.member_id.is_empty() && instance_id.is_none() {
            return Err(ResponseError::UnknownMemberId);
        }
        check_generation(group, generation, &request.member_id, instance_id)?;
        if let Phase::Completing { .. } = group.phase {
            return Err(ResponseError::RebalanceInProgress);
        }
        if let Some(member) = group.member_mut(&request.member_id) {
            member.heard(now.elapsed);
        }
        Ok(group)
    }

    /// The group whose offsets a transaction commits.
    ///
    /// Who names no member is let in at any time, and a rebalance does not matter: clients that are older
    /// than this check rely on it.
    ///
    /// # Errors
    ///
    /// The member is none of this generation.
    pub(crate) fn committing_in_transaction(
        &mut self,
        request: &TxnOffsetCommitRequest,
    ) -> Result<&mut Group, ResponseError> {
        let (generation, instance_id) = (request.generation_id, request.group_instance_id.as_ref());
        let group = self.writing(&request.group_id.0, generation)?;
        let is_simple = generation < 0 && group.phase == Phase::Empty;
        let names_nobody = generation < 0 && request.member_id.is_empty() && instance_id.is_none();
        if !is_simple && !names_nobody {
            check_generation(group, generation, &request.member_id, instance_id)?;
        }
        Ok(group)
    }

    /// Commits or forgets the offsets that a producer's transaction staged.
    pub(crate) fn end_transaction(&mut self, id: &StrBytes, producer_id: i64, outcome: Outcome) {
        let Some(group) = self.by_id.get_mut(id) else {
            return;
        };
        group.offsets.end(producer_id, outcome);
        if group.is_nothing() {
            self.by_id.remove(id);
        }
    }

    /// The group to keep offsets in, made if it is written without a group's membership.
    fn writing(&mut self, id: &StrBytes, generation: i32) -> Result<&mut Group, ResponseError> {
        if generation < 0 && !self.by_id.contains_key(id) {
            self.by_id.insert(id.clone(), Group::new(id.clone()));
        }
        self.by_id.get_mut(id).ok_or(ResponseError::IllegalGeneration)
    }

    /// Forgets offsets of an inactive group, one result for each partition.
    ///
    /// # Errors
    ///
    /// There is no such group, or it has members.
    pub(crate) fn forget_offsets(&mut self, id: &StrBytes) -> Result<&mut Group, ResponseError> {
        let group = self.by_id.get_mut(id).ok_or(ResponseError::GroupIdNotFound)?;
        if group.is_empty() {
            Ok(group)
        } else {
            Err(ResponseError::GroupSubscribedToTopic)
        }
    }

    /// Removes a group and its offsets.
    ///
    /// # Errors
    ///
    /// There is no such group, or it has members.
    pub(crate) fn delete(&mut self, id: &StrBytes) -> Result<(), ResponseError> {
        let group = self.by_id.get(id).ok_or(ResponseError::GroupIdNotFound)?;
        if !group.is_empty() {
            return Err(ResponseError::NonEmptyGroup);
        }
        self.by_id.remove(id);
        Ok(())
    }

    /// Forgets what was committed for a topic that is gone.
    pub(crate) fn topic_deleted(&mut self, topic: &str) {
        for group in self.by_id.values_mut() {
            group.offsets.forget_topic(topic);
        }
        self.by_id.retain(|_, group| !group.is_nothing());
    }
}

fn check_generation(
    group: &Group,
    generation: i32,
    member_id: &StrBytes,
    instance_id: Option<&StrBytes>,
) -> Result<(), ResponseError> {
    group.check_member(member_id, instance_id)?;
    if generation == group.generation {
        Ok(())
    } else {
        Err(ResponseError::IllegalGeneration)
    }
}
