//! The phases of a group, on a time that the tests set.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

use super::fixture::Driver;
use crate::broker::api::{Request, Response, text};
use crate::broker::group::Group;
use crate::broker::state::{Answer, Token};

fn join(driver: &mut Driver, id: &StrBytes, protocols: &[&str], instance: Option<&str>) -> (Token, Answer) {
    let describe = |name: &&str| {
        JoinGroupRequestProtocol::default()
            .with_name(text(*name))
            .with_metadata(Bytes::from_static(b"topics"))
    };
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(6000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(id.clone())
        .with_group_instance_id(instance.map(text))
        .with_protocol_type(text("consumer"))
        .with_protocols(protocols.iter().map(describe).collect());
    driver.send(5, Request::JoinGroup(request))
}

fn sync(
    driver: &mut Driver,
    id: &StrBytes,
    generation: i32,
    given: &[(&StrBytes, &'static str)],
) -> (Token, Answer) {
    let give = |(id, what): &(&StrBytes, &'static str)| {
        SyncGroupRequestAssignment::default()
            .with_member_id((*id).clone())
            .with_assignment(Bytes::from_static(what.as_bytes()))
    };
    let request = SyncGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_generation_id(generation)
        .with_member_id(id.clone())
        .with_assignments(given.iter().map(give).collect());
    driver.send(3, Request::SyncGroup(request))
}

fn heartbeat(driver: &mut Driver, id: &StrBytes, generation: i32) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_generation_id(generation)
        .with_member_id(id.clone());
    match driver.send(3, Request::Heartbeat(request)).1 {
        Answer::Ready(Response::Heartbeat(response)) => response.error_code,
        other => panic!("no answer to a heartbeat: {other:?}"),
    }
}

fn joined(answer: Answer) -> JoinGroupResponse {
    match answer {
        Answer::Ready(Response::JoinGroup(response)) => response,
        other => panic!("no answer to JoinGroup: {other:?}"),
    }
}

/// Who completed, among JoinGroups.
fn completed(driver: &mut Driver, token: Token) -> JoinGroupResponse {
    let late = driver.completions();
    let found = late.into_iter().find(|(t, _)| *t == token);
    match found {
        Some((_, Response::JoinGroup(response))) => response,
        other => panic!("JoinGroup was not completed: {other:?}"),
    }
}

fn synced(driver: &mut Driver, token: Token) -> SyncGroupResponse {
    match driver.completions().into_iter().find(|(t, _)| *t == token) {
        Some((_, Response::SyncGroup(response))) => response,
        other => panic!("SyncGroup was not completed: {other:?}"),
    }
}

/// A new member's id.
fn new_member(driver: &mut Driver) -> StrBytes {
    let refused = joined(join(driver, &text(""), &["range"], None).1);
    assert_eq!(refused.error_code, ResponseError::MemberIdRequired.code());
    refused.member_id
}

/// A stable group of one.
fn group_of_one(driver: &mut Driver) -> StrBytes {
    let id = new_member(driver);
    let (token, _) = join(driver, &id, &["range"], None);
    let response = completed(driver, token);
    assert_eq!((response.error_code, response.generation_id), (0, 1));
    assert_eq!((&response.leader, response.members.len()), (&id, 1));
    let (token, _) = sync(driver, &id, 1, &[(&id, "all")]);
    assert_eq!(synced(driver, token).assignment, "all");
    id
}

#[test]
fn a_second_member_makes_both_join_again() {
    let mut driver = Driver::new(Duration::ZERO);
    let first = group_of_one(&mut driver);
    assert_eq!(heartbeat(&mut driver, &first, 1), 0);
    let second = new_member(&mut driver);
    let (waiting, answer) = join(&mut driver, &second, &["range"], None);
    assert!(matches!(answer, Answer::Later), "{answer:?}");
    assert_eq!(
        heartbeat(&mut driver, &first, 1),
        ResponseError::RebalanceInProgress.code()
    );
    let (token, _) = join(&mut driver, &first, &["range"], None);
    let late = driver.completions();
    assert_eq!(late.len(), 2);
    for (t, response) in late {
        let Response::JoinGroup(response) = response else {
            panic!("{response:?}")
        };
        assert!(t == token || t == waiting);
        assert_eq!((response.generation_id, &response.leader), (2, &first));
        assert_eq!(response.members.len(), if t == token { 2 } else { 0 });
    }
    let (early, answer) = sync(&mut driver, &second, 2, &[]);
    assert!(
        matches!(answer, Answer::Later),
        "the leader's assignment is missing: {answer:?}"
    );
    sync(&mut driver, &first, 2, &[(&first, "a"), (&second, "b")]);
    assert_eq!(synced(&mut driver, early).assignment, "b");
    assert_eq!(heartbeat(&mut driver, &second, 2), 0);
    assert_eq!(
        heartbeat(&mut driver, &second, 1),
        ResponseError::IllegalGeneration.code()
    );
}

#[test]
fn a_silent_member_is_expelled() {
    let mut driver = Driver::new(Duration::ZERO);
    let id = group_of_one(&mut driver);
    driver.pass(Duration::from_secs(5));
    assert_eq!(heartbeat(&mut driver, &id, 1), 0);
    driver.pass(Duration::from_secs(5));
    assert_eq!(heartbeat(&mut driver, &id, 1), 0);
    driver.pass(Duration::from_secs(6));
    assert_eq!(
        heartbeat(&mut driver, &id, 1),
        ResponseError::UnknownMemberId.code()
    );
    let phases: Vec<_> = driver.state.groups.iter().map(Group::phase_name).collect();
    assert_eq!(phases, ["Empty"]);
}

#[test]
fn who_does_not_join_again_in_time_is_left_behind() {
    let mut driver = Driver::new(Duration::ZERO);
    let first = group_of_one(&mut driver);
    let second = new_member(&mut driver);
    let (token, _) = join(&mut driver, &second, &["range"], None);
    for _ in 0..2 {
        driver.pass(Duration::from_secs(4));
        heartbeat(&mut driver, &first, 1);
    }
    let late = driver.pass(Duration::from_secs(2));
    assert!(
        matches!(&late[..], [(t, Response::JoinGroup(r))] if *t == token && r.leader == second && r.members.len() == 1),
        "{late:?}"
    );
    assert_eq!(
        heartbeat(&mut driver, &first, 1),
        ResponseError::UnknownMemberId.code()
    );
}

#[test]
fn a_leader_that_assigns_nothing_is_expelled() {
    let mut driver = Driver::new(Duration::ZERO);
    let id = new_member(&mut driver);
    let (token, _) = join(&mut driver, &id, &["range"], None);
    assert_eq!(completed(&mut driver, token).generation_id, 1);
    driver.pass(Duration::from_secs(5));
    heartbeat(&mut driver, &id, 1);
    driver.pass(Duration::from_secs(5));
    assert_eq!(
        heartbeat(&mut driver, &id, 1),
        ResponseError::UnknownMemberId.code()
    );
}

#[test]
fn leaving_ends_the_membership_at_once() {
    let mut driver = Driver::new(Duration::ZERO);
    let id = group_of_one(&mut driver);
    let request = LeaveGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(id.clone());
    driver.send(1, Request::LeaveGroup(request));
    assert_eq!(
        heartbeat(&mut driver, &id, 1),
        ResponseError::UnknownMemberId.code()
    );
}

#[test]
fn protocols_without_a_common_one_do_not_mix() {
    let mut driver = Driver::new(Duration::ZERO);
    group_of_one(&mut driver);
    let refused = joined(join(&mut driver, &text(""), &["sticky"], None).1);
    assert_eq!(
        refused.error_code,
        ResponseError::InconsistentGroupProtocol.code()
    );
}

#[test]
fn the_first_rebalance_waits_for_more_members() {
    let mut driver = Driver::new(Duration::from_secs(3));
    let first = new_member(&mut driver);
    let (one, _) = join(&mut driver, &first, &["range"], None);
    assert_eq!(driver.pass(Duration::from_secs(2)).len(), 0);
    let second = new_member(&mut driver);
    let (other, _) = join(&mut driver, &second, &["range"], None);
    assert_eq!(
        driver.pass(Duration::from_secs(2)).len(),
        0,
        "a newcomer extends the wait"
    );
    let late = driver.pass(Duration::from_secs(1));
    let tokens: Vec<Token> = late.iter().map(|(token, _)| *token).collect();
    assert_eq!(tokens, [one, other]);
}

#[test]
fn an_instance_that_comes_back_causes_no_rebalance() {
    let mut driver = Driver::new(Duration::ZERO);
    let (token, _) = join(&mut driver, &text(""), &["range"], Some("one"));
    let old = completed(&mut driver, token).member_id;
    let (token, _) = sync(&mut driver, &old, 1, &[(&old, "all")]);
    assert_eq!(synced(&mut driver, token).assignment, "all");

    let again = joined(join(&mut driver, &text(""), &["range"], Some("one")).1);
    assert_eq!((again.error_code, again.generation_id), (0, 1));
    assert_eq!(again.leader, old, "the old id, so that it does not lead");
    assert_ne!(again.member_id, old);
    let (_, answer) = sync(&mut driver, &again.member_id, 1, &[]);
    assert!(matches!(answer, Answer::Ready(Response::SyncGroup(r)) if r.assignment == "all"));
    // The process that was replaced is told so.
    let refused = joined(join(&mut driver, &old, &["range"], Some("one")).1);
    assert_eq!(refused.error_code, ResponseError::FencedInstanceId.code());
}
