//! ListOffsets and OffsetForLeaderEpoch: where a log begins, ends, and reaches a time.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    TopicName,
};

use super::super::batch::LEADER_EPOCH;
use super::super::log::{OffsetTime, Reads};
use super::super::state::State;
use super::fetch::check_epoch;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const LARGEST_TIME: i64 = -3;
/// No such offset, or no time.
const NONE: i64 = -1;

/// The offset of a time, of the beginning or of the end.
pub(crate) fn list(state: &State, request: &ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
    let reads = Reads::of(request.isolation_level);
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|partition| list_one(state, &topic.name, partition, reads, version))
                .collect();
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions)
        })
        .collect();
    ListOffsetsResponse::default().with_topics(topics)
}

fn list_one(
    state: &State,
    topic: &TopicName,
    request: &ListOffsetsPartition,
    reads: Reads,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(request.partition_index);
    match find(state, topic, request, reads) {
        Ok(Some(found)) => response
            .with_offset(found.offset)
            .with_timestamp(found.timestamp)
            // Older versions have no place for it.
            .with_leader_epoch(if version >= 4 { LEADER_EPOCH } else { -1 }),
        Ok(None) => response.with_offset(NONE).with_timestamp(NONE),
        Err(error) => response
            .with_error_code(error.code())
            .with_offset(NONE)
            .with_timestamp(NONE),
    }
}

fn find(
    state: &State,
    topic: &TopicName,
    request: &ListOffsetsPartition,
    reads: Reads,
) -> Result<Option<OffsetTime>, ResponseError> {
    let log = &state.topics.partition(topic, request.partition_index)?.log;
    check_epoch(request.current_leader_epoch)?;
    let can_be_read = |found: &OffsetTime| found.offset < log.end_for(reads);
    match request.timestamp {
        LATEST => Ok(Some(OffsetTime {
            offset: log.end_for(reads),
            timestamp: NONE,
        })),
        EARLIEST => Ok(Some(OffsetTime {
            offset: log.start(),
            timestamp: NONE,
        })),
        LARGEST_TIME => Ok(log.latest_time().filter(can_be_read)),
        timestamp if timestamp < 0 => Err(ResponseError::UnsupportedVersion),
        timestamp => Ok(log.first_at(timestamp).filter(can_be_read)),
    }
}

/// Where an epoch ended. There is one epoch, and it goes on.
pub(crate) fn for_leader_epoch(
    state: &State,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|partition| end_of_epoch(state, &topic.topic, partition))
                .collect();
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions)
        })
        .collect();
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

fn end_of_epoch(state: &State, topic: &TopicName, request: &OffsetForLeaderPartition) -> EpochEndOffset {
    let response = EpochEndOffset::default().with_partition(request.partition);
    let partition = state.topics.partition(topic, request.partition);
    match partition.and_then(|partition| check_epoch(request.current_leader_epoch).map(|()| partition)) {
        Ok(partition) if request.leader_epoch == LEADER_EPOCH => response
            .with_leader_epoch(LEADER_EPOCH)
            .with_end_offset(partition.log.end()),
        Ok(_) => response.with_leader_epoch(-1).with_end_offset(NONE),
        Err(error) => response
            .with_error_code(error.code())
            .with_leader_epoch(-1)
            .with_end_offset(NONE),
    }
}
