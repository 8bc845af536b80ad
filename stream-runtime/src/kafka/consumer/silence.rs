//! Partitions of which nothing has come since they were taken on or sought in.
//!
//! Of every partition that is read something comes soon: a record, or that there is none. When a broker comes back in
//! the middle of a rebalance, librdkafka has been seen to read one no more, without a word, while all else went on.
//! Such a partition is read anew from where it was to begin, which nothing has moved.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::kafka::{StartOffset, TopicPartition};

/// How long is waited the first time; it doubles.
const PATIENCE: Duration = Duration::from_secs(15);
/// Up to this often.
const DOUBLINGS: u32 = 4;

/// Those that were not heard of yet.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: HashMap<TopicPartition, Silent>,
}

#[derive(Debug)]
struct Silent {
    start: StartOffset,
    since: Instant,
    told: u32,
}

impl Silence {
    /// They are read from here on.
    pub(super) fn begin(&mut self, partitions: &[(TopicPartition, StartOffset)], now: Instant) {
        for (at, start) in partitions {
            let silent = Silent {
                start: *start,
                since: now,
                told: 0,
            };
            self.since.insert(at.clone(), silent);
        }
    }

    /// Something has come of this one.
    pub(super) fn heard(&mut self, topic: &str, partition: i32) {
        if !self.since.is_empty() {
            self.since
                .retain(|at, _| at.partition != partition || *at.topic != *topic);
        }
    }

    /// They are given up.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        self.since.retain(|at, _| !partitions.contains(at));
    }

    pub(super) fn clear(&mut self) {
        self.since.clear();
    }

    /// Those that have been silent for too long, with where they are to begin. Where nothing is expected of one at the
    /// moment, its time begins anew.
    pub(super) fn overdue(
        &mut self,
        now: Instant,
        expected: impl Fn(&TopicPartition) -> bool,
    ) -> Vec<(TopicPartition, StartOffset)> {
        let mut overdue = Vec::new();
        for (at, silent) in &mut self.since {
            if !expected(at) {
                silent.since = now;
                continue;
            }
            let patience = PATIENCE * 2_u32.pow(silent.told.min(DOUBLINGS));
            if now.saturating_duration_since(silent.since) >= patience {
                silent.since = now;
                silent.told += 1;
                overdue.push((at.clone(), silent.start));
            }
        }
        overdue.sort_by(|(one, _), (other, _)| one.cmp(other));
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: "orders".into(),
            partition,
        }
    }

    #[test]
    fn who_says_nothing_for_long_is_read_anew_and_less_and_less_often() {
        let start = clock::now();
        let mut silence = Silence::default();
        let all = [0, 1, 2, 3].map(|partition| (at(partition), StartOffset::At(i64::from(partition))));
        silence.begin(&all, start);
        silence.heard("orders", 0);
        silence.heard("other", 1);
        silence.forget(&[at(3)]);
        let mut told = Vec::new();
        for second in 0..=120 {
            let now = start + Duration::from_secs(second);
            // Partition 2 is paused for a while.
            let overdue = silence.overdue(now, |at| at.partition != 2 || second > 50);
            told.extend(
                overdue
                    .into_iter()
                    .map(|(at, start)| (second, at.partition, start)),
            );
        }
        let (one, two) = (StartOffset::At(1), StartOffset::At(2));
        assert_eq!(
            told,
            [
                (15, 1, one),
                (45, 1, one),
                (65, 2, two),
                (95, 2, two),
                (105, 1, one)
            ]
        );
        silence.heard("orders", 1);
        silence.heard("orders", 2);
        assert!(
            silence
                .overdue(start + Duration::from_secs(9999), |_| true)
                .is_empty()
        );
    }
}
