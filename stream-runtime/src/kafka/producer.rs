//! [`Producer`] and [`AcknowledgedProducer`] over rdkafka.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, FutureProducer, FutureRecord, Producer as RdKafkaClient, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

use super::acknowledged::Acknowledged;
use super::context::Context;
use super::diagnostics::Diagnostics;
use super::native::{Event, EventQueue, Refusal, TopicHandles};
use super::{
    AcknowledgedProducer, ClientSettings, DeliveryFuture, OutgoingRecord, Producer, SendOutcome, config,
};
use crate::clock;
use crate::error::{Error, Result};
use crate::record::HeadersRef;

/// How often a flush looks at the queue's length: no event says that it has reached zero.
const FLUSH_STEP: Duration = Duration::from_millis(1);

/// The producer of a worker thread.
pub(super) struct RdKafkaProducer {
    topics: TopicHandles<Context>,
    failure: Option<String>,
    acknowledged: Acknowledged,
    diagnostics: Arc<Diagnostics>,
}

impl RdKafkaProducer {
    pub(super) fn new(
        settings: &ClientSettings,
        diagnostics: &Arc<Diagnostics>,
        wake: Arc<Notify>,
    ) -> Result<Self> {
        let producer: BaseProducer<Context> = config::producer(settings)
            .create_with_context(Context::new(diagnostics))
            .map_err(config::refusal)?;
        let mut queue = EventQueue::of_producer(producer).expect("a producer has a main queue");
        queue.notify(wake);
        Ok(Self {
            topics: TopicHandles::new(queue),
            failure: None,
            acknowledged: Acknowledged::default(),
            diagnostics: Arc::clone(diagnostics),
        })
    }
}

impl Producer for RdKafkaProducer {
    fn send(&mut self, record: OutgoingRecord<'_>) -> SendOutcome {
        let code = match self.topics.produce(&record) {
            Ok(()) => return SendOutcome::Queued,
            Err(Refusal::Code(RDKafkaErrorCode::QueueFull)) => return SendOutcome::Full,
            Err(Refusal::Code(code)) => code,
            Err(Refusal::Name) => {
                return SendOutcome::Refused(format!("`{}` cannot be the name of a topic", record.topic));
            }
        };
        let to = match record.partition {
            Some(partition) => format!("{}[{partition}]", record.topic),
            None => record.topic.to_string(),
        };
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge => {
                let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                SendOutcome::Refused(format!(
                    "a record of {size} bytes for {to} is larger than `message.max.bytes` of the producer"
                ))
            }
            RDKafkaErrorCode::Fatal => {
                let failure = format!("the producer is broken for good, no record for {to} can be sent");
                self.failure.get_or_insert_with(|| failure.clone());
                SendOutcome::Refused(failure)
            }
            code => SendOutcome::Refused(format!("a record for {to} cannot be sent: {code}")),
        }
    }

    fn poll(&mut self) {
        let Self {
            topics,
            failure,
            acknowledged,
            diagnostics,
        } = self;
        while topics.queue().next(|event| match event {
            Event::Delivered {
                topic,
                partition,
                next,
            } => acknowledged.note(topic, partition, next),
            // Taken back by `purge`.
            Event::DeliveryFailed {
                error: RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight,
                ..
            } => {}
            Event::DeliveryFailed {
                error,
                topic,
                partition,
                records,
            } => {
                failure.get_or_insert_with(|| not_delivered(records, topic, partition, error));
            }
            Event::Error {
                error, fatal, text, ..
            } => {
                if fatal || error == RDKafkaErrorCode::Fatal {
                    failure.get_or_insert_with(|| format!("the producer is broken for good: {text}"));
                }
                diagnostics.error(error, text);
            }
            Event::Log {
                level,
                facility,
                text,
            } => diagnostics.log(level, facility, text),
            Event::Record(_)
            | Event::EndOfPartition { .. }
            | Event::Rebalance { .. }
            | Event::Commit { .. }
            | Event::Other => {}
        }) {}
    }

    fn in_flight(&self) -> usize {
        usize::try_from(self.topics.client().in_flight_count()).unwrap_or_default()
    }

    fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    fn follow(&mut self, topic: &Arc<str>) {
        self.acknowledged.follow(topic);
    }

    fn acknowledged(&self, topic: &str, partition: i32) -> Option<i64> {
        self.acknowledged.of(topic, partition)
    }

    fn purge(&mut self) {
        self.topics
            .client()
            .purge(PurgeConfig::default().queue().inflight());
        self.poll();
    }

    fn flush(&mut self, deadline: Duration) -> bool {
        let end = clock::now() + deadline;
        loop {
            self.poll();
            if self.in_flight() == 0 {
                self.diagnostics.reached();
                return true;
            }
            if clock::now() >= end {
                return false;
            }
            thread::sleep(FLUSH_STEP);
        }
    }
}

fn not_delivered(
    records: impl std::fmt::Display,
    topic: impl std::fmt::Display,
    partition: i32,
    error: RDKafkaErrorCode,
) -> String {
    let way_out = match error {
        RDKafkaErrorCode::MessageSizeTooLarge => {
            ". The topic takes smaller batches than this program sends: raise `max.message.bytes` of the topic, or \
             lower `message.max.bytes` here, and such records fail under their agents' policies"
        }
        _ => "",
    };
    format!("{records} records for {topic}[{partition}] were not delivered: {error}{way_out}")
}

/// The producer for sends from outside agents.
pub(super) struct RdKafkaAcknowledgedProducer {
    producer: FutureProducer<Context>,
}

impl RdKafkaAcknowledgedProducer {
    pub(super) fn new(settings: &ClientSettings, diagnostics: &Arc<Diagnostics>) -> Result<Self> {
        let producer = config::acknowledged_producer(settings)
            .create_with_context(Context::new(diagnostics))
            .map_err(config::refusal)?;
        Ok(Self { producer })
    }
}

impl AcknowledgedProducer for RdKafkaAcknowledgedProducer {
    fn send<'a>(&'a self, record: OutgoingRecord<'a>) -> DeliveryFuture<'a> {
        let mut outgoing = FutureRecord::<[u8], [u8]>::to(record.topic);
        outgoing.partition = record.partition;
        outgoing.key = record.key;
        outgoing.payload = record.value;
        outgoing.timestamp = record.timestamp;
        if !record.headers.is_empty() {
            let headers = HeadersRef::new(record.headers).iter();
            outgoing.headers = Some(headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value })
            }));
        }
        Box::pin(async move {
            // How long a full queue is waited for; the delivery itself has the time-out of messages.
            let waiting = Duration::from_secs(30);
            match self.producer.send(outgoing, waiting).await {
                Ok(delivery) => Ok((delivery.partition, delivery.offset)),
                Err((error, _)) => Err(Error::broker(format!(
                    "a record for {} was not delivered",
                    record.topic
                ))
                .with_source(error)),
            }
        })
    }
}
