//! Metadata, DescribeCluster and FindCoordinator: all of it is this one broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest,
    MetadataResponse, TopicName,
};
use uuid::Uuid;

use super::super::batch::LEADER_EPOCH;
use super::super::config::TopicConfig;
use super::super::state::{CLUSTER, NODE, Now, State};
use super::super::topics::{Topic, check_name};
use super::text;

/// Authorized operations that were not asked for.
const NOT_ASKED: i32 = i32::MIN;

/// The topics asked for, or all.
pub(crate) fn metadata(
    state: &mut State,
    now: Now,
    request: &MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let topics = match &request.topics {
        // In version 0 an empty list asks for all.
        None => all(state),
        Some(topics) if topics.is_empty() && version == 0 => all(state),
        Some(topics) => {
            let may_create = state.identity.auto_create_topics && request.allow_auto_topic_creation;
            topics
                .iter()
                .map(|topic| match &topic.name {
                    Some(name) => by_name(state, now, name, may_create),
                    None => by_id(state, topic.topic_id),
                })
                .collect()
        }
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE))
        .with_host(state.identity.host.clone())
        .with_port(i32::from(state.identity.port));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(CLUSTER)))
        .with_controller_id(BrokerId(NODE))
        .with_topics(topics)
        .with_cluster_authorized_operations(NOT_ASKED)
}

fn all(state: &State) -> Vec<MetadataResponseTopic> {
    state
        .topics
        .iter()
        .map(|(name, topic)| describe(name, topic))
        .collect()
}

fn by_name(state: &mut State, now: Now, name: &TopicName, may_create: bool) -> MetadataResponseTopic {
    if state.topics.get(name).is_none() && may_create {
        // A name that is not allowed is refused below.
        state.topics.create(name, None, TopicConfig::default(), now).ok();
    }
    match state.topics.get(name) {
        Some(topic) => describe(name, topic),
        None if check_name(name).is_err() => {
            unknown(ResponseError::InvalidTopicException).with_name(Some(name.clone()))
        }
        None => unknown(ResponseError::UnknownTopicOrPartition).with_name(Some(name.clone())),
    }
}

fn by_id(state: &State, id: Uuid) -> MetadataResponseTopic {
    match state.topics.by_id(id) {
        Some((name, topic)) => describe(name, topic),
        None => unknown(ResponseError::UnknownTopicId).with_topic_id(id),
    }
}

fn unknown(error: ResponseError) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_topic_authorized_operations(NOT_ASKED)
}

fn describe(name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partition = |(index, _): (i32, _)| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE))
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![BrokerId(NODE)])
            .with_isr_nodes(vec![BrokerId(NODE)])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(name))))
        .with_topic_id(topic.id)
        .with_partitions((0..).zip(&topic.partitions).map(partition).collect())
        .with_topic_authorized_operations(NOT_ASKED)
}

/// The cluster of one.
pub(crate) fn cluster(state: &State) -> DescribeClusterResponse {
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE))
        .with_host(state.identity.host.clone())
        .with_port(i32::from(state.identity.port));
    DescribeClusterResponse::default()
        .with_cluster_id(text(CLUSTER))
        .with_controller_id(BrokerId(NODE))
        .with_brokers(vec![broker])
        .with_cluster_authorized_operations(NOT_ASKED)
}

/// The coordinator of a group or of a transaction.
pub(crate) fn coordinator(state: &State, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    if !matches!(request.key_type, 0 | 1) {
        return FindCoordinatorResponse::default()
            .with_error_code(ResponseError::InvalidRequest.code())
            .with_node_id(BrokerId(-1))
            .with_port(-1);
    }
    FindCoordinatorResponse::default()
        .with_node_id(BrokerId(NODE))
        .with_host(state.identity.host.clone())
        .with_port(i32::from(state.identity.port))
}
