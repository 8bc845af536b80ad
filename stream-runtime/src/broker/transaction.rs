//! One transactional id: which producer it belongs to, and its transaction.
//!
//! A producer is fenced by raising the epoch: whoever comes with an older one is refused from then on.
//! What a transaction wrote is known here by name only; the markers are written by whoever is handed
//! an [`Ended`].

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeSet;
use std::time::Duration;

use super::marker::Outcome;
use super::offsets::TopicPartition;
use super::producers::ProducerEpoch;

/// Epochs from here on are given to nobody: the id is used up.
const EXHAUSTED: i16 = i16::MAX - 1;

/// A transactional id.
#[derive(Debug)]
pub(super) struct Transaction {
    producer: ProducerEpoch,
    /// The epoch that may still ask for the present one: it made this one, but may not have heard so.
    last_epoch: Option<i16>,
    /// The producer id before the present one.
    previous_id: Option<i64>,
    timeout: Duration,
    open: Option<Open>,
    /// How this producer's last transaction ended, so that ending it again can be told from a mistake.
    ended: Option<Outcome>,
}

/// An open transaction.
#[derive(Debug)]
pub(crate) struct Open {
    since: Duration,
    pub(super) partitions: BTreeSet<TopicPartition>,
    pub(super) groups: BTreeSet<StrBytes>,
}

/// A transaction that is over: what has to be told of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) producer: ProducerEpoch,
    pub(crate) outcome: Outcome,
    /// Where a marker is due, even if nothing was written.
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// The groups whose offsets it may have staged.
    pub(crate) groups: BTreeSet<StrBytes>,
}

impl Transaction {
    /// An id that is used for the first time.
    pub(super) fn new(producer_id: i64, timeout: Duration) -> Self {
        Self {
            producer: ProducerEpoch {
                id: producer_id,
                epoch: 0,
            },
            last_epoch: None,
            previous_id: None,
            timeout,
            open: None,
            ended: None,
        }
    }

    pub(super) fn producer(&self) -> ProducerEpoch {
        self.producer
    }

    pub(super) fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// When the open transaction is aborted.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let open = self.open.as_ref()?;
        Some(open.since.saturating_add(self.timeout))
    }

    /// Whether a producer that was here before may come again.
    ///
    /// # Errors
    ///
    /// It is not the id's producer.
    pub(super) fn check_returning(&self, producer: ProducerEpoch) -> Result<(), ResponseError> {
        // The answer with the new id may have been lost.
        let was_replaced = self.previous_id == Some(producer.id) && producer.epoch >= EXHAUSTED;
        if producer.id == self.producer.id || was_replaced {
            Ok(())
        } else {
            Err(ResponseError::ProducerFenced)
        }
    }

    /// Raises the epoch and aborts the open transaction, if there is one.
    pub(super) fn fence(&mut self) -> Option<Ended> {
        self.open.as_ref()?;
        self.last_epoch = Some(self.producer.epoch);
        self.producer.epoch = self.producer.epoch.saturating_add(1);
        self.finish(Outcome::Abort)
    }

    /// Gives the id to a new producer, or to one that was `returning` with the epoch it had.
    ///
    /// # Errors
    ///
    /// Another producer came after the one that returns.
    pub(super) fn renew(
        &mut self,
        returning: Option<ProducerEpoch>,
        timeout: Duration,
        new_id: impl FnOnce() -> i64,
    ) -> Result<ProducerEpoch, ResponseError> {
        let current = self.producer.epoch;
        let is_current = returning.is_none_or(|producer| producer.epoch == current);
        let is_repeated = returning.is_some_and(|producer| Some(producer.epoch) == self.last_epoch);
        if !is_current && !is_repeated {
            return Err(ResponseError::ProducerFenced);
        }
        if is_repeated && !is_current && current <= EXHAUSTED {
            self.timeout = timeout;
            return Ok(self.producer);
        }
        self.last_epoch = returning.map(|producer| producer.epoch);
        self.producer = if current >= EXHAUSTED {
            self.previous_id = Some(self.producer.id);
            ProducerEpoch {
                id: new_id(),
                epoch: 0,
            }
        } else {
            ProducerEpoch {
                epoch: current + 1,
                ..self.producer
            }
        };
        self.timeout = timeout;
        self.ended = None;
        Ok(self.producer)
    }

    /// The transaction to add something to, opened if there is none.
    pub(super) fn open_since(&mut self, now: Duration) -> &mut Open {
        self.open.get_or_insert_with(|| Open {
            since: now,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
        })
    }

    /// Ends the transaction as its producer asks. `None`: it was ended so before.
    ///
    /// # Errors
    ///
    /// There is none, or it was ended the other way.
    pub(super) fn end(&mut self, outcome: Outcome) -> Result<Option<Ended>, ResponseError> {
        if self.open.is_none() && self.ended != Some(outcome) {
            return Err(ResponseError::InvalidTxnState);
        }
        Ok(self.finish(outcome))
    }

    fn finish(&mut self, outcome: Outcome) -> Option<Ended> {
        let open = self.open.take()?;
        self.ended = Some(outcome);
        Some(Ended {
            producer: self.producer,
            outcome,
            partitions: open.partitions,
            groups: open.groups,
        })
    }
}
