//! The records in what a fetch has brought: batches in the log's own format, as consumers of committed records see them.
//!
//! Left out are the markers of transactions, what was aborted, and what lies before the offset that was asked for. Not
//! here: compressed batches, which no simulated producer makes.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::record::{HeadersRef, RecordRef, pack_header};

/// Where the fields of a batch are.
const LENGTH: usize = 8;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const COUNT: usize = 57;
const RECORDS: usize = 61;
/// The length does not count itself and what is before it.
const BEFORE_LENGTH: usize = 12;

const COMPRESSION: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// A transaction that was aborted: its producer, and its first offset in this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) first_offset: i64,
    pub(super) producer_id: i64,
}

/// Batches that follow one another, on their way to the reader.
#[derive(Debug)]
pub(super) struct Batches {
    bytes: Bytes,
    /// Where the next batch begins.
    next: usize,
    /// Records before this offset were not asked for.
    from: i64,
    /// Transactions whose beginning was not seen yet, in the order of their first offsets.
    aborted: VecDeque<Aborted>,
    /// The producers whose records are of an aborted transaction at this place.
    aborting: BTreeSet<i64>,
    open: Option<OpenBatch>,
}

/// The batch that records are taken from.
#[derive(Debug)]
struct OpenBatch {
    base_offset: i64,
    base_timestamp: i64,
    /// The time of all records, where the broker has set it.
    append_time: Option<i64>,
    /// Records that were not taken yet.
    left: i32,
    /// Where the next one begins.
    at: usize,
}

/// The offset behind the last of these batches; compaction may have removed the records before it.
pub(super) fn end_of(bytes: &[u8]) -> Option<i64> {
    let mut batch = bytes;
    let mut end = None;
    while !batch.is_empty() {
        end = Some(i64_at(batch, 0) + i64::from(i32_at(batch, LAST_OFFSET_DELTA)) + 1);
        batch = &batch[length_of(batch)..];
    }
    end
}

impl Batches {
    pub(super) fn new(bytes: Bytes, from: i64, aborted: impl IntoIterator<Item = Aborted>) -> Self {
        let mut aborted: Vec<_> = aborted.into_iter().collect();
        // The broker gives them in the order of their ends.
        aborted.sort_by_key(|transaction| transaction.first_offset);
        Self {
            bytes,
            next: 0,
            from,
            aborted: aborted.into(),
            aborting: BTreeSet::new(),
            open: None,
        }
    }

    /// How many bytes there were at the beginning.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The next record. `headers` is overwritten.
    pub(super) fn next<'a>(
        &'a mut self,
        topic: &'a str,
        partition: i32,
        headers: &'a mut Vec<u8>,
    ) -> Option<RecordRef<'a>> {
        while self.open.is_some() || self.open_next() {
            let Self {
                bytes, open, from, ..
            } = self;
            let Some(batch) = open else { continue };
            if batch.left == 0 {
                *open = None;
                continue;
            }
            batch.left -= 1;
            let mut record = Cursor { bytes, at: batch.at };
            let length = record.length().expect("a record has a length");
            batch.at = record.at + length;
            record.at += 1;
            let timestamp = batch.base_timestamp + record.varint();
            let offset = batch.base_offset + record.varint();
            if offset >= *from {
                let (append_time, at) = (batch.append_time, record.at);
                return Some(self.record(
                    topic,
                    partition,
                    offset,
                    append_time.unwrap_or(timestamp),
                    at,
                    headers,
                ));
            }
        }
        None
    }

    /// The rest of a record, from its key on.
    fn record<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
        timestamp: i64,
        at: usize,
        headers: &'a mut Vec<u8>,
    ) -> RecordRef<'a> {
        let mut record = Cursor {
            bytes: &self.bytes,
            at,
        };
        let key = record.run();
        let value = record.run();
        headers.clear();
        for _ in 0..record.varint() {
            let name = record.run().unwrap_or_default();
            let value = record.run();
            pack_header(headers, &String::from_utf8_lossy(name), value);
        }
        RecordRef {
            topic,
            partition,
            offset,
            timestamp,
            key,
            value,
            headers: HeadersRef::new(headers),
        }
    }

    /// Goes on to the next batch with records to be seen. False when there is none.
    fn open_next(&mut self) -> bool {
        while self.next < self.bytes.len() {
            let at = self.next;
            let batch = &self.bytes[at..];
            self.next += length_of(batch);
            let attributes = i16_at(batch, ATTRIBUTES);
            let base_offset = i64_at(batch, 0);
            let last_offset = base_offset + i64::from(i32_at(batch, LAST_OFFSET_DELTA));
            let producer_id = i64_at(batch, PRODUCER_ID);
            while let Some(transaction) = self.aborted.front().copied() {
                if transaction.first_offset > last_offset {
                    break;
                }
                self.aborting.insert(transaction.producer_id);
                self.aborted.pop_front();
            }
            if attributes & CONTROL != 0 {
                self.aborting.remove(&producer_id);
                continue;
            }
            let is_aborted = attributes & TRANSACTIONAL != 0 && self.aborting.contains(&producer_id);
            if is_aborted || last_offset < self.from {
                continue;
            }
            assert_eq!(attributes & COMPRESSION, 0, "no simulated producer compresses");
            let has_append_time = attributes & LOG_APPEND_TIME != 0;
            self.open = Some(OpenBatch {
                base_offset,
                base_timestamp: i64_at(batch, BASE_TIMESTAMP),
                append_time: has_append_time.then(|| i64_at(batch, MAX_TIMESTAMP)),
                left: i32_at(batch, COUNT),
                at: at + RECORDS,
            });
            return true;
        }
        false
    }
}

fn length_of(batch: &[u8]) -> usize {
    let length = usize::try_from(i32_at(batch, LENGTH)).expect("a length is not negative");
    BEFORE_LENGTH + length
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let bytes = bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    bytes.expect("the broker gives whole batches")
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(array_at(bytes, at))
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(array_at(bytes, at))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(array_at(bytes, at))
}

/// A place in a record.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A zigzag variable-length integer.
    fn varint(&mut self) -> i64 {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = self.bytes[self.at];
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
            }
            shift += 7;
        }
    }

    /// A length; `None` is null.
    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.varint()).ok()
    }

    /// Bytes with their length in front.
    fn run(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let run = &self.bytes[self.at..self.at + length];
        self.at += length;
        Some(run)
    }
}
