//! How producers deliver: batches, sequences, requests, retries. What plain and transactional producers have in common.
//!
//! It does what librdkafka does for an idempotent producer: a batch is sent again until the broker has answered, always
//! under the same sequence; when one fails for good, those behind it are sent under a new producer id once nothing is on
//! the wire any more. Five requests are on the wire at most.
//!
//! Not here: transactions ([`super::transactions`]), except that only partitions are written that were added to one.

mod queue;
mod reports;
mod topics;
mod transmit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::TransactionalId;

use self::queue::Making;
pub(super) use self::queue::{Answer, Identity};
use self::reports::Fate;
pub(super) use self::reports::Reports;
use self::topics::{Held, Known, Topic};
pub(super) use self::transmit::{ask_identity, identity};
use super::batches::Parts;
use super::network::{Call, Lane, Net};
use crate::kafka::{ClientSettings, OutgoingRecord, SendOutcome};
use crate::record::HeadersRef;
use crate::record::partitioner::partition_of;

/// The connection that records go on.
pub(super) const DATA: Lane = 0;
/// The connection to the coordinator of transactions.
pub(super) const COORDINATOR: Lane = 1;
/// The connection to the coordinator of the group.
pub(super) const GROUP: Lane = 2;

/// Requests on the wire at a time.
const MOST_REQUESTS: usize = 5;

/// A place that records are sent to.
pub(super) type Place = (Arc<str>, i32);

/// What a producer takes.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// The largest record, and the largest batch, in bytes.
    pub(super) largest: usize,
    pub(super) records: usize,
    pub(super) bytes: usize,
    /// How long a record is tried to be delivered; for ever if `None`.
    pub(super) timeout: Option<Duration>,
    /// It never is full.
    pub(super) is_endless: bool,
}

impl Limits {
    /// As these settings say, which have the names of librdkafka's.
    pub(super) fn new(settings: &ClientSettings) -> Self {
        let number = |names: &[&str], default: usize| {
            let set = settings.raw.iter().rev();
            let mut set = set.filter(|(name, _)| names.contains(&name.as_str()));
            set.find_map(|(_, value)| value.parse().ok()).unwrap_or(default)
        };
        let timeout = number(&["message.timeout.ms", "delivery.timeout.ms"], 0);
        let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(u64::MAX));
        Self {
            largest: number(&["message.max.bytes"], 1_000_000),
            records: number(&["queue.buffering.max.messages"], 500_000),
            bytes: number(&["queue.buffering.max.kbytes"], 131_072).saturating_mul(1024),
            timeout: Some(timeout).filter(|timeout| !timeout.is_zero()),
            is_endless: false,
        }
    }
}

/// The deliveries of one producer.
#[derive(Debug)]
pub(super) struct Delivery {
    limits: Limits,
    transactional_id: Option<TransactionalId>,
    identity: Option<Identity>,
    /// A batch has failed, so that the sequences of its partition have a gap.
    torn: bool,
    topics: BTreeMap<Arc<str>, Topic>,
    /// The requests on the wire, and what each brings.
    calls: BTreeMap<Call, Vec<Place>>,
    metadata: Option<Call>,
    metadata_at: Duration,
    asking: Option<Call>,
    ask_at: Duration,
    reports: Reports,
    /// The broker has told that this producer was replaced.
    fenced: Option<String>,
    /// What fails a transaction: the first delivery that failed for good since this was taken.
    failed: Option<Failed>,
}

/// A delivery that failed for good.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    /// The protocol's, or librdkafka's own.
    pub(super) code: i32,
    pub(super) text: String,
}

impl Delivery {
    pub(super) fn new(limits: Limits, transactional_id: Option<TransactionalId>) -> Self {
        Self {
            limits,
            transactional_id,
            identity: None,
            torn: false,
            topics: BTreeMap::new(),
            calls: BTreeMap::new(),
            metadata: None,
            metadata_at: Duration::ZERO,
            asking: None,
            ask_at: Duration::ZERO,
            reports: Reports::default(),
            fenced: None,
            failed: None,
        }
    }

    pub(super) fn reports(&mut self) -> &mut Reports {
        &mut self.reports
    }

    pub(super) fn in_flight(&self) -> usize {
        self.reports.in_flight
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// What the broker has told of a producer that took this one's place.
    pub(super) fn fenced(&self) -> Option<&str> {
        self.fenced.as_deref()
    }

    pub(super) fn take_failed(&mut self) -> Option<Failed> {
        self.failed.take()
    }

    /// Whether the sequences have a gap, so that the producer must go on under another epoch or id.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Queues a record. What is due is sent when [`pump`](Self::pump) is called next.
    pub(super) fn send(
        &mut self,
        record: &OutgoingRecord<'_>,
        answer: Option<Answer>,
        net: &mut Net<'_>,
    ) -> SendOutcome {
        if record.topic.contains('\0') {
            let reason = format!("`{}` cannot be the name of a topic", record.topic);
            return SendOutcome::Refused(reason);
        }
        let [key, value] = [record.key, record.value].map(|part| part.map_or(0, <[u8]>::len));
        let weight = key + value + record.headers.len() + Held::OVERHEAD;
        if key + value + record.headers.len() > self.limits.largest {
            let size = key + value;
            let to = to(record);
            return SendOutcome::Refused(format!(
                "a record of {size} bytes for {to} is larger than `message.max.bytes` of the producer"
            ));
        }
        let most = self.limits.records.min(net.behaviour().send_queue);
        let is_full = self.reports.in_flight >= most || self.reports.weight + weight > self.limits.bytes;
        if is_full && !self.limits.is_endless {
            return SendOutcome::Full;
        }
        let now = net.now();
        let topic = self.topics.entry(Arc::clone(record.topic));
        let topic = topic.or_insert_with(|| Topic::new(record.topic, now));
        let partition = match topic.known {
            Known::Not => None,
            Known::Missing => {
                topic.is_asked_for = false;
                let reason = format!(
                    "a record for {} cannot be sent: there is no such topic",
                    to(record)
                );
                return SendOutcome::Refused(reason);
            }
            Known::Here => match topic.partition_for(record, net) {
                Some(partition) => Some(partition),
                None => {
                    let to = to(record);
                    let reason = format!("a record for {to} cannot be sent: there is no such partition");
                    return SendOutcome::Refused(reason);
                }
            },
        };
        // As for librdkafka, 0 is no time.
        let timestamp = record.timestamp.filter(|time| *time != 0);
        let timestamp = timestamp.unwrap_or_else(|| net.wall_millis());
        match partition {
            None => topic
                .held
                .push_back(Held::new(record, timestamp, now, weight, answer)),
            Some(partition) => {
                let parts = Parts {
                    key: record.key,
                    value: record.value,
                    headers: HeadersRef::new(record.headers),
                    timestamp,
                };
                let queue = &mut topic.queues[partition];
                queue.push(&parts, weight, now, self.limits.largest, answer, || making(net));
            }
        }
        self.reports.in_flight += 1;
        self.reports.weight += weight;
        SendOutcome::Queued
    }

    /// Drops everything that is queued or on the wire. What is on the wire may still arrive.
    pub(super) fn purge(&mut self) {
        if !self.is_settled() {
            // The broker may have seen sequences that are not acknowledged.
            self.identity = None;
            self.asking = None;
        }
        self.calls.clear();
        for topic in self.topics.values_mut() {
            topic.drop_held(&mut self.reports);
            for (number, queue) in (0..).zip(&mut topic.queues) {
                for cargo in queue.take_all() {
                    self.reports.note(&topic.name, number, cargo, Fate::TakenBack);
                }
            }
        }
    }

    /// Drops what was not sent. What was is still delivered, so that it leaves no gap.
    pub(super) fn drop_unsent(&mut self) {
        for topic in self.topics.values_mut() {
            topic.drop_held(&mut self.reports);
            for (number, queue) in (0..).zip(&mut topic.queues) {
                for cargo in queue.take_unsent() {
                    self.reports.note(&topic.name, number, cargo, Fate::TakenBack);
                }
            }
        }
    }

    /// Whether nothing that was sent waits for its fate.
    pub(super) fn is_settled(&self) -> bool {
        let mut queues = self.topics.values().flat_map(|topic| &topic.queues);
        queues.all(queue::Queue::is_settled)
    }

    /// Whether nothing is left to be sent or acknowledged.
    pub(super) fn is_done(&self) -> bool {
        let mut topics = self.topics.values();
        self.is_settled()
            && topics
                .all(|topic| topic.held.is_empty() && !topic.queues.iter().any(queue::Queue::has_waiting))
    }

    /// Goes on under this identity, in which nothing was sent.
    pub(super) fn begin_anew(&mut self, identity: Identity, now: Duration) {
        self.identity = Some(identity);
        self.torn = false;
        for queue in self.topics.values_mut().flat_map(|topic| &mut topic.queues) {
            queue.begin_anew(now);
        }
    }

    /// Partitions with records that were not added to the transaction.
    pub(super) fn to_be_added(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for topic in self.topics.values() {
            let queues = (0..).zip(&topic.queues);
            let waiting = queues.filter(|(_, queue)| !queue.is_added && queue.has_waiting());
            places.extend(waiting.map(|(number, _)| (Arc::clone(&topic.name), number)));
        }
        places
    }

    pub(super) fn added(&mut self, places: &[Place]) {
        for (topic, partition) in places {
            if let Some(queue) = self.queue(topic, *partition) {
                queue.is_added = true;
            }
        }
    }

    /// The transaction is over.
    pub(super) fn none_is_added(&mut self) {
        for queue in self.topics.values_mut().flat_map(|topic| &mut topic.queues) {
            queue.is_added = false;
        }
    }

    fn queue(&mut self, topic: &str, partition: i32) -> Option<&mut queue::Queue> {
        let number = usize::try_from(partition).ok()?;
        self.topics.get_mut(topic)?.queues.get_mut(number)
    }

    /// When there is something to do, if nothing happens before.
    pub(super) fn next_time(&self, net: &Net<'_>) -> Option<Duration> {
        let now = net.now();
        let mut times = Vec::new();
        let wants_topics = self.topics.values().any(|topic| !topic.is_asked_for);
        times.extend((self.metadata.is_none() && wants_topics).then_some(self.metadata_at));
        let wants_identity = self.asking.is_none() && self.wants_identity();
        times.extend(wants_identity.then_some(self.ask_at));
        for topic in self.topics.values() {
            for queue in &topic.queues {
                times.extend(queue.next_time(now));
            }
            times.extend(
                self.limits
                    .timeout
                    .and_then(|timeout| Some(topic.oldest()? + timeout)),
            );
        }
        times.into_iter().min()
    }
}

fn making(net: &mut Net<'_>) -> Making {
    let behaviour = net.behaviour();
    let (linger, room) = (behaviour.linger, behaviour.batch_records);
    Making {
        room: usize::try_from(net.random().within(room))
            .unwrap_or(usize::MAX)
            .max(1),
        due: net.now() + net.random().between(linger.0, linger.1),
    }
}

/// A record's destination, for messages.
fn to(record: &OutgoingRecord<'_>) -> String {
    match record.partition {
        Some(partition) => format!("{}[{partition}]", record.topic),
        None => record.topic.to_string(),
    }
}
