//! CreateTopics, DeleteTopics and CreatePartitions.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};

use super::super::config::TopicConfig;
use super::super::state::{Now, State};
use super::super::topics::{Partition, Refusal};
use super::{fetch, text};

/// Creates topics, each on its own.
pub(crate) fn create(state: &mut State, now: Now, request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let result = CreatableTopicResult::default().with_name(topic.name.clone());
            let is_twice = request
                .topics
                .iter()
                .filter(|other| other.name == topic.name)
                .count()
                > 1;
            match create_one(state, now, topic, request.validate_only, is_twice) {
                Ok(()) => result,
                Err(refusal) => result
                    .with_error_code(refusal.code.code())
                    .with_error_message(Some(text(refusal.message))),
            }
        })
        .collect();
    CreateTopicsResponse::default().with_topics(topics)
}

fn create_one(
    state: &mut State,
    now: Now,
    topic: &CreatableTopic,
    validate_only: bool,
    is_twice: bool,
) -> Result<(), Refusal> {
    if is_twice {
        return Err(Refusal::new(
            ResponseError::InvalidRequest,
            "Duplicate topic name.",
        ));
    }
    let partitions = match topic.assignments.len() {
        0 if topic.num_partitions == -1 => None,
        0 => Some(u32::try_from(topic.num_partitions).unwrap_or(0)),
        assigned => Some(u32::try_from(assigned).unwrap_or(0)),
    };
    if topic.assignments.is_empty() && !matches!(topic.replication_factor, -1 | 1) {
        return Err(Refusal::new(
            ResponseError::InvalidReplicationFactor,
            format!(
                "Replication factor {} is not possible: there is one broker.",
                topic.replication_factor
            ),
        ));
    }
    let mut pairs = Vec::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let message = format!("Null value not supported for topic configs: {}", config.name);
            return Err(Refusal::new(ResponseError::InvalidConfig, message));
        };
        pairs.push((config.name.as_str(), value.as_str()));
    }
    // In Apache Kafka's order: name and number first, then the settings.
    state.topics.check_new(&topic.name, partitions)?;
    let config = TopicConfig::new(pairs).map_err(|why| Refusal::new(ResponseError::InvalidConfig, why))?;
    if validate_only {
        return Ok(());
    }
    state.topics.create(&topic.name, partitions, config, now)
}

/// Deletes topics, their records, and what groups committed for them.
pub(crate) fn delete(state: &mut State, request: &DeleteTopicsRequest) -> DeleteTopicsResponse {
    let responses = request
        .topic_names
        .iter()
        .map(|name| {
            let result = DeletableTopicResult::default().with_name(Some(name.clone()));
            if delete_one(state, name) {
                result
            } else {
                result.with_error_code(ResponseError::UnknownTopicOrPartition.code())
            }
        })
        .collect();
    DeleteTopicsResponse::default().with_responses(responses)
}

fn delete_one(state: &mut State, name: &TopicName) -> bool {
    let Some(topic) = state.topics.remove(name) else {
        return false;
    };
    state.groups.topic_deleted(name);
    // Who waits for its records learns that they will not come.
    for token in topic.partitions.iter().flat_map(|partition| &partition.waiting) {
        fetch::finish(state, *token);
    }
    true
}

/// Adds partitions to topics.
pub(crate) fn create_partitions(
    state: &mut State,
    request: &CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let results = request
        .topics
        .iter()
        .map(|topic| {
            let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
            match create_partitions_of(state, topic, request.validate_only) {
                Ok(()) => result,
                Err(refusal) => result
                    .with_error_code(refusal.code.code())
                    .with_error_message(Some(text(refusal.message))),
            }
        })
        .collect();
    CreatePartitionsResponse::default().with_results(results)
}

fn create_partitions_of(
    state: &mut State,
    request: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let topic = state.topics.get_mut(&request.name).ok_or_else(|| {
        Refusal::new(
            ResponseError::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        )
    })?;
    let before = topic.partitions.len();
    let count = usize::try_from(request.count).unwrap_or(0);
    if count <= before || count > 10_000 {
        let message = format!(
            "The topic {} currently has {before} partition(s); {} would not be an increase.",
            *request.name, request.count
        );
        return Err(Refusal::new(ResponseError::InvalidPartitions, message));
    }
    if !validate_only {
        topic.partitions.resize_with(count, Partition::default);
    }
    Ok(())
}
