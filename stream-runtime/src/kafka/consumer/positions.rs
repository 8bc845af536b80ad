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
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

use crate::clock;
use crate::error::{Error, Result};
use crate::kafka::committed::{CommittedOffsets, Question};
use crate::kafka::context::Context;
use crate::kafka::lists::{list_from, named, offset_of};
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
    /// Where a partition is read from of which nothing is committed.
    otherwise: Offset,
    offsets: Arc<CommittedOffsets>,
    wake: Arc<Notify>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// Where it is to be read from; `None` for where the group has committed, which is asked.
    from: Option<Offset>,
    /// Whether librdkafka has it, and it is to be sought in.
    taken_on: bool,
}

impl Positions {
    pub(super) fn new(otherwise: Offset, offsets: &Arc<CommittedOffsets>, wake: &Arc<Notify>) -> Self {
        Self {
            waiting: HashMap::new(),
            question: None,
            again_at: None,
            otherwise,
            offsets: Arc::clone(offsets),
            wake: Arc::clone(wake),
        }
    }

    /// These are the member's now. Those that begin where the group has committed wait until that is known, and
    /// librdkafka takes on the others at once.
    pub(super) fn assign(&mut self, partitions: &[(TopicPartition, StartOffset)]) {
        for (at, start) in partitions {
            match offset_of(*start) {
                None => self.set(at, None, false),
                Some(_) => drop(self.waiting.remove(at)),
            }
        }
    }

    /// These are read from elsewhere.
    pub(super) fn seek(&mut self, partitions: &[(TopicPartition, StartOffset)]) {
        for (at, start) in partitions {
            self.set(at, offset_of(*start), self.is_taken_on(at));
        }
    }

    fn set(&mut self, at: &TopicPartition, from: Option<Offset>, taken_on: bool) {
        if from.is_none() {
            // A question that is under way may not be about this one, or be of before it was others'.
            self.question = None;
        }
        self.waiting.insert(at.clone(), Waiting { from, taken_on });
        self.again_at = None;
    }

    /// Whether librdkafka has this one of the member's partitions.
    pub(super) fn is_taken_on(&self, at: &TopicPartition) -> bool {
        self.waiting.get(at).is_none_or(|waiting| waiting.taken_on)
    }

    /// They are given up.
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
    pub(super) fn may_begin(&self) -> bool {
        let mut waiting = self.waiting.values();
        waiting.any(|waiting| !waiting.taken_on && waiting.from.is_some())
    }

    /// Those, with where they begin. They wait no more.
    pub(super) fn take_beginning(&mut self) -> Vec<(TopicPartition, Offset)> {
        let known = self
            .waiting
            .extract_if(|_, waiting| !waiting.taken_on && waiting.from.is_some());
        let mut known: Vec<_> = known
            .filter_map(|(at, waiting)| Some((at, waiting.from?)))
            .collect();
        known.sort_by(|(one, _), (other, _)| one.cmp(other));
        known
    }

    /// Seeks in those that are to be read from elsewhere, as far as it can be done now.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub(super) fn step(&mut self, consumer: &BaseConsumer<Context>) -> Result<()> {
        let now = clock::now();
        if self.waiting.is_empty() || self.again_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let taken_on = self.waiting.iter().filter(|(_, waiting)| waiting.taken_on);
        let list = list_from(taken_on.filter_map(|(at, waiting)| Some((at, waiting.from?))));
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
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn learn(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if let Some((asked, question)) = &mut self.question {
            let Some(answer) = question.take() else {
                return Ok(());
            };
            for (at, committed) in asked.iter().zip(answer?) {
                if let Some(waiting) = self.waiting.get_mut(at) {
                    let found = committed.map_or(self.otherwise, |found| Offset::Offset(found.offset));
                    waiting.from.get_or_insert(found);
                }
            }
            self.question = None;
        }
        let unknown = self.waiting.iter().filter(|(_, waiting)| waiting.from.is_none());
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
        let mut positions = Positions::new(Offset::Beginning, &Arc::new(offsets), &Arc::new(Notify::new()));
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
        let mut positions = Positions::new(Offset::Beginning, &Arc::new(offsets), &Arc::new(Notify::new()));
        let [one, two, three] = [1, 2, 3].map(|partition| TopicPartition {
            topic: Arc::from("orders"),
            partition,
        });
        positions.assign(&[
            (one.clone(), StartOffset::Committed),
            (two.clone(), StartOffset::Committed),
            (three.clone(), StartOffset::Beginning),
        ]);
        positions.learn().expect("it is asked");
        assert!(!positions.is_taken_on(&one) && positions.is_taken_on(&three));
        assert!(!positions.may_begin(), "nobody has answered");
        // Sent elsewhere before it began.
        positions.seek(&[
            (one.clone(), StartOffset::At(7)),
            (three.clone(), StartOffset::At(8)),
        ]);
        assert!(positions.may_begin());
        let known = positions.take_beginning();
        assert_eq!(known, [(one.clone(), Offset::Offset(7))]);
        assert!(positions.is_taken_on(&one) && !positions.is_taken_on(&two) && positions.is_taken_on(&three));
        assert!(positions.hide("orders", 3) && !positions.hide("orders", 1));
    }
}
