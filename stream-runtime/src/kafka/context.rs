//! The callbacks of rdkafka's own clients, passed on as values.
//!
//! Consumers and producers are read through [`super::native::EventQueue`], which needs no callbacks. What
//! remains is what rdkafka polls itself: a client that is being dropped, and the admin client.

use std::sync::Arc;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::diagnostics::Diagnostics;

/// The context of every client.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) diagnostics: Arc<Diagnostics>,
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
    fn rebalance(&self, consumer: &BaseConsumer<Self>, _: RDKafkaRespErr, _: &mut TopicPartitionList) {
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
