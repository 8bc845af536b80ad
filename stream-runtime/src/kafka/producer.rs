//! [`Producer`] and [`AcknowledgedProducer`] over rdkafka.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, FutureProducer, FutureRecord, Producer as RdKafkaClient, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

use super::acknowledged::Acknowledged;
use super::advice::{advice, advised};
use super::context::Context;
use super::diagnostics::Diagnostics;
use super::native::{Event, EventQueue, Refusal, TopicHandles};
use super::{
    AcknowledgedProducer, ClientSettings, DeliveryFuture, KeyedValues, OutgoingRecord, Producer, SendOutcome,
    config,
};
use crate::clock;
use crate::error::{Error, Result};
use crate::record::HeadersRef;

/// How often a flush looks at the queue's length: no event says that it has reached zero.
const FLUSH_STEP: Duration = Duration::from_millis(1);

/// The producer of a worker thread.
pub(super) struct RdKafkaProducer {
    topics: TopicHandles<Context>,
    reports: Arc<Mutex<Reports>>,
}

/// What the reports of a producer have told.
pub(super) struct Reports {
    pub(super) failure: Option<String>,
    /// It is of no more use.
    pub(super) broken: bool,
    /// Records are taken back only when the client itself has given up their transaction.
    pub(super) taken_back_is_failure: bool,
    /// Something was delivered since this was last set to false.
    pub(super) delivered: bool,
    acknowledged: Acknowledged,
    diagnostics: Arc<Diagnostics>,
}

impl RdKafkaProducer {
    pub(super) fn new(
        settings: &ClientSettings,
        diagnostics: &Arc<Diagnostics>,
        wake: Arc<Notify>,
    ) -> Result<Self> {
        Self::with(&config::producer(settings), diagnostics, wake)
    }

    pub(super) fn with(
        config: &ClientConfig,
        diagnostics: &Arc<Diagnostics>,
        wake: Arc<Notify>,
    ) -> Result<Self> {
        let producer: BaseProducer<Context> = config
            .create_with_context(Context::new(diagnostics))
            .map_err(config::refusal)?;
        let mut queue = EventQueue::of_producer(Arc::new(producer)).expect("a producer has a main queue");
        queue.notify(wake);
        let reports = Reports {
            failure: None,
            broken: false,
            taken_back_is_failure: false,
            delivered: false,
            acknowledged: Acknowledged::default(),
            diagnostics: Arc::clone(diagnostics),
        };
        Ok(Self {
            topics: TopicHandles::new(queue),
            reports: Arc::new(Mutex::new(reports)),
        })
    }

    pub(super) fn client(&self) -> &Arc<BaseProducer<Context>> {
        self.topics.client()
    }

    pub(super) fn shared_reports(&self) -> &Arc<Mutex<Reports>> {
        &self.reports
    }

    pub(super) fn reports(&self) -> MutexGuard<'_, Reports> {
        lock(&self.reports)
    }

    /// Queues a record, or gives the reason and what to tell of it.
    pub(super) fn try_send(
        &mut self,
        record: &OutgoingRecord<'_>,
    ) -> std::result::Result<(), (Refusal, SendOutcome)> {
        self.topics.produce(record).map_err(|refusal| {
            let outcome = match refusal {
                Refusal::Code(RDKafkaErrorCode::QueueFull) => SendOutcome::Full,
                refusal => SendOutcome::Refused(refused(record, refusal)),
            };
            (refusal, outcome)
        })
    }
}

pub(super) fn lock(reports: &Mutex<Reports>) -> MutexGuard<'_, Reports> {
    reports.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to tell of a record that the client does not take.
fn refused(record: &OutgoingRecord<'_>, refusal: Refusal) -> String {
    let to = match record.partition {
        Some(partition) => format!("{}[{partition}]", record.topic),
        None => record.topic.to_string(),
    };
    match refusal {
        Refusal::Name => format!("`{}` cannot be the name of a topic", record.topic),
        Refusal::Code(RDKafkaErrorCode::MessageSizeTooLarge) => {
            let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
            format!("a record of {size} bytes for {to} is larger than `message.max.bytes` of the producer")
        }
        Refusal::Code(RDKafkaErrorCode::Fatal) => {
            format!("the producer is broken for good, no record for {to} can be sent")
        }
        Refusal::Code(code) => format!("a record for {to} cannot be sent: {code}"),
    }
}

impl Reports {
    pub(super) fn note(&mut self, event: &Event<'_>) {
        match *event {
            Event::Delivered {
                topic,
                partition,
                next,
            } => {
                self.delivered = true;
                self.acknowledged.note(topic, partition, next);
            }
            Event::DeliveryFailed {
                error: RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight,
                topic,
                partition,
                records,
            } => {
                if self.taken_back_is_failure {
                    self.failure.get_or_insert_with(|| {
                        format!(
                            "{records} records for {topic}[{partition}] were not sent, since their transaction has \
                             failed (the client's log says why)"
                        )
                    });
                }
            }
            Event::DeliveryFailed {
                error,
                topic,
                partition,
                records,
            } => {
                self.failure
                    .get_or_insert_with(|| not_delivered(records, topic, partition, error));
            }
            Event::Error {
                error, fatal, text, ..
            } => {
                if fatal || error == RDKafkaErrorCode::Fatal {
                    self.broken(&format!("the producer is broken for good: {text}"));
                }
                self.diagnostics.error(error, text);
            }
            Event::Log {
                level,
                facility,
                text,
            } => self.diagnostics.log(level, facility, text),
            Event::Record(_)
            | Event::EndOfPartition { .. }
            | Event::Rebalance { .. }
            | Event::Commit { .. }
            | Event::Other => {}
        }
    }

    pub(super) fn broken(&mut self, failure: &str) {
        self.broken = true;
        self.failure.get_or_insert_with(|| failure.to_owned());
    }
}

impl Producer for RdKafkaProducer {
    fn send(&mut self, record: OutgoingRecord<'_>) -> SendOutcome {
        let Err((refusal, outcome)) = self.try_send(&record) else {
            return SendOutcome::Queued;
        };
        if let (Refusal::Code(RDKafkaErrorCode::Fatal), SendOutcome::Refused(reason)) = (refusal, &outcome) {
            self.reports().broken(reason);
        }
        outcome
    }

    fn send_many(&mut self, topic: &Arc<str>, partition: i32, records: &mut KeyedValues<'_>) -> usize {
        self.topics.produce_all(topic, partition, records)
    }

    fn poll(&mut self) {
        let Self { topics, reports } = self;
        while topics.queue().next(|event| lock(reports).note(&event)) {}
    }

    fn in_flight(&self) -> usize {
        usize::try_from(self.topics.client().in_flight_count()).unwrap_or_default()
    }

    fn take_failure(&mut self) -> Option<String> {
        self.reports().failure.take()
    }

    fn follow(&mut self, topic: &Arc<str>) {
        self.reports().acknowledged.follow(topic);
    }

    fn acknowledged(&self, topic: &str, partition: i32) -> Option<i64> {
        self.reports().acknowledged.of(topic, partition)
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
                self.reports().diagnostics.reached();
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
    let problem = format!("{records} records for {topic}[{partition}] were not delivered: {error}");
    let way_out = match error {
        RDKafkaErrorCode::MessageSizeTooLarge => Some(
            "the topic takes smaller batches than this program sends: raise `max.message.bytes` of the topic, or \
             lower `message.max.bytes` here, and such records fail under their agents' policies",
        ),
        RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownPartition => {
            Some("the topic was deleted, or made anew with fewer partitions, since this worker started")
        }
        _ => advice(error),
    };
    advised(problem, way_out)
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
