//! Where a member reads the partitions that it holds: from what the group has committed, and from where it is sent back to.
//!
//! **Beginning.** librdkafka would look up what is committed by itself, but neither safely nor always. While a
//! transaction of the last owner is open the broker does not say; when the assignment changes before it does, librdkafka
//! takes the partition for one of which nothing is committed (`rd_kafka_assignment_apply_offsets`). When the coordinator
//! has moved, or the connection breaks while the assignment changes, it asks never again, and every partition that comes
//! later waits as well. So it is asked here, and librdkafka takes a partition on when the offset is known. Until then the
//! partition is the member's and is not read.
//!
//! **Going back.** Giving a partition up and taking it on again at another offset would do, but librdkafka takes any
//! `incremental_unassign` for the answer to a rebalance that waits, also to one that is still on its way to the
//! owner: the group would go on before the owner has given anything back. So its `seek` is used, which the group
//! does not notice. It needs a partition that is being fetched; until it is one, its records are held back here and
//! it is tried again.

use std::collections::HashMap;
use std::sync::Arc;
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
use crate::kafka::lists::{named, offset_of};
use crate::kafka::{StartOffset, TopicPartition};

/// How soon a seek is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// librdkafka answers a seek from its own thread without asking anybody, so at once unless it is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// The partitions that librdkafka does not read from where they are to be read yet.
pub(super) struct Positions {
    waiting: HashMap<TopicPartition, Waiting>,
    question: Option<(Vec<TopicPartition>, Question)>,
    again_at: Option<Instant>,
    offsets: Arc<CommittedOffsets>,
    wake: Arc<Notify>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    target: Target,
    /// Whether librdkafka has it, and it is to be sought in.
    taken_on: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Where the group has committed, which is asked.
    Committed,
    /// The group has committed nothing.
    Nothing,
    At(StartOffset),
}

impl Waiting {
    fn may_begin(&self) -> bool {
        !self.taken_on && self.target != Target::Committed
    }
}

impl Target {
    /// What librdkafka is told; `otherwise` where nothing is committed.
    fn offset(self, otherwise: Offset) -> Offset {
        match self {
            Self::At(start) => offset_of(start),
            Self::Committed | Self::Nothing => otherwise,
        }
    }
}

impl Positions {
    pub(super) fn new(offsets: &Arc<CommittedOffsets>, wake: &Arc<Notify>) -> Self {
        Self {
            waiting: HashMap::new(),
            question: None,
            again_at: None,
            offsets: Arc::clone(offsets),
            wake: Arc::clone(wake),
        }
    }

    /// These begin where the group has committed, which is found out before librdkafka takes them on.
    pub(super) fn begin(&mut self, partitions: &[TopicPartition]) {
        let waiting = Waiting {
            target: Target::Committed,
            taken_on: false,
        };
        self.set(partitions.iter().map(|at| (at, waiting)));
    }

    /// These are read from elsewhere.
    pub(super) fn seek(&mut self, partitions: &[(TopicPartition, StartOffset)]) {
        let places = partitions.iter().map(|(at, start)| {
            let target = match start {
                StartOffset::Committed => Target::Committed,
                start => Target::At(*start),
            };
            let taken_on = self.is_taken_on(at);
            (at, Waiting { target, taken_on })
        });
        let places: Vec<_> = places.collect();
        self.set(places);
    }

    fn set<'a>(&mut self, places: impl IntoIterator<Item = (&'a TopicPartition, Waiting)>) {
        for (at, waiting) in places {
            if waiting.target == Target::Committed {
                // A question that is under way may not be about this one, or be of before it was others'.
                self.question = None;
            }
            self.waiting.insert(at.clone(), waiting);
        }
        self.again_at = None;
    }

    /// Whether librdkafka has this one of the member's partitions.
    pub(super) fn is_taken_on(&self, at: &TopicPartition) -> bool {
        self.waiting.get(at).is_none_or(|waiting| waiting.taken_on)
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

    /// Whether it is known of some where they begin that librdkafka has not taken on.
    ///
    /// # Errors
    /// When the group's offsets cannot be read.
    pub(super) fn may_begin(&mut self) -> Result<bool> {
        if self.waiting.is_empty() {
            return Ok(false);
        }
        self.learn()?;
        Ok(self.waiting.values().any(Waiting::may_begin))
    }

    /// Those, with where they begin: `otherwise` where nothing is committed. They wait no more.
    pub(super) fn take_beginning(&mut self, otherwise: Offset) -> Vec<(TopicPartition, Offset)> {
        let known = self.waiting.extract_if(|_, waiting| waiting.may_begin());
        let mut known: Vec<_> = known
            .map(|(at, waiting)| (at, waiting.target.offset(otherwise)))
            .collect();
        known.sort_by(|(one, _), (other, _)| one.cmp(other));
        known
    }

    /// Seeks in those that are to be read from elsewhere, as far as it can be done now.
    ///
    /// # Errors
    /// When the group's offsets cannot be read, or librdkafka refuses.
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
        for (at, waiting) in &self.waiting {
            if waiting.taken_on && waiting.target != Target::Committed {
                // An invalid offset is replaced as `auto.offset.reset` says.
                let offset = waiting.target.offset(Offset::Invalid);
                let set = list.add_partition(&at.topic, at.partition).set_offset(offset);
                set.expect("these offsets can be represented");
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let results = match consumer.seek_partitions(list, PATIENCE) {
            Ok(results) => results,
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {
                self.again_at = Some(now + AGAIN_AFTER);
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
        Ok(())
    }

    /// Asks for committed offsets that have to be known, and takes the answer.
    fn learn(&mut self) -> Result<()> {
        if let Some((asked, question)) = &mut self.question {
            let Some(answer) = question.take() else {
                return Ok(());
            };
            for (at, committed) in asked.iter().zip(answer?) {
                if let Some(Waiting {
                    target: target @ Target::Committed,
                    ..
                }) = self.waiting.get_mut(at)
                {
                    *target = match committed {
                        Some(found) => Target::At(StartOffset::At(found.offset)),
                        None => Target::Nothing,
                    };
                }
            }
            self.question = None;
        }
        let unknown = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.target == Target::Committed);
        let unknown = unknown.map(|(at, _)| at.clone()).collect::<Vec<_>>();
        if !unknown.is_empty() {
            let question = self.offsets.ask(&unknown, &self.wake)?;
            self.question = Some((unknown, question));
        }
        Ok(())
    }
}

/// Whether a seek failed only because the partition is not being fetched yet, or librdkafka did something to it itself.
fn passes(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::State
                | RDKafkaErrorCode::PreviousInProgress
                | RDKafkaErrorCode::InProgress
                | RDKafkaErrorCode::Outdated
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
        let mut positions = Positions::new(&Arc::new(offsets), &Arc::new(Notify::new()));
        let [one, two] = [1, 2].map(|partition| TopicPartition {
            topic: Arc::from("orders"),
            partition,
        });
        assert!(!positions.hide("orders", 1));
        positions.seek(&[(one.clone(), StartOffset::At(5)), (two, StartOffset::Committed)]);
        assert!(positions.hide("orders", 1) && positions.hide("orders", 2));
        assert!(!positions.hide("orders", 3) && !positions.hide("shapes", 1));
        positions.forget(&[one]);
        assert!(!positions.hide("orders", 1) && positions.hide("orders", 2));
        positions.clear();
        assert!(!positions.hide("orders", 2));
    }

    #[test]
    fn a_partition_is_taken_on_once_it_is_known_where_it_begins() {
        let diagnostics = Arc::new(Diagnostics::new("localhost:9092"));
        let offsets = CommittedOffsets::new(&settings("localhost:9092", "shop"), &diagnostics);
        let mut positions = Positions::new(&Arc::new(offsets), &Arc::new(Notify::new()));
        let [one, two, three] = [1, 2, 3].map(|partition| TopicPartition {
            topic: Arc::from("orders"),
            partition,
        });
        positions.begin(&[one.clone(), two.clone()]);
        assert!(!positions.is_taken_on(&one) && positions.is_taken_on(&three));
        assert!(
            !positions.may_begin().expect("it is asked"),
            "nobody has answered"
        );
        // Sent elsewhere before it began.
        positions.seek(&[
            (one.clone(), StartOffset::At(7)),
            (three.clone(), StartOffset::At(8)),
        ]);
        assert!(positions.may_begin().expect("it is asked"));
        let known = positions.take_beginning(Offset::Beginning);
        assert_eq!(known, [(one.clone(), Offset::Offset(7))]);
        assert!(positions.is_taken_on(&one) && !positions.is_taken_on(&two) && positions.is_taken_on(&three));
        assert!(positions.hide("orders", 3) && !positions.hide("orders", 1));
    }
}
