//! The steps of transactions. The wrapper's commit flushes first, in steps of a tenth of a second.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::borrow_text;
use super::members::Member;

/// Why a step did not succeed, as librdkafka sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub code: RDKafkaErrorCode,
    pub text: String,
    /// The producer is broken for good.
    pub fatal: bool,
    /// The same call can be made again, and then resumes.
    pub retriable: bool,
    /// The transaction can only be aborted.
    pub requires_abort: bool,
}

#[cfg(feature = "testing")]
impl Complaint {
    /// What librdkafka would complain of: the broker's code, or one of its own, which are negative.
    pub(crate) fn new(code: i32, text: String) -> Self {
        let code = RDKafkaRespErr::try_from(code).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from);
        Self {
            code,
            text,
            fatal: false,
            retriable: false,
            requires_abort: false,
        }
    }
}

/// The transactions of one producer. Its calls wait, and one may be made at a time.
pub(in crate::kafka) struct Transactions<C: ProducerContext>(Arc<BaseProducer<C>>);

/// The records of a transaction that is given up leave the queue without a gap in their sequence, which a purge
/// without `RD_KAFKA_PURGE_F_ABORT_TXN` would tear. The public header lacks that flag, the call takes it.
const PURGE_QUEUE_OF_TRANSACTION: i32 = 0x1 | 0x100;

/// `RD_KAFKA_PURGE_F_NON_BLOCKING`
const PURGE_WITHOUT_WAITING: i32 = 0x4;

impl<C: ProducerContext> Transactions<C> {
    pub(in crate::kafka) fn of(client: &Arc<BaseProducer<C>>) -> Self {
        Self(Arc::clone(client))
    }

    pub(in crate::kafka) fn init(&self, within: Duration) -> Result<(), Complaint> {
        // SAFETY: the client is alive, here and below.
        judge(unsafe { bindings::rd_kafka_init_transactions(self.client(), millis(within)) })
    }

    /// Does not wait for a broker.
    pub(in crate::kafka) fn begin(&self) -> Result<(), Complaint> {
        // SAFETY: as above.
        judge(unsafe { bindings::rd_kafka_begin_transaction(self.client()) })
    }

    pub(in crate::kafka) fn send_offsets(
        &self,
        offsets: &TopicPartitionList,
        member: &Member,
        within: Duration,
    ) -> Result<(), Complaint> {
        // SAFETY: as above; offsets and member are copied before the call returns.
        judge(unsafe {
            bindings::rd_kafka_send_offsets_to_transaction(
                self.client(),
                offsets.ptr(),
                member.ptr(),
                millis(within),
            )
        })
    }

    pub(in crate::kafka) fn commit(&self, within: Duration) -> Result<(), Complaint> {
        // SAFETY: as above.
        judge(unsafe { bindings::rd_kafka_commit_transaction(self.client(), millis(within)) })
    }

    pub(in crate::kafka) fn abort(&self, within: Duration) -> Result<(), Complaint> {
        // SAFETY: as above.
        judge(unsafe { bindings::rd_kafka_abort_transaction(self.client(), millis(within)) })
    }

    /// Takes back what was not sent to a broker yet. What was, stays in flight: a batch that is taken back on the wire
    /// could be written behind the transaction's end, and nothing would end what it begins then.
    pub(in crate::kafka) fn purge(&self, wait: bool) {
        let flags = PURGE_QUEUE_OF_TRANSACTION | if wait { 0 } else { PURGE_WITHOUT_WAITING };
        // SAFETY: as above.
        let error = unsafe { bindings::rd_kafka_purge(self.client(), flags) };
        debug_assert_eq!(
            error,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
            "the flags are valid"
        );
    }

    fn client(&self) -> *mut bindings::rd_kafka_t {
        self.0.client().native_ptr()
    }
}

fn judge(error: *mut bindings::rd_kafka_error_t) -> Result<(), Complaint> {
    let Some(error) = NonNull::new(error) else {
        return Ok(());
    };
    let error = error.as_ptr();
    // SAFETY: the error is ours: it is read, its text is copied, and it is destroyed once.
    unsafe {
        let complaint = Complaint {
            code: bindings::rd_kafka_error_code(error).into(),
            text: borrow_text(bindings::rd_kafka_error_string(error)).to_owned(),
            fatal: bindings::rd_kafka_error_is_fatal(error) != 0,
            retriable: bindings::rd_kafka_error_is_retriable(error) != 0,
            requires_abort: bindings::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        bindings::rd_kafka_error_destroy(error);
        Err(complaint)
    }
}

/// Never zero: a call that ends before its first request to librdkafka's own thread leaves an answer behind, which
/// the next call would take for its own.
fn millis(within: Duration) -> i32 {
    i32::try_from(within.as_millis()).unwrap_or(i32::MAX).max(500)
}
