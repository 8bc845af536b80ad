//! One shard of a table: plain values over the committed store.
//!
//! Three layers, newest first: what was written for the open record (undone when it fails), what finished
//! records wrote since the last commit (staged), and the store (committed). A value is decoded once, when it is first
//! touched, and encoded once a commit.

mod overlay;

use std::any::Any;
use std::borrow::Borrow;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::{fmt, mem};

use serde::Serialize;

use self::overlay::{Dirty, Entry, Overlay};
use super::{Table, TableDef};
use crate::agent::context::with_current;
use crate::error::{Error, Result};
use crate::record::codec::{CodecError, Encoded};
use crate::record::key::TableKey;
use crate::store::{Batch, Store};

/// The version of how values are written into stores and changelogs: the first byte of each.
pub(super) const VALUE_FORMAT: u8 = 1;
/// The same for a value that its codec writes as null: `()`, `None`. It is there, unlike that of a deleted key.
pub(super) const NULL_VALUE_FORMAT: u8 = 2;

/// What a commit writes is anywhere in memory. So many entries are fetched at once: a commit of 100,000 changed keys took
/// 12.5 ms without that and 10.7 with it, here and in the store together.
const AT_ONCE: usize = 16;

/// So many keys are read ahead together: with 100,000 of them, finding each when its record came took 166 ns of some 930 that
/// a keyed count costs its worker, and takes 43 ahead and 65 then.
pub(crate) const AHEAD: usize = 16;

/// A shard without its types, as tasks hold it.
pub(crate) trait AnyShard: fmt::Debug {
    fn as_any(&self) -> &dyn Any;
    fn def(&self) -> &'static TableDef;

    /// Puts the shard over its store, where it is table number `table`.
    fn attach(&self, store: Rc<dyn Store>, table: usize);

    /// Looks up these keys, at most [`AHEAD`], of records that come next. Nothing but the processor's caches is changed.
    fn read_ahead(&self, keys: &[&[u8]]);

    /// An agent is done with the open record and another follows: only the whole record can undo what it wrote.
    fn seal_agent(&self);

    /// The open record is done: what was written for it is staged.
    fn seal_record(&self);

    /// The agent at the open record failed: it wrote nothing.
    fn undo_agent(&self);

    /// The open record failed: nobody wrote anything for it.
    fn undo_record(&self);

    /// How many keys are staged.
    fn staged(&self) -> usize;

    /// About how many bytes its values in memory take, staged ones and those that were read. Encodes some of them, where
    /// too few were.
    fn held(&self) -> usize;

    /// Writes every key that finished records changed into `batch`, encoded. They are no longer staged and stay
    /// readable here: agents go on over them while the batch is on its way into the store. What the open record has
    /// written is left out.
    fn stage_into(&self, batch: &mut Batch) -> Result<()>;

    /// Drops values that the store has as well, down to about `bytes`; those stay that are used again and again. Not while
    /// a batch is on its way into the store.
    fn evict(&self, bytes: usize);

    /// The committed and staged entries in the order of their keys, for people: key and value as text.
    fn rows(&self) -> Vec<(String, String)>;
}

/// A shard as `#[table]` makes it.
#[derive(Debug)]
pub struct TableShard(pub(crate) Rc<dyn AnyShard>);

pub(crate) struct Shard<K: 'static, V: 'static> {
    table: &'static Table<K, V>,
    store: OnceCell<(Rc<dyn Store>, usize)>,
    overlay: RefCell<Overlay<K, V>>,
}

impl<K, V> fmt::Debug for Shard<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard of {}", self.table.def.name)
    }
}

impl<K: TableKey, V: Clone + Serialize + 'static> Shard<K, V> {
    pub(super) fn new(table: &'static Table<K, V>) -> Self {
        Self {
            table,
            store: OnceCell::new(),
            overlay: RefCell::new(Overlay::default()),
        }
    }

    pub(super) fn with<Q, R>(&self, key: &Q, read: impl FnOnce(Option<&V>) -> R) -> R
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut overlay = self.borrow();
        let found = overlay.find(key).or_else(|| {
            let owned = key.to_owned();
            let value = self.load(&mut overlay, &owned)?;
            Some(overlay.insert(owned, Some(value)))
        });
        read(found.and_then(|at| overlay.entries[at].value.as_ref()))
    }

    pub(super) fn update<Q, R>(&self, key: &Q, change: impl FnOnce(&mut V) -> R) -> R
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut overlay = self.borrow();
        let at = self.locate(&mut overlay, key);
        overlay.touch(at);
        let value = &mut overlay.entries[at].value;
        change(value.get_or_insert_with(self.table.default))
    }

    pub(super) fn replace<Q>(&self, key: &Q, value: Option<V>) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut overlay = self.borrow();
        let at = self.locate(&mut overlay, key);
        overlay.touch(at);
        mem::replace(&mut overlay.entries[at].value, value)
    }

    pub(super) fn entries(&self) -> Vec<(K, V)> {
        let overlay = self.borrow();
        let mut all = BTreeMap::new();
        if let Some((store, table)) = self.store.get() {
            let mut failure = None;
            let scanned = store.scan(*table, &mut |key, value| match K::decode_key(key)
                .and_then(|key| Ok((key, self.table.decode(value)?)))
            {
                Ok((key, value)) => {
                    all.insert(key, value);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            });
            if let Err(error) = scanned {
                self.give_up(&error);
            }
            if let Some(error) = failure {
                panic!("{}", self.unreadable(&error));
            }
        }
        for entry in &overlay.entries {
            match &entry.value {
                Some(value) => drop(all.insert(entry.key.clone(), value.clone())),
                None => drop(all.remove(&entry.key)),
            }
        }
        all.into_iter().collect()
    }

    fn borrow(&self) -> std::cell::RefMut<'_, Overlay<K, V>> {
        self.overlay.try_borrow_mut().unwrap_or_else(|_| {
            panic!(
                "table `{0}` is used inside a closure given to table `{0}`",
                self.table.def.name
            )
        })
    }

    /// The entry of `key`, loaded from the store or made without a value.
    fn locate<Q>(&self, overlay: &mut Overlay<K, V>, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        overlay.find(key).unwrap_or_else(|| {
            let key = key.to_owned();
            let value = self.load(overlay, &key);
            overlay.insert(key, value)
        })
    }

    fn load(&self, overlay: &mut Overlay<K, V>, key: &K) -> Option<V> {
        let (store, table) = self.store.get()?;
        overlay.key_bytes.clear();
        key.encode_key(&mut overlay.key_bytes);
        let mut value = None;
        let read = store.get(*table, &overlay.key_bytes, &mut |bytes| {
            overlay.sizes.note(1, overlay.key_bytes.len() + bytes.len());
            value = Some(self.table.decode(bytes));
        });
        if let Err(error) = read {
            self.give_up(&error);
        }
        value.map(|value| value.unwrap_or_else(|error| panic!("{}", self.unreadable(&error))))
    }

    /// Ends the agent's function, and then the worker: skipping the record, or trying it again, would do no good.
    fn give_up(&self, error: &Error) -> ! {
        let reason = format!("table `{}` cannot be read: {error}", self.table.def.name);
        with_current(|task| task.store_failure.replace(Some(reason.clone())));
        panic!("{reason}");
    }

    /// Weighs values by encoding some: a shard is to know how much it holds before its first commit.
    fn weigh(&self, overlay: &mut Overlay<K, V>) {
        let mut bytes = mem::take(&mut overlay.key_bytes);
        while let Some(Entry { key, value, .. }) = overlay.sample() {
            bytes.clear();
            key.encode_key(&mut bytes);
            // What does not encode, or panics there, is told by the commit.
            let encode = || value.as_ref().map(|value| self.encode(value, &mut bytes));
            let _ = catch_unwind(AssertUnwindSafe(encode));
            overlay.sizes.note(1, bytes.len());
        }
        overlay.key_bytes = bytes;
    }

    fn encode(&self, value: &V, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        let format = bytes.len();
        bytes.push(VALUE_FORMAT);
        if (self.table.codec.encode)(value, bytes)? == Encoded::Null {
            bytes.truncate(format);
            bytes.push(NULL_VALUE_FORMAT);
        }
        Ok(())
    }

    fn unreadable(&self, error: &CodecError) -> String {
        format!(
            "table `{}` holds bytes that are not a {}: {error}. When the type was changed, give the table a new \
             name, or the type a codec that reads both",
            self.table.def.name,
            self.table.def.value.short_name()
        )
    }
}

impl<K: TableKey, V: Clone + Serialize + 'static> AnyShard for Shard<K, V> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn def(&self) -> &'static TableDef {
        &self.table.def
    }

    fn attach(&self, store: Rc<dyn Store>, table: usize) {
        let attached = self.store.set((store, table));
        assert!(attached.is_ok(), "a shard has one store for its life");
    }

    fn read_ahead(&self, keys: &[&[u8]]) {
        self.borrow().read_ahead(keys);
    }

    fn seal_agent(&self) {
        let overlay = &mut *self.borrow();
        for (at, _) in &overlay.touched {
            overlay.entries[*at].touched = None;
        }
        overlay.earlier.append(&mut overlay.touched);
    }

    fn seal_record(&self) {
        let overlay = &mut *self.borrow();
        for (at, _) in overlay.touched.drain(..) {
            overlay.entries[at].touched = None;
        }
        overlay.begin_record();
    }

    fn undo_agent(&self) {
        self.borrow().undo_agent();
    }

    fn undo_record(&self) {
        let overlay = &mut *self.borrow();
        overlay.undo_agent();
        // The last write first: two agents may have written one entry.
        while let Some((at, before)) = overlay.earlier.pop() {
            overlay.restore(at, before);
        }
        overlay.begin_record();
    }

    fn staged(&self) -> usize {
        self.borrow().staged
    }

    fn held(&self) -> usize {
        let overlay = &mut *self.borrow();
        self.weigh(overlay);
        overlay.held()
    }

    fn stage_into(&self, batch: &mut Batch) -> Result<()> {
        let overlay = &mut *self.borrow();
        let Some((_, table)) = self.store.get() else {
            return Err(Error::state(format!(
                "table `{}` has no store",
                self.table.def.name
            )));
        };
        let (writes, bytes) = (batch.len(), batch.bytes());
        let Overlay {
            entries,
            touched,
            earlier,
            dirty,
            dirty_keys: keys,
            ..
        } = overlay;
        let mut error = None;
        let mut stay_dirty = Vec::new();
        for some in dirty.chunks(AT_ONCE) {
            let near: usize = some
                .iter()
                .map(|dirty| usize::from(entries[dirty.at].dirty))
                .sum();
            // Without a use the compiler would leave the reads out.
            std::hint::black_box(near);
            for Dirty { at, key } in some {
                let entry = &mut entries[*at];
                if !entry.dirty || error.is_some() {
                    continue;
                }
                // What the open record has written since is not part of the cut. Agents that are done with it came first.
                let before = match (earlier.iter().position(|(entry, _)| entry == at), entry.touched) {
                    (Some(place), _) => Some(&mut earlier[place].1),
                    (None, Some(place)) => Some(&mut touched[place.get() as usize - 1].1),
                    (None, None) => None,
                };
                if before.is_some() {
                    stay_dirty.push(Dirty {
                        at: *at,
                        key: key.clone(),
                    });
                }
                let (value, differs) = match before {
                    Some(before) => (&before.value, &mut before.dirty),
                    None => (&entry.value, &mut entry.dirty),
                };
                if mem::take(differs) {
                    let encoded = batch.push_with(*table, &keys[key.clone()], |bytes| match value {
                        None => Ok(false),
                        Some(value) => self.encode(value, bytes).map(|()| true),
                    });
                    error = encoded.err().map(|error| (*at, error));
                }
            }
        }
        if let Some((at, error)) = error {
            return Err(Error::codec(format!(
                "the value of key {:?} in table `{}` does not encode: {error}",
                overlay.entries[at].key, self.table.def.name
            )));
        }
        overlay.sizes.note(batch.len() - writes, batch.bytes() - bytes);
        overlay.keep_dirty(stay_dirty);
        Ok(())
    }

    fn evict(&self, bytes: usize) {
        self.borrow().evict(bytes);
    }

    fn rows(&self) -> Vec<(String, String)> {
        self.entries()
            .into_iter()
            .map(|(key, value)| {
                let value = serde_json::to_string(&value).unwrap_or_else(|error| format!("({error})"));
                (key.show(), value)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    mod properties;

    use super::*;
    use crate::record::Location;
    use crate::record::codecs::Postcard;
    use crate::store::MemoryStore;
    use crate::table::TableOptions;
    use crate::table::declare::declare_table;

    static MAYBE: Table<String, Option<u64>> = declare_table::<String, Option<u64>, Postcard>(
        TableOptions {
            name: "maybe",
            ident: "MAYBE",
            config: &[],
            doc: "",
            location: Location {
                file: file!(),
                line: line!(),
                module: module_path!(),
            },
        },
        Option::default,
    );

    /// A shard over `store`.
    fn over(store: &Rc<MemoryStore>) -> Shard<String, Option<u64>> {
        let shard = Shard::new(&MAYBE);
        shard.attach(Rc::<MemoryStore>::clone(store), 0);
        shard
    }

    /// Commits what the shard has staged.
    fn commit(shard: &Shard<String, Option<u64>>, store: &MemoryStore) {
        let mut batch = Batch::default();
        shard.stage_into(&mut batch).expect("encodes");
        store.apply(&batch).expect("applies");
    }

    #[test]
    fn a_value_that_is_null_is_there_and_a_removed_key_is_not() {
        let store = Rc::new(MemoryStore::new(1));
        let shard = over(&store);
        shard.replace("none", Some(None));
        shard.replace("some", Some(Some(7)));
        shard.replace("gone", Some(Some(8)));
        shard.seal_record();
        commit(&shard, &store);
        shard.replace("gone", None);
        shard.seal_record();
        commit(&shard, &store);
        let fresh = over(&store);
        assert_eq!(
            fresh.entries(),
            [("none".to_owned(), None), ("some".to_owned(), Some(7))]
        );
        assert_eq!(fresh.with("none", |value| value.copied()), Some(None));
        assert_eq!(fresh.with("gone", |value| value.copied()), None);
    }

    #[test]
    fn a_failed_record_is_undone_and_only_what_was_sealed_is_staged() {
        let store = Rc::new(MemoryStore::new(1));
        let shard = over(&store);
        shard.replace("a", Some(Some(1)));
        shard.seal_record();
        shard.update("a", |value| *value = Some(2));
        shard.replace("b", Some(Some(3)));
        shard.undo_record();
        assert_eq!(shard.staged(), 1);
        commit(&shard, &store);
        assert_eq!(over(&store).entries(), [("a".to_owned(), Some(1))]);
        assert_eq!(shard.staged(), 0);
    }

    #[test]
    fn a_record_that_fails_again_and_again_leaves_nothing_behind() {
        let shard = over(&Rc::new(MemoryStore::new(1)));
        let fail = || {
            shard.replace("a", Some(Some(1)));
            shard.seal_agent();
            shard.update("b", |value| *value = Some(2));
            shard.undo_record();
            shard.held()
        };
        let once = fail();
        assert!((0..1000).all(|_| fail() == once));
        assert!(shard.borrow().dirty.is_empty());
        // Nor does a commit amid it, which may change the order of what is to be undone.
        for key in ["b", "a", "c"] {
            shard.replace(key, Some(Some(3)));
        }
        shard.stage_into(&mut Batch::default()).expect("encodes");
        shard.undo_record();
        assert!((0..1000).all(|_| fail() <= once + 1000));
        assert_eq!(shard.staged(), 0);
    }

    /// A store whose disk does not answer.
    #[derive(Debug)]
    struct Unreadable;

    impl Store for Unreadable {
        fn get(&self, _: usize, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Result<bool> {
            Err(Error::state("the disk is gone"))
        }

        fn scan(&self, _: usize, _: &mut crate::store::Visit<'_>) -> Result<()> {
            Err(Error::state("the disk is gone"))
        }

        fn apply(&self, _: &Batch) -> Result<()> {
            Ok(())
        }

        fn changelog_offset(&self, _: usize) -> Option<i64> {
            None
        }

        fn inputs(&self) -> Vec<(String, i64)> {
            Vec::new()
        }

        fn clear(&self, _: usize) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_store_that_cannot_be_read_is_no_fault_of_the_record() {
        let task = crate::agent::detached::detached();
        let _entered = crate::agent::context::Entered::new(&task);
        let shard = Shard::new(&MAYBE);
        shard.attach(Rc::new(Unreadable), 0);
        let calls: [&dyn Fn(); 3] = [
            &|| shard.with("a", |_| ()),
            &|| shard.update("a", |value| *value = Some(1)),
            &|| drop(shard.entries()),
        ];
        for call in calls {
            let called = catch_unwind(AssertUnwindSafe(call));
            assert!(called.is_err(), "the agent's function cannot go on");
            let reason = task.store_failure.take().expect("the worker is told");
            assert!(
                reason.contains("table `maybe`") && reason.contains("the disk is gone"),
                "{reason}"
            );
        }
    }

    /// A store of so many keys, each its number in eight digits, with a value that takes a byte.
    fn filled(keys: usize) -> Rc<MemoryStore> {
        let store = Rc::new(MemoryStore::new(1));
        let shard = over(&store);
        for n in 0..keys {
            shard.replace(&format!("{n:08}"), Some(None));
        }
        shard.seal_record();
        commit(&shard, &store);
        store
    }

    /// A record reads a value, twice.
    fn read(shard: &Shard<String, Option<u64>>, n: usize) {
        for _ in 0..2 {
            let value = shard.with(format!("{n:08}").as_str(), |value| value.copied());
            assert_eq!(value, Some(None));
        }
        shard.seal_record();
    }

    fn is_held(shard: &Shard<String, Option<u64>>, n: usize) -> bool {
        let key = format!("{n:08}");
        shard.borrow().entries.iter().any(|entry| entry.key == key)
    }

    #[test]
    fn values_that_were_only_read_are_weighed_too() {
        let shard = over(&filled(100));
        assert_eq!(shard.held(), 0);
        (0..50).for_each(|n| read(&shard, n));
        let half = shard.held();
        // The text of a key, and more for what is kept of it.
        assert!((50 * 9..50 * 200).contains(&half), "{half} bytes");
        (50..100).for_each(|n| read(&shard, n));
        assert_eq!((shard.staged(), shard.held()), (0, 2 * half));
        shard.evict(half);
        assert!(shard.held() <= half, "{} of {half} bytes", shard.held());
        shard.evict(0);
        assert_eq!(shard.held(), 0);
        assert_eq!(shard.borrow().entries.capacity(), 0, "their room is given back");
    }

    #[test]
    fn what_takes_more_when_it_is_encoded_weighs_more() {
        let held = |digits: usize| {
            let store = Rc::new(MemoryStore::new(1));
            let shard = over(&store);
            shard.replace(&"7".repeat(digits), Some(Some(7)));
            let written = shard.held();
            shard.seal_record();
            commit(&shard, &store);
            // Until then its key stands ready for the commit as well.
            let read = written - size_of::<Dirty>() - digits;
            assert_eq!(shard.held(), read, "staged or not");
            let fresh = over(&store);
            fresh.with("7".repeat(digits).as_str(), |_| ());
            assert_eq!(fresh.held(), read, "read or written, it is the same value");
            read
        };
        assert_eq!(held(10_001) - held(1), 10_000);
    }

    #[test]
    fn values_that_are_used_again_stay_and_then_those_that_came_last() {
        let shard = over(&filled(1000));
        let held =
            |among: std::ops::Range<usize>| -> Vec<_> { among.filter(|n| is_held(&shard, *n)).collect() };
        let evict_all_but = |entries: usize| {
            let each = shard.held() / shard.borrow().entries.len();
            shard.evict(entries * each);
        };
        for round in 1..5 {
            (0..2).for_each(|_| (0..10).for_each(|n| read(&shard, n)));
            let others = 100 * round..100 * (round + 1);
            others.clone().for_each(|n| read(&shard, n));
            evict_all_but(20);
            assert_eq!(held(0..10), (0..10).collect::<Vec<_>>(), "in round {round}");
            let last: Vec<_> = others.rev().take(10).rev().collect();
            assert_eq!(held(10..1000), last, "in round {round}");
        }
        // Asked for no more, they go as well.
        for round in 5..7 {
            (0..100).for_each(|n| read(&shard, 100 * round + n));
            evict_all_but(10);
        }
        assert!(held(0..10).is_empty());
    }

    #[test]
    fn keys_are_found_ahead_of_their_records_where_that_is_of_use() {
        let found = |shard: &Shard<String, Option<u64>>, from: usize| {
            let keys: Vec<_> = (from..from + AHEAD).map(|n| format!("{n:08}")).collect();
            let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
            shard.borrow().read_ahead(&keys)
        };
        let fill = |shard: &Shard<String, Option<u64>>, n: usize| {
            shard.update(&format!("{n:08}"), |value| *value = None);
        };
        let small = over(&filled(0));
        (0..100).for_each(|n| fill(&small, n));
        assert_eq!(found(&small, 0), 0, "the processor has it all");
        let large = over(&filled(0));
        (0..20_000).for_each(|n| fill(&large, n));
        assert_eq!(found(&large, 0), AHEAD);
        assert_eq!(found(&large, 19_000), AHEAD);
        // The table is asked for other keys than those of the records: that is found out now and then.
        assert!(found(&large, 20_000) < AHEAD / 2);
        let again = (1..1000).find(|_| found(&large, 0) > 0);
        assert!(again.is_some_and(|tries| tries > 10), "{again:?}");
        assert_eq!(found(&large, 0), AHEAD);
    }

    /// What a commit amid an open record brings the store to.
    fn entries_in(store: &Rc<MemoryStore>) -> Vec<(String, Option<u64>)> {
        over(store).entries()
    }

    #[test]
    fn a_commit_amid_an_open_record_leaves_out_what_that_record_wrote() {
        let store = Rc::new(MemoryStore::new(1));
        let shard = over(&store);
        shard.replace("a", Some(Some(1)));
        shard.seal_record();
        // The first agent of the open record is done with it, the second is at it.
        shard.replace("a", Some(Some(2)));
        shard.replace("b", Some(Some(3)));
        shard.seal_agent();
        shard.replace("a", Some(Some(4)));
        shard.replace("c", Some(Some(5)));
        commit(&shard, &store);
        assert_eq!(entries_in(&store), [("a".to_owned(), Some(1))]);
        assert_eq!(shard.staged(), 3);
        shard.undo_agent();
        assert_eq!(shard.with("a", |value| value.copied()), Some(Some(2)));
        assert_eq!(shard.staged(), 2);
        shard.seal_record();
        commit(&shard, &store);
        assert_eq!(
            entries_in(&store),
            [("a".to_owned(), Some(2)), ("b".to_owned(), Some(3))]
        );
    }

    #[test]
    fn a_record_that_is_given_up_after_a_commit_leaves_what_was_committed() {
        let store = Rc::new(MemoryStore::new(1));
        let shard = over(&store);
        shard.replace("a", Some(Some(1)));
        shard.seal_record();
        shard.replace("a", Some(Some(2)));
        commit(&shard, &store);
        shard.undo_record();
        assert_eq!(shard.staged(), 0);
        assert_eq!(shard.with("a", |value| value.copied()), Some(Some(1)));
        commit(&shard, &store);
        assert_eq!(entries_in(&store), [("a".to_owned(), Some(1))]);
    }

    #[test]
    fn what_finished_records_change_while_a_batch_is_on_its_way_is_in_the_next() {
        let store = Rc::new(MemoryStore::new(1));
        let shard = over(&store);
        shard.replace("a", Some(Some(1)));
        shard.replace("b", Some(Some(1)));
        shard.seal_record();
        let mut batch = Batch::default();
        shard.stage_into(&mut batch).expect("encodes");
        shard.replace("a", Some(Some(2)));
        shard.seal_record();
        store.apply(&batch).expect("applies");
        assert_eq!(shard.staged(), 1);
        commit(&shard, &store);
        assert_eq!(
            entries_in(&store),
            [("a".to_owned(), Some(2)), ("b".to_owned(), Some(1))]
        );
    }

    #[test]
    fn entries_that_the_store_has_can_be_dropped_and_others_never() {
        let store = Rc::new(MemoryStore::new(1));
        let shard = over(&store);
        for n in 0..100 {
            shard.replace(&n.to_string(), Some(Some(n)));
        }
        shard.seal_record();
        let mut batch = Batch::default();
        shard.stage_into(&mut batch).expect("encodes");
        shard.replace("7", Some(Some(70)));
        shard.seal_record();
        shard.replace("8", Some(Some(80)));
        shard.replace("new", Some(Some(90)));
        store.apply(&batch).expect("applies");
        shard.evict(0);
        assert_eq!(shard.borrow().entries.len(), 3);
        assert_eq!(shard.with("7", |value| value.copied()), Some(Some(70)));
        assert_eq!(shard.with("9", |value| value.copied()), Some(Some(9)));
        shard.undo_record();
        assert_eq!(shard.with("8", |value| value.copied()), Some(Some(8)));
        assert_eq!(shard.with("new", |value| value.copied()), None);
        commit(&shard, &store);
        let fresh = over(&store);
        assert_eq!(fresh.entries().len(), 100);
        assert_eq!(fresh.with("7", |value| value.copied()), Some(Some(70)));
    }
}
