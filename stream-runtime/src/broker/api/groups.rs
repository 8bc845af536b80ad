//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and what administrators ask about groups.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest, LeaveGroupResponse,
    ListGroupsRequest, ListGroupsResponse, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::super::group::{Group, Phase};
use super::super::member::Member;
use super::super::state::{Answer, Caller, Now, State};
use super::{code, text};

/// Makes the caller a member, when the group has come together.
#[allow(
    clippy::needless_pass_by_value,
    reason = "all handlers that may answer later take their request"
)]
pub(crate) fn join(state: &mut State, now: Now, caller: &Caller, request: JoinGroupRequest) -> Answer {
    let State {
        groups,
        timers,
        completions,
        ..
    } = state;
    let answer = groups.join(&request, caller, now, timers, completions);
    answer.map_or(Answer::Later, |response| Answer::Ready(response.into()))
}

/// Gives the caller its assignment, when the leader has made it.
#[allow(
    clippy::needless_pass_by_value,
    reason = "all handlers that may answer later take their request"
)]
pub(crate) fn sync(state: &mut State, now: Now, caller: &Caller, request: SyncGroupRequest) -> Answer {
    let State {
        groups,
        timers,
        completions,
        ..
    } = state;
    let answer = groups.sync(&request, caller, now, timers, completions);
    answer.map_or(Answer::Later, |response| Answer::Ready(response.into()))
}

/// Keeps a member's session alive.
pub(crate) fn heartbeat(state: &mut State, now: Now, request: &HeartbeatRequest) -> HeartbeatResponse {
    HeartbeatResponse::default().with_error_code(code(&state.groups.heartbeat(request, now)))
}

/// Takes members out: one, or from version 3 on several.
pub(crate) fn leave(
    state: &mut State,
    now: Now,
    request: &LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    let members: Vec<(StrBytes, Option<StrBytes>)> = match version {
        0..=2 => vec![(request.member_id.clone(), None)],
        _ => request
            .members
            .iter()
            .map(|m| (m.member_id.clone(), m.group_instance_id.clone()))
            .collect(),
    };
    let State {
        groups,
        timers,
        completions,
        ..
    } = state;
    let results = groups.leave(&request.group_id.0, &members, now, timers, completions);
    if version <= 2 {
        return LeaveGroupResponse::default().with_error_code(results.first().map_or(0, code));
    }
    let describe = |((id, instance_id), result)| {
        MemberResponse::default()
            .with_member_id(id)
            .with_group_instance_id(instance_id)
            .with_error_code(code(result))
    };
    LeaveGroupResponse::default().with_members(members.into_iter().zip(&results).map(describe).collect())
}

/// All groups, or those in some states.
pub(crate) fn list(state: &State, request: &ListGroupsRequest) -> ListGroupsResponse {
    let is_wanted = |group: &&Group| {
        let filter = &request.states_filter;
        filter.is_empty()
            || filter
                .iter()
                .any(|name| name.eq_ignore_ascii_case(group.phase_name()))
    };
    let describe = |group: &Group| {
        ListedGroup::default()
            .with_group_id(GroupId(group.id.clone()))
            .with_protocol_type(group.protocol_type.clone().unwrap_or_default())
            .with_group_state(text(group.phase_name()))
    };
    ListGroupsResponse::default().with_groups(state.groups.iter().filter(is_wanted).map(describe).collect())
}

/// Groups and their members. One that does not exist is dead.
pub(crate) fn describe(state: &State, request: &DescribeGroupsRequest) -> DescribeGroupsResponse {
    let describe = |id: &GroupId| {
        let described = DescribedGroup::default()
            .with_group_id(id.clone())
            .with_authorized_operations(i32::MIN);
        let Some(group) = state.groups.get(id) else {
            return described.with_group_state(text("Dead"));
        };
        let is_stable = group.phase == Phase::Stable;
        let protocol = group.protocol.clone().filter(|_| is_stable);
        described
            .with_group_state(text(group.phase_name()))
            .with_protocol_type(group.protocol_type.clone().unwrap_or_default())
            .with_protocol_data(protocol.clone().unwrap_or_default())
            .with_members(
                group
                    .members
                    .iter()
                    .map(|m| describe_member(m, protocol.as_ref()))
                    .collect(),
            )
    };
    DescribeGroupsResponse::default().with_groups(request.groups.iter().map(describe).collect())
}

fn describe_member(member: &Member, protocol: Option<&StrBytes>) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(member.id.clone())
        .with_group_instance_id(member.instance_id.clone())
        .with_client_id(member.client_id.clone())
        .with_client_host(text(format!("/{}", member.client_host)))
        .with_member_metadata(member.metadata(protocol))
        .with_member_assignment(if protocol.is_some() {
            member.assignment.clone()
        } else {
            Default::default()
        })
}

/// Removes groups without members.
pub(crate) fn delete(state: &mut State, request: &DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request
        .groups_names
        .iter()
        .map(|id| {
            let code = code(&state.groups.delete(&id.0));
            DeletableGroupResult::default()
                .with_group_id(id.clone())
                .with_error_code(code)
        })
        .collect();
    DeleteGroupsResponse::default().with_results(results)
}
