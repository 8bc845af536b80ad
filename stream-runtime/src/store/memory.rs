//! The store for development: maps, gone with the process.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{Batch, Store, StorePlace, Stores, Visit, length, name};
use crate::error::Result;

/// Opens stores in memory, which are empty.
#[derive(Debug)]
pub(crate) struct MemoryStores {
    worker_id: String,
}

impl MemoryStores {
    pub(crate) fn new() -> Self {
        Self {
            worker_id: name::random(),
        }
    }
}

impl Stores for MemoryStores {
    fn open(&self, place: &StorePlace<'_>) -> Result<Box<dyn Store>> {
        Ok(Box::new(MemoryStore::new(place.tables.len())))
    }

    fn local(&self) -> Vec<(String, i32)> {
        Vec::new()
    }

    fn worker_id(&self) -> &str {
        &self.worker_id
    }
}

/// All shards of one task in memory. A restart restores them from their changelogs.
#[derive(Debug, Clone)]
pub(crate) struct MemoryStore {
    tables: RefCell<Vec<MemoryTable>>,
    inputs: RefCell<BTreeMap<String, i64>>,
}

/// Keys and values stand one behind the other in one run of bytes. In boxes of their own they would be all over the heap,
/// among what comes and goes with records.
#[derive(Debug, Clone, Default)]
struct MemoryTable {
    pairs: Vec<u8>,
    /// Where each pair begins, by the hash of its key: commits find keys in any order, and scans are rare.
    places: HashTable<usize>,
    /// How many bytes are of pairs that were replaced or removed.
    dead: usize,
    hasher: RandomState,
    changelog_offset: Option<i64>,
}

/// What two lengths take, which each pair begins with.
const HEAD: usize = 2 * LENGTH;
const LENGTH: usize = size_of::<u32>();

/// The writes of a batch are anywhere in memory. So many are fetched at once, as in `table::shard`.
const AT_ONCE: usize = 16;

/// A key, and where its value is.
fn pair(pairs: &[u8], at: usize) -> (&[u8], Range<usize>) {
    let length = |at: usize| {
        let bytes = pairs[at..].first_chunk().expect("a pair begins with two lengths");
        u32::from_ne_bytes(*bytes) as usize
    };
    let key = at + HEAD..at + HEAD + length(at);
    let value = key.end..key.end + length(at + LENGTH);
    (&pairs[key], value)
}

impl MemoryTable {
    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let is_it = |at: &usize| pair(&self.pairs, *at).0 == key;
        let at = self.places.find(self.hasher.hash_one(key), is_it)?;
        Some(&self.pairs[pair(&self.pairs, *at).1])
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pairs = &self.pairs;
        self.places.iter().map(|at| {
            let (key, value) = pair(pairs, *at);
            (key, &pairs[value])
        })
    }

    /// Brings what a write of `key` will need near to the processor.
    fn fetch(&self, key: &[u8]) -> usize {
        let found = self.places.find(self.hasher.hash_one(key), |_| true);
        found.map_or(0, |at| usize::from(self.pairs[*at]))
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Self {
            pairs,
            places,
            hasher,
            ..
        } = self;
        let is_it = |at: &usize| pair(pairs, *at).0 == key;
        let hash = |at: &usize| hasher.hash_one(pair(pairs, *at).0);
        match (places.entry(hasher.hash_one(key), is_it, hash), value) {
            (Entry::Occupied(mut place), Some(value)) => {
                let at = *place.get();
                let old = pair(pairs, at).1;
                // A value of the same size, as counters have, is written in place.
                if old.len() == value.len() {
                    pairs[old].copy_from_slice(value);
                    return;
                }
                self.dead += old.end - at;
                *place.get_mut() = append(pairs, key, value);
            }
            (Entry::Occupied(place), None) => {
                let (at, _) = place.remove();
                self.dead += pair(pairs, at).1.end - at;
            }
            (Entry::Vacant(place), Some(value)) => {
                let at = append(pairs, key, value);
                place.insert(at);
            }
            (Entry::Vacant(_), None) => {}
        }
        if self.dead > self.pairs.len() / 3 {
            self.compact();
        }
    }

    /// Leaves the dead behind: at most a third of all, and what grows has room for a quarter more, so a table takes no more
    /// than twice what it holds, and that once more while it is copied.
    fn compact(&mut self) {
        let live = self.pairs.len() - self.dead;
        let mut live = Vec::with_capacity(live + live / 4);
        for at in &mut self.places {
            let old = *at..pair(&self.pairs, *at).1.end;
            *at = live.len();
            live.extend_from_slice(&self.pairs[old]);
        }
        (self.pairs, self.dead) = (live, 0);
    }
}

/// Writes a pair behind the others; gives where it begins.
fn append(pairs: &mut Vec<u8>, key: &[u8], value: &[u8]) -> usize {
    let at = pairs.len();
    let size = HEAD + key.len() + value.len();
    if pairs.capacity() - at < size {
        pairs.reserve_exact(size.max(at / 4));
    }
    for part in [key, value] {
        pairs.extend_from_slice(&length(part.len()).to_ne_bytes());
    }
    pairs.extend_from_slice(key);
    pairs.extend_from_slice(value);
    at
}

impl MemoryStore {
    pub(crate) fn new(tables: usize) -> Self {
        Self {
            tables: RefCell::new((0..tables).map(|_| MemoryTable::default()).collect()),
            inputs: RefCell::default(),
        }
    }
}

impl Store for MemoryStore {
    fn get(&self, table: usize, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let tables = self.tables.borrow();
        let value = tables.get(table).and_then(|table| table.get(key));
        if let Some(value) = value {
            read(value);
        }
        Ok(value.is_some())
    }

    fn scan(&self, table: usize, each: &mut Visit<'_>) -> Result<()> {
        let tables = self.tables.borrow();
        let mut pairs: Vec<_> = tables
            .get(table)
            .into_iter()
            .flat_map(MemoryTable::iter)
            .collect();
        pairs.sort_unstable_by_key(|(key, _)| *key);
        for (key, value) in pairs {
            if each(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        let mut tables = self.tables.borrow_mut();
        for first in (0..batch.len()).step_by(AT_ONCE) {
            let writes = || batch.writes_from(first).take(AT_ONCE);
            let near: usize = writes()
                .filter_map(|write| Some(tables.get(write.table)?.fetch(write.key)))
                .sum();
            // Without a use the compiler would leave the reads out.
            std::hint::black_box(near);
            for write in writes() {
                if let Some(table) = tables.get_mut(write.table) {
                    table.write(write.key, write.value);
                }
            }
        }
        for (table, offset) in batch.changelog_offsets() {
            if let Some(table) = tables.get_mut(*table) {
                table.changelog_offset = Some(*offset);
            }
        }
        let mut inputs = self.inputs.borrow_mut();
        for (topic, offset) in batch.inputs() {
            match inputs.get_mut(&**topic) {
                Some(present) => *present = *offset,
                None => drop(inputs.insert(topic.as_ref().to_owned(), *offset)),
            }
        }
        Ok(())
    }

    fn changelog_offset(&self, table: usize) -> Option<i64> {
        self.tables.borrow().get(table)?.changelog_offset
    }

    fn inputs(&self) -> Vec<(String, i64)> {
        let inputs = self.inputs.borrow();
        inputs
            .iter()
            .map(|(topic, offset)| (topic.clone(), *offset))
            .collect()
    }

    fn clear(&self, table: usize) -> Result<()> {
        let mut tables = self.tables.borrow_mut();
        if let Some(table) = tables.get_mut(table) {
            *table = MemoryTable::default();
        }
        if tables.iter().all(|table| table.changelog_offset.is_none()) {
            self.inputs.borrow_mut().clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_and_removed_takes_no_more_room_than_what_is_there() {
        let mut table = MemoryTable::default();
        let value = |key: u8, round: usize| vec![key; round % 40];
        let live = |keys: &dyn Fn(u8) -> bool, round: usize| {
            (0..100)
                .filter(|key| keys(*key))
                .map(|key| HEAD + 1 + value(key, round).len())
                .sum::<usize>()
        };
        let stays = |key: u8| key % 10 == 3;
        for round in 0..200 {
            (0..100).for_each(|key| table.write(&[key], Some(&value(key, round))));
            // What is compacted amid a round is half of the round before.
            let most = 3 * live(&|_| true, round).max(live(&|_| true, round + 39)) / 2;
            assert!(
                table.pairs.len() <= most,
                "{} bytes in round {round}",
                table.pairs.len()
            );
        }
        (0..100)
            .filter(|key| !stays(*key))
            .for_each(|key| table.write(&[key], None));
        assert!(table.pairs.len() <= 3 * live(&stays, 199) / 2);
        for key in 0..100 {
            let expected = stays(key).then(|| value(key, 199));
            assert_eq!(table.get(&[key]), expected.as_deref());
        }
        assert_eq!(table.iter().count(), 10);
    }
}
