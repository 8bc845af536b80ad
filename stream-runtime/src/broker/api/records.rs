//! DeleteRecords.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};

use super::super::state::State;

/// Offset -1 stands for the end.
const END: i64 = -1;

/// Drops the records before an offset.
pub(crate) fn delete(state: &mut State, request: &DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for partition in &topic.partitions {
            let result =
                DeleteRecordsPartitionResult::default().with_partition_index(partition.partition_index);
            partitions.push(match delete_before(state, &topic.name, partition) {
                Ok(start) => result.with_low_watermark(start),
                Err(error) => result.with_error_code(error.code()).with_low_watermark(-1),
            });
        }
        let result = DeleteRecordsTopicResult::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions);
        topics.push(result);
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

fn delete_before(
    state: &mut State,
    topic: &TopicName,
    request: &DeleteRecordsPartition,
) -> Result<i64, ResponseError> {
    let (partition, config) = state.topics.partition_mut(topic, request.partition_index)?;
    if !config.delete {
        return Err(ResponseError::PolicyViolation);
    }
    let offset = if request.offset == END {
        partition.log.end()
    } else {
        request.offset
    };
    partition.log.truncate_before(offset)?;
    Ok(partition.log.start())
}
