//! Tables: sharded, changelog-backed state, and the typed overlay that agents write to.

pub(crate) mod declare;
pub(crate) mod def;
pub(crate) mod shard;

use std::borrow::Borrow;
use std::hash::Hash;
use std::rc::Rc;

use serde::Serialize;

pub use def::TableDef;
pub(crate) use def::{TableEntry, TableOptions};
use shard::Shard;
pub use shard::TableShard;
pub(crate) use shard::{AHEAD, AnyShard};

use crate::agent::context::{TaskContext, with_current};
use crate::agent::detached::with_detached;
use crate::record::codec::{CodecError, CodecOf};
use crate::record::key::TableKey;
use crate::stream::send::any_program_runs;

/// A table, declared by `#[table]`: a map that is sharded by partition, survives its worker, and whose
/// writes belong to the record that made them.
///
/// ```
/// use stream_runtime::prelude::*;
///
/// /// How often each word was seen.
/// #[table]
/// static WORDS: Table<String, u64>;
///
/// #[agent(topic = "words")]
/// async fn count(word: String) {
///     WORDS.update(&word, |n| *n += 1);
/// }
/// # fn main() {}
/// ```
///
/// Calls are synchronous: they reach the shard of the task whose agent is running, which is the shard of the
/// input record's partition. So a table sees all of one key only if its input is partitioned by that key.
/// Writes are plain Rust values in memory until the next commit, which encodes each changed key once.
///
/// # Panics
/// Every call panics when no agent is running: in a spawned task, in a timer, on another thread. It also
/// does in an agent whose task has no shard of this table, which happens when the agent uses the table only
/// through a helper function: name it then, `#[agent(…, tables = [WORDS])]`. In an agent a panic fails the
/// record, which its error policy handles. In a test, where no program runs, agents can be called as plain
/// functions: tables then live in memory, one set a thread.
#[derive(Debug)]
pub struct Table<K: 'static, V: 'static> {
    def: TableDef,
    default: fn() -> V,
    codec: CodecOf<V>,
    open: fn(&'static Self) -> TableShard,
    key: std::marker::PhantomData<fn(K)>,
}

// No bounds: a type that lacks one is reported where the table is declared, and nowhere else.
impl<K: 'static, V: 'static> Table<K, V> {
    /// An empty shard for one task.
    #[doc(hidden)]
    pub fn __open(table: &'static Self) -> TableShard {
        (table.open)(table)
    }

    /// What was declared.
    pub const fn def(&self) -> &TableDef {
        &self.def
    }

    /// Reads a value as commits write it into stores and changelogs.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        match bytes.split_first() {
            Some((&shard::VALUE_FORMAT, bytes)) => (self.codec.decode)(Some(bytes)),
            Some((&shard::NULL_VALUE_FORMAT, [])) => (self.codec.decode)(None),
            Some((format, _)) => Err(CodecError::new(format!(
                "format {format} of a value is not known: a newer version wrote it"
            ))),
            None => Err(CodecError::new("a value is empty")),
        }
    }
}

impl<K: TableKey, V: Clone + Serialize + 'static> Table<K, V> {
    /// The value of `key`, as the running agent sees it; `None` where there is none.
    pub fn get<Q>(&'static self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.with(key, |value| value.cloned())
    }

    /// Calls `read` with the value of `key`, without cloning it.
    pub fn with<Q, R>(&'static self, key: &Q, read: impl FnOnce(Option<&V>) -> R) -> R
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.on_shard(|shard| shard.with(key, read))
    }

    /// Whether `key` has a value.
    pub fn contains_key<Q>(&'static self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.with(key, |value| value.is_some())
    }

    /// Changes the value of `key` in place, beginning with the table's default where there is none, and
    /// returns what `change` returns.
    pub fn update<Q, R>(&'static self, key: &Q, change: impl FnOnce(&mut V) -> R) -> R
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.on_shard(|shard| shard.update(key, change))
    }

    /// Sets the value of `key`.
    pub fn set<Q>(&'static self, key: &Q, value: V)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.on_shard(|shard| shard.replace(key, Some(value)));
    }

    /// Removes `key`; gives the value it had. The changelog gets a tombstone.
    pub fn remove<Q>(&'static self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.on_shard(|shard| shard.replace(key, None))
    }

    /// All entries of this shard in the order of their keys: a copy, taken now.
    pub fn entries(&'static self) -> Vec<(K, V)> {
        self.on_shard(|shard| shard.entries())
    }

    fn on_shard<R>(&'static self, call: impl FnOnce(&Shard<K, V>) -> R) -> R {
        let mut call = Some(call);
        let mut run = |task: &TaskContext| {
            let shard = task.shard(&self.def).unwrap_or_else(|| self.open_detached(task));
            let shard: &Shard<K, V> = shard
                .as_any()
                .downcast_ref()
                .expect("a shard has the types of the table it was found by");
            let call = call.take().expect("called once");
            call(shard)
        };
        match with_current(&mut run) {
            Some(result) => result,
            None if any_program_runs() => panic!(
                "table `{}` was used outside a running agent: tables can be used in the body of an agent, and \
                 not in tasks it spawns",
                self.def.name
            ),
            None => with_detached(run),
        }
    }

    fn open_detached(&'static self, task: &TaskContext) -> Rc<dyn AnyShard> {
        assert!(
            task.detached,
            "table `{}` is not wired to task {}: name it in the agent's attribute, `tables = [{}]`",
            self.def.name, task.name, self.def.ident
        );
        let TableShard(shard) = Self::__open(self);
        shard.attach(Rc::new(crate::store::MemoryStore::new(1)), 0);
        task.shards.borrow_mut().push(Rc::clone(&shard));
        shard
    }
}
