//! What to do about errors that do not pass by themselves.

use rdkafka::types::RDKafkaErrorCode;

/// What to do about an error; `None` for one that may pass, or of which nothing general can be said.
pub(super) fn advice(code: RDKafkaErrorCode) -> Option<&'static str> {
    Some(match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            "grant this client READ on the topics that it reads, and WRITE on those that it writes"
        }
        RDKafkaErrorCode::GroupAuthorizationFailed => "grant this client READ on the group",
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
            "grant this client WRITE and DESCRIBE on the transactional ids that begin with the program's id"
        }
        RDKafkaErrorCode::ClusterAuthorizationFailed => "grant this client IDEMPOTENT_WRITE on the cluster",
        RDKafkaErrorCode::InvalidGroupId => "the broker does not accept the program's id as a group",
        RDKafkaErrorCode::InvalidTransactionTimeout => {
            "the broker allows no such transaction time-out (its transaction.max.timeout.ms): lower `transaction_timeout`"
        }
        RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion => {
            "the broker is too old for this"
        }
        RDKafkaErrorCode::OffsetMetadataTooLarge => {
            "raise offset.metadata.max.bytes of the broker, or have fewer tables in one sub-topology"
        }
        RDKafkaErrorCode::InvalidCommitOffsetSize => "raise offset.metadata.max.bytes of the broker",
        _ => return None,
    })
}

/// What went wrong, with what to do about it where that is known.
pub(super) fn advised(problem: String, what_to_do: Option<&str>) -> String {
    match what_to_do {
        Some(what_to_do) => format!("{problem}: {what_to_do}"),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_pass_by_itself_has_advice() {
        for code in [
            RDKafkaErrorCode::UnstableOffsetCommit,
            RDKafkaErrorCode::NotCoordinator,
            RDKafkaErrorCode::CoordinatorLoadInProgress,
            RDKafkaErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::OperationTimedOut,
            RDKafkaErrorCode::AllBrokersDown,
            RDKafkaErrorCode::Unknown,
        ] {
            assert_eq!(advice(code), None, "{code}");
        }
        assert!(advice(RDKafkaErrorCode::GroupAuthorizationFailed).is_some());
    }
}
