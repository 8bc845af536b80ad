//! The log of one partition: batches in the order of their offsets, in memory.
//!
//! Invariants: offsets only grow; a batch ends before the next one begins; `start <= next`; the last
//! batch is never removed by compaction, so that a consumer at the end always sees the end; what lies
//! before the stable end belongs to no open transaction. Nothing is
//! on disk. Which batches may go, and when, is decided by [`super::compaction`] and by retention here.

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use std::collections::VecDeque;

use super::batch::Batch;
use super::config::TopicConfig;
use super::isolation::{Aborted, Isolation};
use super::records;

/// Segments of a disk hold a gigabyte; in memory that much would be kept uncompacted.
const LARGEST_SEGMENT: usize = 16 * 1024 * 1024;

/// One partition's batches.
#[derive(Debug, Default)]
pub(crate) struct Log {
    batches: VecDeque<Batch>,
    start: i64,
    next: i64,
    bytes: usize,
    active: Segment,
    clean: Clean,
    isolation: Isolation,
}

/// The end of the log that compaction leaves alone.
#[derive(Debug, Default, Clone, Copy)]
struct Segment {
    start: i64,
    bytes: usize,
    /// When its first batch was appended.
    since_ms: Option<i64>,
}

/// The beginning of the log that was compacted before.
#[derive(Debug, Default, Clone, Copy)]
struct Clean {
    end: i64,
    bytes: usize,
    /// When the first of its tombstones or markers may go.
    tombstones_due: Option<i64>,
}

/// Which records a consumer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    All,
    /// Those before the stable end, and which of them were aborted.
    Committed,
}

impl Reads {
    /// As the protocol's `isolation_level` says.
    pub(crate) fn of(isolation_level: i8) -> Self {
        if isolation_level == 1 {
            Self::Committed
        } else {
            Self::All
        }
    }
}

/// What a consumer gets of one partition.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) bytes: Bytes,
    /// The aborted transactions that it has to leave out; `None` where it reads all.
    pub(crate) aborted: Option<Vec<Aborted>>,
    /// Whether there was more than it may get.
    pub(crate) is_cut: bool,
}

/// How many bytes became readable.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Grown {
    /// Appended.
    pub(crate) all: usize,
    /// No longer behind an open transaction.
    pub(crate) stable: usize,
}

/// An offset and the time of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetTime {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

impl Log {
    /// The first offset that can be read.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// The offset that the next record gets: the high watermark of a broker without followers.
    pub(crate) fn end(&self) -> i64 {
        self.next
    }

    /// The offset before which no transaction is open: the protocol's last stable offset.
    pub(crate) fn stable_end(&self) -> i64 {
        let first_open = self.isolation.first_open();
        first_open.map_or(self.next, |first| first.max(self.start))
    }

    /// Where a consumer's records end.
    pub(crate) fn end_for(&self, reads: Reads) -> i64 {
        match reads {
            Reads::All => self.next,
            Reads::Committed => self.stable_end(),
        }
    }

    /// Which of its transactions are open or were aborted.
    pub(super) fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    pub(super) fn batches(&self) -> &VecDeque<Batch> {
        &self.batches
    }

    /// Puts the batch at the end.
    pub(crate) fn append(&mut self, mut batch: Batch, now_ms: i64, config: &TopicConfig) -> Grown {
        self.roll(now_ms, config);
        let stable = self.stable_end();
        let all = batch.len();
        batch.place(self.next);
        self.next = batch.last_offset + 1;
        self.bytes += all;
        self.active.bytes += all;
        self.active.since_ms.get_or_insert(now_ms);
        self.isolation.appended(&batch);
        self.batches.push_back(batch);
        let stable = self.batches_between(stable, self.stable_end());
        Grown {
            all,
            stable: stable.map(Batch::len).sum(),
        }
    }

    /// The batches from the one that holds `from`, without the one that holds `to`.
    fn batches_between(&self, from: i64, to: i64) -> impl Iterator<Item = &Batch> {
        let first = self.batches.partition_point(|batch| batch.last_offset < from);
        let batches = self.batches.range(first..);
        batches.take_while(move |batch| batch.last_offset < to)
    }

    /// Closes the active segment when it is large or old enough.
    pub(crate) fn roll(&mut self, now_ms: i64, config: &TopicConfig) {
        let large = self.active.bytes >= config.segment_bytes.min(LARGEST_SEGMENT);
        let old = self
            .active
            .since_ms
            .is_some_and(|since| now_ms.saturating_sub(since) >= config.segment_ms);
        if large || old {
            self.active = Segment {
                start: self.next,
                ..Segment::default()
            };
        }
    }

    /// The first offset that compaction must leave alone.
    pub(super) fn active_start(&self) -> i64 {
        let last = self.batches.back().map_or(self.next, |batch| batch.base_offset);
        self.active.start.min(last)
    }

    /// Everything below was compacted before.
    pub(super) fn cleaned_to(&self) -> i64 {
        self.clean.end
    }

    /// The size of what was compacted before, at that time.
    pub(super) fn clean_bytes(&self) -> usize {
        self.clean.bytes
    }

    /// When the first tombstone or marker of what was compacted before may go.
    pub(super) fn tombstones_due(&self) -> Option<i64> {
        self.clean.tombstones_due
    }

    /// What was never compacted.
    pub(super) fn dirty(&self) -> impl Iterator<Item = &Batch> {
        let first = self
            .batches
            .partition_point(|batch| batch.base_offset < self.clean.end);
        self.batches.range(first..)
    }

    /// The batches from the one that holds `offset`, up to `max_bytes`.
    ///
    /// The first batch comes whole even when it is larger, if `at_least_one`.
    ///
    /// # Errors
    ///
    /// The offset lies outside of the log.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
        reads: Reads,
    ) -> Result<Slice, ResponseError> {
        if offset < self.start || offset > self.next {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let first = self.batches.partition_point(|batch| batch.last_offset < offset);
        let limit = self.end_for(reads);
        let mut size = 0;
        let mut end = first;
        let mut read_to = offset;
        let mut is_cut = false;
        for batch in self.batches.range(first..) {
            let is_first = at_least_one && end == first;
            // The stable end lies inside a batch when the log was made to begin there.
            if batch.last_offset >= limit {
                break;
            }
            if size + batch.len() > max_bytes && !is_first {
                is_cut = true;
                break;
            }
            size += batch.len();
            end += 1;
            read_to = batch.last_offset + 1;
        }
        let mut bytes = BytesMut::with_capacity(size);
        for batch in self.batches.range(first..end) {
            batch.write_to(&mut bytes);
        }
        Ok(Slice {
            bytes: bytes.freeze(),
            aborted: match reads {
                Reads::All => None,
                Reads::Committed => Some(self.isolation.aborted_in(offset, read_to)),
            },
            is_cut,
        })
    }

    /// The first record whose time is not before `timestamp`.
    pub(crate) fn first_at(&self, timestamp: i64) -> Option<OffsetTime> {
        self.batches
            .iter()
            .filter(|batch| batch.max_timestamp >= timestamp)
            .find_map(|batch| {
                let Some(records) = records::decode(batch) else {
                    // A batch that cannot be unpacked answers as a whole.
                    let offset = batch.base_offset.max(self.start);
                    return Some(OffsetTime {
                        offset,
                        timestamp: batch.base_timestamp.max(timestamp),
                    });
                };
                let found = records
                    .iter()
                    .find(|record| record.timestamp >= timestamp && record.offset >= self.start);
                found.map(|record| OffsetTime {
                    offset: record.offset,
                    timestamp: record.timestamp,
                })
            })
    }

    /// The first of the records with the largest time.
    pub(crate) fn latest_time(&self) -> Option<OffsetTime> {
        let mut latest: Option<OffsetTime> = None;
        for batch in &self.batches {
            // Most batches are out of the question by their headers.
            if latest.is_some_and(|latest| latest.timestamp >= batch.max_timestamp) {
                continue;
            }
            let found = match records::decode(batch) {
                // A batch that cannot be unpacked answers as a whole.
                None => Some(OffsetTime {
                    offset: batch.base_offset.max(self.start),
                    timestamp: batch.max_timestamp,
                }),
                Some(records) => {
                    let readable = records.iter().filter(|record| record.offset >= self.start);
                    let times = readable.map(|record| OffsetTime {
                        offset: record.offset,
                        timestamp: record.timestamp,
                    });
                    times.rev().max_by_key(|found| found.timestamp)
                }
            };
            let is_later =
                |found: &OffsetTime| latest.is_none_or(|latest| found.timestamp > latest.timestamp);
            latest = found.filter(is_later).or(latest);
        }
        latest
    }

    /// Makes `offset` the first one that can be read.
    ///
    /// # Errors
    ///
    /// The offset lies behind the end.
    pub(crate) fn truncate_before(&mut self, offset: i64) -> Result<(), ResponseError> {
        if offset > self.next || offset < 0 {
            return Err(ResponseError::OffsetOutOfRange);
        }
        self.start = self.start.max(offset);
        while self
            .batches
            .front()
            .is_some_and(|batch| batch.last_offset < self.start)
        {
            self.drop_first();
        }
        self.forget_aborted();
        Ok(())
    }

    /// Drops what the topic's `retention.ms` and `retention.bytes` no longer ask for.
    pub(crate) fn retain(&mut self, now_ms: i64, config: &TopicConfig) {
        while let Some(first) = self.batches.front() {
            let old = config
                .retention_ms
                .is_some_and(|keep| first.max_timestamp < now_ms.saturating_sub(keep));
            let large = config
                .retention_bytes
                .is_some_and(|keep| self.bytes - first.len() >= keep);
            if !old && !large {
                break;
            }
            self.start = first.last_offset + 1;
            self.drop_first();
        }
        self.forget_aborted();
    }

    fn forget_aborted(&mut self) {
        let start = self.start;
        self.isolation.forget(|aborted| aborted.marker < start);
    }

    fn drop_first(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes -= batch.len();
        }
    }

    /// Puts the result of a compaction in place of the batches before `end`.
    pub(super) fn replace_before(&mut self, end: i64, kept: Vec<Batch>) {
        while self.batches.front().is_some_and(|batch| batch.base_offset < end) {
            self.drop_first();
        }
        let bytes = kept.iter().map(Batch::len).sum();
        let tombstones_due = kept.iter().filter_map(|batch| batch.delete_horizon).min();
        self.clean = Clean {
            end,
            bytes,
            tombstones_due,
        };
        self.bytes += bytes;
        for batch in kept.into_iter().rev() {
            self.batches.push_front(batch);
        }
        // Compaction leaves no record of a transaction that was aborted before `end`.
        self.isolation.forget(|aborted| aborted.marker < end);
    }
}
