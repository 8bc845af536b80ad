//! Any batches, clearings and starts against ordered maps.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{all, get, open, put};
use crate::store::{Batch, MemoryStores, Store};
#[cfg(feature = "rocksdb")]
use crate::store::{RocksStores, Stores};
use crate::tests::property::holds;
#[cfg(feature = "rocksdb")]
use crate::tests::property::holds_for_share;

pub(crate) const TABLES: [&str; 3] = ["one", "two", "default"];

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Apply {
        writes: Vec<(usize, Vec<u8>, Option<Vec<u8>>)>,
        offsets: Vec<(usize, i64)>,
        inputs: Vec<(&'static str, i64)>,
    },
    Clear(usize),
    Restoring(bool),
    /// The worker starts again; true after a clean end.
    Reopen(bool),
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let table = || 0..TABLES.len();
    // Few keys, of a kind whose order is easily got wrong.
    let key = vec(prop_oneof![Just(0_u8), Just(0x61), Just(0xff)], 0..3);
    // Values of equal sizes and of others.
    let value = option::weighted(0.7, vec(any::<u8>(), 0..4));
    let inputs = prop_oneof![Just("a"), Just("b"), Just("c")];
    let apply = (
        vec((table(), key, value), 0..12),
        vec((table(), 0_i64..1000), 0..4),
        vec((inputs, 0_i64..1000), 0..3),
    );
    prop_oneof![
        10 => apply.prop_map(|(writes, offsets, inputs)| Step::Apply { writes, offsets, inputs }),
        1 => table().prop_map(Step::Clear),
        1 => any::<bool>().prop_map(Step::Restoring),
        2 => any::<bool>().prop_map(Step::Reopen),
    ]
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    entries: [BTreeMap<Vec<u8>, Vec<u8>>; TABLES.len()],
    offsets: [Option<i64>; TABLES.len()],
    inputs: BTreeMap<String, i64>,
}

impl Model {
    fn clear(&mut self, table: usize) {
        self.entries[table].clear();
        self.offsets[table] = None;
        if self.offsets.iter().all(Option::is_none) {
            self.inputs.clear();
        }
    }

    /// A shard without an offset is restored from the beginning, and so is empty then.
    #[cfg(any(feature = "rocksdb", feature = "testing"))]
    pub(crate) fn reopen(&mut self) {
        for table in 0..TABLES.len() {
            if self.offsets[table].is_none() && !self.entries[table].is_empty() {
                self.clear(table);
            }
        }
    }

    /// Does a step that every store takes.
    pub(crate) fn follow(&mut self, store: &dyn Store, step: &Step) {
        match step {
            Step::Apply {
                writes,
                offsets,
                inputs,
            } => {
                let mut batch = Batch::default();
                for (table, key, value) in writes {
                    put(&mut batch, *table, key, value.as_deref());
                    match value {
                        Some(value) => drop(self.entries[*table].insert(key.clone(), value.clone())),
                        None => drop(self.entries[*table].remove(key)),
                    }
                }
                for (table, offset) in offsets {
                    batch.set_changelog_offset(*table, *offset);
                    self.offsets[*table] = Some(*offset);
                }
                batch.set_inputs(inputs.iter().map(|(topic, offset)| (Arc::from(*topic), *offset)));
                let inputs = inputs
                    .iter()
                    .map(|(topic, offset)| ((*topic).to_owned(), *offset));
                self.inputs.extend(inputs);
                store.apply(&batch).expect("applies");
            }
            Step::Clear(table) => {
                store.clear(*table).expect("clears");
                self.clear(*table);
            }
            Step::Restoring(on) => store.restoring(*on).expect("notes it"),
            Step::Reopen(true) => store.close().expect("closes"),
            Step::Reopen(false) => {}
        }
    }

    pub(crate) fn agrees(&self, store: &dyn Store) -> Result<(), TestCaseError> {
        for (table, entries) in self.entries.iter().enumerate() {
            let expected: Vec<_> = entries.clone().into_iter().collect();
            prop_assert_eq!(all(store, table), expected);
            for key in [&b""[..], b"\0", b"a", b"\xff", b"a\0", b"\xff\xff"] {
                prop_assert_eq!(get(store, table, key), entries.get(key).cloned());
            }
            let mut first = Vec::new();
            let one = |key: &[u8], _: &[u8]| {
                first.push(key.to_vec());
                ControlFlow::Break(())
            };
            store.scan(table, &mut { one }).expect("scans");
            prop_assert!(entries.keys().take(1).eq(&first), "{first:?}");
            prop_assert_eq!(store.changelog_offset(table), self.offsets[table]);
        }
        prop_assert!(store.inputs().into_iter().eq(self.inputs.clone()));
        Ok(())
    }
}

#[test]
fn a_store_in_memory_is_an_ordered_map() {
    holds(vec(step(), 0..30), |steps| {
        let store = open(&MemoryStores::new(), &TABLES).expect("opens");
        let mut model = Model::default();
        for step in &steps {
            model.follow(store.as_ref(), step);
            model.agrees(store.as_ref())?;
        }
        Ok(())
    });
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_store_on_disk_is_an_ordered_map_over_starts() {
    holds_for_share(32, vec(step(), 0..30), |steps| {
        let scratch = super::super::rocks::Scratch::new();
        let stores = || RocksStores::new(scratch.path(), "program", 16 << 20).expect("the directory is free");
        let mut worker = stores();
        let mut store = open(&worker, &TABLES).expect("opens");
        let mut model = Model::default();
        for step in &steps {
            model.follow(store.as_ref(), step);
            if let Step::Reopen(_) = step {
                drop(store);
                drop(worker);
                worker = stores();
                prop_assert_eq!(worker.local(), [("counting".to_owned(), 3)]);
                store = open(&worker, &TABLES).expect("opens");
                model.reopen();
            }
            model.agrees(store.as_ref())?;
        }
        Ok(())
    });
}
