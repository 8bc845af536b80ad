//! A database as the store of a task.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use rocksdb::{ReadOptions, WriteBatch};
use tracing::{error, info, warn};

use super::database::Database;
use super::meta::{Fate, INPUTS_KEY, Progress, Reason, family_of, fate, progress_key};
use super::resident::Occupied;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::{Batch, Store, StoredTable, Visit};

/// A shard that is up to date is noted to be so once in this long, unless it is written to.
const NOTE_EVERY_MILLIS: i64 = 60_000;

/// All shards of one task in a database.
#[derive(Debug)]
pub(super) struct RocksStore {
    shards: RefCell<Vec<Shard>>,
    inputs: RefCell<BTreeMap<String, i64>>,
    restoring: Cell<bool>,
    is_closed: Cell<bool>,
    // Dropped in this order: the database closes before another thread may open it.
    database: Arc<Database>,
    occupied: Arc<Occupied>,
}

#[derive(Debug, Clone)]
struct Shard {
    table: StoredTable,
    family: String,
    progress: Option<Progress>,
}

impl RocksStore {
    /// A store over what is still good in a database; the rest is emptied.
    pub(super) fn new(database: Database, tables: &[StoredTable], occupied: Arc<Occupied>) -> Result<Self> {
        let database = Arc::new(database);
        let unreadable = |error| {
            Error::state(format!(
                "local state: {} says something of its shards that cannot be read; remove the directory to have its \
                 tables restored from their changelogs",
                database.path().display()
            ))
            .with_source(error)
        };
        let mut shards = Vec::new();
        for table in tables {
            let found = database.get_meta(&progress_key(&table.name))?;
            shards.push(Shard {
                table: table.clone(),
                family: family_of(&table.name),
                progress: found
                    .map(|bytes| postcard::from_bytes(&bytes).map_err(unreadable))
                    .transpose()?,
            });
        }
        let inputs = database.get_meta(INPUTS_KEY)?;
        let inputs: Option<Vec<(String, i64)>> = inputs
            .map(|bytes| postcard::from_bytes(&bytes).map_err(unreadable))
            .transpose()?;
        let store = Self {
            shards: RefCell::new(shards),
            inputs: RefCell::new(inputs.unwrap_or_default().into_iter().collect()),
            restoring: Cell::new(false),
            is_closed: Cell::new(false),
            database,
            occupied,
        };
        store.drop_what_is_no_longer_good(clock::wall_millis())?;
        store.occupied.join(&store.database);
        Ok(store)
    }

    /// Tables that are in the database and that the program does not have.
    pub(super) fn strangers(&self) -> &[String] {
        &self.database.strangers
    }

    fn drop_what_is_no_longer_good(&self, now: i64) -> Result<()> {
        let shards = self.shards.borrow().clone();
        for (number, shard) in shards.iter().enumerate() {
            let fate = fate(
                shard.progress.as_ref(),
                self.has_entries(number)?,
                &shard.table,
                now,
            );
            let Fate::Rebuild(reason) = fate else {
                continue;
            };
            let name = &shard.table.name;
            let path = self.database.path().display();
            match reason {
                Reason::OtherChangelog => warn!("table `{name}` in {path} is emptied and restored: {reason}"),
                _ => info!("table `{name}` in {path} is emptied and restored: {reason}"),
            }
            self.clear(number)?;
        }
        Ok(())
    }

    fn has_entries(&self, table: usize) -> Result<bool> {
        let mut any = false;
        self.scan(table, &mut |_, _| {
            any = true;
            ControlFlow::Break(())
        })?;
        Ok(any)
    }

    /// What the shards have come to after a batch: those it names are further, and all are up to date unless they are
    /// being restored.
    fn progress_after(&self, batch: &Batch, now: i64) -> Vec<(usize, Progress)> {
        let restoring = self.restoring.get();
        let mut changed = Vec::new();
        for (number, shard) in self.shards.borrow().iter().enumerate() {
            let offsets = batch.changelog_offsets();
            let offset = offsets.iter().find(|(table, _)| *table == number);
            let offset = offset.map(|(_, offset)| *offset);
            let before = shard.progress.as_ref();
            let stale =
                |progress: &Progress| now.abs_diff(progress.current_at) >= NOTE_EVERY_MILLIS.unsigned_abs();
            if offset.is_none() && (restoring || !before.is_some_and(stale)) {
                continue;
            }
            let Some(changelog_offset) = offset.or(before.map(|before| before.changelog_offset)) else {
                continue;
            };
            let progress = Progress {
                changelog_offset,
                changelog_id: shard
                    .table
                    .changelog_id
                    .clone()
                    .or_else(|| before?.changelog_id.clone()),
                current_at: match before {
                    Some(before) if restoring => before.current_at,
                    _ => now,
                },
            };
            changed.push((number, progress));
        }
        changed
    }

    /// Adds what is said of the shards and the inputs to a batch.
    fn put_meta(
        &self,
        writes: &mut WriteBatch,
        progress: &[(usize, Progress)],
        inputs: Option<&BTreeMap<String, i64>>,
    ) -> Result<()> {
        let encoding = |error| Error::state("what is said of a store does not encode").with_source(error);
        let shards = self.shards.borrow();
        for (number, progress) in progress {
            let bytes = postcard::to_stdvec(progress).map_err(encoding)?;
            writes.put(progress_key(&shards[*number].table.name), bytes);
        }
        if let Some(inputs) = inputs {
            let inputs: Vec<_> = inputs.iter().collect();
            writes.put(INPUTS_KEY, postcard::to_stdvec(&inputs).map_err(encoding)?);
        }
        Ok(())
    }

    fn keep_progress(&self, progress: Vec<(usize, Progress)>) {
        let mut shards = self.shards.borrow_mut();
        for (number, progress) in progress {
            shards[number].progress = Some(progress);
        }
    }
}

impl Store for RocksStore {
    fn get(&self, table: usize, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let shards = self.shards.borrow();
        let family = self.database.family(&shards[table].family)?;
        let value = self.database.inner().get_pinned_cf(&family, key);
        let value = value.map_err(|error| self.database.explain("cannot be read", error))?;
        if let Some(value) = &value {
            read(value);
        }
        Ok(value.is_some())
    }

    fn scan(&self, table: usize, each: &mut Visit<'_>) -> Result<()> {
        let family = self.shards.borrow()[table].family.clone();
        let family = self.database.family(&family)?;
        let mut options = ReadOptions::default();
        // A table that is read once from end to end would put everything else out of the cache.
        options.fill_cache(false);
        let mut entries = self.database.inner().raw_iterator_cf_opt(&family, options);
        entries.seek_to_first();
        while let Some((key, value)) = entries.item() {
            if each(key, value).is_break() {
                return Ok(());
            }
            entries.next();
        }
        entries
            .status()
            .map_err(|error| self.database.explain("cannot be read", error))
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        let mut writes = WriteBatch::default();
        {
            let shards = self.shards.borrow();
            let families: Result<Vec<_>> = shards
                .iter()
                .map(|shard| self.database.family(&shard.family))
                .collect();
            let families = families?;
            for write in batch.writes() {
                match write.value {
                    Some(value) => writes.put_cf(&families[write.table], write.key, value),
                    None => writes.delete_cf(&families[write.table], write.key),
                }
            }
        }
        let progress = self.progress_after(batch, clock::wall_millis());
        let inputs = (!batch.inputs().is_empty()).then(|| {
            let mut inputs = self.inputs.borrow().clone();
            let named = batch.inputs().iter();
            inputs.extend(named.map(|(topic, offset)| (topic.as_ref().to_owned(), *offset)));
            inputs
        });
        self.put_meta(&mut writes, &progress, inputs.as_ref())?;
        if writes.is_empty() {
            return Ok(());
        }
        self.database.write(writes)?;
        self.keep_progress(progress);
        if let Some(inputs) = inputs {
            *self.inputs.borrow_mut() = inputs;
        }
        self.occupied.look_after_all();
        Ok(())
    }

    fn changelog_offset(&self, table: usize) -> Option<i64> {
        let shards = self.shards.borrow();
        Some(shards.get(table)?.progress.as_ref()?.changelog_offset)
    }

    fn inputs(&self) -> Vec<(String, i64)> {
        let inputs = self.inputs.borrow();
        inputs
            .iter()
            .map(|(topic, offset)| (topic.clone(), *offset))
            .collect()
    }

    fn clear(&self, table: usize) -> Result<()> {
        let mut shards = self.shards.borrow_mut();
        let forgets_inputs = shards
            .iter()
            .enumerate()
            .all(|(number, shard)| number == table || shard.progress.is_none());
        let mut writes = WriteBatch::default();
        writes.delete(progress_key(&shards[table].table.name));
        if forgets_inputs {
            writes.delete(INPUTS_KEY);
        }
        self.database.write(writes)?;
        // The offset has to be gone from the disk before the entries are: a crash between the two leaves entries without
        // an offset, which the next start clears again, and never an offset without its entries.
        self.database.flush(true)?;
        shards[table].progress = None;
        if forgets_inputs {
            self.inputs.borrow_mut().clear();
        }
        let family = &shards[table].family;
        let inner = self.database.inner();
        inner
            .drop_cf(family)
            .and_then(|()| inner.create_cf(family, &self.occupied.resources.family()))
            .map_err(|error| self.database.explain("cannot be emptied", error))
    }

    fn restoring(&self, on: bool) -> Result<()> {
        if self.restoring.replace(on) == on || on {
            return Ok(());
        }
        // Everything that was in the changelogs is here now.
        let now = clock::wall_millis();
        let progress: Vec<_> = {
            let shards = self.shards.borrow();
            let restored = shards.iter().enumerate();
            restored
                .filter_map(|(number, shard)| {
                    let mut progress = shard.progress.clone()?;
                    progress.current_at = now;
                    Some((number, progress))
                })
                .collect()
        };
        let mut writes = WriteBatch::default();
        self.put_meta(&mut writes, &progress, None)?;
        self.database.write(writes)?;
        self.keep_progress(progress);
        // A crash from now on should not cost the restore.
        self.database.flush(false)
    }

    fn close(&self) -> Result<()> {
        if self.is_closed.get() {
            return Ok(());
        }
        self.database.flush(true)?;
        self.is_closed.set(true);
        Ok(())
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            error!("{error}. What is missing from it is read from the changelogs at the next start");
        }
        self.occupied.leave(&self.database);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::directory::StateDirectory;
    use crate::store::rocks::Scratch;
    use crate::store::rocks::database::Opened;
    use crate::store::rocks::options::Resources;
    use crate::store::rocks::resident::Residents;
    use crate::store::tests::tables;

    fn store(path: &Path) -> RocksStore {
        let resources = Arc::new(Resources::new(16 << 20).expect("has an environment"));
        let directory = Arc::new(StateDirectory::claim(path, "program").expect("it is free"));
        let task = directory.task("counting", 3);
        let tables = tables(&["one", "two"]);
        let occupied = Occupied::wait(&Arc::new(Residents::default()), &resources, &directory, &task);
        let Ok(Opened::Whole(database)) = Database::open(&task, &tables, &resources) else {
            panic!("it is new and whole");
        };
        RocksStore::new(database, &tables, Arc::new(occupied.expect("it is free"))).expect("opens")
    }

    fn batch(table: usize, offset: i64) -> Batch {
        let mut batch = Batch::default();
        batch.set_changelog_offset(table, offset);
        batch
    }

    const MINUTE: i64 = 60_000;

    /// Applies at a time, and tells when each shard was up to date.
    fn applied(store: &RocksStore, batch: &Batch, now: i64) -> [Option<i64>; 2] {
        store.keep_progress(store.progress_after(batch, now));
        let shards = store.shards.borrow();
        [0, 1].map(|table: usize| Some(shards[table].progress.as_ref()?.current_at))
    }

    #[test]
    fn what_is_restored_is_as_old_as_the_beginning_of_its_restore() {
        let scratch = Scratch::new();
        let store = store(scratch.path());
        store.restoring(true).expect("begins");
        assert_eq!(
            applied(&store, &batch(0, 1), 5 * MINUTE),
            [Some(5 * MINUTE), None]
        );
        assert_eq!(
            applied(&store, &batch(0, 2), 9 * MINUTE),
            [Some(5 * MINUTE), None]
        );
        assert_eq!(
            applied(&store, &batch(1, 2), 10 * MINUTE),
            [Some(5 * MINUTE), Some(10 * MINUTE)],
            "another shard's restore does not make this one younger"
        );
        let before = clock::wall_millis();
        store.restoring(false).expect("ends");
        let shards = store.shards.borrow();
        for shard in shards.iter() {
            let progress = shard.progress.as_ref().expect("it was restored");
            assert!(progress.current_at >= before && progress.changelog_offset == 2);
        }
    }

    #[test]
    fn a_commit_says_that_all_shards_are_up_to_date() {
        let scratch = Scratch::new();
        let store = store(scratch.path());
        assert_eq!(applied(&store, &batch(0, 1), MINUTE), [Some(MINUTE), None]);
        assert_eq!(applied(&store, &batch(1, 1), 5 * MINUTE), [Some(5 * MINUTE); 2]);
        assert_eq!(
            applied(&store, &Batch::default(), 9 * MINUTE),
            [Some(9 * MINUTE); 2]
        );
        assert_eq!(
            applied(&store, &Batch::default(), 9 * MINUTE + 1),
            [Some(9 * MINUTE); 2],
            "not at every commit"
        );
        assert_eq!(store.changelog_offset(0), Some(1));
    }
}
