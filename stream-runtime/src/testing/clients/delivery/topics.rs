//! What a producer knows of its topics, and records that wait until it does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};

use super::queue::{Answer, Cargo, Queue};
use super::reports::{Fate, Reports};
use super::{DATA, Delivery, Failed, Net, making, partition_of};
use crate::broker::api::text;
use crate::kafka::OutgoingRecord;
use crate::record::HeadersRef;
use crate::testing::clients::batches::Parts;

const METADATA_VERSION: i16 = 9;

/// How long a topic may be unknown before its records fail: one that was just made is not known everywhere.
const PROPAGATION: Duration = Duration::from_secs(30);
/// After so long a topic is asked for again, since it may have got more partitions.
const STALE: Duration = Duration::from_secs(300);

/// librdkafka's own codes.
const UNKNOWN_TOPIC: i32 = -188;
const UNKNOWN_PARTITION: i32 = -190;

/// Whether there is such a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nobody has told yet.
    Not,
    Here,
    Missing,
}

/// A topic that records are sent to.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) wire: TopicName,
    pub(super) known: Known,
    /// It need not be asked for.
    pub(super) is_asked_for: bool,
    /// When it was asked for last.
    asked: Duration,
    /// Since when the broker does not know it.
    missing_since: Option<Duration>,
    pub(super) queues: Vec<Queue>,
    /// Records whose partitions are not known yet.
    pub(super) held: VecDeque<Held>,
}

/// A record that waits until its topic is known.
#[derive(Debug)]
pub(super) struct Held {
    partition: Option<i32>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<u8>,
    timestamp: i64,
    since: Duration,
    weight: usize,
    answer: Option<Answer>,
}

impl Held {
    /// What a record takes in a batch beside its own bytes, at most.
    pub(super) const OVERHEAD: usize = 36;

    pub(super) fn new(
        record: &OutgoingRecord<'_>,
        timestamp: i64,
        since: Duration,
        weight: usize,
        answer: Option<Answer>,
    ) -> Self {
        Self {
            partition: record.partition,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.to_vec(),
            timestamp,
            since,
            weight,
            answer,
        }
    }

    fn cargo(self) -> Cargo {
        Cargo {
            records: 1,
            weight: self.weight,
            since: self.since,
            answers: self.answer.into_iter().collect(),
        }
    }
}

impl Topic {
    pub(super) fn new(name: &Arc<str>, now: Duration) -> Self {
        Self {
            name: Arc::clone(name),
            wire: TopicName(text(&**name)),
            known: Known::Not,
            is_asked_for: false,
            asked: now,
            missing_since: Some(now),
            queues: Vec::new(),
            held: VecDeque::new(),
        }
    }

    /// The partition that a record is for, if there is such a one.
    pub(super) fn partition_for(&mut self, record: &OutgoingRecord<'_>, net: &mut Net<'_>) -> Option<usize> {
        if net.now().saturating_sub(self.asked) > STALE {
            self.is_asked_for = false;
        }
        self.choose(record.partition, record.key, net)
    }

    fn choose(&self, partition: Option<i32>, key: Option<&[u8]>, net: &mut Net<'_>) -> Option<usize> {
        let count = self.queues.len();
        let chosen = match (partition, key) {
            (Some(partition), _) => usize::try_from(partition).ok()?,
            (None, Some(key)) => partition_of(key, u32::try_from(count).unwrap_or(u32::MAX)) as usize,
            (None, None) => net.random().index(count.max(1)),
        };
        (chosen < count).then_some(chosen)
    }

    pub(super) fn drop_held(&mut self, reports: &mut Reports) {
        for held in self.held.drain(..) {
            let partition = held.partition.unwrap_or(-1);
            reports.note(&self.name, partition, held.cargo(), Fate::TakenBack);
        }
    }

    /// When the oldest record was queued that is not on the wire.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let held = self.held.front().map(|held| held.since);
        let queued = self.queues.iter().filter_map(Queue::oldest);
        queued.chain(held).min()
    }

    /// The broker does not know it, though it did.
    pub(super) fn is_missed(&mut self, now: Duration) {
        self.missing_since.get_or_insert(now);
        self.is_asked_for = false;
    }

    pub(super) fn is_found(&mut self) {
        self.missing_since = None;
    }
}

impl Delivery {
    pub(super) fn ask_for_topics(&mut self, net: &mut Net<'_>) {
        if self.metadata.is_some() || net.now() < self.metadata_at {
            return;
        }
        let mut wanted = Vec::new();
        for topic in self.topics.values_mut().filter(|topic| !topic.is_asked_for) {
            topic.is_asked_for = true;
            topic.asked = net.now();
            wanted.push(MetadataRequestTopic::default().with_name(Some(topic.wire.clone())));
        }
        if !wanted.is_empty() {
            let request = MetadataRequest::default().with_topics(Some(wanted));
            self.metadata = Some(net.call(DATA, METADATA_VERSION, request));
        }
    }

    /// The question was lost.
    pub(super) fn ask_for_topics_again(&mut self, at: Duration) {
        self.metadata_at = at;
        for topic in self.topics.values_mut() {
            topic.is_asked_for &= topic.known == Known::Here && topic.missing_since.is_none();
        }
    }

    pub(super) fn learn(&mut self, response: &MetadataResponse, net: &mut Net<'_>) {
        let now = net.now();
        for found in &response.topics {
            let Some(name) = &found.name else { continue };
            let Some(topic) = self.topics.get_mut(name.as_str()) else {
                continue;
            };
            match ResponseError::try_from_code(found.error_code) {
                None => {
                    let name = Arc::clone(&topic.name);
                    topic.found(found);
                    self.release(&name, net);
                }
                Some(error) => {
                    let since = *topic.missing_since.get_or_insert(now);
                    let is_over = now.saturating_sub(since) >= PROPAGATION;
                    if error == ResponseError::InvalidTopicException || is_over {
                        let name = Arc::clone(&topic.name);
                        self.is_missing(&name);
                    } else {
                        topic.is_asked_for = false;
                        self.metadata_at = now + net.back_off() * 10;
                    }
                }
            }
        }
    }

    /// Puts the records that waited for their topic where they belong.
    fn release(&mut self, name: &str, net: &mut Net<'_>) {
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        for mut held in std::mem::take(&mut topic.held) {
            match topic.choose(held.partition, held.key.as_deref(), net) {
                Some(partition) => {
                    let parts = Parts {
                        key: held.key.as_deref(),
                        value: held.value.as_deref(),
                        headers: HeadersRef::new(&held.headers),
                        timestamp: held.timestamp,
                    };
                    let (largest, answer) = (self.limits.largest, held.answer.take());
                    let queue = &mut topic.queues[partition];
                    queue.push(&parts, held.weight, held.since, largest, answer, || making(net));
                }
                None => {
                    let partition = held.partition.unwrap_or(-1);
                    let text = not_delivered(1, name, partition, "there is no such partition");
                    self.failed.get_or_insert_with(|| Failed {
                        code: UNKNOWN_PARTITION,
                        text: text.clone(),
                    });
                    self.reports
                        .note(&topic.name, partition, held.cargo(), Fate::Failed(text));
                }
            }
        }
    }

    /// There is no such topic: its records fail.
    fn is_missing(&mut self, name: &str) {
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        topic.known = Known::Missing;
        let held = topic.held.drain(..);
        let mut all: Vec<_> = held
            .map(|held| (held.partition.unwrap_or(-1), held.cargo()))
            .collect();
        for (number, queue) in (0..).zip(&mut topic.queues) {
            // What is on the wire is refused by the broker.
            let (older, was_sent) = queue.take_older(Duration::MAX);
            self.torn |= was_sent;
            all.extend(older.into_iter().map(|cargo| (number, cargo)));
        }
        for (partition, cargo) in all {
            let text = not_delivered(cargo.records, name, partition, "there is no such topic");
            self.failed.get_or_insert_with(|| Failed {
                code: UNKNOWN_TOPIC,
                text: text.clone(),
            });
            self.reports
                .note(&topic.name, partition, cargo, Fate::Failed(text));
        }
    }

    /// Fails what was not delivered in time.
    pub(super) fn expire(&mut self, now: Duration) {
        const TIMED_OUT: i32 = -192;
        let Some(than) = self.limits.timeout.and_then(|timeout| now.checked_sub(timeout)) else {
            return;
        };
        for topic in self.topics.values_mut() {
            if topic.oldest().is_none_or(|oldest| oldest > than) {
                continue;
            }
            let mut all = Vec::new();
            while let Some(held) = topic.held.pop_front_if(|held| held.since <= than) {
                all.push((held.partition.unwrap_or(-1), held.cargo()));
            }
            for (number, queue) in (0..).zip(&mut topic.queues) {
                let (older, was_sent) = queue.take_older(than);
                self.torn |= was_sent;
                all.extend(older.into_iter().map(|cargo| (number, cargo)));
            }
            for (partition, cargo) in all {
                let text = not_delivered(cargo.records, &topic.name, partition, "their time is over");
                self.failed.get_or_insert_with(|| Failed {
                    code: TIMED_OUT,
                    text: text.clone(),
                });
                self.reports
                    .note(&topic.name, partition, cargo, Fate::Failed(text));
            }
        }
    }
}

impl Topic {
    fn found(&mut self, found: &MetadataResponseTopic) {
        self.known = Known::Here;
        self.missing_since = None;
        if found.partitions.len() > self.queues.len() {
            self.queues.resize_with(found.partitions.len(), Queue::default);
        }
    }
}

pub(super) fn not_delivered(records: usize, topic: &str, partition: i32, why: &str) -> String {
    format!("{records} records for {topic}[{partition}] were not delivered: {why}")
}
