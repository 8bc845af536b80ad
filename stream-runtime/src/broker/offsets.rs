//! The offsets of one group: what was committed, and what open transactions will commit.

use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

use super::marker::Outcome;

/// An offset that was committed.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: StrBytes,
}

/// A topic's name and the number of a partition.
pub(crate) type TopicPartition = (String, i32);

/// The offsets of a group.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    committed: BTreeMap<TopicPartition, Written>,
    /// Of the open transactions, by producer.
    staged: BTreeMap<i64, BTreeMap<TopicPartition, Written>>,
    writes: u64,
}

/// An offset and when it was written: the later one counts, whatever commits first.
#[derive(Debug, Clone)]
struct Written {
    committed: Committed,
    number: u64,
}

impl Offsets {
    /// Whether there are none, committed or not.
    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.staged.is_empty()
    }

    /// What has a committed offset.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.committed.keys()
    }

    /// What was committed for a partition.
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&Committed> {
        let written = self.committed.get(&(topic.to_owned(), partition))?;
        Some(&written.committed)
    }

    /// Whether an open transaction may still change what is committed for a partition.
    pub(crate) fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        if self.staged.is_empty() {
            return false;
        }
        let at = (topic.to_owned(), partition);
        self.staged.values().any(|offsets| offsets.contains_key(&at))
    }

    /// Commits an offset.
    pub(crate) fn commit(&mut self, at: TopicPartition, committed: Committed) {
        let written = self.write(committed);
        self.committed.insert(at, written);
    }

    /// Keeps an offset until the producer's transaction ends.
    pub(crate) fn stage(&mut self, producer_id: i64, at: TopicPartition, committed: Committed) {
        let written = self.write(committed);
        self.staged.entry(producer_id).or_default().insert(at, written);
    }

    /// Commits or forgets what the producer's transaction staged.
    pub(crate) fn end(&mut self, producer_id: i64, outcome: Outcome) {
        let staged = self.staged.remove(&producer_id).unwrap_or_default();
        if outcome == Outcome::Abort {
            return;
        }
        for (at, written) in staged {
            let newer = self
                .committed
                .get(&at)
                .is_some_and(|known| known.number > written.number);
            if !newer {
                self.committed.insert(at, written);
            }
        }
    }

    /// Forgets what was committed for a partition.
    pub(crate) fn remove(&mut self, at: &TopicPartition) {
        self.committed.remove(at);
    }

    /// Forgets all of a topic.
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.committed.retain(|(name, _), _| name != topic);
        self.staged.retain(|_, offsets| {
            offsets.retain(|(name, _), _| name != topic);
            !offsets.is_empty()
        });
    }

    fn write(&mut self, committed: Committed) -> Written {
        self.writes += 1;
        Written {
            committed,
            number: self.writes,
        }
    }
}
