//! The records of one partition between the client and the agents.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::warn;

use crate::record::{HeadersRef, RecordRef};

/// Where fewer records wait, little is won by reading ahead.
const WORTH_READING_AHEAD: usize = 4;

/// A queue of records in one run of bytes: filled by the thread as records arrive, emptied by the task.
///
/// The bytes are kept for the next records, so that a steady flow allocates nothing.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct InputBuffer {
    pub topic: Arc<str>,
    pub partition: i32,
    bytes: Vec<u8>,
    /// How much of `bytes` belongs to records that were removed.
    consumed: usize,
    records: VecDeque<Stored>,
    /// The offset after the last record that was removed, or behind what comes after it and is no record.
    done_to: Option<i64>,
    /// Where reading began: the committed offset, or that of the first record that came.
    first_offset: Option<i64>,
    /// Up to here everything has come that is a record.
    reached: i64,
    /// What is committed, until a record from there on has come.
    expected: Option<i64>,
    astray: Astray,
    /// Offset and timestamp of the record that came last.
    last: Option<(i64, i64)>,
    /// Of the first so many records that wait, the keys were told.
    told: usize,
}

/// Whether the client reads from before what is committed, as librdkafka may when a seek meets its own search for where
/// to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Astray {
    No,
    /// It does, and is to be sent back.
    Seen,
    /// It was. When it does so again, there is nothing else to read: the topic was made anew, or cut off.
    SentBack,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    offset: i64,
    timestamp: i64,
    start: usize,
    key: Option<u32>,
    value: Option<u32>,
    headers: u32,
}

impl Stored {
    fn end(&self) -> usize {
        self.start + (self.key.unwrap_or(0) + self.value.unwrap_or(0) + self.headers) as usize
    }
}

impl InputBuffer {
    pub(crate) fn new(topic: Arc<str>, partition: i32) -> Self {
        Self {
            topic,
            partition,
            bytes: Vec::new(),
            consumed: 0,
            records: VecDeque::new(),
            done_to: None,
            first_offset: None,
            reached: 0,
            expected: None,
            astray: Astray::No,
            last: None,
            told: 0,
        }
    }

    pub(crate) fn push(&mut self, record: RecordRef<'_>) {
        if let Some(expected) = self.expected
            && !self.is_expected(record.offset, expected)
        {
            return;
        }
        // librdkafka gives a record again when it stops for a rebalance at the moment in which it is taken.
        let place = Some((record.offset, record.timestamp));
        if std::mem::replace(&mut self.last, place) == place {
            return;
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a record is smaller than 2 GiB");
        self.first_offset.get_or_insert(record.offset);
        if record.offset < self.reached {
            // The topic was made anew, or its end cut off.
            self.reached = 0;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record.key.unwrap_or_default());
        self.bytes.extend_from_slice(record.value.unwrap_or_default());
        self.bytes.extend_from_slice(record.headers.packed());
        self.records.push_back(Stored {
            offset: record.offset,
            timestamp: record.timestamp,
            start,
            key: record.key.map(length),
            value: record.value.map(length),
            headers: length(record.headers.packed()),
        });
    }

    /// Whether a record is to be kept although nothing from `expected` on has come yet.
    fn is_expected(&mut self, offset: i64, expected: i64) -> bool {
        if offset < expected {
            if self.astray != Astray::SentBack {
                self.astray = Astray::Seen;
                return false;
            }
            warn!(
                topic = &*self.topic,
                partition = self.partition,
                from = offset,
                committed = expected,
                "the partition begins before what the group has committed, so it was made anew or cut off: it is \
                 processed from where it begins now"
            );
        }
        self.expected = None;
        true
    }

    /// Where the client is to be sent back to, since it reads from elsewhere.
    pub(crate) fn take_astray(&mut self) -> Option<i64> {
        let expected = self.expected.filter(|_| self.astray == Astray::Seen)?;
        self.astray = Astray::SentBack;
        Some(expected)
    }

    /// The record to be processed next.
    pub(crate) fn head(&self) -> Option<RecordRef<'_>> {
        let stored = self.records.front()?;
        let (key, at) = self.part(stored.start, stored.key);
        let (value, at) = self.part(at, stored.value);
        let (headers, _) = self.part(at, Some(stored.headers));
        Some(RecordRef {
            topic: &self.topic,
            partition: self.partition,
            offset: stored.offset,
            timestamp: stored.timestamp,
            key,
            value,
            headers: HeadersRef::new(headers.unwrap_or_default()),
        })
    }

    /// Whether enough records wait of which no key was told.
    pub(crate) fn has_keys_ahead(&self) -> bool {
        self.told == 0 && self.records.len() >= WORTH_READING_AHEAD
    }

    /// The keys of the records that come next, `most` or all that wait. They are told once.
    pub(crate) fn keys_ahead(&mut self, most: usize) -> impl Iterator<Item = &[u8]> {
        self.told = most.min(self.records.len());
        let told = self.records.iter().take(self.told);
        told.filter_map(|stored| self.part(stored.start, stored.key).0)
    }

    fn part(&self, start: usize, length: Option<u32>) -> (Option<&[u8]>, usize) {
        let end = start + length.unwrap_or(0) as usize;
        (length.map(|_| &self.bytes[start..end]), end)
    }

    pub(crate) fn head_timestamp(&self) -> Option<i64> {
        self.records.front().map(|stored| stored.timestamp)
    }

    /// Removes the head: every agent is done with it.
    pub(crate) fn pop(&mut self) {
        let Some(stored) = self.records.pop_front() else {
            return;
        };
        self.done_to = Some(stored.offset + 1);
        self.told = self.told.saturating_sub(1);
        self.consumed = stored.end();
        if self.records.is_empty() {
            self.bytes.clear();
            self.consumed = 0;
        } else if self.consumed > self.bytes.len() / 2 {
            // Moves at most as many bytes as were freed since the last time.
            self.bytes.drain(..self.consumed);
            for stored in &mut self.records {
                stored.start -= self.consumed;
            }
            self.consumed = 0;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The bytes of the records that wait.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// Says what the group has committed, before anything is processed: everything before `offset` is done.
    pub(crate) fn start_at(&mut self, offset: i64) {
        self.done_to = Some(offset);
        match self.head_offset() {
            Some(head) if head >= offset => return,
            Some(_) => {
                self.astray = Astray::Seen;
                self.records.clear();
                self.bytes.clear();
                self.last = None;
                self.told = 0;
            }
            None => {}
        }
        self.first_offset = Some(offset);
        self.expected = Some(offset);
    }

    /// Notes that there is no record before `offset` that has not come: markers of transactions have offsets, too.
    pub(crate) fn reached(&mut self, offset: i64) {
        self.reached = offset;
    }

    /// Where reading began.
    pub(crate) fn began(&self) -> Option<i64> {
        self.first_offset
            .or_else(|| (self.reached > 0).then_some(self.reached))
    }

    /// The offset of the first record that is not done, if there is one.
    pub(crate) fn head_offset(&self) -> Option<i64> {
        self.records.front().map(|head| head.offset)
    }

    /// The offset to commit: that of the first record that is not done; `None` before any was and where nothing is
    /// committed.
    ///
    /// With records waiting it is the head's, which steps over gaps that compaction and markers leave. Without, it is
    /// where the partition was read to its end.
    pub(crate) fn committable(&self) -> Option<i64> {
        if let Some(head) = self.head_offset() {
            return self.done_to.map(|_| head);
        }
        let reached = (self.reached > 0).then_some(self.reached);
        self.done_to.max(reached)
    }
}

#[cfg(test)]
mod tests {
    mod properties;

    use super::*;

    fn record(offset: i64, key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> RecordRef<'static> {
        RecordRef {
            topic: "t",
            partition: 0,
            offset,
            timestamp: offset * 10,
            key,
            value,
            headers: HeadersRef::default(),
        }
    }

    #[test]
    fn records_come_back_in_order_while_others_arrive() {
        let mut buffer = InputBuffer::new("t".into(), 0);
        let mut next = 0;
        for offset in 0..100 {
            buffer.push(record(
                offset,
                Some(b"key"),
                (offset % 3 != 0).then_some(&b"value"[..]),
            ));
            if offset % 2 == 1 {
                let head = buffer.head().expect("has records");
                assert_eq!((head.offset, head.key), (next, Some(&b"key"[..])));
                assert_eq!(head.value, (next % 3 != 0).then_some(&b"value"[..]));
                buffer.pop();
                next += 1;
            }
        }
        assert_eq!(buffer.len(), 50);
        assert!(buffer.bytes.len() <= 2 * buffer.pending_bytes());
    }

    #[test]
    fn the_keys_of_what_comes_next_are_told_once() {
        let mut buffer = InputBuffer::new("t".into(), 0);
        let told = |buffer: &mut InputBuffer| -> Vec<_> {
            let any = buffer.has_keys_ahead();
            let keys = any.then(|| buffer.keys_ahead(4).map(<[u8]>::to_vec));
            keys.into_iter().flatten().collect()
        };
        let keys: [Option<&'static [u8]>; 9] = [
            Some(b"a"),
            Some(b"b"),
            Some(b"c"),
            Some(b"d"),
            Some(b"e"),
            None,
            Some(b"g"),
            Some(b"h"),
            Some(b"i"),
        ];
        for (offset, key) in (0..).zip(keys) {
            buffer.push(record(offset, key, Some(b"value")));
        }
        assert_eq!(told(&mut buffer), [b"a", b"b", b"c", b"d"]);
        for _ in 0..3 {
            buffer.pop();
            assert!(told(&mut buffer).is_empty(), "all but these were told");
        }
        buffer.pop();
        assert_eq!(told(&mut buffer), [b"e", b"g", b"h"]);
        (0..4).for_each(|_| buffer.pop());
        assert!(told(&mut buffer).is_empty(), "there is one record");
    }

    #[test]
    fn the_offset_to_commit_steps_over_gaps() {
        let mut buffer = InputBuffer::new("t".into(), 0);
        assert_eq!(buffer.committable(), None);
        buffer.push(record(3, None, None));
        assert_eq!(buffer.committable(), None);
        buffer.push(record(7, None, None));
        buffer.pop();
        assert_eq!(buffer.committable(), Some(7));
        buffer.pop();
        assert_eq!(buffer.committable(), Some(8));
        buffer.reached(10);
        assert_eq!(buffer.committable(), Some(10));
        buffer.push(record(12, None, None));
        buffer.reached(14);
        assert_eq!(buffer.committable(), Some(12));
        buffer.pop();
        assert_eq!(buffer.committable(), Some(14));
    }

    #[test]
    fn what_comes_from_before_the_commit_is_not_processed_unless_there_is_nothing_else() {
        for told_before in [true, false] {
            let mut buffer = InputBuffer::new("t".into(), 0);
            if told_before {
                buffer.start_at(50);
            }
            buffer.push(record(3, None, None));
            buffer.push(record(4, None, None));
            if !told_before {
                buffer.start_at(50);
            }
            assert_eq!((buffer.len(), buffer.pending_bytes()), (0, 0));
            assert_eq!((buffer.committable(), buffer.began()), (Some(50), Some(50)));
            assert_eq!((buffer.take_astray(), buffer.take_astray()), (Some(50), None));
            let mut anew = buffer.clone();

            buffer.push(record(50, None, None));
            buffer.push(record(51, None, None));
            assert_eq!((buffer.len(), buffer.take_astray()), (2, None));

            anew.push(record(0, None, None));
            anew.push(record(1, None, None));
            assert_eq!((anew.len(), anew.take_astray()), (2, None));
            anew.pop();
            assert_eq!(anew.committable(), Some(1));
        }
    }

    #[test]
    fn a_record_that_came_before_the_commit_was_known_is_kept_when_there_is_nothing_else() {
        let mut buffer = InputBuffer::new("t".into(), 0);
        buffer.push(record(0, None, None));
        buffer.start_at(50);
        assert_eq!((buffer.len(), buffer.take_astray()), (0, Some(50)));
        buffer.push(record(0, None, None));
        assert_eq!((buffer.len(), buffer.head_offset()), (1, Some(0)));
    }

    #[test]
    fn a_record_that_comes_twice_at_once_is_one() {
        let mut buffer = InputBuffer::new("t".into(), 0);
        buffer.push(record(3, None, None));
        buffer.push(record(3, None, None));
        assert_eq!(buffer.len(), 1);
        buffer.pop();
        buffer.push(record(3, None, None));
        assert_eq!((buffer.len(), buffer.committable()), (0, Some(4)));
        // The topic is made anew.
        let later = RecordRef {
            timestamp: 31,
            ..record(3, None, None)
        };
        buffer.push(later);
        assert_eq!(buffer.len(), 1);
    }

    #[test]
    fn records_before_the_first_that_was_expected_are_as_they_come() {
        let mut buffer = InputBuffer::new("t".into(), 0);
        buffer.push(record(7, None, None));
        buffer.start_at(7);
        buffer.push(record(8, None, None));
        buffer.push(record(0, None, None));
        assert_eq!((buffer.len(), buffer.take_astray()), (3, None));
    }

    #[test]
    fn a_partition_without_records_is_done_where_it_was_read_to() {
        let mut buffer = InputBuffer::new("t".into(), 0);
        buffer.reached(0);
        assert_eq!(buffer.committable(), None);
        buffer.reached(500);
        assert_eq!(buffer.committable(), Some(500));
    }
}
