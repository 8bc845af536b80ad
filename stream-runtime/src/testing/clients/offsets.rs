//! The requests about offsets, and what their answers say: committing, asking what is committed, and where a log begins.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    GroupId, ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::membership::Member;
use crate::broker::api::text;
use crate::kafka::{CommitOffset, TopicPartition};

/// The versions that are spoken.
pub(super) const COMMIT_VERSION: i16 = 8;
pub(super) const COMMITTED_VERSION: i16 = 7;
pub(super) const LIST_VERSION: i16 = 7;

/// The `timestamp` that asks for the first offset.
const EARLIEST: i64 = -2;

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Committed {
    Nothing,
    Offset(CommitOffset),
    /// An open transaction may change it, or the broker cannot tell for the moment: it is to be asked for again.
    Unstable,
}

/// Things of partitions by topic, in the order of the topics' names.
pub(super) fn by_topic<'a, T>(
    things: impl IntoIterator<Item = (&'a TopicPartition, T)>,
) -> impl Iterator<Item = (TopicName, Vec<T>)> {
    let mut topics: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (at, thing) in things {
        topics.entry(&at.topic).or_default().push(thing);
    }
    let topics = topics.into_iter();
    topics.map(|(topic, things)| (TopicName(text(topic)), things))
}

/// Asks to keep these offsets, as this member.
pub(super) fn commit(member: &Member, offsets: &[CommitOffset]) -> OffsetCommitRequest {
    let partitions = offsets.iter().map(|offset| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(offset.at.partition)
            .with_committed_offset(offset.offset)
            .with_committed_metadata(Some(text(offset.metadata.as_str())));
        (&offset.at, partition)
    });
    let topics = by_topic(partitions).map(|(name, partitions)| {
        OffsetCommitRequestTopic::default()
            .with_name(name)
            .with_partitions(partitions)
    });
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(member.group.as_str())))
        .with_member_id(text(member.member_id.as_str()))
        .with_generation_id_or_member_epoch(member.generation)
        .with_group_instance_id(member.instance_id.as_deref().map(text))
        .with_topics(topics.collect())
}

/// The first partition whose offset was not kept, and why.
pub(super) fn refusal(response: &OffsetCommitResponse) -> Option<(TopicPartition, ResponseError)> {
    response.topics.iter().find_map(|topic| {
        topic.partitions.iter().find_map(|partition| {
            let at = TopicPartition {
                topic: topic.name.as_str().into(),
                partition: partition.partition_index,
            };
            ResponseError::try_from_code(partition.error_code).map(|error| (at, error))
        })
    })
}

/// Asks what the group has committed for these partitions.
pub(super) fn ask_committed(group: &StrBytes, partitions: &[TopicPartition]) -> OffsetFetchRequest {
    let topics = by_topic(partitions.iter().map(|at| (at, at.partition))).map(|(name, partitions)| {
        OffsetFetchRequestTopic::default()
            .with_name(name)
            .with_partition_indexes(partitions)
    });
    OffsetFetchRequest::default()
        .with_group_id(GroupId(group.clone()))
        .with_topics(Some(topics.collect()))
        .with_require_stable(true)
}

/// The answer, in the order of the question.
pub(super) fn committed(response: &OffsetFetchResponse, asked: &[TopicPartition]) -> Vec<Committed> {
    let find = |at: &TopicPartition| {
        let topic = response.topics.iter().find(|topic| *topic.name == *at.topic)?;
        let mut partitions = topic.partitions.iter();
        partitions.find(|partition| partition.partition_index == at.partition)
    };
    let one = |at: &TopicPartition| match find(at) {
        // Refused as a whole, without a word on the partitions.
        _ if response.error_code != 0 => Committed::Unstable,
        Some(found) if found.error_code != 0 => Committed::Unstable,
        Some(found) if found.committed_offset >= 0 => Committed::Offset(CommitOffset {
            at: at.clone(),
            offset: found.committed_offset,
            metadata: found.metadata.as_deref().unwrap_or_default().to_owned(),
        }),
        Some(_) | None => Committed::Nothing,
    };
    asked.iter().map(one).collect()
}

/// Asks where these partitions begin.
pub(super) fn ask_beginnings(partitions: &[TopicPartition]) -> ListOffsetsRequest {
    let wanted = partitions.iter().map(|at| {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(at.partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(EARLIEST);
        (at, partition)
    });
    let topics = by_topic(wanted).map(|(name, partitions)| {
        ListOffsetsTopic::default()
            .with_name(name)
            .with_partitions(partitions)
    });
    ListOffsetsRequest::default()
        .with_isolation_level(1)
        .with_topics(topics.collect())
}

/// The answer, in the order of the question; `None` where it is to be asked for again.
pub(super) fn beginnings(response: &ListOffsetsResponse, asked: &[TopicPartition]) -> Vec<Option<i64>> {
    let one = |at: &TopicPartition| {
        let topic = response.topics.iter().find(|topic| *topic.name == *at.topic)?;
        let mut partitions = topic.partitions.iter();
        let found = partitions.find(|partition| partition.partition_index == at.partition)?;
        (found.error_code == 0).then_some(found.offset)
    };
    asked.iter().map(one).collect()
}
