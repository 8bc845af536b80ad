//! What a partition remembers of idempotent producers: epoch and the last batches of each.
//!
//! A batch that comes again is answered with the offset it got the first time; one out of sequence is
//! refused. The coordinator of transactions is [`super::transactions`].

use kafka_protocol::ResponseError;
use std::collections::{HashMap, VecDeque};

use super::batch::Batch;

/// How many batches a producer may have in flight.
const REMEMBERED: usize = 5;

/// A producer in one of its lives: a newer epoch of the same id takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerEpoch {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// The idempotent producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// The newest last.
    batches: VecDeque<Appended>,
}

#[derive(Debug, Clone, Copy)]
struct Appended {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    timestamp: i64,
}

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append it.
    Append,
    /// It is in the log already: where, and its time.
    Duplicate { base_offset: i64, timestamp: i64 },
}

impl Producers {
    /// Judges a batch before it is appended.
    ///
    /// # Errors
    ///
    /// The producer was replaced by one of a newer epoch, or the sequence has a gap.
    pub(crate) fn check(&self, batch: &Batch) -> Result<Verdict, ResponseError> {
        if batch.producer_id < 0 {
            return Ok(Verdict::Append);
        }
        // A producer that is not remembered (its records are gone) may go on with any sequence.
        let Some(producer) = self.by_id.get(&batch.producer_id) else {
            return Ok(Verdict::Append);
        };
        if batch.producer_epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if batch.producer_epoch > producer.epoch {
            return match batch.base_sequence {
                0 => Ok(Verdict::Append),
                _ => Err(ResponseError::OutOfOrderSequenceNumber),
            };
        }
        let same = producer.batches.iter().find(|known| {
            known.first_sequence == batch.base_sequence && known.last_sequence == batch.last_sequence()
        });
        if let Some(known) = same {
            return Ok(Verdict::Duplicate {
                base_offset: known.base_offset,
                timestamp: known.timestamp,
            });
        }
        let expected = producer
            .batches
            .back()
            .map_or(0, |last| match last.last_sequence {
                i32::MAX => 0,
                sequence => sequence + 1,
            });
        if batch.base_sequence == expected {
            Ok(Verdict::Append)
        } else {
            Err(ResponseError::OutOfOrderSequenceNumber)
        }
    }

    /// Remembers a batch that was appended at `base_offset`.
    pub(crate) fn appended(&mut self, batch: &Batch, base_offset: i64) {
        if batch.producer_id < 0 {
            return;
        }
        let producer = self.entry(batch.producer());
        if producer.batches.len() == REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Appended {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset,
            timestamp: batch.max_timestamp,
        });
    }

    /// Remembers the epoch of a marker: a newer one ends the older producer here as well.
    pub(crate) fn marked(&mut self, producer: ProducerEpoch) {
        self.entry(producer);
    }

    /// Whether the producer is remembered with this epoch.
    pub(crate) fn is_current(&self, producer: ProducerEpoch) -> bool {
        let known = self.by_id.get(&producer.id);
        known.is_some_and(|known| known.epoch == producer.epoch)
    }

    /// The producer in this epoch; what an older one appended is forgotten.
    fn entry(&mut self, producer: ProducerEpoch) -> &mut Producer {
        let entry = self.by_id.entry(producer.id).or_insert_with(|| Producer {
            epoch: producer.epoch,
            batches: VecDeque::new(),
        });
        if entry.epoch != producer.epoch {
            entry.epoch = producer.epoch;
            entry.batches.clear();
        }
        entry
    }
}
