//! The sends of a task between the agent that made them and the producer.
//!
//! A send belongs to the record it was made for: it waits here until every agent is done with that record,
//! and goes away when its agent fails, or the record is given up.

use std::ops::Range;
use std::sync::Arc;

use crate::kafka::OutgoingRecord;

/// The room, in bytes, that an empty outbox keeps for its bytes, and as much for its entries. More, which a long commit
/// needed, is given back.
const SPARE: usize = 512 << 10;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Entries before this belong to records that are done.
    sealed: usize,
    /// Entries from there up to this were made by agents that are done with the open record.
    sealed_agents: usize,
    /// Entries before this were handed over.
    sent: usize,
}

#[derive(Debug)]
struct Entry {
    topic: Arc<str>,
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

impl Entry {
    /// Where its bytes end.
    fn end(&self) -> usize {
        let end = |part: &Option<Range<usize>>| part.as_ref().map_or(0, |part| part.end);
        end(&self.key).max(end(&self.value)).max(self.headers.end)
    }

    /// So many bytes before its own are gone.
    fn move_back(&mut self, bytes: usize) {
        let parts = [self.key.as_mut(), self.value.as_mut(), Some(&mut self.headers)];
        for part in parts.into_iter().flatten() {
            *part = part.start.saturating_sub(bytes)..part.end.saturating_sub(bytes);
        }
    }
}

/// A send as the outbox takes it; the parts write themselves behind what is already there.
pub(crate) struct Staging<'a> {
    outbox: &'a mut Outbox,
    start: usize,
    entry: Entry,
}

impl Outbox {
    /// Begins a send. Nothing is kept of it unless [`Staging::finish`] is called.
    pub(crate) fn stage(&mut self, topic: Arc<str>) -> Staging<'_> {
        let start = self.bytes.len();
        Staging {
            outbox: self,
            start,
            entry: Entry {
                topic,
                partition: None,
                timestamp: None,
                key: None,
                value: None,
                headers: start..start,
            },
        }
    }

    /// An agent is done with the open record and another follows.
    pub(crate) fn seal_agent(&mut self) {
        self.sealed_agents = self.entries.len();
    }

    /// The open record is done: its sends may go.
    pub(crate) fn seal(&mut self) {
        self.sealed = self.entries.len();
        self.sealed_agents = self.sealed;
    }

    /// The agent at the open record failed: its sends were never made.
    pub(crate) fn undo_agent(&mut self) {
        self.keep(self.sealed_agents);
    }

    /// The open record failed: its sends were never made.
    pub(crate) fn undo(&mut self) {
        self.keep(self.sealed);
        self.sealed_agents = self.sealed;
    }

    /// Forgets all but the first entries, and their bytes.
    fn keep(&mut self, entries: usize) {
        self.entries.truncate(entries);
        self.bytes.truncate(self.entries.last().map_or(0, Entry::end));
    }

    /// Whether sends of finished records still wait.
    pub(crate) fn has_sealed(&self) -> bool {
        self.sent < self.sealed
    }

    /// How many bytes the sends take that are here, those of the open record included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Hands sealed sends to `send` until it declines one.
    pub(crate) fn drain(&mut self, mut send: impl FnMut(OutgoingRecord<'_>) -> bool) {
        while self.sent < self.sealed {
            let entry = &self.entries[self.sent];
            let part = |range: &Range<usize>| &self.bytes[range.clone()];
            let taken = send(OutgoingRecord {
                topic: &entry.topic,
                partition: entry.partition,
                key: entry.key.as_ref().map(part),
                value: entry.value.as_ref().map(part),
                headers: part(&entry.headers),
                timestamp: entry.timestamp,
            });
            if !taken {
                return;
            }
            self.sent += 1;
        }
        if self.sent > 0 {
            self.forget_sent();
        }
    }

    /// All that was sealed is handed over: only what the open record sent stays.
    fn forget_sent(&mut self) {
        let end = self.entries[..self.sent].last().map_or(0, Entry::end);
        self.bytes.drain(..end);
        self.bytes.shrink_to(SPARE);
        self.entries.drain(..self.sent);
        self.entries.shrink_to(SPARE / size_of::<Entry>());
        for entry in &mut self.entries {
            entry.move_back(end);
        }
        self.sealed_agents -= self.sent;
        self.sealed = 0;
        self.sent = 0;
    }
}

impl Staging<'_> {
    /// Writes the key, the value and the headers in that order; each appends to the buffer and says
    /// whether it wrote anything (else it is null).
    pub(crate) fn key(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> &mut Self {
        self.entry.key = self.part(write);
        self
    }

    pub(crate) fn value(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> &mut Self {
        self.entry.value = self.part(write);
        self
    }

    pub(crate) fn headers(&mut self, packed: &[u8]) -> &mut Self {
        let start = self.outbox.bytes.len();
        self.outbox.bytes.extend_from_slice(packed);
        self.entry.headers = start..self.outbox.bytes.len();
        self
    }

    pub(crate) fn partition(&mut self, partition: Option<i32>) -> &mut Self {
        self.entry.partition = partition;
        self
    }

    pub(crate) fn timestamp(&mut self, timestamp: Option<i64>) -> &mut Self {
        self.entry.timestamp = timestamp;
        self
    }

    fn part(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<Range<usize>> {
        let start = self.outbox.bytes.len();
        let present = write(&mut self.outbox.bytes);
        present.then_some(start..self.outbox.bytes.len())
    }

    /// The size of what was written so far.
    pub(crate) fn bytes(&self) -> usize {
        self.outbox.bytes.len() - self.start
    }

    /// Keeps the send.
    pub(crate) fn finish(self) {
        self.outbox.entries.push(self.entry);
    }

    /// Forgets it: a part did not encode.
    pub(crate) fn abandon(self) {
        self.outbox.bytes.truncate(self.start);
    }
}

#[cfg(test)]
mod tests {
    mod properties;

    use super::*;

    fn send(outbox: &mut Outbox, value: &[u8]) {
        let mut staging = outbox.stage("t".into());
        staging.value(|bytes| {
            bytes.extend_from_slice(value);
            true
        });
        staging.finish();
    }

    fn drained(outbox: &mut Outbox, at_most: usize) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        outbox.drain(|record| {
            let room = seen.len() < at_most;
            if room {
                seen.push(record.value.unwrap_or_default().to_vec());
            }
            room
        });
        seen
    }

    #[test]
    fn what_waits_is_weighed_and_its_room_is_given_back() {
        let mut outbox = Outbox::default();
        for _ in 0..10_000 {
            send(&mut outbox, &[0; 60]);
        }
        outbox.seal();
        assert_eq!(outbox.bytes(), 10_000 * (60 + size_of::<Entry>()));
        assert_eq!(drained(&mut outbox, 10_000).len(), 10_000);
        assert_eq!(outbox.bytes(), 0);
        assert!(outbox.bytes.capacity() <= SPARE);
        assert!(outbox.entries.capacity() * size_of::<Entry>() <= SPARE);
    }

    #[test]
    fn a_send_of_nothing_takes_nothing_from_those_before_it() {
        let mut outbox = Outbox::default();
        send(&mut outbox, b"before");
        outbox.stage("t".into()).finish();
        outbox.seal();
        send(&mut outbox, b"failed");
        outbox.undo();
        assert_eq!(drained(&mut outbox, 9), [&b"before"[..], b""]);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn what_is_handed_over_does_not_stay_because_the_next_record_is_open() {
        let mut outbox = Outbox::default();
        send(&mut outbox, b"of a record that is done");
        outbox.seal();
        send(&mut outbox, b"open");
        assert_eq!(drained(&mut outbox, 9).len(), 1);
        assert_eq!(outbox.bytes(), 4 + size_of::<Entry>());
        outbox.seal();
        assert_eq!(drained(&mut outbox, 9), [b"open"]);
    }

    #[test]
    fn sends_of_a_failed_record_were_never_made() {
        let mut outbox = Outbox::default();
        send(&mut outbox, b"done");
        outbox.seal();
        send(&mut outbox, b"failed");
        outbox.undo();
        assert_eq!(drained(&mut outbox, 9), [b"done"]);
    }

    #[test]
    fn sends_of_a_failed_agent_go_alone_and_those_of_a_failed_record_all() {
        let mut outbox = Outbox::default();
        send(&mut outbox, b"first agent");
        outbox.seal_agent();
        send(&mut outbox, b"failed");
        outbox.undo_agent();
        assert!(drained(&mut outbox, 9).is_empty());
        send(&mut outbox, b"second agent");
        outbox.seal();
        send(&mut outbox, b"first agent of the next record");
        outbox.seal_agent();
        outbox.undo();
        assert_eq!(drained(&mut outbox, 9), [&b"first agent"[..], b"second agent"]);
    }

    #[test]
    fn sends_wait_for_their_record_and_for_the_producer() {
        let mut outbox = Outbox::default();
        send(&mut outbox, b"1");
        assert!(drained(&mut outbox, 9).is_empty());
        send(&mut outbox, b"2");
        outbox.seal();
        assert_eq!(drained(&mut outbox, 1), [b"1"]);
        send(&mut outbox, b"3");
        assert_eq!(drained(&mut outbox, 9), [b"2"]);
        assert!(!outbox.has_sealed());
        outbox.seal();
        assert_eq!(drained(&mut outbox, 9), [b"3"]);
        assert!(outbox.bytes.is_empty());
    }
}
