//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit and EndTxn.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId, TopicName,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::super::marker::Outcome;
use super::super::offsets::Committed;
use super::super::producers::ProducerEpoch;
use super::super::state::{Now, State};
use super::super::transaction::Ended;
use super::committed::committed;
use super::{code, fetch};

/// Clients of older versions do not know `PRODUCER_FENCED`.
const FENCED_SINCE_INIT: i16 = 4;
const FENCED_SINCE: i16 = 2;

/// Gives a producer its id, and its epoch if it has transactions.
pub(crate) fn init_producer_id(
    state: &mut State,
    now: Now,
    request: &InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    let result = initialise(state, now, request);
    let code = code_since(FENCED_SINCE_INIT, version, &result);
    let producer = result.unwrap_or(ProducerEpoch { id: -1, epoch: -1 });
    InitProducerIdResponse::default()
        .with_error_code(code)
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
}

fn initialise(
    state: &mut State,
    now: Now,
    request: &InitProducerIdRequest,
) -> Result<ProducerEpoch, ResponseError> {
    let returning = match (request.producer_id.0, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ResponseError::InvalidRequest),
        (id, epoch) => Some(ProducerEpoch { id, epoch }),
    };
    let producer_ids = &mut state.producer_ids;
    let mut new_id = || {
        *producer_ids += 1;
        *producer_ids
    };
    let Some(id) = &request.transactional_id else {
        return Ok(ProducerEpoch {
            id: new_id(),
            epoch: 0,
        });
    };
    let timeout_ms = request.transaction_timeout_ms;
    let initialised = state.transactions.init(&id.0, timeout_ms, returning, new_id);
    if let Some(ended) = initialised.ended {
        finish(state, now, ended);
    }
    initialised.producer
}

/// Says which partitions the transaction writes to: all of them, or none.
pub(crate) fn add_partitions(
    state: &mut State,
    now: Now,
    request: &AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let is_known = |topic: &TopicName, index: i32| state.topics.partition(topic, index).map(drop);
    let asked = request.v3_and_below_topics.iter().flat_map(|topic| {
        let indexes = topic.partitions.iter();
        indexes.map(|index| (topic.name.clone(), *index))
    });
    let asked: Vec<_> = asked
        .map(|(name, index)| {
            let known = is_known(&name, index);
            (name, index, known)
        })
        .collect();
    let codes: Vec<i16> = if asked.iter().all(|(_, _, known)| known.is_ok()) {
        let producer = ProducerEpoch {
            id: request.v3_and_below_producer_id.0,
            epoch: request.v3_and_below_producer_epoch,
        };
        let id = &request.v3_and_below_transactional_id.0;
        let timers = &mut state.timers;
        let result = state.transactions.add(id, producer, now, timers, |open| {
            let added = asked.iter().map(|(name, index, _)| (name.to_string(), *index));
            open.partitions.extend(added);
        });
        vec![code_since(FENCED_SINCE, version, &result); asked.len()]
    } else {
        let not_tried = ResponseError::OperationNotAttempted.code();
        asked
            .iter()
            .map(|(_, _, known)| known.map_or_else(|error| error.code(), |()| not_tried))
            .collect()
    };
    let mut codes = codes.into_iter();
    let results = request.v3_and_below_topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut codes).map(|(index, code)| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    let results = results.collect();
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
}

/// Says which group's offsets the transaction commits.
pub(crate) fn add_offsets(
    state: &mut State,
    now: Now,
    request: &AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let producer = ProducerEpoch {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let id = &request.transactional_id.0;
    let timers = &mut state.timers;
    let result = state.transactions.add(id, producer, now, timers, |open| {
        open.groups.insert(request.group_id.0.clone());
    });
    AddOffsetsToTxnResponse::default().with_error_code(code_since(FENCED_SINCE, version, &result))
}

/// Stages offsets of a group until the transaction ends.
pub(crate) fn commit_offsets(state: &mut State, request: &TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let State {
        topics: known,
        groups,
        transactions,
        ..
    } = state;
    let producer = ProducerEpoch {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let id = &request.transactional_id.0;
    let mut group = transactions
        .may_commit(id, producer, &request.group_id.0)
        .and_then(|()| groups.committing_in_transaction(request));
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let checked = known.partition(&topic.name, index).map(drop);
            let result = match (checked, &mut group) {
                (Err(error), _) => Err(error),
                (Ok(()), Err(error)) => Err(*error),
                (Ok(()), Ok(group)) => staged(partition).map(|offset| {
                    let at = (topic.name.to_string(), index);
                    group.offsets.stage(producer.id, at, offset);
                }),
            };
            let response = TxnOffsetCommitResponsePartition::default().with_partition_index(index);
            partitions.push(response.with_error_code(code(&result)));
        }
        let response = TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions);
        topics.push(response);
    }
    TxnOffsetCommitResponse::default().with_topics(topics)
}

fn staged(partition: &TxnOffsetCommitRequestPartition) -> Result<Committed, ResponseError> {
    committed(
        partition.committed_offset,
        partition.committed_leader_epoch,
        partition.committed_metadata.as_ref(),
    )
}

/// Commits or aborts.
pub(crate) fn end(state: &mut State, now: Now, request: &EndTxnRequest, version: i16) -> EndTxnResponse {
    let producer = ProducerEpoch {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let outcome = if request.committed {
        Outcome::Commit
    } else {
        Outcome::Abort
    };
    let result = state
        .transactions
        .end(&request.transactional_id.0, producer, outcome);
    let code = code_since(FENCED_SINCE, version, &result);
    if let Ok(Some(ended)) = result {
        finish(state, now, ended);
    }
    EndTxnResponse::default().with_error_code(code)
}

/// Writes the markers of a transaction, wakes who waits for them, and settles the offsets it staged.
pub(crate) fn finish(state: &mut State, now: Now, ended: Ended) {
    for (topic, index) in ended.partitions {
        // A topic that was deleted needs no marker.
        if let Ok((partition, config)) = state.topics.partition_mut(&topic, index) {
            let grown = partition.mark(ended.outcome, ended.producer, config, now);
            fetch::grown(state, &topic, index, grown);
        }
    }
    for group in ended.groups {
        state
            .groups
            .end_transaction(&group, ended.producer.id, ended.outcome);
    }
}

/// The code for a client of this version: `INVALID_PRODUCER_EPOCH` says the same to older ones.
fn code_since<T>(since: i16, version: i16, result: &Result<T, ResponseError>) -> i16 {
    match result {
        Err(ResponseError::ProducerFenced) if version < since => ResponseError::InvalidProducerEpoch.code(),
        other => code(other),
    }
}
