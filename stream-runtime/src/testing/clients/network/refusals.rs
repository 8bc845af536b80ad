//! Answers with which a broker refuses a request for the moment, as when leaders and coordinators move.
//!
//! Which errors those are is what Apache Kafka answers to each request before it has done any of it. Not here: when a
//! request is refused ([`super`]), and what clients make of it.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnResponse,
    InitProducerIdResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchResponse, ProduceRequest,
    ProduceResponse, ProducerId, TopicName, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use crate::broker::api::{Request, Response};
use crate::testing::random::Random;

/// A partition that records are sent to.
pub(super) type Place = (TopicName, i32);

/// Partitions whose records are refused, and with what.
pub(super) type Refused = BTreeMap<Place, ResponseError>;

const LEADER: &[ResponseError] = &[
    ResponseError::NotLeaderOrFollower,
    ResponseError::NotEnoughReplicas,
    ResponseError::RequestTimedOut,
];
const COORDINATOR: &[ResponseError] = &[
    ResponseError::NotCoordinator,
    ResponseError::CoordinatorLoadInProgress,
    ResponseError::CoordinatorNotAvailable,
];
const LOADING: &[ResponseError] = &[
    ResponseError::NotCoordinator,
    ResponseError::CoordinatorLoadInProgress,
];
/// The transaction before is still being ended.
const TRANSACTIONS: &[ResponseError] = &[
    ResponseError::NotCoordinator,
    ResponseError::CoordinatorLoadInProgress,
    ResponseError::CoordinatorNotAvailable,
    ResponseError::ConcurrentTransactions,
];

/// The errors that a request may be refused with for the moment, as a whole. Records are refused by partition.
pub(super) fn errors(request: &Request) -> &'static [ResponseError] {
    match request {
        Request::OffsetCommit(_) | Request::TxnOffsetCommit(_) => COORDINATOR,
        Request::OffsetFetch(_) => LOADING,
        Request::InitProducerId(request) if request.transactional_id.is_none() => {
            &[ResponseError::CoordinatorLoadInProgress]
        }
        Request::InitProducerId(_)
        | Request::AddPartitionsToTxn(_)
        | Request::AddOffsetsToTxn(_)
        | Request::EndTxn(_) => TRANSACTIONS,
        _ => &[],
    }
}

/// The answer that refuses a request with one of its [`errors`].
pub(super) fn answer(request: &Request, error: ResponseError) -> Option<Response> {
    let code = error.code();
    Some(match request {
        Request::OffsetCommit(request) => commit(request, code).into(),
        Request::TxnOffsetCommit(request) => commit_in_transaction(request, code).into(),
        // As Kafka does, without the partitions.
        Request::OffsetFetch(_) => OffsetFetchResponse::default().with_error_code(code).into(),
        Request::InitProducerId(_) => InitProducerIdResponse::default()
            .with_error_code(code)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
            .into(),
        Request::AddPartitionsToTxn(request) => add_partitions(request, code).into(),
        Request::AddOffsetsToTxn(_) => AddOffsetsToTxnResponse::default().with_error_code(code).into(),
        Request::EndTxn(_) => EndTxnResponse::default().with_error_code(code).into(),
        _ => return None,
    })
}

/// Some of the partitions that a request brings records for, refused: one or all.
pub(super) fn some(request: &ProduceRequest, chance: &mut Random) -> Refused {
    let topics = request.topic_data.iter();
    let mut places: Vec<Place> = topics
        .flat_map(|topic| {
            let partitions = topic.partition_data.iter();
            partitions.map(|partition| (topic.name.clone(), partition.index))
        })
        .collect();
    if places.len() > 1 && chance.one_in(2) {
        places = vec![chance.pick(&places).clone()];
    }
    let error = *chance.pick(LEADER);
    places.into_iter().map(|place| (place, error)).collect()
}

/// Takes records of refused partitions out of a request, and gives the answer for them; nothing when there are none. Leaves
/// in `refused` those that there are.
pub(super) fn take_out(request: &mut ProduceRequest, refused: &mut Refused) -> Option<ProduceResponse> {
    let mut found = Refused::new();
    let mut topics = Vec::new();
    for topic in &mut request.topic_data {
        let mut partitions = Vec::new();
        topic.partition_data.retain(|partition| {
            let place = (topic.name.clone(), partition.index);
            let Some(error) = refused.get(&place) else {
                return true;
            };
            let response = PartitionProduceResponse::default()
                .with_index(partition.index)
                .with_error_code(error.code())
                .with_base_offset(-1);
            partitions.push(response);
            found.insert(place, *error);
            false
        });
        if !partitions.is_empty() {
            let response = TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(partitions);
            topics.push(response);
        }
    }
    request
        .topic_data
        .retain(|topic| !topic.partition_data.is_empty());
    *refused = found;
    (!topics.is_empty()).then(|| ProduceResponse::default().with_responses(topics))
}

/// Whether nothing is left of a request of which something was refused.
pub(super) fn is_all(request: &Request) -> bool {
    match request {
        Request::Produce(request) => request.topic_data.is_empty(),
        _ => true,
    }
}

/// The broker's answer with what was refused of the request.
pub(super) fn merged(mut response: Response, refused: Option<Response>) -> Response {
    if let (Response::Produce(response), Some(Response::Produce(refused))) = (&mut response, refused) {
        response.responses.extend(refused.responses);
    }
    response
}

fn commit(request: &OffsetCommitRequest, code: i16) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn commit_in_transaction(request: &TxnOffsetCommitRequest, code: i16) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

fn add_partitions(request: &AddPartitionsToTxnRequest, code: i16) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*partition)
                .with_partition_error_code(code)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect())
}
