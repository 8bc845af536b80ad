//! The requests of transactions, and what librdkafka makes of their answers.
//!
//! Their versions are those that librdkafka speaks. What follows from a complaint is judged by
//! [`crate::kafka::judge`], as in production.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest, GroupId,
    ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use crate::broker::api::text;
use crate::kafka::{CommitOffset, Complaint};
use crate::testing::clients::delivery::{Identity, Place};
use crate::testing::clients::membership::Member;
use crate::testing::clients::offsets::by_topic;

pub(super) const INIT_VERSION: i16 = 4;
pub(super) const ADD_PARTITIONS_VERSION: i16 = 0;
pub(super) const ADD_OFFSETS_VERSION: i16 = 0;
pub(super) const COMMIT_OFFSETS_VERSION: i16 = 3;
pub(super) const END_VERSION: i16 = 1;

/// librdkafka's own codes.
const TRANSPORT: i32 = -195;
const FENCED: i32 = -144;
const INCONSISTENT: i32 = -149;

pub(super) fn add_partitions(
    id: &TransactionalId,
    identity: Identity,
    places: &[Place],
) -> AddPartitionsToTxnRequest {
    let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
    for (topic, partition) in places {
        match topics.last_mut() {
            Some(last) if *last.name == **topic => last.partitions.push(*partition),
            _ => topics.push(
                AddPartitionsToTxnTopic::default()
                    .with_name(TopicName(text(&**topic)))
                    .with_partitions(vec![*partition]),
            ),
        }
    }
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id.clone())
        .with_v3_and_below_producer_id(ProducerId(identity.id))
        .with_v3_and_below_producer_epoch(identity.epoch)
        .with_v3_and_below_topics(topics)
}

/// What is wrong with a partition that was to be added, the worst first.
pub(super) fn not_added(response: &AddPartitionsToTxnResponse) -> Option<ResponseError> {
    let topics = response.results_by_topic_v3_and_below.iter();
    let partitions = topics.flat_map(|topic| &topic.results_by_partition);
    let errors =
        partitions.filter_map(|partition| ResponseError::try_from_code(partition.partition_error_code));
    // Partitions are not tried when another is refused.
    errors.min_by_key(|error| *error == ResponseError::OperationNotAttempted)
}

pub(super) fn add_offsets(id: &TransactionalId, identity: Identity, group: &str) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest::default()
        .with_transactional_id(id.clone())
        .with_producer_id(ProducerId(identity.id))
        .with_producer_epoch(identity.epoch)
        .with_group_id(GroupId(text(group)))
}

pub(super) fn commit_offsets(
    id: &TransactionalId,
    identity: Identity,
    member: &Member,
    offsets: &[CommitOffset],
) -> TxnOffsetCommitRequest {
    let partitions = offsets.iter().map(|offset| {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(offset.at.partition)
            .with_committed_offset(offset.offset)
            .with_committed_metadata(Some(text(offset.metadata.as_str())));
        (&offset.at, partition)
    });
    let topics = by_topic(partitions).map(|(name, partitions)| {
        TxnOffsetCommitRequestTopic::default()
            .with_name(name)
            .with_partitions(partitions)
    });
    TxnOffsetCommitRequest::default()
        .with_transactional_id(id.clone())
        .with_group_id(GroupId(text(member.group.as_str())))
        .with_producer_id(ProducerId(identity.id))
        .with_producer_epoch(identity.epoch)
        .with_generation_id(member.generation)
        .with_member_id(text(member.member_id.as_str()))
        .with_group_instance_id(member.instance_id.as_deref().map(text))
        .with_topics(topics.collect())
}

/// The first offset's error that was not staged.
pub(super) fn not_staged(response: &TxnOffsetCommitResponse) -> Option<ResponseError> {
    let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.find_map(|partition| ResponseError::try_from_code(partition.error_code))
}

pub(super) fn end(id: &TransactionalId, identity: Identity, commits: bool) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(id.clone())
        .with_producer_id(ProducerId(identity.id))
        .with_producer_epoch(identity.epoch)
        .with_committed(commits)
}

/// A request about a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Init,
    AddPartitions,
    AddOffsets,
    CommitOffsets,
    End,
}

/// What librdkafka complains of when it gets no answer.
pub(super) fn lost() -> Complaint {
    Complaint {
        retriable: true,
        ..Complaint::new(TRANSPORT, "the connection has broken".to_owned())
    }
}

/// What it complains of when records were not delivered that were to be committed.
pub(super) fn incomplete() -> Complaint {
    Complaint {
        requires_abort: true,
        ..Complaint::new(INCONSISTENT, "records were not delivered".to_owned())
    }
}

/// What it complains of once the broker has told that another producer has the id.
pub(super) fn fenced(text: &str) -> Complaint {
    Complaint {
        fatal: true,
        ..Complaint::new(FENCED, text.to_owned())
    }
}

/// What it complains of when the broker refuses a request.
pub(super) fn complaint(asked: Asked, error: ResponseError) -> Complaint {
    use ResponseError as E;
    let is_fenced = matches!(error, E::InvalidProducerEpoch | E::ProducerFenced);
    let code = if is_fenced {
        FENCED
    } else {
        i32::from(error.code())
    };
    let complaint = Complaint::new(code, format!("{asked:?}: {error}"));
    let fatal = match (asked, error) {
        (_, E::TransactionalIdAuthorizationFailed | E::ClusterAuthorizationFailed) => true,
        // Asked in the first version, the broker gives this one for both.
        (_, E::InvalidProducerEpoch) => true,
        (Asked::Init | Asked::AddPartitions | Asked::End, E::ProducerFenced) => true,
        (Asked::Init, E::InvalidTransactionTimeout) => true,
        (Asked::Init, _) => false,
        (_, E::InvalidTxnState) => true,
        (Asked::CommitOffsets, E::InvalidProducerIdMapping) => true,
        (Asked::AddOffsets | Asked::CommitOffsets, E::UnsupportedForMessageFormat) => true,
        _ => false,
    };
    let passes = matches!(
        error,
        E::CoordinatorNotAvailable
            | E::NotCoordinator
            | E::CoordinatorLoadInProgress
            | E::ConcurrentTransactions
            | E::RequestTimedOut
    );
    let retriable = match asked {
        // It is asked again whatever it is.
        Asked::Init => !fatal,
        Asked::AddPartitions | Asked::AddOffsets | Asked::CommitOffsets => {
            passes || error == E::UnknownTopicOrPartition
        }
        Asked::End => passes && error != E::RequestTimedOut,
    };
    Complaint {
        fatal,
        retriable: retriable && !fatal,
        requires_abort: !fatal && !retriable,
        ..complaint
    }
}

/// Whether the producer must go on under another epoch.
pub(super) fn requires_new_epoch(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::InvalidProducerIdMapping | ResponseError::UnknownProducerId
    )
}
