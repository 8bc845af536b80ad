//! Who a client is to its group's coordinator, and what it says to it.

use std::time::Duration;

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::assignor::{self, Assignments, Subscription};
use super::membership::Member;
use super::network::{Call, Lane, Net};
use crate::broker::api::text;
use crate::kafka::ClientSettings;

/// The connection for what the group's coordinator does.
pub(super) const COORDINATOR: Lane = 1;

const JOIN_VERSION: i16 = 5;
const SYNC_VERSION: i16 = 3;
const HEARTBEAT_VERSION: i16 = 3;
const LEAVE_VERSION: i16 = 4;

/// A client under the names that it and the coordinator have for it.
#[derive(Debug)]
pub(super) struct Identity {
    group: StrBytes,
    /// Its lasting name.
    instance: Option<StrBytes>,
    pub(super) session_timeout: Duration,
    pub(super) max_poll_interval: Duration,
    /// Empty for one that the coordinator does not know.
    pub(super) id: StrBytes,
    pub(super) generation: i32,
}

impl Identity {
    /// A client that nobody knows. `member` is a part of its lasting name, if it has one.
    pub(super) fn new(settings: &ClientSettings, member: &str) -> Self {
        let instance = settings.instance_id.as_ref();
        Self {
            group: text(settings.group.as_str()),
            instance: instance.map(|id| text(format!("{id}-{member}"))),
            session_timeout: settings.session_timeout,
            max_poll_interval: settings.max_poll_interval,
            id: StrBytes::default(),
            generation: -1,
        }
    }

    /// It is a member no longer.
    pub(super) fn forget(&mut self) {
        self.id = StrBytes::default();
        self.generation = -1;
    }

    /// The member of a generation that it is.
    pub(super) fn member(&self) -> Option<Member> {
        let is_member = !self.id.is_empty() && self.generation > 0;
        is_member.then(|| Member {
            group: self.group.to_string(),
            member_id: self.id.to_string(),
            generation: self.generation,
            instance_id: self.instance.as_ref().map(ToString::to_string),
        })
    }

    pub(super) fn join(&self, subscription: &Subscription, net: &mut Net<'_>) -> Call {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("cooperative-sticky"))
            .with_metadata(subscription.encode());
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_session_timeout_ms(millis(self.session_timeout))
            .with_rebalance_timeout_ms(millis(self.max_poll_interval))
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        net.call(COORDINATOR, JOIN_VERSION, request)
    }

    /// Asks for what it is assigned. The leader says what everybody is, nobody else says anything.
    pub(super) fn synchronise(&self, assigned: &Assignments<StrBytes>, net: &mut Net<'_>) -> Call {
        let assignments = assigned.iter().map(|(id, partitions)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(id.clone())
                .with_assignment(assignor::encode_assignment(partitions))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_assignments(assignments.collect());
        net.call(COORDINATOR, SYNC_VERSION, request)
    }

    pub(super) fn beat(&self, net: &mut Net<'_>) -> Call {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone());
        net.call(COORDINATOR, HEARTBEAT_VERSION, request)
    }

    /// Leaves the group. One with a lasting name stays until its session ends, since it may come back.
    pub(super) fn leave(&self, net: &mut Net<'_>) {
        if self.instance.is_some() || self.id.is_empty() {
            return;
        }
        let member = MemberIdentity::default().with_member_id(self.id.clone());
        let request = LeaveGroupRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_members(vec![member]);
        net.call(COORDINATOR, LEAVE_VERSION, request);
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
