//! What errors of a member mean.

use rdkafka::types::RDKafkaErrorCode;

use crate::error::Error;
use crate::kafka::CommitOutcome;
use crate::kafka::advice::{advice, advised};

/// What became of a commit.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) error: Option<RDKafkaErrorCode>,
    pub(super) failures: Vec<(String, i32, RDKafkaErrorCode)>,
}

impl Committed {
    /// Whether the broker no longer knows this member.
    pub(super) fn expelled(&self) -> bool {
        matches!(
            self.code(),
            Some(
                RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::FencedMemberEpoch
                    | RDKafkaErrorCode::FencedInstanceId
            )
        )
    }

    fn code(&self) -> Option<RDKafkaErrorCode> {
        self.failures.first().map(|(_, _, code)| *code).or(self.error)
    }

    pub(super) fn outcome(&self, lost: bool) -> CommitOutcome {
        let Some(code) = self.code() else {
            return CommitOutcome::Done;
        };
        let text = match self.failures.first() {
            Some((topic, partition, code)) => format!("{topic}[{partition}]: {code}"),
            None => code.to_string(),
        };
        match code {
            RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::FencedMemberEpoch
            | RDKafkaErrorCode::AssignmentLost
            | RDKafkaErrorCode::Fatal => CommitOutcome::Fenced(text),
            RDKafkaErrorCode::IllegalGeneration | RDKafkaErrorCode::StaleMemberEpoch if lost => {
                CommitOutcome::Fenced(text)
            }
            RDKafkaErrorCode::OffsetMetadataTooLarge
            | RDKafkaErrorCode::InvalidCommitOffsetSize
            | RDKafkaErrorCode::InvalidGroupId
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::InvalidArgument => CommitOutcome::Failed(advised(text, advice(code))),
            // Whatever else may pass: brokers that are away, coordinators that move or do not know a new topic yet
            // (and take what they know of the rest, so that only the whole commit again makes it whole), and a commit
            // that crossed a rebalance in which this member keeps its partitions (librdkafka has decided that it is
            // not lost before it reports the commit).
            _ => CommitOutcome::Retry(text),
        }
    }
}

/// The error to end with; `None` for those that the client keeps retrying.
pub(super) fn verdict(
    code: RDKafkaErrorCode,
    fatal: bool,
    text: &str,
    at: Option<(&str, i32)>,
) -> Option<Error> {
    let place = at
        .map(|(topic, partition)| format!(" ({topic}[{partition}])"))
        .unwrap_or_default();
    let what_to_do = match code {
        RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::UnreleasedInstanceId => {
            "another worker has the same instance id: give each worker its own"
        }
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::GroupAuthorizationFailed
        | RDKafkaErrorCode::InvalidGroupId => advice(code)?,
        RDKafkaErrorCode::InconsistentGroupProtocol => {
            "members of this group that are not workers of this program use another protocol: \
             stop them, or change the program's id"
        }
        RDKafkaErrorCode::InvalidSessionTimeout => {
            "the broker allows no such session time-out (group.min.session.timeout.ms, \
             group.max.session.timeout.ms): change the setting"
        }
        RDKafkaErrorCode::UnsupportedAssignor => "the broker has no such assignor: change the setting",
        _ if fatal => "this worker must be started again",
        _ => return None,
    };
    Some(Error::broker(format!("{text}{place}: {what_to_do}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: RDKafkaErrorCode, lost: bool) -> CommitOutcome {
        let committed = Committed {
            error: Some(code),
            failures: vec![("orders".to_owned(), 3, code)],
        };
        committed.outcome(lost)
    }

    #[test]
    fn a_commit_without_errors_is_done() {
        let committed = Committed {
            error: None,
            failures: Vec::new(),
        };
        assert!(matches!(committed.outcome(false), CommitOutcome::Done));
    }

    #[test]
    fn a_commit_that_crossed_a_rebalance_is_tried_again_unless_the_assignment_is_lost() {
        for code in [
            RDKafkaErrorCode::IllegalGeneration,
            RDKafkaErrorCode::StaleMemberEpoch,
        ] {
            assert!(matches!(outcome(code, false), CommitOutcome::Retry(_)), "{code}");
            assert!(matches!(outcome(code, true), CommitOutcome::Fenced(_)), "{code}");
        }
        for code in [
            RDKafkaErrorCode::UnknownMemberId,
            RDKafkaErrorCode::FencedMemberEpoch,
        ] {
            assert!(matches!(outcome(code, false), CommitOutcome::Fenced(_)), "{code}");
        }
    }

    #[test]
    fn a_commit_that_never_succeeds_names_the_partition() {
        let CommitOutcome::Failed(text) = outcome(RDKafkaErrorCode::OffsetMetadataTooLarge, false) else {
            panic!("must fail");
        };
        assert!(text.starts_with("orders[3]: "), "{text}");
        assert!(text.contains("raise offset.metadata.max.bytes"), "{text}");
    }

    #[test]
    fn a_coordinator_that_does_not_know_a_topic_yet_is_asked_again() {
        let code = RDKafkaErrorCode::UnknownTopicOrPartition;
        assert!(matches!(outcome(code, false), CommitOutcome::Retry(_)));
    }

    #[test]
    fn only_what_does_not_heal_alone_ends_the_consumer() {
        let code = RDKafkaErrorCode::TopicAuthorizationFailed;
        let error = verdict(code, false, "denied", Some(("orders", 1))).expect("an error");
        assert_eq!(
            error.to_string(),
            "denied (orders[1]): grant this client READ on the topics that it reads, and WRITE on those that it writes"
        );
        assert!(verdict(RDKafkaErrorCode::AllBrokersDown, false, "down", None).is_none());
        assert!(verdict(RDKafkaErrorCode::Unknown, true, "broken", None).is_some());
    }
}
