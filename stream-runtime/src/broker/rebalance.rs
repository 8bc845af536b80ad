//! A rebalance of a group: members collected, a protocol and a leader chosen, the assignment handed out.
//!
//! The other half of [`Group`]; it alone changes the phase and the generation.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupResponse, SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

use super::group::{Effects, Group, Phase, Preparing};
use super::member::{Member, refused_sync};
use super::state::Caller;

impl Group {
    /// Begins a rebalance, or goes on with the one that is going on.
    pub(crate) fn prepare(&mut self, effects: &mut Effects<'_>) {
        let longest = self.longest_rebalance();
        match self.phase {
            Phase::Preparing {
                kind: Preparing::Again,
                ..
            } => {}
            Phase::Preparing {
                kind: Preparing::First { latest },
                ..
            } => {
                let until = latest.min(effects.now + effects.initial_delay);
                self.phase = Phase::Preparing {
                    until,
                    kind: Preparing::First { latest },
                };
            }
            Phase::Empty => {
                let until = effects.now + effects.initial_delay.min(longest);
                let kind = Preparing::First {
                    latest: effects.now + longest,
                };
                self.phase = Phase::Preparing { until, kind };
            }
            Phase::Completing { .. } | Phase::Stable => {
                for member in &mut self.members {
                    member.assignment = Bytes::new();
                    let refused = refused_sync(ResponseError::RebalanceInProgress);
                    member.answer_sync(refused, effects.completions);
                }
                self.phase = Phase::Preparing {
                    until: effects.now + longest,
                    kind: Preparing::Again,
                };
            }
        }
        self.try_complete(effects);
    }

    fn longest_rebalance(&self) -> Duration {
        self.members
            .iter()
            .map(|member| member.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }

    /// Ends the collection of members if nobody is missing or the time is over.
    pub(super) fn try_complete(&mut self, effects: &mut Effects<'_>) {
        let Phase::Preparing { until, kind } = self.phase else {
            return;
        };
        let is_late = until <= effects.now;
        let all_joined =
            self.pending.is_empty() && self.members.iter().all(|member| member.joining.is_some());
        match kind {
            Preparing::Again if all_joined || is_late => self.complete(effects),
            Preparing::First { .. } if is_late => self.complete(effects),
            Preparing::Again | Preparing::First { .. } => {}
        }
    }

    fn complete(&mut self, effects: &mut Effects<'_>) {
        // Static members keep their place until their session ends.
        self.members
            .retain(|member| member.joining.is_some() || member.instance_id.is_some());
        if self.members.is_empty() {
            self.generation += 1;
            self.clear();
            return;
        }
        let joined = |id: &StrBytes| self.members.iter().any(|m| m.id == *id && m.joining.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            let first = self.members.iter().find(|member| member.joining.is_some());
            let Some(first) = first else {
                // Only static members, none of them back: wait for them as long again.
                let until = effects.now + self.longest_rebalance().max(Duration::from_millis(100));
                self.phase = Phase::Preparing {
                    until,
                    kind: Preparing::Again,
                };
                return;
            };
            self.leader = Some(first.id.clone());
        }
        self.generation += 1;
        self.protocol = self.choose_protocol();
        self.phase = Phase::Completing {
            until: effects.now + self.longest_rebalance(),
        };
        let ids: Vec<StrBytes> = self.members.iter().map(|member| member.id.clone()).collect();
        for id in ids {
            let response = self.joined(&id);
            if let Some(member) = self.member_mut(&id)
                && member.joining.is_some()
            {
                member.heard(effects.now);
                member.answer_join(response, effects.completions);
            }
        }
    }

    fn clear(&mut self) {
        self.phase = Phase::Empty;
        self.protocol = None;
        self.leader = None;
    }

    /// The protocol that all can follow and most prefer.
    pub(super) fn choose_protocol(&self) -> Option<StrBytes> {
        let for_all = |name: &&StrBytes| self.members.iter().all(|member| member.supports(name));
        let mut votes: Vec<(StrBytes, usize)> = Vec::new();
        for member in &self.members {
            let Some(choice) = member.protocols.iter().map(|(name, _)| name).find(for_all) else {
                continue;
            };
            match votes.iter_mut().find(|(name, _)| name == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice.clone(), 1)),
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name)
    }

    /// The answer to a JoinGroup of this generation.
    pub(super) fn joined(&self, id: &StrBytes) -> JoinGroupResponse {
        let is_leader = self.leader.as_ref() == Some(id);
        let describe = |member: &Member| {
            JoinGroupResponseMember::default()
                .with_member_id(member.id.clone())
                .with_group_instance_id(member.instance_id.clone())
                .with_metadata(member.metadata(self.protocol.as_ref()))
        };
        let members = if is_leader {
            self.members.iter().map(describe).collect()
        } else {
            Vec::new()
        };
        JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_name(Some(self.protocol.clone().unwrap_or_default()))
            .with_leader(self.leader.clone().unwrap_or_default())
            .with_member_id(id.clone())
            .with_members(members)
    }

    /// Takes a SyncGroup. `None`: it is answered when the leader's assignment is there.
    pub(crate) fn sync(
        &mut self,
        request: &SyncGroupRequest,
        caller: &Caller,
        effects: &mut Effects<'_>,
    ) -> Option<SyncGroupResponse> {
        let checked = self.check_member(&request.member_id, request.group_instance_id.as_ref());
        if let Err(error) = checked {
            return Some(refused_sync(error));
        }
        if request.generation_id != self.generation {
            return Some(refused_sync(ResponseError::IllegalGeneration));
        }
        let is_leader = self.leader.as_ref() == Some(&request.member_id);
        let phase = self.phase;
        let member = self.member_mut(&request.member_id)?;
        member.heard(effects.now);
        match phase {
            Phase::Empty => Some(refused_sync(ResponseError::UnknownMemberId)),
            Phase::Preparing { .. } => Some(refused_sync(ResponseError::RebalanceInProgress)),
            Phase::Stable => Some(SyncGroupResponse::default().with_assignment(member.assignment.clone())),
            Phase::Completing { .. } => {
                member.answer_sync(refused_sync(ResponseError::UnknownMemberId), effects.completions);
                member.syncing = Some(caller.token);
                if is_leader {
                    self.assign(request, effects);
                }
                None
            }
        }
    }

    fn assign(&mut self, request: &SyncGroupRequest, effects: &mut Effects<'_>) {
        for member in &mut self.members {
            let given = request
                .assignments
                .iter()
                .find(|given| given.member_id == member.id);
            member.assignment = given.map(|given| given.assignment.clone()).unwrap_or_default();
            let response = SyncGroupResponse::default().with_assignment(member.assignment.clone());
            member.heard(effects.now);
            member.answer_sync(response, effects.completions);
        }
        self.phase = Phase::Stable;
    }
}
