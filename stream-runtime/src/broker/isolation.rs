//! Which transactions of a log are open, and which were aborted.
//!
//! Derived from the batches as they are appended. A consumer that reads committed records only is
//! stopped before the first open transaction, and is told the aborted ones, whose records it leaves out.

use std::collections::BTreeMap;

use super::batch::Batch;
use super::marker::Outcome;

/// An aborted transaction of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    /// The offset of its first record.
    pub(crate) first: i64,
    /// The offset of its marker.
    pub(crate) marker: i64,
}

/// The transactions of one log.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    /// The first offset of each producer's open transaction.
    open: BTreeMap<i64, i64>,
    /// In the order of their markers.
    aborted: Vec<Aborted>,
}

impl Isolation {
    /// Takes note of a batch that has got its place.
    pub(super) fn appended(&mut self, batch: &Batch) {
        match batch.marker {
            None if batch.is_transactional() => {
                self.open.entry(batch.producer_id).or_insert(batch.base_offset);
            }
            None => {}
            Some(outcome) => {
                // A transaction without records here leaves a marker and nothing to leave out.
                let first = self.open.remove(&batch.producer_id);
                if let (Some(first), Outcome::Abort) = (first, outcome) {
                    self.aborted.push(Aborted {
                        producer_id: batch.producer_id,
                        first,
                        marker: batch.base_offset,
                    });
                }
            }
        }
    }

    /// Where the first open transaction begins.
    pub(super) fn first_open(&self) -> Option<i64> {
        self.open.values().copied().min()
    }

    /// Whether the producer's transaction is open.
    pub(super) fn is_open(&self, producer_id: i64) -> bool {
        self.open.contains_key(&producer_id)
    }

    /// Whether the batch holds records of an aborted transaction.
    pub(super) fn is_aborted(&self, batch: &Batch) -> bool {
        if !batch.is_transactional() || batch.marker.is_some() {
            return false;
        }
        // A producer has one transaction at a time, so the next one that ends decides.
        let next = self
            .behind(batch.base_offset)
            .find(|aborted| aborted.producer_id == batch.producer_id);
        next.is_some_and(|aborted| aborted.first <= batch.base_offset)
    }

    /// The aborted transactions that have records or their marker in `from..to`.
    pub(super) fn aborted_in(&self, from: i64, to: i64) -> Vec<Aborted> {
        let reaches = self.behind(from).filter(|aborted| aborted.first < to);
        reaches.copied().collect()
    }

    /// Forgets transactions of which no record is left.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&Aborted) -> bool) {
        self.aborted.retain(|aborted| !is_gone(aborted));
    }

    /// The aborted transactions whose marker is not before `offset`.
    fn behind(&self, offset: i64) -> impl Iterator<Item = &Aborted> {
        let first = self.aborted.partition_point(|aborted| aborted.marker < offset);
        self.aborted.iter().skip(first)
    }
}
