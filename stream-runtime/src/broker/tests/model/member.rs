//! A process that is or wants to be a member of group `g`, and does what the protocol asks of clients.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

use crate::broker::api::{Request, text};

/// How long a member may be silent.
pub(super) const SESSION: Duration = Duration::from_secs(6);
/// How long a rebalance waits for a member.
pub(super) const REBALANCE: Duration = Duration::from_secs(10);

/// Who speaks: a member id, the instance id of a static member, and the generation it believes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) id: StrBytes,
    pub(super) instance: Option<StrBytes>,
    pub(super) generation: i32,
}

impl Credentials {
    pub(super) fn heartbeat(&self) -> Request {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone());
        Request::Heartbeat(request)
    }

    /// With an assignment for each of these members, as the leader sends it.
    pub(super) fn sync(&self, members: &[JoinGroupResponseMember]) -> Request {
        let give = |member: &JoinGroupResponseMember| {
            let name = name(&member.member_id, member.group_instance_id.as_ref());
            SyncGroupRequestAssignment::default()
                .with_member_id(member.member_id.clone())
                .with_assignment(assignment(self.generation, &name))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_assignments(members.iter().map(give).collect());
        Request::SyncGroup(request)
    }

    /// What the leader of this generation has for this member; whoever takes over an instance gets what it had.
    pub(super) fn assignment(&self) -> Bytes {
        assignment(self.generation, &name(&self.id, self.instance.as_ref()))
    }
}

fn name(id: &StrBytes, instance: Option<&StrBytes>) -> String {
    instance.unwrap_or(id).to_string()
}

fn assignment(generation: i32, name: &str) -> Bytes {
    Bytes::from(format!("{generation}/{name}"))
}

/// What a process does next.
#[derive(Debug, Clone)]
pub(super) enum Next {
    Join,
    /// With the members, if it leads.
    Sync(Vec<JoinGroupResponseMember>),
    Heartbeat,
    /// Until an answer comes.
    Wait,
    /// Another process has its instance id.
    End,
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) who: Credentials,
    pub(super) next: Next,
    /// Which start of the process this is: answers to an earlier one reach nobody.
    pub(super) start: u32,
    version: i16,
    protocols: &'static [&'static str],
}

impl Process {
    pub(super) fn new(number: usize) -> Self {
        let instance = (number % 2 == 1).then(|| text(format!("instance {number}")));
        Self {
            who: Credentials {
                id: StrBytes::default(),
                instance,
                generation: -1,
            },
            next: Next::Join,
            start: 0,
            // From 4 on, dynamic members are told their id before they are members; from 5 on there are static ones.
            version: if number == 0 { 3 } else { 5 },
            protocols: if number < 2 {
                &["sticky", "range"]
            } else {
                &["range"]
            },
        }
    }

    /// A process that starts again and remembers nothing.
    pub(super) fn restart(&mut self) {
        self.who.id = StrBytes::default();
        self.who.generation = -1;
        self.next = Next::Join;
        self.start += 1;
    }

    /// What it asks now, and in which version.
    pub(super) fn ask(&self) -> Option<(i16, Request)> {
        match &self.next {
            Next::Join => Some((self.version, self.join())),
            Next::Sync(members) => Some((3, self.who.sync(members))),
            Next::Heartbeat => Some((3, self.who.heartbeat())),
            Next::Wait | Next::End => None,
        }
    }

    fn join(&self) -> Request {
        let describe = |name: &&str| {
            JoinGroupRequestProtocol::default()
                .with_name(text(*name))
                .with_metadata(Bytes::from_static(b"topics"))
        };
        let ms = |time: Duration| i32::try_from(time.as_millis()).expect("seconds");
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_session_timeout_ms(ms(SESSION))
            .with_rebalance_timeout_ms(ms(REBALANCE))
            .with_member_id(self.who.id.clone())
            .with_group_instance_id(self.who.instance.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(self.protocols.iter().map(describe).collect());
        Request::JoinGroup(request)
    }

    pub(super) fn hear_joined(&mut self, response: JoinGroupResponse) {
        match response.error_code {
            0 => {
                self.who.id = response.member_id;
                self.who.generation = response.generation_id;
                self.next = Next::Sync(response.members);
            }
            code if code == ResponseError::MemberIdRequired.code() => {
                self.who.id = response.member_id;
                self.next = Next::Join;
            }
            code => self.hear_code(code),
        }
    }

    pub(super) fn hear_synced(&mut self, response: &SyncGroupResponse) {
        match response.error_code {
            0 => self.next = Next::Heartbeat,
            code => self.hear_code(code),
        }
    }

    pub(super) fn hear_code(&mut self, code: i16) {
        match ResponseError::try_from_code(code) {
            None => {}
            Some(ResponseError::RebalanceInProgress | ResponseError::IllegalGeneration) => {
                self.next = Next::Join;
            }
            Some(ResponseError::UnknownMemberId) => {
                self.who.id = StrBytes::default();
                self.who.generation = -1;
                self.next = Next::Join;
            }
            Some(ResponseError::FencedInstanceId) => self.next = Next::End,
            Some(other) => panic!("a member that follows the protocol is told: {other}"),
        }
    }
}
