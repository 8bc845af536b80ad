//! Offsets of groups inside transactions: which write counts, and what goes with a group or a topic.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, DeleteGroupsRequest, DeleteTopicsRequest, GroupId, OffsetCommitRequest,
    OffsetFetchRequest, ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest,
};
use std::time::Duration;

use super::fixture::{Driver, Producer};
use crate::broker::api::{Request, Response, text};
use crate::broker::state::Answer;

const COMMIT: bool = true;
const ABORT: bool = false;

fn driver() -> Driver {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", &[]);
    driver
}

/// The code and the offset that a group has committed for partition 0 of `t`.
fn group_offset(driver: &mut Driver, require_stable: bool) -> (i16, i64) {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_require_stable(require_stable)
        .with_topics(Some(vec![topic]));
    match driver.send(7, Request::OffsetFetch(request)).1 {
        Answer::Ready(Response::OffsetFetch(response)) => {
            let partition = &response.topics[0].partitions[0];
            (partition.error_code, partition.committed_offset)
        }
        other => panic!("{other:?}"),
    }
}

fn stage(driver: &mut Driver, who: &Producer, offset: i64) {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(TransactionalId(text(who.name)))
        .with_producer_id(ProducerId(who.id))
        .with_producer_epoch(who.epoch)
        .with_group_id(GroupId(text("g")));
    driver.send(0, Request::AddOffsetsToTxn(request));
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(text(who.name)))
        .with_group_id(GroupId(text("g")))
        .with_producer_id(ProducerId(who.id))
        .with_producer_epoch(who.epoch)
        .with_generation_id(-1)
        .with_topics(vec![topic]);
    match driver.send(3, Request::TxnOffsetCommit(request)).1 {
        Answer::Ready(Response::TxnOffsetCommit(response)) => {
            assert_eq!(response.topics[0].partitions[0].error_code, 0);
        }
        other => panic!("{other:?}"),
    }
}

fn commit_outside(driver: &mut Driver, offset: i64) {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    driver.send(7, Request::OffsetCommit(request));
}

#[test]
fn the_offset_that_was_written_last_counts() {
    let mut driver = driver();
    let (one, two) = (driver.init("one", 60_000), driver.init("two", 60_000));
    let unstable = ResponseError::UnstableOffsetCommit.code();
    stage(&mut driver, &one, 10);
    commit_outside(&mut driver, 20);
    assert_eq!(group_offset(&mut driver, false), (0, 20));
    assert_eq!(group_offset(&mut driver, true), (unstable, -1));
    assert_eq!(driver.end(&one, COMMIT), 0);
    assert_eq!(
        group_offset(&mut driver, true),
        (0, 20),
        "it was written after the staged one"
    );
    stage(&mut driver, &one, 30);
    stage(&mut driver, &two, 40);
    assert_eq!(driver.end(&two, COMMIT), 0);
    assert_eq!(group_offset(&mut driver, true), (unstable, -1));
    assert_eq!(driver.end(&one, COMMIT), 0);
    assert_eq!(group_offset(&mut driver, true), (0, 40));
}

#[test]
fn staged_offsets_go_with_their_group_or_topic() {
    let mut driver = driver();
    let producer = driver.init("one", 60_000);
    stage(&mut driver, &producer, 10);
    let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("g"))]);
    driver.send(1, Request::DeleteGroups(request));
    assert_eq!(driver.end(&producer, COMMIT), 0);
    assert_eq!(group_offset(&mut driver, true), (0, -1));
    stage(&mut driver, &producer, 10);
    let request = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("t"))]);
    driver.send(1, Request::DeleteTopics(request));
    assert_eq!(group_offset(&mut driver, true), (0, -1));
    assert_eq!(driver.end(&producer, COMMIT), 0);
    assert_eq!(group_offset(&mut driver, true), (0, -1));
    assert_eq!(driver.state.groups.iter().count(), 0, "nothing is left of it");
}

#[test]
fn a_group_is_not_forgotten_while_offsets_are_staged() {
    let mut driver = driver();
    driver.topic("other", &[]);
    let producer = driver.init("one", 60_000);
    stage(&mut driver, &producer, 10);
    // Whenever a topic goes, groups of which nothing is left go with it.
    let request = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("other"))]);
    driver.send(1, Request::DeleteTopics(request));
    assert_eq!(driver.state.groups.iter().count(), 1);
    assert_eq!(driver.end(&producer, ABORT), 0);
    assert_eq!(driver.state.groups.iter().count(), 0);
}
