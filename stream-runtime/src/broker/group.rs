//! One consumer group: its members and the phases of a rebalance.
//!
//! `Empty → PreparingRebalance (JoinGroups are collected) → CompletingRebalance (the leader's assignment
//! is awaited) → Stable`, and back to preparing when a member comes, changes, leaves or falls silent.
//! Who comes, speaks and goes is here; how the phases follow one another is in [`super::rebalance`].
//! Subscriptions and assignments are opaque, so eager and cooperative protocols are the same here. A
//! group that does not exist is the phase `Dead` of the protocol.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use std::collections::HashMap;
use std::time::Duration;

use super::member::{Member, refused_join};
use super::offsets::Offsets;
use super::state::{Caller, Completion, Timer, Timers};

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    /// Until everybody has joined again, or this time.
    Preparing {
        until: Duration,
        kind: Preparing,
    },
    /// Until everybody has asked for the assignment, or this time.
    Completing {
        until: Duration,
    },
    Stable,
}

/// What ends the collection of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preparing {
    /// The first members of an empty group: only time, which every newcomer extends to at most `latest`.
    First { latest: Duration },
    /// Everybody who is known having joined again.
    Again,
}

/// The time, and where what happens goes.
#[derive(Debug)]
pub(crate) struct Effects<'a> {
    pub(crate) now: Duration,
    pub(crate) initial_delay: Duration,
    pub(crate) completions: &'a mut Vec<Completion>,
}

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: StrBytes,
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<StrBytes>,
    pub(crate) protocol: Option<StrBytes>,
    pub(super) leader: Option<StrBytes>,
    pub(crate) members: Vec<Member>,
    /// Ids that were handed out and have not come back yet, and until when they may.
    pub(super) pending: HashMap<StrBytes, Duration>,
    pub(crate) offsets: Offsets,
    /// When the group is looked at next.
    checked_at: Option<Duration>,
}

impl Group {
    pub(crate) fn new(id: StrBytes) -> Self {
        Self {
            id,
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Vec::new(),
            pending: HashMap::new(),
            offsets: Offsets::default(),
            checked_at: None,
        }
    }

    /// The phase's name in the protocol.
    pub(crate) fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Empty => "Empty",
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing { .. } => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    /// Whether nobody is or is about to be a member.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// Whether there is nothing that anybody could know of it.
    pub(crate) fn is_nothing(&self) -> bool {
        self.is_empty() && self.offsets.is_empty() && self.generation == 0
    }

    pub(crate) fn member_mut(&mut self, id: &StrBytes) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == *id)
    }

    fn instance(&self, instance_id: &StrBytes) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.instance_id.as_ref() == Some(instance_id))
    }

    /// The member that a request speaks for.
    ///
    /// # Errors
    ///
    /// There is no such member, or another process has taken over its instance id.
    pub(crate) fn check_member(
        &self,
        id: &StrBytes,
        instance_id: Option<&StrBytes>,
    ) -> Result<&Member, ResponseError> {
        if let Some(instance_id) = instance_id {
            let member = self.instance(instance_id).ok_or(ResponseError::UnknownMemberId)?;
            return if member.id == *id {
                Ok(member)
            } else {
                Err(ResponseError::FencedInstanceId)
            };
        }
        self.members
            .iter()
            .find(|member| member.id == *id)
            .ok_or(ResponseError::UnknownMemberId)
    }

    /// Takes a JoinGroup. `None`: it is answered when the rebalance is over.
    pub(crate) fn join(
        &mut self,
        request: &JoinGroupRequest,
        caller: &Caller,
        new_id: impl FnOnce() -> StrBytes,
        effects: &mut Effects<'_>,
    ) -> Option<JoinGroupResponse> {
        let id = request.member_id.clone();
        if !self.accepts(request) {
            return Some(refused_join(ResponseError::InconsistentGroupProtocol, id));
        }
        match &request.group_instance_id {
            Some(instance_id) if id.is_empty() => match self.instance(instance_id) {
                Some(_) => self.replace(instance_id, request, caller, &new_id(), effects),
                None => self.add(request, caller, new_id(), effects),
            },
            // The id first, so that a client that does not hear the answer leaves no member behind.
            None if id.is_empty() && caller.version >= 4 => {
                let id = new_id();
                let session = Duration::from_millis(u64::try_from(request.session_timeout_ms).unwrap_or(0));
                self.pending.insert(id.clone(), effects.now + session);
                Some(refused_join(ResponseError::MemberIdRequired, id))
            }
            None if id.is_empty() => self.add(request, caller, new_id(), effects),
            _ if self.pending.remove(&id).is_some() => self.add(request, caller, id, effects),
            instance_id => match self.check_member(&id, instance_id.as_ref()) {
                Ok(_) => self.rejoin(request, caller, &id, effects),
                Err(error) => Some(refused_join(error, id)),
            },
        }
    }

    /// Whether the request's protocols go with those of the members.
    fn accepts(&self, request: &JoinGroupRequest) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let for_all = |name: &StrBytes| self.members.iter().all(|member| member.supports(name));
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request.protocols.iter().any(|protocol| for_all(&protocol.name))
    }

    fn add(
        &mut self,
        request: &JoinGroupRequest,
        caller: &Caller,
        id: StrBytes,
        effects: &mut Effects<'_>,
    ) -> Option<JoinGroupResponse> {
        let mut member = Member::new(id.clone(), caller, request, effects.now);
        member.joining = Some(caller.token);
        self.members.push(member);
        self.protocol_type = Some(request.protocol_type.clone());
        self.leader.get_or_insert(id);
        self.prepare(effects);
        None
    }

    fn rejoin(
        &mut self,
        request: &JoinGroupRequest,
        caller: &Caller,
        id: &StrBytes,
        effects: &mut Effects<'_>,
    ) -> Option<JoinGroupResponse> {
        let is_leader = self.leader.as_ref() == Some(id);
        let phase = self.phase;
        let member = self.member_mut(id)?;
        let is_same = member.matches(request);
        // Who has not heard the answer of this generation gets it again; a leader of a stable group that
        // joins again asks for a rebalance.
        let is_answered = match phase {
            Phase::Completing { .. } => is_same,
            Phase::Stable => is_same && !is_leader,
            Phase::Empty | Phase::Preparing { .. } => false,
        };
        if is_answered {
            member.heard(effects.now);
            return Some(self.joined(id));
        }
        let member = self.member_mut(id)?;
        member.update(request, caller.version, effects.now);
        // A second JoinGroup of one member ends the first.
        member.refuse(ResponseError::UnknownMemberId, effects.completions);
        member.joining = Some(caller.token);
        self.prepare(effects);
        None
    }

    /// A process that takes over the instance id of another one.
    fn replace(
        &mut self,
        instance_id: &StrBytes,
        request: &JoinGroupRequest,
        caller: &Caller,
        id: &StrBytes,
        effects: &mut Effects<'_>,
    ) -> Option<JoinGroupResponse> {
        let old_leader = self.leader.clone();
        let member = self
            .members
            .iter_mut()
            .find(|m| m.instance_id.as_ref() == Some(instance_id))?;
        member.refuse(ResponseError::FencedInstanceId, effects.completions);
        let old_id = std::mem::replace(&mut member.id, id.clone());
        member.client_id = caller.client_id.clone();
        member.client_host = caller.host.clone();
        member.update(request, caller.version, effects.now);
        if self.leader.as_ref() == Some(&old_id) {
            self.leader = Some(id.clone());
        }
        if self.phase == Phase::Stable && self.choose_protocol() == self.protocol {
            // Nothing changes for the others. The leader's old id makes a new leader ask for the
            // assignment instead of making one.
            let mut response = self.joined(id);
            response.leader = old_leader.unwrap_or_default();
            response.members.clear();
            return Some(response);
        }
        self.member_mut(id)?.joining = Some(caller.token);
        self.prepare(effects);
        None
    }

    /// Takes a heartbeat.
    ///
    /// # Errors
    ///
    /// What the member has to do: join again, or as a new member.
    pub(crate) fn heartbeat(
        &mut self,
        id: &StrBytes,
        instance_id: Option<&StrBytes>,
        generation: i32,
        now: Duration,
    ) -> Result<(), ResponseError> {
        self.check_member(id, instance_id)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let phase = self.phase;
        if let Some(member) = self.member_mut(id) {
            member.heard(now);
        }
        match phase {
            Phase::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            Phase::Empty => Err(ResponseError::UnknownMemberId),
            Phase::Completing { .. } | Phase::Stable => Ok(()),
        }
    }

    /// Takes out a member that leaves; by its instance id alone, if it has one.
    ///
    /// # Errors
    ///
    /// There is no such member, or another process has taken over its instance id.
    pub(crate) fn leave(
        &mut self,
        id: &StrBytes,
        instance_id: Option<&StrBytes>,
        effects: &mut Effects<'_>,
    ) -> Result<(), ResponseError> {
        if self.pending.remove(id).is_some() {
            self.try_complete(effects);
            return Ok(());
        }
        let id = match instance_id {
            Some(instance_id) if id.is_empty() => self
                .instance(instance_id)
                .ok_or(ResponseError::UnknownMemberId)?
                .id
                .clone(),
            _ => self.check_member(id, instance_id)?.id.clone(),
        };
        self.remove(&id, effects);
        Ok(())
    }

    fn remove(&mut self, id: &StrBytes, effects: &mut Effects<'_>) {
        let Some(place) = self.members.iter().position(|member| member.id == *id) else {
            return;
        };
        let mut member = self.members.remove(place);
        member.refuse(ResponseError::UnknownMemberId, effects.completions);
        if self.leader.as_ref() == Some(id) {
            let next = self.members.iter().find(|member| member.joining.is_some());
            self.leader = next.or(self.members.first()).map(|member| member.id.clone());
        }
        match self.phase {
            Phase::Completing { .. } | Phase::Stable => self.prepare(effects),
            Phase::Preparing { .. } => self.try_complete(effects),
            Phase::Empty => {}
        }
    }

    /// Does what time asks for: members expelled, rebalances ended.
    pub(crate) fn expire(&mut self, effects: &mut Effects<'_>) {
        let now = effects.now;
        if self.checked_at.is_some_and(|at| at > now) {
            // An earlier check took this one's place.
            return;
        }
        self.checked_at = None;
        self.pending.retain(|_, until| *until > now);
        let is_late_sync = |member: &Member| match self.phase {
            Phase::Completing { until } => until <= now && member.syncing.is_none(),
            _ => false,
        };
        let is_silent = |member: &Member| !member.is_waiting() && member.expires_at <= now;
        let gone: Vec<StrBytes> = self
            .members
            .iter()
            .filter(|member| is_silent(member) || is_late_sync(member))
            .map(|member| member.id.clone())
            .collect();
        for id in gone {
            self.remove(&id, effects);
        }
        self.try_complete(effects);
    }

    /// Sees to it that the group is looked at in time.
    pub(crate) fn schedule(&mut self, timers: &mut Timers) {
        let silent = self
            .members
            .iter()
            .filter(|member| !member.is_waiting())
            .map(|m| m.expires_at);
        let phase = match self.phase {
            Phase::Preparing { until, .. } | Phase::Completing { until } => Some(until),
            Phase::Empty | Phase::Stable => None,
        };
        let Some(next) = silent.chain(self.pending.values().copied()).chain(phase).min() else {
            return;
        };
        if self.checked_at.is_none_or(|at| next < at) {
            self.checked_at = Some(next);
            timers.set(next, Timer::Group(self.id.clone()));
        }
    }
}
