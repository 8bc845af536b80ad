//! A member of a consumer group: its identity, what it can do, and what it waits for.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

use super::state::{Caller, Completion, Token};

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: StrBytes,
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) client_id: StrBytes,
    pub(crate) client_host: StrBytes,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    /// The protocols it can follow, the preferred first, each with its subscription (opaque).
    pub(crate) protocols: Vec<(StrBytes, Bytes)>,
    /// What the leader assigned to it (opaque).
    pub(crate) assignment: Bytes,
    /// Its unanswered JoinGroup.
    pub(crate) joining: Option<Token>,
    /// Its unanswered SyncGroup.
    pub(crate) syncing: Option<Token>,
    /// When it is expelled unless it is heard of; not while it waits for an answer.
    pub(crate) expires_at: Duration,
}

impl Member {
    /// A member as its first JoinGroup describes it.
    pub(crate) fn new(id: StrBytes, caller: &Caller, request: &JoinGroupRequest, now: Duration) -> Self {
        let mut member = Self {
            id,
            instance_id: request.group_instance_id.clone(),
            client_id: caller.client_id.clone(),
            client_host: caller.host.clone(),
            session_timeout: Duration::ZERO,
            rebalance_timeout: Duration::ZERO,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            expires_at: now,
        };
        member.update(request, caller.version, now);
        member
    }

    /// Takes over what a JoinGroup says.
    pub(crate) fn update(&mut self, request: &JoinGroupRequest, version: i16, now: Duration) {
        self.session_timeout = millis(request.session_timeout_ms);
        // Version 0 has one time for both.
        self.rebalance_timeout = match version {
            0 => self.session_timeout,
            _ => millis(request.rebalance_timeout_ms),
        };
        self.protocols = protocols(request);
        self.heard(now);
    }

    /// Whether the member is as the request describes it.
    pub(crate) fn matches(&self, request: &JoinGroupRequest) -> bool {
        self.protocols == protocols(request)
    }

    /// Starts the session anew.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.expires_at = now + self.session_timeout;
    }

    /// Whether it waits for the broker, and so cannot be late.
    pub(crate) fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(crate) fn supports(&self, protocol: &StrBytes) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// The subscription for this protocol.
    pub(crate) fn metadata(&self, protocol: Option<&StrBytes>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(name) == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Answers its JoinGroup, if there is one.
    pub(crate) fn answer_join(&mut self, response: JoinGroupResponse, out: &mut Vec<Completion>) {
        if let Some(token) = self.joining.take() {
            out.push(Completion {
                token,
                response: response.into(),
            });
        }
    }

    /// Answers its SyncGroup, if there is one.
    pub(crate) fn answer_sync(&mut self, response: SyncGroupResponse, out: &mut Vec<Completion>) {
        if let Some(token) = self.syncing.take() {
            out.push(Completion {
                token,
                response: response.into(),
            });
        }
    }

    /// Refuses whatever it waits for.
    pub(crate) fn refuse(&mut self, error: ResponseError, out: &mut Vec<Completion>) {
        let id = self.id.clone();
        self.answer_join(refused_join(error, id), out);
        self.answer_sync(refused_sync(error), out);
    }
}

/// A JoinGroup that was refused.
pub(crate) fn refused_join(error: ResponseError, member_id: StrBytes) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name(Some(StrBytes::default()))
        .with_member_id(member_id)
}

/// A SyncGroup that was refused.
pub(crate) fn refused_sync(error: ResponseError) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(error.code())
}

fn protocols(request: &JoinGroupRequest) -> Vec<(StrBytes, Bytes)> {
    request
        .protocols
        .iter()
        .map(|protocol| (protocol.name.clone(), protocol.metadata.clone()))
        .collect()
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
