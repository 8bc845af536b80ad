//! What a shard has in memory: its values, which of them differ from the store, and what there was before.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroU32;
use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::AHEAD;
use crate::record::key::{TableKey, hash_in_record, text_of};

pub(super) struct Overlay<K, V> {
    /// Indices into `entries`, by the hash of their keys.
    index: HashTable<u32>,
    pub(super) entries: Vec<Entry<K, V>>,
    /// What was there before the agent at the open record wrote.
    pub(super) touched: Vec<(usize, Before<V>)>,
    /// What was there before agents wrote that are done with the open record, in the order of the writes.
    pub(super) earlier: Vec<(usize, Before<V>)>,
    /// Entries that became dirty; what was undone is still in it, and may be in it twice.
    pub(super) dirty: Vec<Dirty>,
    /// The keys of these, encoded when they became dirty: what a write has just found is at hand, and a commit would
    /// fetch each from memory again.
    pub(super) dirty_keys: Vec<u8>,
    /// How many entries are dirty.
    pub(super) staged: usize,
    /// How many entries there were when the open record began.
    begun_with: usize,
    hasher: RandomState,
    pub(super) key_bytes: Vec<u8>,
    pub(super) sizes: Sizes,
    /// Reading ahead is left out so many times.
    rest: u32,
}

/// As small as can be: tables have millions of them, and finding one costs as many cache lines as it takes.
pub(super) struct Entry<K, V> {
    pub(super) key: K,
    /// `None` where the key has no value.
    pub(super) value: Option<V>,
    /// Differs from the store.
    pub(super) dirty: bool,
    /// Was asked for by a later record than the one that brought it, since values were evicted last.
    used: bool,
    /// Its place in [`Overlay::touched`], counted from 1, if the agent at the open record wrote it.
    pub(super) touched: Option<NonZeroU32>,
}

#[derive(Debug, Clone)]
pub(super) struct Dirty {
    pub(super) at: usize,
    /// Where its key is in [`Overlay::dirty_keys`].
    pub(super) key: Range<usize>,
}

pub(super) struct Before<V> {
    pub(super) value: Option<V>,
    pub(super) dirty: bool,
}

/// So many bytes of room are kept for what becomes dirty, and for its keys: nobody counts them.
const ROOM: usize = 128 << 10;

/// Entries of fewer bytes together are in the processor's caches anyway: a core has a megabyte of its own, or near that.
const NEAR: usize = 256 << 10;

/// So many times reading ahead is left out once most keys were not there: the table is asked for others than those of the
/// records. With two inputs of which one has the table's keys it is then rarely done for either.
const REST: u32 = 64;

/// So many values are weighed before a commit has weighed some.
const SAMPLES: usize = 2048;

/// What keys and values take when they are encoded, on the average of those that were: what their own memory is taken
/// for.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    count: usize,
    bytes: usize,
}

impl Sizes {
    /// The latest count most: what is older than this many weighs half.
    const HALVED_AT: usize = 1 << 16;

    pub(super) fn note(&mut self, count: usize, bytes: usize) {
        if self.count > Self::HALVED_AT {
            self.count /= 2;
            self.bytes /= 2;
        }
        self.count += count;
        self.bytes += bytes;
    }

    fn mean(&self) -> usize {
        self.bytes.checked_div(self.count).unwrap_or(0)
    }
}

/// An index of an entry, as small as it is kept.
fn short(at: usize) -> u32 {
    u32::try_from(at).expect("so many entries would fill 100 GiB")
}

impl<K, V> Default for Overlay<K, V> {
    fn default() -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            touched: Vec::new(),
            earlier: Vec::new(),
            dirty: Vec::new(),
            dirty_keys: Vec::new(),
            staged: 0,
            begun_with: 0,
            hasher: RandomState::default(),
            key_bytes: Vec::new(),
            sizes: Sizes::default(),
            rest: 0,
        }
    }
}

impl<K: TableKey, V> Overlay<K, V> {
    /// The entry that is to be weighed next, if there are twice as many as were weighed, up to some.
    pub(super) fn sample(&self) -> Option<&Entry<K, V>> {
        let weighed = self.sizes.count;
        self.entries.get(2 * weighed).filter(|_| weighed < SAMPLES)
    }

    pub(super) fn find<Q>(&mut self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let is_it = |at: &u32| self.entries[*at as usize].key.borrow() == key;
        let at = *self.index.find(hash, is_it)? as usize;
        self.entries[at].used |= at < self.begun_with;
        Some(at)
    }

    /// Reads the entries of these keys, so that the processor has them when their records come. Gives how many there may
    /// be: the bytes of keys are not compared, and one in a dozen that is not there seems to be.
    pub(super) fn read_ahead(&mut self, keys: &[&[u8]]) -> usize {
        if self.entries.len() * size_of::<Entry<K, V>>() < NEAR || self.rest > 0 {
            self.rest = self.rest.saturating_sub(1);
            return 0;
        }
        let hashes = keys
            .iter()
            .filter_map(|key| hash_in_record::<K>(key, &self.hasher));
        let likely = hashes.filter_map(|hash| self.index.find(hash, |_| true).copied());
        // One pass over the index, then one over the entries: none of a pass waits for another of it.
        let mut found = [0; AHEAD];
        let mut count = 0;
        for (place, at) in found.iter_mut().zip(likely) {
            *place = at;
            count += 1;
        }
        let read = |at: &u32| {
            let entry = &self.entries[*at as usize];
            let text = text_of(&entry.key).first();
            usize::from(entry.dirty) + text.map_or(0, |byte| usize::from(*byte))
        };
        // Without a use the compiler would leave the reads out.
        std::hint::black_box(found[..count].iter().map(read).sum::<usize>());
        if 2 * count < keys.len() {
            self.rest = REST;
        }
        count
    }

    pub(super) fn insert(&mut self, key: K, value: Option<V>) -> usize {
        let at = self.entries.len();
        if at == self.entries.capacity() {
            // Many shards share the memory, so none takes twice what it needs.
            self.entries.reserve_exact((at / 4).max(16));
        }
        let hash = self.hasher.hash_one(&key);
        self.entries.push(Entry {
            key,
            value,
            dirty: false,
            used: false,
            touched: None,
        });
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index
            .insert_unique(hash, short(at), |at| hasher.hash_one(&entries[*at as usize].key));
        at
    }

    /// Notes that the agent at the open record is about to write entry `at`.
    pub(super) fn touch(&mut self, at: usize)
    where
        V: Clone,
    {
        let entry = &mut self.entries[at];
        if entry.touched.is_none() {
            self.touched.push((
                at,
                Before {
                    value: entry.value.clone(),
                    dirty: entry.dirty,
                },
            ));
            let place = u32::try_from(self.touched.len()).ok().and_then(NonZeroU32::new);
            entry.touched = Some(place.expect("one record writes fewer keys than would fill 100 GiB"));
        }
        if !entry.dirty {
            let start = self.dirty_keys.len();
            entry.key.encode_key(&mut self.dirty_keys);
            entry.dirty = true;
            self.dirty.push(Dirty {
                at,
                key: start..self.dirty_keys.len(),
            });
            self.staged += 1;
        }
    }

    pub(super) fn restore(&mut self, at: usize, before: Before<V>) {
        let entry = &mut self.entries[at];
        if entry.dirty && !before.dirty {
            self.staged -= 1;
            // Mostly the last. A commit amid the record may have changed the order: then it stays, and is skipped.
            if let Some(last) = self.dirty.pop_if(|last| last.at == at) {
                self.dirty_keys.truncate(last.key.start);
            }
        }
        entry.value = before.value;
        entry.dirty = before.dirty;
    }

    /// After a commit of all that was dirty: these still are.
    pub(super) fn keep_dirty(&mut self, mut still: Vec<Dirty>) {
        still.sort_unstable_by_key(|dirty| dirty.at);
        still.dedup_by_key(|dirty| dirty.at);
        let mut keys = Vec::new();
        for Dirty { key, .. } in &mut still {
            let start = keys.len();
            keys.extend_from_slice(&self.dirty_keys[key.clone()]);
            *key = start..keys.len();
        }
        self.staged = still.len();
        self.dirty.clear();
        self.dirty.append(&mut still);
        self.dirty.shrink_to(ROOM / size_of::<Dirty>());
        self.dirty_keys.clear();
        self.dirty_keys.append(&mut keys);
        self.dirty_keys.shrink_to(ROOM);
    }

    /// What an entry takes, its place in the index included.
    fn entry_bytes(&self) -> usize {
        size_of::<Entry<K, V>>() + size_of::<u32>() + 1 + self.sizes.mean()
    }

    pub(super) fn held(&self) -> usize {
        self.entries.len() * self.entry_bytes() + self.dirty_bytes()
    }

    /// What is ready for the next commit.
    fn dirty_bytes(&self) -> usize {
        self.dirty.len() * size_of::<Dirty>() + self.dirty_keys.len()
    }

    /// The open record is over, and the next one begins.
    pub(super) fn begin_record(&mut self) {
        self.earlier.clear();
        self.begun_with = self.entries.len();
    }

    /// Drops entries that are as the store has them, down to about `bytes`, and the room they took. Those stay that later
    /// records have asked for again since the last time, and then those that came last.
    pub(super) fn evict(&mut self, bytes: usize) {
        let most = bytes.saturating_sub(self.dirty_bytes()) / self.entry_bytes();
        if self.entries.len() <= most {
            return;
        }
        let must_stay = |entry: &Entry<K, V>| entry.dirty || entry.touched.is_some();
        let mut kept: Vec<_> = self.entries.iter().map(must_stay).collect();
        for (at, _) in &self.earlier {
            kept[*at] = true;
        }
        let must = kept.iter().filter(|kept| **kept).count();
        if must == kept.len() {
            return;
        }
        let mut room = most.saturating_sub(must);
        let mut keep = |kept: &mut bool, wanted: bool| {
            if wanted && !*kept && room > 0 {
                *kept = true;
                room -= 1;
            }
        };
        for (entry, kept) in self.entries.iter_mut().zip(&mut kept) {
            keep(kept, std::mem::take(&mut entry.used));
        }
        for kept in kept.iter_mut().rev() {
            keep(kept, true);
        }
        let mut moved = Vec::with_capacity(kept.len());
        let mut next = 0;
        for keep in &kept {
            moved.push(next);
            next += usize::from(*keep);
        }
        let mut at = 0;
        self.entries.retain(|_| {
            at += 1;
            kept[at - 1]
        });
        self.dirty.retain(|dirty| kept[dirty.at]);
        let written = self.touched.iter_mut().chain(&mut self.earlier);
        let dirty = self.dirty.iter_mut().map(|dirty| &mut dirty.at);
        for at in dirty.chain(written.map(|(at, _)| at)) {
            *at = moved[*at];
        }
        self.begun_with = kept[..self.begun_with].iter().filter(|kept| **kept).count();
        self.entries.shrink_to(next + next / 4);
        self.dirty.shrink_to(next);
        self.dirty_keys.shrink_to_fit();
        self.index = HashTable::with_capacity(next);
        let (entries, hasher) = (&self.entries, &self.hasher);
        for at in 0..short(entries.len()) {
            let hash = |at: &u32| hasher.hash_one(&entries[*at as usize].key);
            self.index.insert_unique(hash(&at), at, hash);
        }
    }

    pub(super) fn undo_agent(&mut self) {
        while let Some((at, before)) = self.touched.pop() {
            self.entries[at].touched = None;
            self.restore(at, before);
        }
    }
}
