//! Requests of every kind as clients write them, and conversations made of them.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{self as k, ApiKey, GroupId, ProducerId, TopicName, TransactionalId};
use kafka_protocol::protocol::Encodable;

use crate::broker::api::{SUPPORTED, text};
use crate::broker::tests::fixture::Sent;

/// A frame without its length.
pub(super) fn frame(key: ApiKey, version: i16, request: &impl Encodable) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_i16(key as i16);
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(-1);
    if key.request_header_version(version) >= 2 {
        frame.put_u8(0);
    }
    request
        .encode(&mut frame, version)
        .expect("a request fits its version");
    frame.to_vec()
}

/// A request of every API in its first and its last version, as empty as it can be.
pub(super) fn empty() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for api in SUPPORTED {
        for version in [api.min, api.max] {
            // The field that says what comes last is not written at its default by all versions.
            macro_rules! of {
                ($($name:ident $request:ident),* $(,)?) => {
                    match api.key {
                        $(ApiKey::$name => frame(api.key, version, &k::$request::default()),)*
                        other => panic!("{other:?} has no sample here"),
                    }
                };
            }
            frames.push(of!(
                Produce ProduceRequest, Fetch FetchRequest, ListOffsets ListOffsetsRequest,
                Metadata MetadataRequest, OffsetCommit OffsetCommitRequest, OffsetFetch OffsetFetchRequest,
                FindCoordinator FindCoordinatorRequest, JoinGroup JoinGroupRequest,
                Heartbeat HeartbeatRequest, LeaveGroup LeaveGroupRequest, SyncGroup SyncGroupRequest,
                DescribeGroups DescribeGroupsRequest, ListGroups ListGroupsRequest,
                ApiVersions ApiVersionsRequest, CreateTopics CreateTopicsRequest,
                DeleteTopics DeleteTopicsRequest, DeleteRecords DeleteRecordsRequest,
                InitProducerId InitProducerIdRequest, AddPartitionsToTxn AddPartitionsToTxnRequest,
                AddOffsetsToTxn AddOffsetsToTxnRequest, EndTxn EndTxnRequest,
                TxnOffsetCommit TxnOffsetCommitRequest, OffsetForLeaderEpoch OffsetForLeaderEpochRequest,
                DescribeConfigs DescribeConfigsRequest, AlterConfigs AlterConfigsRequest,
                CreatePartitions CreatePartitionsRequest, DeleteGroups DeleteGroupsRequest,
                IncrementalAlterConfigs IncrementalAlterConfigsRequest, OffsetDelete OffsetDeleteRequest,
                DescribeCluster DescribeClusterRequest,
            ));
        }
    }
    frames
}

/// Frames that follow one another, each with its length in two bytes before it.
pub(super) fn conversation(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        let length = u16::try_from(frame.len()).expect("samples are short");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(frame);
    }
    out
}

fn topic() -> TopicName {
    TopicName(text("t"))
}

/// A topic is created, written to and read.
pub(super) fn records() -> Vec<Vec<u8>> {
    let config = CreatableTopicConfig::default()
        .with_name(text("cleanup.policy"))
        .with_value(Some(text("compact")));
    let new = CreatableTopic::default()
        .with_name(TopicName(text("new")))
        .with_num_partitions(2)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let create = k::CreateTopicsRequest::default()
        .with_topics(vec![new])
        .with_timeout_ms(1000);
    let fetch_partition = FetchPartition::default()
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1000);
    let fetch_topic = FetchTopic::default()
        .with_topic(topic())
        .with_partitions(vec![fetch_partition]);
    let fetch = k::FetchRequest::default()
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(1000)
        .with_isolation_level(1)
        .with_topics(vec![fetch_topic]);
    let time = ListOffsetsPartition::default()
        .with_current_leader_epoch(-1)
        .with_timestamp(-3);
    let times = ListOffsetsTopic::default()
        .with_name(topic())
        .with_partitions(vec![time]);
    let list = k::ListOffsetsRequest::default().with_topics(vec![times]);
    vec![
        frame(ApiKey::CreateTopics, 4, &create),
        frame(ApiKey::Fetch, 12, &fetch),
        frame(ApiKey::Produce, 9, &produce(None, (-1, -1, -1))),
        frame(ApiKey::Fetch, 4, &fetch),
        frame(ApiKey::ListOffsets, 7, &list),
    ]
}

fn produce(id: Option<&str>, producer: (i64, i16, i32)) -> k::ProduceRequest {
    let sent = Sent {
        producer,
        attributes: if id.is_some() { 1 << 4 } else { 0 },
        ..Sent::new(&[(Some("a"), Some("1"))])
    };
    let partition = PartitionProduceData::default().with_records(Some(sent.encode()));
    let data = TopicProduceData::default()
        .with_name(topic())
        .with_partition_data(vec![partition]);
    k::ProduceRequest::default()
        .with_acks(-1)
        .with_transactional_id(id.map(|id| TransactionalId(text(id))))
        .with_topic_data(vec![data])
}

/// A member comes, commits, and goes.
pub(super) fn membership(member: &str) -> Vec<Vec<u8>> {
    let group = || GroupId(text("g"));
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"t"));
    let join = k::JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(6000)
        .with_rebalance_timeout_ms(6000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let given = SyncGroupRequestAssignment::default()
        .with_member_id(text(member))
        .with_assignment(Bytes::from_static(b"all"));
    let sync = k::SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(1)
        .with_member_id(text(member))
        .with_assignments(vec![given]);
    let heartbeat = k::HeartbeatRequest::default()
        .with_group_id(group())
        .with_generation_id(1)
        .with_member_id(text(member));
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(1)
        .with_committed_metadata(Some(text("1 1")));
    let commit_topic = OffsetCommitRequestTopic::default()
        .with_name(topic())
        .with_partitions(vec![partition]);
    let commit = k::OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(1)
        .with_member_id(text(member))
        .with_topics(vec![commit_topic]);
    let leave = k::LeaveGroupRequest::default()
        .with_group_id(group())
        .with_member_id(text(member));
    let describe = k::DescribeGroupsRequest::default().with_groups(vec![group()]);
    vec![
        frame(ApiKey::JoinGroup, 2, &join),
        frame(ApiKey::SyncGroup, 0, &sync),
        frame(ApiKey::Heartbeat, 0, &heartbeat),
        frame(ApiKey::OffsetCommit, 6, &commit),
        frame(ApiKey::DescribeGroups, 5, &describe),
        frame(ApiKey::LeaveGroup, 1, &leave),
    ]
}

/// A transaction with records and offsets.
pub(super) fn transaction() -> Vec<Vec<u8>> {
    let id = || TransactionalId(text("x"));
    let init = k::InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(5000)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let added = AddPartitionsToTxnTopic::default()
        .with_name(topic())
        .with_partitions(vec![0]);
    let add = k::AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id())
        .with_v3_and_below_producer_id(ProducerId(1))
        .with_v3_and_below_topics(vec![added]);
    let add_offsets = k::AddOffsetsToTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(ProducerId(1))
        .with_group_id(GroupId(text("g")));
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(7);
    let staged = TxnOffsetCommitRequestTopic::default()
        .with_name(topic())
        .with_partitions(vec![partition]);
    let stage = k::TxnOffsetCommitRequest::default()
        .with_transactional_id(id())
        .with_group_id(GroupId(text("g")))
        .with_producer_id(ProducerId(1))
        .with_generation_id(-1)
        .with_topics(vec![staged]);
    let end = k::EndTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(ProducerId(1))
        .with_committed(true);
    vec![
        frame(ApiKey::InitProducerId, 4, &init),
        frame(ApiKey::AddPartitionsToTxn, 3, &add),
        frame(ApiKey::Produce, 9, &produce(Some("x"), (1, 0, 0))),
        frame(ApiKey::AddOffsetsToTxn, 3, &add_offsets),
        frame(ApiKey::TxnOffsetCommit, 3, &stage),
        frame(ApiKey::EndTxn, 3, &end),
    ]
}
