//! Produce.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest};
use kafka_protocol::messages::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{TopicName, TransactionalId};

use super::super::state::{Answer, Now, State};
use super::super::topics::{self, Appended};
use super::{fetch, text};

/// Appends what comes, each partition on its own.
pub(crate) fn produce(state: &mut State, now: Now, request: &ProduceRequest) -> Answer {
    let refused = match request.acks {
        -1..=1 => None,
        _ => Some(ResponseError::InvalidRequiredAcks),
    };
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in &request.topic_data {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in &topic.partition_data {
            let result = match refused {
                Some(error) => Err(error),
                None => append(state, now, request.transactional_id.as_ref(), &topic.name, data),
            };
            partitions.push(describe(state, &topic.name, data.index, result));
        }
        let response = TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_partition_responses(partitions);
        responses.push(response);
    }
    match request.acks {
        0 => Answer::Nothing,
        _ => Answer::Ready(ProduceResponse::default().with_responses(responses).into()),
    }
}

fn append(
    state: &mut State,
    now: Now,
    transactional_id: Option<&TransactionalId>,
    topic: &TopicName,
    data: &PartitionProduceData,
) -> Result<Appended, ResponseError> {
    let (partition, config) = state.topics.partition_mut(topic, data.index)?;
    let records = data.records.clone().ok_or(ResponseError::InvalidRecord)?;
    let batch = topics::receive(records, config)?;
    if batch.is_transactional() && transactional_id.is_none() {
        return Err(ResponseError::TransactionalIdAuthorizationFailed);
    }
    if let Some(id) = transactional_id
        && partition.begins_transaction(&batch)
    {
        let at = (topic.to_string(), data.index);
        state.transactions.may_write(&id.0, batch.producer(), &at)?;
    }
    let appended = partition.append(batch, config, now)?;
    fetch::grown(state, topic, data.index, appended.grown);
    Ok(appended)
}

fn describe(
    state: &State,
    topic: &TopicName,
    index: i32,
    result: Result<Appended, ResponseError>,
) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match result {
        Ok(appended) => {
            let start = state
                .topics
                .partition(topic, index)
                .map_or(-1, |partition| partition.log.start());
            response
                .with_base_offset(appended.base_offset)
                .with_log_append_time_ms(appended.append_time)
                .with_log_start_offset(start)
        }
        Err(error) => response
            .with_error_code(error.code())
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1)
            .with_error_message(Some(text(error.to_string()))),
    }
}
