//! The disk of a simulated worker: stores whose last batches a crash takes back, as RocksDB's without a write-ahead log.
//!
//! Invariants: a batch is on the disk whole or not at all, and none without those before it; what was flushed stays; a
//! store of a worker that was killed reads and writes nothing any more. Not here: files ([`crate::store`] has them).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::error::{Error, Result};
use crate::store::{Batch, MemoryStore, Store, StorePlace, StoredTable, Stores, Visit};
use crate::testing::effects;
use crate::testing::random::Random;

/// Batches that are not flushed at most: older ones are.
pub(super) const UNFLUSHED: usize = 64;

/// A task, by sub-topology and partition.
type Place = (String, i32);

/// A disk, whoever uses it at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    worker_id: String,
    tasks: BTreeMap<Place, Files>,
    /// Stores of an earlier life of the worker have another number, and no effect.
    life: u64,
    is_full: bool,
    /// How long a write takes.
    write_time: Duration,
}

/// What is kept of a task.
#[derive(Debug, Clone, Default)]
struct Files {
    tables: Vec<StoredTable>,
    flushed: Image,
    now: Image,
    /// What leads from the one to the other.
    unflushed: Vec<Step>,
    is_open: bool,
}

/// The content of a task's files at some moment.
#[derive(Debug, Clone, Default)]
struct Image {
    store: Option<MemoryStore>,
    /// When each shard was known to be up to date, in milliseconds since the Unix epoch.
    current_at: Vec<Option<i64>>,
}

#[derive(Debug, Clone)]
enum Step {
    /// `restoring`: what is read does not make a shard up to date.
    Apply {
        batch: Batch,
        now: i64,
        restoring: bool,
    },
    Clear(usize),
    Current(i64),
}

/// What was on a disk at some moment.
#[derive(Debug, Clone)]
pub(crate) struct DiskCopy(BTreeMap<Place, Files>);

impl Disk {
    /// An empty disk of a worker of this name.
    pub(crate) fn new(worker_id: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            worker_id: worker_id.into(),
            tasks: BTreeMap::new(),
            life: 0,
            is_full: false,
            write_time: Duration::ZERO,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a worker that starts now opens its stores with.
    pub(crate) fn stores(&self) -> Arc<dyn Stores> {
        let inner = self.lock();
        Arc::new(DiskStores {
            disk: self.clone(),
            life: inner.life,
            worker_id: inner.worker_id.clone(),
        })
    }

    /// The worker is gone from one moment to the next: of each task some of the last batches are lost.
    pub(crate) fn crash(&self, random: &mut Random) {
        let mut inner = self.lock();
        inner.life += 1;
        for files in inner.tasks.values_mut() {
            let kept = random.index(files.unflushed.len() + 1);
            if kept < files.unflushed.len() {
                effects::count("batches lost in a crash");
            }
            files.unflushed.truncate(kept);
            files.flush();
            files.now = files.flushed.clone();
            files.is_open = false;
        }
    }

    /// Everything on it is lost.
    pub(crate) fn wipe(&self) {
        let mut inner = self.lock();
        inner.life += 1;
        inner.tasks.clear();
    }

    pub(crate) fn copy(&self) -> DiskCopy {
        let mut tasks = self.lock().tasks.clone();
        for files in tasks.values_mut() {
            // A copy that is taken of a running worker has what was flushed.
            files.unflushed.clear();
            files.now = files.flushed.clone();
            files.is_open = false;
        }
        DiskCopy(tasks)
    }

    /// Puts an older content in the place of what is there. Nobody uses the disk.
    pub(crate) fn put_back(&self, copy: &DiskCopy) {
        let mut inner = self.lock();
        let marks = |tasks: &BTreeMap<Place, Files>| tasks.values().map(Files::marks).collect::<Vec<_>>();
        if marks(&inner.tasks) != marks(&copy.0) {
            effects::count("older state put back");
        }
        inner.tasks = copy.0.clone();
    }

    /// Whether writes fail for want of room.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// How long each write takes.
    pub(crate) fn set_write_time(&self, time: Duration) {
        self.lock().write_time = time;
    }

    /// Calls `each` with the entries of a table of a task, as committed and open now.
    pub(crate) fn scan(&self, sub_topology: &str, partition: i32, table: &str, each: &mut Visit<'_>) {
        let inner = self.lock();
        let Some(files) = inner.tasks.get(&(sub_topology.to_owned(), partition)) else {
            return;
        };
        let number = files.tables.iter().position(|stored| stored.name == table);
        if let (Some(store), Some(number)) = (&files.now.store, number) {
            store.scan(number, each).expect("a store in memory can be read");
        }
    }
}

impl Files {
    /// How far its tables have come.
    fn marks(&self) -> Vec<Option<i64>> {
        let store = self.now.store.iter();
        store
            .flat_map(|store| (0..self.tables.len()).map(|table| store.changelog_offset(table)))
            .collect()
    }

    fn flush(&mut self) {
        for step in self.unflushed.drain(..) {
            self.flushed.take(&step);
        }
    }

    fn take(&mut self, step: Step) {
        self.now.take(&step);
        self.unflushed.push(step);
        if self.unflushed.len() > UNFLUSHED {
            let first = self.unflushed.remove(0);
            self.flushed.take(&first);
        }
    }
}

impl Image {
    /// Whether a shard has entries and no offset.
    fn is_half_restored(&self, table: usize) -> bool {
        let mut has_entries = false;
        let is_without = |store: &&MemoryStore| store.changelog_offset(table).is_none();
        if let Some(store) = self.store.as_ref().filter(is_without) {
            let first = store.scan(table, &mut |_, _| {
                has_entries = true;
                ControlFlow::Break(())
            });
            first.expect("a store in memory can be read");
        }
        has_entries
    }

    fn take(&mut self, step: &Step) {
        let Some(store) = &self.store else {
            return;
        };
        let in_memory = "a store in memory can be written";
        match step {
            Step::Apply {
                batch,
                now,
                restoring,
            } => {
                store.apply(batch).expect(in_memory);
                for (number, at) in self.current_at.iter_mut().enumerate() {
                    let known = at.filter(|_| *restoring).unwrap_or(*now);
                    *at = store.changelog_offset(number).map(|_| known);
                }
            }
            Step::Clear(table) => {
                store.clear(*table).expect(in_memory);
                self.current_at[*table] = None;
            }
            Step::Current(now) => {
                for at in &mut self.current_at {
                    *at = Some(*now);
                }
            }
        }
    }
}

/// The stores of one life of a worker.
#[derive(Debug)]
struct DiskStores {
    disk: Disk,
    life: u64,
    worker_id: String,
}

impl Stores for DiskStores {
    fn open(&self, place: &StorePlace<'_>) -> Result<Box<dyn Store>> {
        let at: Place = (place.sub_topology.to_owned(), place.partition);
        let mut inner = self.disk.lock();
        inner.check(self.life)?;
        let files = inner.tasks.entry(at.clone()).or_default();
        if files.is_open {
            return Err(Error::state(format!(
                "the local state of task {}/{} is in use by another thread",
                at.0, at.1
            )));
        }
        files.is_open = true;
        let same = files.tables.iter().map(|table| &table.name);
        if !same.eq(place.tables.iter().map(|table| &table.name)) {
            let fresh = Image {
                store: Some(MemoryStore::new(place.tables.len())),
                current_at: vec![None; place.tables.len()],
            };
            files.flushed = fresh.clone();
            files.now = fresh;
            files.unflushed.clear();
            files.tables = place.tables.to_vec();
        }
        let now = clock::wall_millis();
        for (number, wanted) in place.tables.iter().enumerate() {
            let found = &files.tables[number].changelog_id;
            let is_other = found.is_some() && wanted.changelog_id.is_some() && *found != wanted.changelog_id;
            let age = files.now.current_at[number].map(|at| Duration::from_millis(now.abs_diff(at)));
            // What a crash in the middle of a restore leaves, which begins anew.
            let is_half = files.now.is_half_restored(number);
            if is_half || is_other || age.is_some_and(|age| age > wanted.max_age) {
                files.take(Step::Clear(number));
            }
        }
        files.tables = place.tables.to_vec();
        drop(inner);
        Ok(Box::new(DiskStore {
            disk: self.disk.clone(),
            life: self.life,
            place: at,
            restoring: false.into(),
        }))
    }

    fn local(&self) -> Vec<(String, i32)> {
        self.disk.lock().tasks.keys().cloned().collect()
    }

    fn worker_id(&self) -> &str {
        &self.worker_id
    }
}

impl Inner {
    fn check(&self, life: u64) -> Result<()> {
        if self.life != life {
            return Err(Error::state("the worker of this store was killed"));
        }
        match self.is_full {
            true => {
                effects::count("write refused");
                Err(Error::state("the simulated disk is full: free space on it"))
            }
            false => Ok(()),
        }
    }
}

/// The store of a task.
#[derive(Debug)]
struct DiskStore {
    disk: Disk,
    life: u64,
    place: Place,
    restoring: std::cell::Cell<bool>,
}

impl DiskStore {
    fn read<R>(&self, read: impl FnOnce(&MemoryStore) -> R) -> Option<R> {
        let inner = self.disk.lock();
        if inner.life != self.life {
            return None;
        }
        let files = inner.tasks.get(&self.place)?;
        files.now.store.as_ref().map(read)
    }

    fn write(&self, step: Step) -> Result<()> {
        let time = self.disk.lock().write_time;
        if !time.is_zero() {
            effects::count("write slowed");
            clock::sleep(time);
        }
        let mut inner = self.disk.lock();
        inner.check(self.life)?;
        if let Some(files) = inner.tasks.get_mut(&self.place) {
            files.take(step);
        }
        Ok(())
    }
}

impl Store for DiskStore {
    fn get(&self, table: usize, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.read(|store| store.get(table, key, read))
            .unwrap_or(Ok(false))
    }

    fn scan(&self, table: usize, each: &mut Visit<'_>) -> Result<()> {
        self.read(|store| store.scan(table, each)).unwrap_or(Ok(()))
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        self.write(Step::Apply {
            batch: batch.clone(),
            now: clock::wall_millis(),
            restoring: self.restoring.get(),
        })
    }

    fn changelog_offset(&self, table: usize) -> Option<i64> {
        self.read(|store| store.changelog_offset(table)).flatten()
    }

    fn inputs(&self) -> Vec<(String, i64)> {
        self.read(Store::inputs).unwrap_or_default()
    }

    fn clear(&self, table: usize) -> Result<()> {
        self.write(Step::Clear(table))
    }

    fn restoring(&self, on: bool) -> Result<()> {
        if self.restoring.replace(on) == on || on {
            return Ok(());
        }
        self.write(Step::Current(clock::wall_millis()))
    }

    fn close(&self) -> Result<()> {
        let mut inner = self.disk.lock();
        if inner.life == self.life
            && let Some(files) = inner.tasks.get_mut(&self.place)
        {
            files.flush();
        }
        Ok(())
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        let mut inner = self.disk.lock();
        if inner.life == self.life
            && let Some(files) = inner.tasks.get_mut(&self.place)
        {
            files.flush();
            files.is_open = false;
        }
    }
}
