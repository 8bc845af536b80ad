//! The store for development: ordered maps, gone with the process.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Batch, Store, Visit};
use crate::error::Result;

/// All shards of one task in memory. A restart restores them from their changelogs.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    tables: RefCell<Vec<MemoryTable>>,
}

#[derive(Debug, Default)]
struct MemoryTable {
    entries: BTreeMap<Box<[u8]>, Box<[u8]>>,
    changelog_offset: Option<i64>,
}

impl MemoryStore {
    pub(crate) fn new(tables: usize) -> Self {
        Self {
            tables: RefCell::new((0..tables).map(|_| MemoryTable::default()).collect()),
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
        let entries = tables.get(table).into_iter().flat_map(|table| &table.entries);
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
        Ok(())
    }

    fn clear(&self, table: usize) -> Result<()> {
        if let Some(table) = self.tables.borrow_mut().get_mut(table) {
            *table = MemoryTable::default();
        }
        Ok(())
    }

    fn changelog_offset(&self, table: usize) -> Option<i64> {
        self.tables.borrow().get(table)?.changelog_offset
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::store::Write;

    fn put(batch: &mut Batch, table: usize, key: &[u8], value: Option<&[u8]>) {
        batch.push(Write {
            table,
            key,
            value,
            timestamp: 0,
        });
    }

    fn all(store: &MemoryStore, table: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut entries = Vec::new();
        store
            .scan(table, &mut |key, value| {
                entries.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })
            .expect("scans");
        entries
    }

    #[test]
    fn a_batch_covers_tables_and_offsets_and_the_last_write_of_a_key_counts() {
        let store = MemoryStore::new(2);
        let mut batch = Batch::default();
        put(&mut batch, 0, b"b", Some(b"1"));
        put(&mut batch, 1, b"b", Some(b"other"));
        put(&mut batch, 0, b"a", Some(b"2"));
        put(&mut batch, 0, b"b", Some(b"3"));
        put(&mut batch, 0, b"c", Some(b"4"));
        put(&mut batch, 0, b"c", None);
        batch.set_changelog_offset(0, 5);
        store.apply(&batch).expect("applies");
        assert_eq!(
            all(&store, 0),
            [(b"a".to_vec(), b"2".to_vec()), (b"b".to_vec(), b"3".to_vec())]
        );
        assert_eq!(all(&store, 1), [(b"b".to_vec(), b"other".to_vec())]);
        assert_eq!(
            (store.changelog_offset(0), store.changelog_offset(1)),
            (Some(5), None)
        );
    }
}
