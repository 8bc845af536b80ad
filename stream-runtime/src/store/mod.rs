//! Committed state: what a task's tables were at its last commit.
//!
//! A store belongs to one task and holds all its shards, so that one batch can cover them. It is only ever
//! written by commits and by restore: nothing uncommitted is in it, whatever the moment of a crash.
//! Two kinds: in memory, gone with the process, and RocksDB, which keeps what it had for the next start.
//!
//! Not here: what agents wrote since the last commit (that is `table::shard`).

#[cfg(feature = "rocksdb")]
mod directory;
mod memory;
mod name;
#[cfg(feature = "rocksdb")]
mod rocks;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(feature = "rocksdb")]
mod trouble;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use memory::{MemoryStore, MemoryStores};
#[cfg(feature = "rocksdb")]
pub(crate) use rocks::RocksStores;

use crate::error::Result;

/// Takes a key and its value; may break off.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// The committed state of one task. `table` is the number of a shard within it.
pub(crate) trait Store: fmt::Debug + Send {
    /// Calls `read` with the value of a key and returns true, or returns false where there is none.
    fn get(&self, table: usize, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Calls `each` with all entries of a table in the order of their keys, until it breaks.
    fn scan(&self, table: usize, each: &mut Visit<'_>) -> Result<()>;

    /// Applies all of a batch or nothing of it, with the changelog offsets and the inputs it names. An empty batch
    /// says that a commit came through which changed nothing, and so that the store is up to date.
    fn apply(&self, batch: &Batch) -> Result<()>;

    /// The changelog offset that the last batch for this table brought it to; `None` for a shard that has to be
    /// restored from the beginning of its changelog, which is then empty.
    fn changelog_offset(&self, table: usize) -> Option<i64>;

    /// The offsets of the inputs at the last cut, by topic, in the order of their names; empty when there was none.
    /// For noticing that the group was set back.
    fn inputs(&self) -> Vec<(String, i64)>;

    /// Empties one shard and forgets its offset: it is rebuilt from its changelog. When no shard has an offset any
    /// more, the inputs are forgotten as well.
    fn clear(&self, table: usize) -> Result<()>;

    /// With `true`, says that batches are from changelogs which have not been read to their ends: they do not make
    /// the store up to date, whatever the time. With `false`, that all shards have reached the ends.
    fn restoring(&self, _on: bool) -> Result<()> {
        Ok(())
    }

    /// Makes what was applied last through a clean end.
    #[cfg_attr(
        not(feature = "rocksdb"),
        allow(dead_code, reason = "memory has no end that could be clean")
    )]
    fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Opens the stores of a worker; shared by its threads.
pub(crate) trait Stores: fmt::Debug + Send + Sync {
    /// Opens the store of a task, with what is still good of its state from earlier.
    fn open(&self, place: &StorePlace<'_>) -> Result<Box<dyn Store>>;

    /// The tasks that have state on this machine which could be taken over, as (sub-topology, partition).
    fn local(&self) -> Vec<(String, i32)>;

    /// A name of this worker that survives restarts where there is a directory for it, else a fresh random one.
    fn worker_id(&self) -> &str;
}

/// Which task a store is for.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(any(feature = "rocksdb", feature = "testing")),
    expect(dead_code, reason = "a place in memory needs no name")
)]
pub(crate) struct StorePlace<'a> {
    pub sub_topology: &'a str,
    pub partition: i32,
    /// The shards, in the order of their numbers.
    pub tables: &'a [StoredTable],
}

/// One shard of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTable {
    pub name: String,
    /// What tells the changelog from another topic of that name; `None` when it is unknown.
    pub changelog_id: Option<String>,
    /// After this long without a commit a shard is rebuilt: the changelog may have dropped tombstones (its
    /// `delete.retention.ms`, less some slack).
    pub max_age: Duration,
}

/// Writes that belong together, in one run of bytes, and the offsets they bring the state to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    writes: Vec<WriteEntry>,
    changelog_offsets: Vec<(usize, i64)>,
    inputs: Vec<(Arc<str>, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct WriteEntry {
    start: usize,
    table: u32,
    key: u32,
    value: Option<u32>,
}

/// How many bytes a key or a value has, as small as it is kept.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("Kafka's records are smaller than 2 GiB")
}

/// One write of a [`Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Write<'a> {
    pub table: usize,
    pub key: &'a [u8],
    /// `None` deletes.
    pub value: Option<&'a [u8]>,
}

impl Batch {
    /// Appends a write whose value writes itself, and says whether there is one.
    pub(crate) fn push_with<E>(
        &mut self,
        table: usize,
        key: &[u8],
        value: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        let present = match value(&mut self.bytes) {
            Ok(present) => present,
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        };
        self.writes.push(WriteEntry {
            start,
            table: u32::try_from(table).expect("a program has few tables"),
            key: length(middle - start),
            value: present.then(|| length(self.bytes.len() - middle)),
        });
        Ok(())
    }

    /// Appends a write.
    pub(crate) fn push(&mut self, write: Write<'_>) {
        let appended = self.push_with::<std::convert::Infallible>(write.table, write.key, |bytes| {
            bytes.extend_from_slice(write.value.unwrap_or_default());
            Ok(write.value.is_some())
        });
        match appended {
            Ok(()) => {}
        }
    }

    /// Says which changelog offset the batch brings a table to.
    pub(crate) fn set_changelog_offset(&mut self, table: usize, offset: i64) {
        self.changelog_offsets.retain(|(known, _)| *known != table);
        self.changelog_offsets.push((table, offset));
    }

    pub(crate) fn changelog_offsets(&self) -> &[(usize, i64)] {
        &self.changelog_offsets
    }

    /// Says which offsets of the inputs belong to the batch; those of other inputs stay as they were.
    pub(crate) fn set_inputs(&mut self, inputs: impl IntoIterator<Item = (Arc<str>, i64)>) {
        self.inputs.clear();
        self.inputs.extend(inputs);
    }

    pub(crate) fn inputs(&self) -> &[(Arc<str>, i64)] {
        &self.inputs
    }

    pub(crate) fn writes(&self) -> impl Iterator<Item = Write<'_>> {
        self.writes_from(0)
    }

    /// All but the first ones.
    pub(crate) fn writes_from(&self, first: usize) -> impl Iterator<Item = Write<'_>> {
        self.writes[first..].iter().map(|write| {
            let middle = write.start + write.key as usize;
            Write {
                table: write.table as usize,
                key: &self.bytes[write.start..middle],
                value: write
                    .value
                    .map(|length| &self.bytes[middle..middle + length as usize]),
            }
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    /// The size of its keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.changelog_offsets.is_empty() && self.inputs.is_empty()
    }

    /// Empties it and keeps its room.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.writes.clear();
        self.changelog_offsets.clear();
        self.inputs.clear();
    }
}
