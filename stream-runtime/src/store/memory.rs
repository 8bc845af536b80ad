//! The store for development: maps, gone with the process.

use std::cell::RefCell;
use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{Batch, Store, StorePlace, Stores, Visit, name};
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

#[derive(Debug, Clone, Default)]
struct MemoryTable {
    /// By hash, since commits find keys in any order and scans are rare: a commit of 100,000 keys took 124 ms with a tree,
    /// and takes 37 (`benches/records.rs`).
    entries: HashMap<Box<[u8]>, Box<[u8]>, RandomState>,
    changelog_offset: Option<i64>,
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
        let value = tables.get(table).and_then(|table| table.entries.get(key));
        if let Some(value) = value {
            read(value);
        }
        Ok(value.is_some())
    }

    fn scan(&self, table: usize, each: &mut Visit<'_>) -> Result<()> {
        let tables = self.tables.borrow();
        let mut entries: Vec<_> = tables
            .get(table)
            .into_iter()
            .flat_map(|table| &table.entries)
            .collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        for (key, value) in entries {
            if each(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        let mut tables = self.tables.borrow_mut();
        for write in batch.writes() {
            let Some(table) = tables.get_mut(write.table) else {
                continue;
            };
            match write.value {
                None => drop(table.entries.remove(write.key)),
                Some(value) => match table.entries.get_mut(write.key) {
                    // A value of the same size, as counters have, is written in place.
                    Some(present) if present.len() == value.len() => present.copy_from_slice(value),
                    Some(present) => *present = value.into(),
                    None => drop(table.entries.insert(write.key.into(), value.into())),
                },
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
