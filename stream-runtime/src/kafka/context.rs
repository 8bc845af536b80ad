//! The callbacks of rdkafka's own clients, passed on as values.
//!
//! Consumers and producers are read through [`super::native::EventQueue`], which needs no callbacks. What
//! remains is what rdkafka polls itself: a client that is being dropped, and the admin client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::diagnostics::Diagnostics;

/// The context of one client.
#[derive(Debug)]
pub(super) struct Context {
    diagnostics: Arc<Diagnostics>,
    /// The closing consumer has given up its partitions.
    given_up: AtomicBool,
}

impl Context {
    pub(super) fn new(diagnostics: &Arc<Diagnostics>) -> Self {
        Self {
            diagnostics: Arc::clone(diagnostics),
            given_up: AtomicBool::new(false),
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.diagnostics.log(level as i32, facility, text);
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        self.diagnostics.error(code, reason);
    }
}

impl ConsumerContext for Context {
    /// Gives up everything at once. rdkafka polls a consumer itself only while it drops it, and then waits
    /// for this answer for ever.
    ///
    /// Once and not again: an event that was queued before the closing and that of the closing itself are
    /// answered by the same call, and a second one can wait for ever in a group that has already ended
    /// (librdkafka serves its operations no more, nor refuses those that came just before).
    fn rebalance(&self, consumer: &BaseConsumer<Self>, _: RDKafkaRespErr, _: &mut TopicPartitionList) {
        if self.given_up.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Err(error) = consumer.unassign() {
            tracing::warn!(target: "stream_runtime::kafka", "partitions could not be given up: {error}");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    /// Only of records that are purged because the producer is being dropped.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
