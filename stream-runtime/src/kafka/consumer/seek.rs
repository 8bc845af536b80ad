//! Positions that are changed while a member holds its partitions.
//!
//! Giving a partition up and taking it on again at another offset would do, but librdkafka takes any
//! `incremental_unassign` for the answer to a rebalance that waits, also to one that is still on its way to the
//! owner: the group would go on before the owner has given anything back. So its `seek` is used, which the group
//! does not notice. It needs a partition that is being fetched; until it is one, its records are held back here and
//! it is tried again.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

use crate::clock;
use crate::error::{Error, Result};
use crate::kafka::committed::{CommittedOffsets, Question};
use crate::kafka::context::Context;
use crate::kafka::lists::named;
use crate::kafka::{StartOffset, TopicPartition};

/// How soon a seek is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// librdkafka answers a seek from its own thread without asking anybody, so at once unless it is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// The seeks that librdkafka has not taken on yet.
pub(super) struct Seeks {
    waiting: HashMap<TopicPartition, Target>,
    question: Option<(Vec<TopicPartition>, Question)>,
    again_at: Option<Instant>,
    offsets: Arc<CommittedOffsets>,
    wake: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Where the group has committed, which is asked.
    Committed,
    At(Offset),
}

impl Seeks {
    pub(super) fn new(offsets: &Arc<CommittedOffsets>, wake: &Arc<Notify>) -> Self {
        Self {
            waiting: HashMap::new(),
            question: None,
            again_at: None,
            offsets: Arc::clone(offsets),
            wake: Arc::clone(wake),
        }
    }

    pub(super) fn add(&mut self, partitions: &[(TopicPartition, StartOffset)]) {
        for (at, start) in partitions {
            let target = match start {
                StartOffset::Committed => Target::Committed,
                StartOffset::Beginning => Target::At(Offset::Beginning),
                StartOffset::At(offset) => Target::At(Offset::Offset((*offset).max(0))),
            };
            self.waiting.insert(at.clone(), target);
        }
        self.question = None;
        self.again_at = None;
    }

    /// They are given up, or taken on elsewhere.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            self.waiting.remove(at);
        }
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.question = None;
    }

    /// Whether a record of this partition comes from before a seek that is under way.
    pub(super) fn hide(&self, topic: &str, partition: i32) -> bool {
        !self.waiting.is_empty()
            && self
                .waiting
                .keys()
                .any(|at| at.partition == partition && *at.topic == *topic)
    }

    /// Does what can be done now.
    pub(super) fn step(&mut self, consumer: &BaseConsumer<Context>) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.learn()?;
        let now = clock::now();
        if self.again_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (at, target) in &self.waiting {
            if let Target::At(offset) = target {
                let set = list.add_partition(&at.topic, at.partition).set_offset(*offset);
                set.expect("these offsets can be represented");
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let results = match consumer.seek_partitions(list, PATIENCE) {
            Ok(results) => results,
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {
                self.retry(now);
                return Ok(());
            }
            Err(error) => return Err(refused(self.waiting.keys(), error)),
        };
        for result in results.elements() {
            let key =
                |at: &TopicPartition| at.partition == result.partition() && *at.topic == *result.topic();
            match result.error() {
                Ok(()) => self.waiting.retain(|at, _| !key(at)),
                Err(error) if passes(&error) => self.again_at = Some(now + AGAIN_AFTER),
                Err(error) => return Err(refused(self.waiting.keys().filter(|at| key(at)), error)),
            }
        }
        if self.again_at.is_some() {
            self.retry(now);
        }
        Ok(())
    }

    /// Asks for committed offsets that are to be sought, and takes the answer.
    fn learn(&mut self) -> Result<()> {
        if let Some((asked, question)) = &mut self.question {
            let Some(answer) = question.take() else {
                return Ok(());
            };
            for (at, committed) in asked.iter().zip(answer?) {
                if let Some(target @ Target::Committed) = self.waiting.get_mut(at) {
                    // An invalid offset is replaced as `auto.offset.reset` says.
                    let offset = committed.map_or(Offset::Invalid, |found| Offset::Offset(found.offset));
                    *target = Target::At(offset);
                }
            }
            self.question = None;
        }
        let unknown = self
            .waiting
            .iter()
            .filter(|(_, target)| **target == Target::Committed);
        let unknown = unknown.map(|(at, _)| at.clone()).collect::<Vec<_>>();
        if !unknown.is_empty() {
            let question = self.offsets.ask(&unknown, &self.wake)?;
            self.question = Some((unknown, question));
        }
        Ok(())
    }

    /// No event tells that a partition is being fetched, so the owner is woken after a while.
    fn retry(&mut self, now: Instant) {
        self.again_at = Some(now + AGAIN_AFTER);
        let wake = Arc::clone(&self.wake);
        let alarm = thread::Builder::new()
            .name("kafka-seek".to_owned())
            .spawn(move || {
                thread::sleep(AGAIN_AFTER);
                wake.notify_one();
            });
        if let Err(error) = alarm {
            tracing::warn!(target: "stream_runtime::kafka", "no thread for an alarm: {error}");
        }
    }
}

/// Whether a seek failed only because the partition is not being fetched yet.
fn passes(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::State
                | RDKafkaErrorCode::PreviousInProgress
                | RDKafkaErrorCode::InProgress
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::OperationTimedOut
        )
    )
}

fn refused<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>, error: KafkaError) -> Error {
    Error::broker(format!(
        "the client does not read {} from another offset",
        named(partitions)
    ))
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::config::tests::settings;
    use crate::kafka::diagnostics::Diagnostics;

    #[test]
    fn records_are_held_back_until_a_seek_is_taken_on_or_forgotten() {
        let diagnostics = Arc::new(Diagnostics::new("localhost:9092"));
        let offsets = CommittedOffsets::new(&settings("localhost:9092", "shop"), &diagnostics);
        let mut seeks = Seeks::new(&Arc::new(offsets), &Arc::new(Notify::new()));
        let [one, two] = [1, 2].map(|partition| TopicPartition {
            topic: Arc::from("orders"),
            partition,
        });
        assert!(!seeks.hide("orders", 1));
        seeks.add(&[(one.clone(), StartOffset::At(5)), (two, StartOffset::Committed)]);
        assert!(seeks.hide("orders", 1) && seeks.hide("orders", 2));
        assert!(!seeks.hide("orders", 3) && !seeks.hide("shapes", 1));
        seeks.forget(&[one]);
        assert!(!seeks.hide("orders", 1) && seeks.hide("orders", 2));
        seeks.clear();
        assert!(!seeks.hide("orders", 2));
    }
}
