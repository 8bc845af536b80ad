//! One shard of a standby: its changelog, read into the store up to the committed cut and no further.
//!
//! What is behind the cut may belong to a worker that never commits it, so it is *held back* until a later cut covers it,
//! or until it has become too much: then it is dropped, reading ends, and begins again when the cut has moved.
//!
//! Pure but for the store. Not here: readers, and asking for the cut.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::{info, warn};

use super::holdings::Slot;
use crate::cluster::plan::TaskId;
use crate::error::Result;
use crate::kafka::{StartOffset, TopicPartition};
use crate::record::RecordRef;
use crate::store::{Batch, Store, Write};

/// One changelog partition on its way into the store of a standby.
#[derive(Debug)]
pub(super) struct Follower {
    pub task: TaskId,
    pub at: TopicPartition,
    pub slot: Arc<Slot>,
    /// The name of the table.
    pub name: &'static str,
    table: usize,
    /// The changelog offset behind everything that was committed, as far as is known.
    cut: Option<i64>,
    /// What the store has; `None` for nothing at all.
    applied: Option<i64>,
    /// Where the reader stands.
    next_offset: i64,
    /// Committed records that the store does not have yet.
    batch: Batch,
    held: Held,
    pub reading: Reading,
    /// Records without a key, which nobody of this program wrote.
    keyless: u64,
}

/// What a reader has to do with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is not read: no cut is known, or too much was held back.
    No,
    Yes,
    /// It is read where it should not be any more.
    Stop,
    /// The log does not have what the store's offset says.
    OutOfRange,
}

impl Follower {
    pub(super) fn new(
        task: TaskId,
        at: TopicPartition,
        (table, name): (usize, &'static str),
        slot: &Arc<Slot>,
        store: &dyn Store,
    ) -> Self {
        let applied = store.changelog_offset(table);
        Self {
            task,
            at,
            slot: Arc::clone(slot),
            name,
            table,
            cut: None,
            applied,
            next_offset: applied.unwrap_or(0),
            batch: Batch::default(),
            held: Held::default(),
            reading: Reading::No,
            keyless: 0,
        }
    }

    /// How many offsets are committed and not in the store; `None` where nothing is known to be committed.
    pub(super) fn lag(&self) -> Option<i64> {
        Some((self.cut? - self.applied()).max(0))
    }

    /// How many offsets are in the store.
    pub(super) fn applied(&self) -> i64 {
        self.applied.unwrap_or(0)
    }

    /// How many records are held back.
    pub(super) fn held_back(&self) -> usize {
        self.held.records.len()
    }

    /// The bytes that are held back.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.bytes.len() + self.held.records.len() * size_of::<HeldRecord>()
    }

    /// Takes what is known to be committed. Everything that arrived before is applied.
    pub(super) fn learn(&mut self, cut: i64, store: &dyn Store) -> Result<()> {
        if self.applied.is_some_and(|applied| applied > cut) {
            warn!(
                changelog = %self.at, local = self.applied, committed = cut,
                "the standby is ahead of what the group has committed: it is dropped and filled again"
            );
            self.begin_anew(store)?;
        }
        self.cut = Some(cut);
        while let Some(write) = self.held.first_before(cut, self.table) {
            self.batch.push(write);
            self.held.drop_first();
        }
        self.apply(store)
    }

    /// Where to begin reading, if there is anything to be read.
    pub(super) fn start(&self) -> Option<StartOffset> {
        if self.reading != Reading::No {
            return None;
        }
        let cut = self.cut?;
        // What was dropped is read again when some of it is committed; whatever is read at all is read on.
        let behind = self.applied() < cut;
        let dropped = self.held.dropped;
        let start = self.applied.map_or(StartOffset::Beginning, StartOffset::At);
        (behind || !dropped).then_some(start)
    }

    /// It is being read from there.
    pub(super) fn started(&mut self) {
        self.forget_read();
        self.reading = Reading::Yes;
    }

    /// It is read no more: the reader is gone.
    pub(super) fn stopped(&mut self) {
        let dropped = self.held.dropped;
        self.forget_read();
        self.held.dropped = dropped;
        self.reading = Reading::No;
    }

    /// What was read and is not in the store is to be read again.
    fn forget_read(&mut self) {
        self.batch.clear();
        self.held = Held::default();
        self.next_offset = self.applied();
    }

    pub(super) fn record(&mut self, record: RecordRef<'_>) {
        if self.reading != Reading::Yes || record.offset < self.next_offset {
            return;
        }
        self.next_offset = record.offset + 1;
        let Some(key) = record.key else {
            self.keyless += 1;
            if self.keyless == 1 {
                warn!(
                    changelog = %self.at, offset = record.offset,
                    "a record without a key is passed over, as all such: nobody but this program may write to its changelogs"
                );
            }
            return;
        };
        let write = Write {
            table: self.table,
            key,
            value: record.value,
        };
        if self.cut.is_some_and(|cut| record.offset < cut) {
            self.batch.push(write);
        } else {
            self.held.push(record.offset, write);
        }
    }

    /// The reader stands at the end of the changelog, which is there.
    pub(super) fn end(&mut self, offset: i64) {
        if self.reading == Reading::Yes {
            self.next_offset = self.next_offset.max(offset);
        }
    }

    /// Writes what is committed into the store.
    pub(super) fn apply(&mut self, store: &dyn Store) -> Result<()> {
        let Some(cut) = self.cut else {
            return Ok(());
        };
        let reached = cut.min(self.next_offset);
        if reached <= self.applied() {
            return Ok(());
        }
        self.batch.set_changelog_offset(self.table, reached);
        store.apply(&self.batch)?;
        self.batch.clear();
        self.applied = Some(reached);
        Ok(())
    }

    /// Drops what is held back. Everything that is committed is applied.
    pub(super) fn drop_held(&mut self) {
        info!(
            changelog = %self.at, bytes = self.held_bytes(),
            "much is written and not committed yet: the standby waits until it is"
        );
        self.forget_read();
        self.held.dropped = true;
        self.reading = Reading::Stop;
    }

    /// Fills the store from the beginning of the changelog.
    pub(super) fn begin_anew(&mut self, store: &dyn Store) -> Result<()> {
        store.clear(self.table)?;
        self.applied = None;
        self.forget_read();
        if self.reading != Reading::No {
            self.reading = Reading::Stop;
        }
        Ok(())
    }
}

/// Records in the order of their offsets, in one run of bytes.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    records: VecDeque<HeldRecord>,
    /// Bytes at the beginning that belong to no record any more.
    free: usize,
    /// There were more, which have to be read again.
    dropped: bool,
}

#[derive(Debug)]
struct HeldRecord {
    offset: i64,
    key: usize,
    value: Option<usize>,
}

impl HeldRecord {
    fn len(&self) -> usize {
        self.key + self.value.unwrap_or(0)
    }
}

impl Held {
    fn push(&mut self, offset: i64, write: Write<'_>) {
        self.bytes.extend_from_slice(write.key);
        self.bytes.extend_from_slice(write.value.unwrap_or_default());
        self.records.push_back(HeldRecord {
            offset,
            key: write.key.len(),
            value: write.value.map(<[u8]>::len),
        });
    }

    /// The first record, if it is before this offset.
    fn first_before(&self, offset: i64, table: usize) -> Option<Write<'_>> {
        let record = self.records.front().filter(|record| record.offset < offset)?;
        let (key, value) = self.bytes[self.free..self.free + record.len()].split_at(record.key);
        Some(Write {
            table,
            key,
            value: record.value.map(|_| value),
        })
    }

    fn drop_first(&mut self) {
        let Some(record) = self.records.pop_front() else {
            return;
        };
        self.free += record.len();
        if self.records.is_empty() {
            self.bytes.clear();
            self.free = 0;
        } else if self.free > self.bytes.len() / 2 {
            self.bytes.drain(..self.free);
            self.free = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::record::HeadersRef;
    use crate::store::MemoryStore;

    struct Shard {
        store: MemoryStore,
        follower: Follower,
    }

    impl Shard {
        fn new() -> Self {
            Self::over(MemoryStore::new(1))
        }

        fn over(store: MemoryStore) -> Self {
            let task = TaskId {
                sub_topology: 0,
                partition: 0,
            };
            let at = TopicPartition {
                topic: "votes-count-changelog".into(),
                partition: 0,
            };
            let follower = Follower::new(task, at, (0, "votes-count"), &Slot::new(None), &store);
            Self { store, follower }
        }

        fn learn(&mut self, cut: i64) {
            self.follower.learn(cut, &self.store).expect("learns");
        }

        /// Begins to read, which must be from there.
        fn start(&mut self, from: StartOffset) {
            assert_eq!(self.follower.start(), Some(from));
            self.follower.started();
        }

        /// The record at this offset.
        fn read(&mut self, offset: i64, key: &str, value: Option<&str>) {
            self.follower.record(RecordRef {
                topic: "votes-count-changelog",
                partition: 0,
                offset,
                timestamp: 0,
                key: Some(key.as_bytes()),
                value: value.map(str::as_bytes),
                headers: HeadersRef::default(),
            });
        }

        fn apply(&mut self) {
            self.follower.apply(&self.store).expect("applies");
        }

        /// Everything in the store, and its offset.
        fn state(&self) -> (String, Option<i64>) {
            let mut entries = Vec::new();
            let visit = &mut |key: &[u8], value: &[u8]| {
                entries.push(format!(
                    "{}={}",
                    String::from_utf8_lossy(key),
                    String::from_utf8_lossy(value)
                ));
                ControlFlow::Continue(())
            };
            self.store.scan(0, visit).expect("scans");
            (entries.join(" "), self.store.changelog_offset(0))
        }
    }

    #[test]
    fn nothing_is_read_before_a_cut_is_known_and_nothing_behind_it_is_applied() {
        let mut shard = Shard::new();
        assert_eq!((shard.follower.start(), shard.follower.lag()), (None, None));
        shard.learn(2);
        assert_eq!(shard.follower.lag(), Some(2));
        shard.start(StartOffset::Beginning);
        shard.read(0, "a", Some("1"));
        shard.read(1, "b", Some("1"));
        shard.read(2, "a", Some("2"));
        shard.read(3, "b", None);
        shard.apply();
        assert_eq!(shard.state(), ("a=1 b=1".to_owned(), Some(2)));
        assert_eq!(shard.follower.lag(), Some(0));
        shard.learn(3);
        assert_eq!(shard.state(), ("a=2 b=1".to_owned(), Some(3)));
        shard.learn(4);
        assert_eq!(shard.state(), ("a=2".to_owned(), Some(4)));
        assert_eq!(shard.follower.held_bytes(), 0);
    }

    #[test]
    fn what_was_never_committed_is_overwritten_by_what_its_successor_commits() {
        let mut shard = Shard::new();
        shard.learn(1);
        shard.start(StartOffset::Beginning);
        shard.read(0, "a", Some("1"));
        // A worker wrote these and died; the next takes them back and goes on.
        shard.read(1, "a", Some("lost"));
        shard.read(2, "b", Some("lost"));
        shard.apply();
        assert_eq!(shard.state().0, "a=1");
        shard.read(3, "a", Some("1"));
        shard.read(4, "b", None);
        shard.read(5, "c", Some("1"));
        shard.apply();
        assert_eq!(shard.state().0, "a=1");
        shard.learn(6);
        assert_eq!(shard.state(), ("a=1 c=1".to_owned(), Some(6)));
    }

    #[test]
    fn gaps_count_and_the_end_of_the_log_closes_them() {
        let mut shard = Shard::new();
        shard.learn(10);
        shard.start(StartOffset::Beginning);
        shard.read(4, "a", Some("1"));
        shard.apply();
        assert_eq!((shard.state().1, shard.follower.lag()), (Some(5), Some(5)));
        // Nothing but markers and what compaction removed is between.
        shard.follower.end(12);
        shard.apply();
        assert_eq!((shard.state().1, shard.follower.lag()), (Some(10), Some(0)));
        shard.learn(12);
        assert_eq!(shard.follower.lag(), Some(0));
    }

    #[test]
    fn a_standby_goes_on_where_its_store_stands() {
        let store = MemoryStore::new(1);
        let mut batch = Batch::default();
        batch.set_changelog_offset(0, 7);
        store.apply(&batch).expect("applies");
        let mut shard = Shard::over(store);
        shard.learn(7);
        shard.start(StartOffset::At(7));
        shard.read(6, "old", Some("1"));
        shard.read(7, "a", Some("1"));
        shard.learn(8);
        assert_eq!(shard.state(), ("a=1".to_owned(), Some(8)));
    }

    #[test]
    fn a_store_that_is_ahead_of_the_cut_is_filled_again() {
        let mut shard = Shard::new();
        shard.learn(2);
        shard.start(StartOffset::Beginning);
        shard.read(0, "a", Some("1"));
        shard.read(1, "a", Some("2"));
        shard.apply();
        shard.learn(1);
        assert_eq!(shard.state(), (String::new(), None));
        assert_eq!(shard.follower.reading, Reading::Stop);
        shard.read(2, "late", Some("1"));
        shard.follower.stopped();
        shard.start(StartOffset::Beginning);
        shard.read(0, "a", Some("1"));
        shard.read(1, "a", Some("2"));
        shard.apply();
        assert_eq!(shard.state(), ("a=1".to_owned(), Some(1)));
    }

    #[test]
    fn what_was_dropped_is_read_again_when_it_is_committed() {
        let mut shard = Shard::new();
        shard.learn(1);
        shard.start(StartOffset::Beginning);
        shard.read(0, "a", Some("1"));
        shard.read(1, "a", Some("2"));
        shard.apply();
        shard.follower.drop_held();
        assert_eq!(
            (shard.follower.reading, shard.follower.held_bytes()),
            (Reading::Stop, 0)
        );
        shard.read(2, "a", Some("3"));
        shard.follower.stopped();
        assert_eq!(shard.follower.start(), None, "there is nothing to be read");
        shard.learn(2);
        assert_eq!(shard.state(), ("a=1".to_owned(), Some(1)));
        shard.start(StartOffset::At(1));
        shard.read(1, "a", Some("2"));
        shard.read(2, "a", Some("3"));
        shard.apply();
        assert_eq!(shard.state(), ("a=2".to_owned(), Some(2)));
    }

    #[test]
    fn what_was_held_back_when_its_reader_failed_is_read_again() {
        let mut shard = Shard::new();
        shard.learn(1);
        shard.start(StartOffset::Beginning);
        shard.read(0, "a", Some("1"));
        shard.read(1, "a", Some("2"));
        shard.apply();
        shard.follower.stopped();
        shard.learn(2);
        assert_eq!(shard.state(), ("a=1".to_owned(), Some(1)));
        shard.start(StartOffset::At(1));
        shard.read(1, "a", Some("2"));
        shard.apply();
        assert_eq!(shard.state(), ("a=2".to_owned(), Some(2)));
    }

    #[test]
    fn held_records_come_back_as_they_were_in_whatever_portions() {
        let mut shard = Shard::new();
        shard.learn(0);
        shard.start(StartOffset::Beginning);
        for offset in 0..100 {
            let value = "x".repeat(usize::try_from(offset % 7).expect("small"));
            let value = (offset % 5 != 0).then_some(value.as_str());
            shard.read(offset, &format!("k{}", offset % 10), value);
        }
        let mut expected = std::collections::BTreeMap::new();
        for offset in 0..100_i64 {
            let key = format!("k{}", offset % 10);
            match offset % 5 {
                0 => drop(expected.remove(&key)),
                _ => drop(expected.insert(key, "x".repeat(usize::try_from(offset % 7).expect("small")))),
            }
            if [0, 3, 50, 97, 99].contains(&offset) {
                shard.learn(offset + 1);
                let entries: Vec<_> = expected
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                assert_eq!(shard.state(), (entries.join(" "), Some(offset + 1)));
            }
        }
        assert_eq!(shard.follower.held_bytes(), 0);
    }
}
