//! What errors of transactional steps mean. Functions of values.

use rdkafka::types::RDKafkaErrorCode;

use crate::kafka::TransactionOutcome;
use crate::kafka::advice::advice;
use crate::kafka::native::Complaint;

/// A call of librdkafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Init,
    /// The offsets go into the transaction, before its end.
    SendOffsets,
    /// The end of the transaction is asked for.
    Commit,
    Abort,
}

/// What follows from an error; `None` to make the call again, until the deadline.
pub(crate) fn judge(call: Call, complaint: &Complaint) -> Option<TransactionOutcome> {
    let text = complaint.text.clone();
    if let Some(advice) = advice(complaint.code) {
        return Some(TransactionOutcome::Failed(format!("{text}: {advice}")));
    }
    Some(match call {
        _ if complaint.retriable => return None,
        Call::Init if fenced(complaint.code) => TransactionOutcome::Fenced(text),
        Call::Init => TransactionOutcome::Failed(text),

        // The group went on to its next generation, perhaps with this member; if not, it is told so.
        Call::SendOffsets if gone_on(complaint.code) && !complaint.fatal => TransactionOutcome::Abort(text),
        Call::SendOffsets if complaint.fatal || left_behind(complaint.code) => {
            TransactionOutcome::Fenced(text)
        }
        // There is no transaction that offsets could be sent to.
        Call::SendOffsets if complaint.code == RDKafkaErrorCode::State => TransactionOutcome::Failed(text),
        Call::SendOffsets => TransactionOutcome::Abort(text),

        // Records were not delivered, so the end was not asked for.
        Call::Commit if complaint.requires_abort && complaint.code == RDKafkaErrorCode::Inconsistent => {
            TransactionOutcome::Abort(text)
        }
        // librdkafka asks again by itself when a connection breaks before the answer has come. So this may be the
        // answer to the second time, and the first has committed: that another has the id by now, or that the
        // broker no longer knows of a transaction, does not tell how it ended.
        Call::Commit => TransactionOutcome::Unknown(text),

        // An abort that the broker refused can begin anew.
        Call::Abort if complaint.requires_abort => return None,
        Call::Abort if complaint.fatal => TransactionOutcome::Fenced(text),
        Call::Abort => TransactionOutcome::Unknown(text),
    })
}

/// Whether a group says so that has made its next generation.
fn gone_on(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::IllegalGeneration | RDKafkaErrorCode::StaleMemberEpoch
    )
}

/// What follows of any call when the deadline has passed; the complaint is the last one.
///
/// The call is still under way, and cannot be stopped otherwise than by a fresh producer, with which brokers refuse what is
/// late of this one. That is so for offsets, too, though the end was not asked for: they may come to the group after the
/// transaction was aborted, where they count as part of the next one, which has not processed as much.
pub(crate) fn overdue(complaint: &Complaint) -> TransactionOutcome {
    TransactionOutcome::Unknown(format!("no broker has answered in time: {}", complaint.text))
}

/// Another producer has the id, or the broker has ended the transaction for being too long.
fn fenced(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch
    )
}

/// The group has gone on without the member that sends offsets.
fn left_behind(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::FencedMemberEpoch
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(code: RDKafkaErrorCode) -> Complaint {
        Complaint {
            code,
            text: code.to_string(),
            fatal: false,
            retriable: false,
            requires_abort: false,
        }
    }

    fn fatal(code: RDKafkaErrorCode) -> Complaint {
        Complaint {
            fatal: true,
            ..complaint(code)
        }
    }

    fn abortable(code: RDKafkaErrorCode) -> Complaint {
        Complaint {
            requires_abort: true,
            ..complaint(code)
        }
    }

    fn retriable(code: RDKafkaErrorCode) -> Complaint {
        Complaint {
            retriable: true,
            ..complaint(code)
        }
    }

    const CALLS: [Call; 4] = [Call::Init, Call::SendOffsets, Call::Commit, Call::Abort];

    #[test]
    fn what_may_pass_is_tried_again_until_the_deadline() {
        let late = retriable(RDKafkaErrorCode::OperationTimedOut);
        for call in CALLS {
            assert!(judge(call, &late).is_none(), "{call:?}");
        }
    }

    /// Least of all that offsets are not there: late ones would be part of the next transaction of the same producer.
    #[test]
    fn what_is_overdue_may_still_happen() {
        let late = retriable(RDKafkaErrorCode::OperationTimedOut);
        assert!(matches!(overdue(&late), TransactionOutcome::Unknown(_)));
    }

    #[test]
    fn a_member_that_is_left_behind_sends_no_offsets() {
        for code in [
            RDKafkaErrorCode::IllegalGeneration,
            RDKafkaErrorCode::StaleMemberEpoch,
        ] {
            let outcome = judge(Call::SendOffsets, &abortable(code));
            assert!(matches!(outcome, Some(TransactionOutcome::Abort(_))), "{code}");
        }
        for code in [
            RDKafkaErrorCode::UnknownMemberId,
            RDKafkaErrorCode::FencedInstanceId,
            RDKafkaErrorCode::FencedMemberEpoch,
        ] {
            let outcome = judge(Call::SendOffsets, &abortable(code));
            assert!(matches!(outcome, Some(TransactionOutcome::Fenced(_))), "{code}");
        }
        let outcome = judge(Call::SendOffsets, &fatal(RDKafkaErrorCode::Fenced));
        assert!(matches!(outcome, Some(TransactionOutcome::Fenced(_))));
    }

    #[test]
    fn what_fails_before_the_end_is_asked_for_is_aborted() {
        let outcome = judge(Call::SendOffsets, &abortable(RDKafkaErrorCode::MessageTimedOut));
        assert!(matches!(outcome, Some(TransactionOutcome::Abort(_))));
        let outcome = judge(Call::Commit, &abortable(RDKafkaErrorCode::Inconsistent));
        assert!(matches!(outcome, Some(TransactionOutcome::Abort(_))));
    }

    #[test]
    fn once_the_end_is_asked_for_an_error_does_not_tell_how_it_ended() {
        for complaint in [
            fatal(RDKafkaErrorCode::Fenced),
            fatal(RDKafkaErrorCode::InvalidTransactionalState),
            abortable(RDKafkaErrorCode::InvalidProducerIdMapping),
            abortable(RDKafkaErrorCode::Unknown),
            complaint(RDKafkaErrorCode::Unknown),
        ] {
            let outcome = judge(Call::Commit, &complaint);
            assert!(
                matches!(outcome, Some(TransactionOutcome::Unknown(_))),
                "{complaint:?}"
            );
        }
    }

    #[test]
    fn an_abort_begins_anew_unless_the_producer_is_broken() {
        assert!(judge(Call::Abort, &abortable(RDKafkaErrorCode::Unknown)).is_none());
        let outcome = judge(Call::Abort, &fatal(RDKafkaErrorCode::Fenced));
        assert!(matches!(outcome, Some(TransactionOutcome::Fenced(_))));
    }

    #[test]
    fn what_the_reader_must_change_is_said() {
        for call in CALLS {
            let outcome = judge(call, &fatal(RDKafkaErrorCode::TransactionalIdAuthorizationFailed));
            let Some(TransactionOutcome::Failed(text)) = outcome else {
                panic!("{call:?}: {outcome:?}");
            };
            assert!(text.contains("grant this client"), "{text}");
        }
        let outcome = judge(Call::Init, &fatal(RDKafkaErrorCode::InvalidTransactionTimeout));
        assert!(
            matches!(outcome, Some(TransactionOutcome::Failed(text)) if text.contains("transaction.max.timeout.ms"))
        );
    }
}
