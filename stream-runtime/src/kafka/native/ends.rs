//! Where partitions end, as far as a consumer has been told.

use std::ffi::CString;

use rdkafka::bindings;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;

/// The offset behind the last record of a partition (its high watermark) as the last answer to a fetch had it;
/// `None` before the first. Asks nobody.
pub(in crate::kafka) fn known_end<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive, the name ends in NUL, and both places outlive the call, which only reads what the
    // client has at hand, under its lock.
    let error = unsafe {
        bindings::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    // What is not known is a negative number.
    (error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}
