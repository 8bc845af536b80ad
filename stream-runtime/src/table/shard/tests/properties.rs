//! Calls of agents, failures and commits in any order, against one map a layer.

use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::tests::property::holds;

type Value = Option<u64>;

#[derive(Debug, Clone)]
enum Step {
    Get(String),
    /// Adds to what is there.
    Update(String, u64),
    Set(String, Value),
    Remove(String),
    Scan,
    SealAgent,
    UndoAgent,
    SealRecord,
    UndoRecord,
    /// A commit begins, unless one is on its way; also with a record open.
    Stage,
    /// The commit that is on its way came through.
    Apply,
    /// Unchanged values are dropped down to so many bytes, unless a commit is on its way.
    Evict(usize),
    /// Everything but the store is gone.
    Reopen,
    /// So is the store's content: the shard is restored anew.
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    // Few keys; in the order of bytes `a\0` is between `a` and `b`.
    let key = || {
        prop_oneof![4 => Just("a"), 2 => Just("b"), 1 => Just("a\0"), 1 => Just("")].prop_map(str::to_owned)
    };
    let value = option::weighted(0.8, 0_u64..300);
    prop_oneof![
        4 => key().prop_map(Step::Get),
        6 => (key(), 0_u64..300).prop_map(|(key, more)| Step::Update(key, more)),
        4 => (key(), value).prop_map(|(key, value)| Step::Set(key, value)),
        3 => key().prop_map(Step::Remove),
        1 => Just(Step::Scan),
        4 => Just(Step::SealAgent),
        3 => Just(Step::UndoAgent),
        4 => Just(Step::SealRecord),
        3 => Just(Step::UndoRecord),
        3 => Just(Step::Stage),
        2 => Just(Step::Apply),
        1 => prop_oneof![Just(0), 0_usize..400].prop_map(Step::Evict),
        1 => Just(Step::Reopen),
        1 => Just(Step::Clear),
    ]
}

/// What was written in one layer.
type Layer = BTreeMap<String, Option<Value>>;

/// The layers, lowest first.
#[derive(Debug, Default)]
struct Model {
    store: BTreeMap<String, Value>,
    /// Staged and not in the store.
    on_its_way: Option<Layer>,
    /// By records that are done.
    staged: Layer,
    /// By agents that are done with the open record.
    of_agents: Layer,
    /// By the agent at the open record.
    open: Layer,
}

impl Model {
    fn layers(&self) -> impl DoubleEndedIterator<Item = &Layer> {
        let upper = [&self.staged, &self.of_agents, &self.open];
        self.on_its_way.iter().chain(upper)
    }

    fn get(&self, key: &str) -> Option<Value> {
        let written = self.layers().rev().find_map(|layer| layer.get(key));
        written.map_or_else(|| self.store.get(key).copied(), |value| *value)
    }

    fn entries(&self) -> Vec<(String, Value)> {
        let mut entries = self.store.clone();
        for layer in self.layers() {
            write_into(&mut entries, layer);
        }
        entries.into_iter().collect()
    }

    /// How many keys the next commits have to write.
    fn to_write(&self) -> usize {
        let layers = [&self.staged, &self.of_agents, &self.open];
        let keys = layers.into_iter().flat_map(BTreeMap::keys);
        keys.collect::<std::collections::BTreeSet<_>>().len()
    }

    fn forget_writes(&mut self) {
        *self = Self {
            store: mem::take(&mut self.store),
            ..Self::default()
        };
    }
}

fn write_into(entries: &mut BTreeMap<String, Value>, layer: &Layer) {
    for (key, value) in layer {
        match value {
            Some(value) => drop(entries.insert(key.clone(), *value)),
            None => drop(entries.remove(key)),
        }
    }
}

/// The bytes of a value in stores and changelogs.
fn bytes_of(value: Value) -> Vec<u8> {
    match value {
        Some(number) => {
            let number = postcard::to_stdvec(&number).expect("encodes");
            [&[VALUE_FORMAT, 1][..], &number].concat()
        }
        None => vec![NULL_VALUE_FORMAT],
    }
}

/// A layer as it is encoded.
type Written = BTreeMap<String, Option<Vec<u8>>>;

/// The writes of a batch by key; each key at most once.
fn layer_of(batch: &Batch) -> Result<Written, TestCaseError> {
    let mut layer = BTreeMap::new();
    for write in batch.writes() {
        let key = String::from_utf8(write.key.to_vec()).expect("it is the key's text");
        let written = write.value.map(<[u8]>::to_vec);
        prop_assert_eq!(write.table, 0);
        prop_assert!(layer.insert(key.clone(), written).is_none(), "{key:?} twice");
    }
    Ok(layer)
}

/// What is in a store, or in the store that a changelog makes.
fn contents(store: &dyn Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    store
        .scan(0, &mut |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .expect("scans");
    entries
}

fn follow(store: &Rc<dyn Store>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let attached = || {
        let shard = Shard::<String, Value>::new(&MAYBE);
        shard.attach(Rc::clone(store), 0);
        shard
    };
    let mut shard = attached();
    let mut model = Model::default();
    let mut batch = Batch::default();
    for (now, step) in (0..).zip(steps) {
        match step {
            Step::Get(key) => {
                prop_assert_eq!(shard.with(key.as_str(), |value| value.copied()), model.get(&key));
            }
            Step::Update(key, more) => {
                let before = model.get(&key).unwrap_or_default();
                let after = Some(before.unwrap_or_default() + more);
                let seen = shard.update(key.as_str(), |value| mem::replace(value, after));
                prop_assert_eq!(seen, before);
                model.open.insert(key, Some(after));
            }
            Step::Set(key, value) => {
                prop_assert_eq!(shard.replace(key.as_str(), Some(value)), model.get(&key));
                model.open.insert(key, Some(value));
            }
            Step::Remove(key) => {
                prop_assert_eq!(shard.replace(key.as_str(), None), model.get(&key));
                model.open.insert(key, None);
            }
            Step::Scan => prop_assert_eq!(shard.entries(), model.entries()),
            Step::SealAgent => {
                shard.seal_agent();
                let written = mem::take(&mut model.open);
                model.of_agents.extend(written);
            }
            Step::UndoAgent => {
                shard.undo_agent();
                model.open.clear();
            }
            Step::SealRecord => {
                shard.seal_record();
                let of_agents = mem::take(&mut model.of_agents);
                let open = mem::take(&mut model.open);
                model.staged.extend(of_agents.into_iter().chain(open));
            }
            Step::UndoRecord => {
                shard.undo_record();
                model.of_agents.clear();
                model.open.clear();
            }
            Step::Stage if model.on_its_way.is_none() => {
                batch.clear();
                shard.stage_into(&mut batch).expect("encodes");
                let staged = mem::take(&mut model.staged);
                let expected: Written = staged
                    .iter()
                    .map(|(key, value)| (key.clone(), value.map(bytes_of)))
                    .collect();
                prop_assert_eq!(layer_of(&batch)?, expected);
                model.on_its_way = Some(staged);
            }
            Step::Apply if model.on_its_way.is_some() => {
                batch.set_changelog_offset(0, now);
                store.apply(&batch).expect("applies");
                let written = model.on_its_way.take().unwrap_or_default();
                write_into(&mut model.store, &written);
            }
            Step::Evict(bytes) if model.on_its_way.is_none() => shard.evict(bytes),
            Step::Reopen => {
                shard = attached();
                model.forget_writes();
            }
            Step::Clear => {
                store.clear(0).expect("clears");
                shard = attached();
                model = Model::default();
            }
            Step::Stage | Step::Apply | Step::Evict(_) => {}
        }
        prop_assert_eq!(shard.staged(), model.to_write());
        let committed: Vec<_> = model
            .store
            .iter()
            .map(|(key, value)| (key.clone().into_bytes(), bytes_of(*value)))
            .collect();
        prop_assert_eq!(contents(store.as_ref()), committed);
    }
    prop_assert_eq!(shard.entries(), model.entries());
    let texts = model.entries().into_iter().map(|(key, value)| {
        let value = value.map_or_else(|| "null".to_owned(), |number| number.to_string());
        (key, value)
    });
    prop_assert_eq!(shard.rows(), texts.collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_shard_over_memory_is_its_layers() {
    holds(vec(step(), 0..80), |steps| {
        let store: Rc<dyn Store> = Rc::new(MemoryStore::new(1));
        follow(&store, steps)
    });
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_shard_over_a_disk_is_its_layers() {
    use std::time::Duration;

    use crate::store::{RocksStores, StorePlace, StoredTable, Stores};
    use crate::tests::property::holds_for_share;

    /// Goes with the test.
    struct Directory(std::path::PathBuf);

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    // One worker, and a task for each case.
    let directory = Directory(std::env::temp_dir().join(format!("stream-shard-{}", std::process::id())));
    std::fs::create_dir_all(&directory.0).expect("there is room for a directory");
    let stores = RocksStores::new(&directory.0, "program", 16 << 20).expect("the directory is free");
    let partition = std::cell::Cell::new(0);
    let tables = [StoredTable {
        name: "maybe".to_owned(),
        changelog_id: None,
        max_age: Duration::from_secs(3600),
    }];
    holds_for_share(32, vec(step(), 0..80), |steps| {
        partition.set(partition.get() + 1);
        let store = stores.open(&StorePlace {
            sub_topology: "counting",
            partition: partition.get(),
            tables: &tables,
        });
        follow(&Rc::from(store.expect("opens")), steps)
    });
}
