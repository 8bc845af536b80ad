//! The model of a group, from outside: what was told to whom, and what follows from it for every request.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::JoinGroupResponse;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::member::{Credentials, SESSION};

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// The newest generation that anybody was told of.
    pub(super) generation: i32,
    leader: StrBytes,
    protocol: StrBytes,
    /// Its members with their instance ids, as its leader was told.
    members: BTreeMap<StrBytes, Option<StrBytes>>,
    /// Who was told of that generation.
    told: BTreeSet<StrBytes>,
    /// When each was last heard of, or answered.
    heard: BTreeMap<StrBytes, Duration>,
    /// Ids that were members and are not.
    gone: BTreeSet<StrBytes>,
    present: BTreeSet<StrBytes>,
    /// Everything that anybody could believe in.
    pub(super) credentials: Vec<Credentials>,
    /// What the group has committed, if anything.
    pub(super) committed: Option<i64>,
}

impl Membership {
    /// A JoinGroup was answered well.
    pub(super) fn joined(
        &mut self,
        response: &JoinGroupResponse,
        instance: Option<&StrBytes>,
        now: Duration,
    ) {
        let id = &response.member_id;
        let protocol = response.protocol_name.clone().unwrap_or_default();
        assert!(
            response.generation_id >= self.generation,
            "a generation that is over begins again"
        );
        if response.generation_id > self.generation {
            self.generation = response.generation_id;
            self.leader = response.leader.clone();
            self.protocol = protocol.clone();
            self.members.clear();
            self.told.clear();
        }
        self.told.insert(id.clone());
        assert_eq!(protocol, self.protocol, "all follow one protocol");
        if response.leader == *id {
            let members = response.members.iter();
            self.members = members
                .map(|member| (member.member_id.clone(), member.group_instance_id.clone()))
                .collect();
            assert!(self.members.contains_key(id), "the leader is a member");
            assert_eq!(*id, self.leader, "a generation has one leader");
        } else if let Some(instance) = instance
            && !self.members.is_empty()
        {
            // It may have taken over the place of an earlier process, which changes nothing for the others.
            self.members.retain(|_, other| other.as_ref() != Some(instance));
            self.members.insert(id.clone(), Some(instance.clone()));
        }
        self.heard.insert(id.clone(), now);
        self.credentials.push(Credentials {
            id: id.clone(),
            instance: instance.cloned(),
            generation: response.generation_id,
        });
    }

    /// A request of this member came, or an answer went out to it.
    pub(super) fn heard(&mut self, id: &StrBytes, now: Duration) {
        self.heard.insert(id.clone(), now);
    }

    /// The leader's assignment was handed out, from which on every session runs anew.
    pub(super) fn assigned(&mut self, now: Duration) {
        for id in self.members.keys() {
            self.heard.insert(id.clone(), now);
        }
    }

    /// A SyncGroup was answered well.
    pub(super) fn synced(&self, who: &Credentials, assignment: &Bytes) {
        assert_eq!(
            who.generation, self.generation,
            "only the newest generation is stable"
        );
        assert_eq!(
            *assignment,
            who.assignment(),
            "everybody gets what the leader gave"
        );
    }

    /// Compares with what the broker says of its group. `waiting` are the members with unanswered requests; `None`
    /// is one whose id is not known yet.
    pub(super) fn compare(
        &mut self,
        described: &DescribedGroup,
        waiting: &BTreeSet<Option<StrBytes>>,
        now: Duration,
    ) {
        let ids: BTreeSet<StrBytes> = described
            .members
            .iter()
            .map(|member| member.member_id.clone())
            .collect();
        assert_eq!(ids.len(), described.members.len(), "a member is there twice");
        let instances: Vec<_> = described
            .members
            .iter()
            .filter_map(|m| m.group_instance_id.as_ref())
            .collect();
        let different: BTreeSet<_> = instances.iter().collect();
        assert_eq!(instances.len(), different.len(), "an instance is there twice");
        assert!(ids.is_disjoint(&self.gone), "a member that was gone is back");
        self.gone.extend(self.present.difference(&ids).cloned());
        for id in &ids {
            let is_waiting = waiting.contains(&Some(id.clone()));
            let is_nameless = waiting.contains(&None) && !self.heard.contains_key(id);
            let is_heard = self.heard.get(id).is_some_and(|at| *at + SESSION > now);
            assert!(
                is_waiting || is_nameless || is_heard,
                "{id:?} is dead and still a member"
            );
        }
        match described.group_state.as_str() {
            "Stable" | "CompletingRebalance" => {
                let members: BTreeSet<_> = self.members.keys().cloned().collect();
                assert_eq!(ids, members, "the members are those that the leader was told of");
                let dynamic = self.members.iter().filter(|(_, instance)| instance.is_none());
                for (id, _) in dynamic {
                    assert!(
                        self.told.contains(id),
                        "{id:?} is in a generation that it did not join"
                    );
                }
            }
            "PreparingRebalance" => {}
            "Empty" | "Dead" => assert!(ids.is_empty(), "an empty group has members"),
            other => panic!("there is no such state: {other}"),
        }
        self.present = ids;
    }

    /// What a heartbeat is told, or a SyncGroup unless it waits.
    pub(super) fn expected(&self, who: &Credentials, described: &DescribedGroup) -> i16 {
        match (self.checked(who, described), described.group_state.as_str()) {
            (Err(error), _) => error.code(),
            (Ok(()), "PreparingRebalance") => ResponseError::RebalanceInProgress.code(),
            (Ok(()), _) => 0,
        }
    }

    /// What a commit is told: accepted while members are still coming together, as their work goes on until then, and
    /// refused while an assignment is on its way.
    pub(super) fn expected_of_commit(&self, who: &Credentials, described: &DescribedGroup) -> i16 {
        match (self.checked(who, described), described.group_state.as_str()) {
            // Offsets for a group that nobody has heard of would begin it, but not with a generation.
            (Err(_), "Dead") => ResponseError::IllegalGeneration.code(),
            (Err(error), _) => error.code(),
            (Ok(()), "CompletingRebalance") => ResponseError::RebalanceInProgress.code(),
            (Ok(()), _) => 0,
        }
    }

    fn checked(&self, who: &Credentials, described: &DescribedGroup) -> Result<(), ResponseError> {
        let mut members = described.members.iter();
        match &who.instance {
            Some(instance) => {
                let member = members.find(|member| member.group_instance_id.as_ref() == Some(instance));
                let member = member.ok_or(ResponseError::UnknownMemberId)?;
                if member.member_id != who.id {
                    return Err(ResponseError::FencedInstanceId);
                }
            }
            None if members.any(|member| member.member_id == who.id) => {}
            None => return Err(ResponseError::UnknownMemberId),
        }
        if who.generation == self.generation {
            Ok(())
        } else {
            Err(ResponseError::IllegalGeneration)
        }
    }
}
