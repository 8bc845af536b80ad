//! OffsetCommit, OffsetFetch and OffsetDelete.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

use super::super::offsets::{Committed, Offsets};
use super::super::state::{Now, State};
use super::text;

/// The longest text that goes with an offset.
const LONGEST_METADATA: usize = 4096;

/// Keeps offsets for a group.
pub(crate) fn commit(state: &mut State, now: Now, request: &OffsetCommitRequest) -> OffsetCommitResponse {
    let State {
        topics: known,
        groups,
        ..
    } = state;
    let mut group = groups.committing(request, now);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let checked = known.partition(&topic.name, index).and_then(|_| {
                let metadata = partition.committed_metadata.as_ref();
                committed(
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    metadata,
                )
            });
            let result = match (&mut group, checked) {
                (Err(error), _) => Err(*error),
                (Ok(_), Err(error)) => Err(error),
                (Ok(group), Ok(committed)) => {
                    group.offsets.commit((topic.name.to_string(), index), committed);
                    Ok(())
                }
            };
            let response = OffsetCommitResponsePartition::default().with_partition_index(index);
            partitions.push(response.with_error_code(super::code(&result)));
        }
        let response = OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions);
        topics.push(response);
    }
    OffsetCommitResponse::default().with_topics(topics)
}

/// An offset to be committed.
///
/// # Errors
///
/// The metadata is too long.
pub(super) fn committed(
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&StrBytes>,
) -> Result<Committed, ResponseError> {
    let metadata = metadata.cloned().unwrap_or_default();
    if metadata.len() > LONGEST_METADATA {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(Committed {
        offset,
        leader_epoch,
        metadata,
    })
}

/// The offsets that a group committed, of some partitions or of all.
pub(crate) fn fetch(state: &State, request: &OffsetFetchRequest) -> OffsetFetchResponse {
    let none = Offsets::default();
    let group = state.groups.get(&request.group_id.0);
    let offsets = group.map_or(&none, |group| &group.offsets);
    let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    match &request.topics {
        Some(topics) => {
            for topic in topics {
                wanted
                    .entry(topic.name.to_string())
                    .or_default()
                    .extend(&topic.partition_indexes);
            }
        }
        None => {
            for (topic, index) in offsets.partitions() {
                wanted.entry(topic.clone()).or_default().push(*index);
            }
        }
    }
    let topics = wanted
        .into_iter()
        .map(|(topic, indexes)| {
            let partitions = indexes
                .into_iter()
                .map(|index| {
                    // Who needs the outcome of an open transaction asks again.
                    if request.require_stable && offsets.is_unstable(&topic, index) {
                        let code = ResponseError::UnstableOffsetCommit.code();
                        return describe(index, None).with_error_code(code);
                    }
                    describe(index, offsets.get(&topic, index))
                })
                .collect();
            OffsetFetchResponseTopic::default()
                .with_name(TopicName(text(topic)))
                .with_partitions(partitions)
        })
        .collect();
    OffsetFetchResponse::default().with_topics(topics)
}

fn describe(index: i32, committed: Option<&Committed>) -> OffsetFetchResponsePartition {
    let response = OffsetFetchResponsePartition::default().with_partition_index(index);
    match committed {
        Some(committed) => response
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(committed.metadata.clone())),
        None => response
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(StrBytes::default())),
    }
}

/// Forgets offsets of a group without members.
pub(crate) fn delete(state: &mut State, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = match state.groups.forget_offsets(&request.group_id.0) {
        Ok(group) => group,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for partition in &topic.partitions {
            let at = (topic.name.to_string(), partition.partition_index);
            group.offsets.remove(&at);
            let response = OffsetDeleteResponsePartition::default();
            partitions.push(response.with_partition_index(partition.partition_index));
        }
        let response = OffsetDeleteResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions);
        topics.push(response);
    }
    OffsetDeleteResponse::default().with_topics(topics)
}
