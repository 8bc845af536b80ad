//! The coordinator of transactions: all transactional ids, who may do what, and time-outs.
//!
//! What happens to one id is [`super::transaction`]'s. Nothing is written here: a transaction that ends
//! is handed to the caller, who writes the markers at once. So there is no moment in which a transaction
//! is ended but not everywhere, and no client has to wait for one (`CONCURRENT_TRANSACTIONS`).

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::time::Duration;

use super::marker::Outcome;
use super::offsets::TopicPartition;
use super::producers::ProducerEpoch;
use super::state::{Now, Timer, Timers};
use super::transaction::{Ended, Open, Transaction};

/// Transactions may not stay open longer: Apache Kafka's `transaction.max.timeout.ms`.
const LONGEST_MS: i32 = 900_000;

/// The transactional ids.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    by_id: BTreeMap<StrBytes, Known>,
}

/// A transactional id and when it is looked at next.
#[derive(Debug)]
struct Known {
    transaction: Transaction,
    checked_at: Option<Duration>,
}

/// What came of InitProducerId.
#[derive(Debug)]
pub(crate) struct Initialised {
    /// The transaction that was open: it is aborted even if the caller is refused.
    pub(crate) ended: Option<Ended>,
    pub(crate) producer: Result<ProducerEpoch, ResponseError>,
}

impl Transactions {
    /// Gives a transactional id to a producer, new or `returning`, and fences the one before it.
    pub(crate) fn init(
        &mut self,
        id: &StrBytes,
        timeout_ms: i32,
        returning: Option<ProducerEpoch>,
        mut new_id: impl FnMut() -> i64,
    ) -> Initialised {
        let refused = |code| Initialised {
            ended: None,
            producer: Err(code),
        };
        if id.is_empty() {
            return refused(ResponseError::InvalidRequest);
        }
        if !(1..=LONGEST_MS).contains(&timeout_ms) {
            return refused(ResponseError::InvalidTransactionTimeout);
        }
        let timeout = Duration::from_millis(u64::from(timeout_ms.unsigned_abs()));
        let Some(known) = self.by_id.get_mut(id) else {
            let transaction = Transaction::new(new_id(), timeout);
            let producer = Ok(transaction.producer());
            let checked_at = None;
            self.by_id.insert(
                id.clone(),
                Known {
                    transaction,
                    checked_at,
                },
            );
            return Initialised {
                ended: None,
                producer,
            };
        };
        let transaction = &mut known.transaction;
        if let Some(Err(code)) = returning.map(|producer| transaction.check_returning(producer)) {
            return refused(code);
        }
        let ended = transaction.fence();
        let producer = transaction.renew(returning, timeout, new_id);
        Initialised { ended, producer }
    }

    /// Adds partitions or groups to a producer's transaction, which is opened with the first of them.
    ///
    /// # Errors
    ///
    /// The transactional id is not this producer's, or no longer.
    pub(crate) fn add(
        &mut self,
        id: &StrBytes,
        producer: ProducerEpoch,
        now: Now,
        timers: &mut Timers,
        add: impl FnOnce(&mut Open),
    ) -> Result<(), ResponseError> {
        let known = self.of(id, producer)?;
        add(known.transaction.open_since(now.elapsed));
        known.schedule(id, timers);
        Ok(())
    }

    /// Ends a transaction as its producer asks. `None`: it was ended so before.
    ///
    /// # Errors
    ///
    /// The transactional id is not this producer's, or no longer; or there is nothing to end.
    pub(crate) fn end(
        &mut self,
        id: &StrBytes,
        producer: ProducerEpoch,
        outcome: Outcome,
    ) -> Result<Option<Ended>, ResponseError> {
        self.of(id, producer)?.transaction.end(outcome)
    }

    /// Whether a producer's transaction may write to a partition.
    ///
    /// # Errors
    ///
    /// The transactional id is not this producer's, or the partition was not added.
    pub(crate) fn may_write(
        &self,
        id: &StrBytes,
        producer: ProducerEpoch,
        at: &TopicPartition,
    ) -> Result<(), ResponseError> {
        self.verify(id, producer, |open| open.partitions.contains(at))
    }

    /// Whether a producer's transaction may commit offsets of a group.
    ///
    /// # Errors
    ///
    /// The transactional id is not this producer's, or the group was not added.
    pub(crate) fn may_commit(
        &self,
        id: &StrBytes,
        producer: ProducerEpoch,
        group: &StrBytes,
    ) -> Result<(), ResponseError> {
        self.verify(id, producer, |open| open.groups.contains(group))
    }

    /// Does what time asks for: a transaction that was open too long is aborted, its producer fenced.
    pub(crate) fn expire(&mut self, id: &StrBytes, now: Now, timers: &mut Timers) -> Option<Ended> {
        let known = self.by_id.get_mut(id)?;
        if known.checked_at.is_some_and(|at| at > now.elapsed) {
            // An earlier check took this one's place.
            return None;
        }
        known.checked_at = None;
        if known.transaction.deadline()? <= now.elapsed {
            return known.transaction.fence();
        }
        known.schedule(id, timers);
        None
    }

    fn of(&mut self, id: &StrBytes, producer: ProducerEpoch) -> Result<&mut Known, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let known = self.by_id.get_mut(id);
        let known = known.ok_or(ResponseError::InvalidProducerIdMapping)?;
        check(&known.transaction, producer)?;
        Ok(known)
    }

    fn verify(
        &self,
        id: &StrBytes,
        producer: ProducerEpoch,
        is_added: impl FnOnce(&Open) -> bool,
    ) -> Result<(), ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let known = self.by_id.get(id);
        let known = known.ok_or(ResponseError::InvalidProducerIdMapping)?;
        check(&known.transaction, producer).map_err(|error| match error {
            // Producers know this one in answers to writes.
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            other => other,
        })?;
        if known.transaction.open().is_some_and(is_added) {
            Ok(())
        } else {
            Err(ResponseError::InvalidTxnState)
        }
    }
}

impl Known {
    /// Sees to it that the transaction is looked at in time.
    fn schedule(&mut self, id: &StrBytes, timers: &mut Timers) {
        let Some(deadline) = self.transaction.deadline() else {
            return;
        };
        if self.checked_at.is_none_or(|at| deadline < at) {
            self.checked_at = Some(deadline);
            timers.set(deadline, Timer::Transaction(id.clone()));
        }
    }
}

fn check(transaction: &Transaction, producer: ProducerEpoch) -> Result<(), ResponseError> {
    let known = transaction.producer();
    if known.id != producer.id {
        Err(ResponseError::InvalidProducerIdMapping)
    } else if known.epoch != producer.epoch {
        Err(ResponseError::ProducerFenced)
    } else {
        Ok(())
    }
}
