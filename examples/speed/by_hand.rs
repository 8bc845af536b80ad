//! The same jobs as loops over rdkafka, as one would write them by hand.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

use crate::job::{Payment, Total};
use crate::measure::Measured;
use crate::{Outcome, arguments};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Which loop, and how it is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// Copies records, and neither decodes nor counts.
    pub passes: bool,
    pub exactly_once: bool,
    pub commit_every: Duration,
    pub low_latency: bool,
}

/// Runs over all records, or until it is killed.
pub(crate) fn run(id: &str, way: Way, records: Option<u64>) -> Outcome {
    let started = Instant::now();
    let consumer = consumer(id, way)?;
    let producer = producer(id, way)?;
    consumer.subscribe(&["speed-input"])?;
    if way.exactly_once {
        producer.init_transactions(PATIENCE)?;
        producer.begin_transaction()?;
    }
    let changelog = format!("{id}-changelog");
    let mut totals: HashMap<String, (u64, u64)> = HashMap::new();
    let (mut done, mut first, mut committed) = (0, None, Instant::now());
    while records.is_none_or(|records| done < records) {
        if let Some(message) = consumer.poll(Duration::from_millis(if way.low_latency { 10 } else { 100 })) {
            let message = message?;
            first.get_or_insert_with(Instant::now);
            let payload = message.payload().unwrap_or_default();
            if way.passes {
                send(
                    &producer,
                    "speed-output",
                    message.key().unwrap_or_default(),
                    payload,
                )?;
            } else {
                let payment: Payment = serde_json::from_slice(payload)?;
                let total = match totals.get_mut(&payment.user) {
                    Some(total) => total,
                    None => totals.entry(payment.user.clone()).or_default(),
                };
                total.0 += 1;
                total.1 += payment.amount;
                let (count, sum) = *total;
                let key = payment.user.as_bytes();
                let mut state = [0; 16];
                state[..8].copy_from_slice(&count.to_be_bytes());
                state[8..].copy_from_slice(&sum.to_be_bytes());
                send(&producer, &changelog, key, &state)?;
                let total = Total {
                    user: payment.user.clone(),
                    count,
                    sum,
                };
                send(&producer, "speed-output", key, &serde_json::to_vec(&total)?)?;
            }
            done += 1;
        }
        producer.poll(Duration::ZERO);
        if committed.elapsed() > way.commit_every {
            commit(&consumer, &producer, way.exactly_once)?;
            committed = Instant::now();
        }
    }
    commit(&consumer, &producer, way.exactly_once)?;
    let records = records.unwrap_or_default();
    Measured::until_now(records, started, first.unwrap_or(started), 0.0)?.tell();
    Ok(())
}

fn consumer(id: &str, way: Way) -> Outcome<BaseConsumer> {
    let mut config = client();
    config
        .set("group.id", id)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("partition.assignment.strategy", "cooperative-sticky")
        // The default of a second starves the loop whenever it has emptied a full queue.
        .set("fetch.queue.backoff.ms", "5");
    if way.low_latency {
        config.set("fetch.wait.max.ms", "100");
    }
    Ok(config.create()?)
}

fn producer(id: &str, way: Way) -> Outcome<BaseProducer> {
    let mut config = client();
    config
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random");
    if way.low_latency {
        config.set("linger.ms", "0");
    }
    if way.exactly_once {
        config.set("transactional.id", id);
    }
    Ok(config.create()?)
}

pub(crate) fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", arguments::broker());
    config
}

pub(crate) fn send(producer: &BaseProducer, topic: &str, key: &[u8], value: &[u8]) -> Outcome {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).key(key).payload(value);
    while let Err((error, back)) = producer.send(record) {
        let KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) = error else {
            return Err(error.into());
        };
        producer.poll(Duration::from_millis(1));
        record = back;
    }
    Ok(())
}

/// Waits for all deliveries. The binding's `flush` looks every 100 ms only.
pub(crate) fn delivered(producer: &BaseProducer) {
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
    }
}

fn commit(consumer: &BaseConsumer, producer: &BaseProducer, exactly_once: bool) -> Outcome {
    delivered(producer);
    if exactly_once {
        let member = consumer.group_metadata().ok_or("no member of a group")?;
        producer.send_offsets_to_transaction(&consumer.position()?, &member, PATIENCE)?;
        producer.commit_transaction(PATIENCE)?;
        return Ok(producer.begin_transaction()?);
    }
    match consumer.commit_consumer_state(CommitMode::Sync) {
        Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
        committed => Ok(committed?),
    }
}
