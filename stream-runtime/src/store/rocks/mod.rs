//! The store of production: RocksDB, one database a task and a column family a table.
//!
//! There is no write-ahead log: a batch is in memory until its database is flushed, which writes all families at once.
//! So a crash sets a store back to an earlier cut, whole, and the changelog brings it forward again. The only user of
//! the crate `rocksdb`.
//!
//! Not here: which directory (`store::directory`), what is read from changelogs (`cluster::restore`).

mod database;
mod meta;
mod options;
mod resident;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex};

#[cfg(test)]
pub(super) use tests::Scratch;
use tracing::warn;

use self::database::{Database, Opened};
use self::options::Resources;
use self::resident::{Occupied, Residents};
use self::store::RocksStore;
use super::directory::StateDirectory;
use super::{MemoryStore, Store, StorePlace, Stores};
use crate::error::{Error, Result};

/// Opens databases in the directory of this worker.
#[derive(Debug)]
pub(crate) struct RocksStores {
    directory: Arc<StateDirectory>,
    resources: Arc<Resources>,
    residents: Arc<Residents>,
    /// Tables without a place in the program that were mentioned already.
    mentioned: Mutex<Vec<String>>,
}

impl RocksStores {
    /// Takes a directory of its own below `datadir`, and gives its databases this many bytes of memory together.
    pub(crate) fn new(datadir: &Path, program: &str, memory_budget: usize) -> Result<Self> {
        Ok(Self {
            directory: Arc::new(StateDirectory::claim(datadir, program)?),
            resources: Arc::new(Resources::new(memory_budget)?),
            residents: Arc::default(),
            mentioned: Mutex::default(),
        })
    }

    /// Opens a database; one that is damaged is set aside, and a new one takes its place.
    ///
    /// It is not emptied: the changelogs have all that is in it, but whoever looks for the cause needs what is left.
    fn open_database(
        &self,
        place: &StorePlace<'_>,
        path: &Path,
        occupied: &Arc<Occupied>,
    ) -> Result<RocksStore> {
        let damage = match self.try_open(place, path, occupied)? {
            Opened::Whole(store) => return Ok(store),
            Opened::Damaged(damage) => damage,
        };
        let aside = self.directory.set_aside(place.sub_topology, place.partition)?;
        warn!(
            "the local state in {} is damaged: {damage}. It was moved to {}, and the tables of task {}/{} are restored \
             from their changelogs. Look after this disk",
            path.display(),
            aside.display(),
            place.sub_topology,
            place.partition
        );
        match self.try_open(place, path, occupied)? {
            Opened::Whole(store) => Ok(store),
            Opened::Damaged(damage) => Err(Error::state(format!(
                "local state: {} was created and cannot be read; look after this disk, or give `datadir` another one: \
                 {damage}",
                path.display()
            ))),
        }
    }

    fn try_open(
        &self,
        place: &StorePlace<'_>,
        path: &Path,
        occupied: &Arc<Occupied>,
    ) -> Result<Opened<RocksStore>> {
        let database = match Database::open(path, place.tables, &self.resources)? {
            Opened::Whole(database) => database,
            Opened::Damaged(damage) => return Ok(Opened::Damaged(damage)),
        };
        // Its files were there; now they are read.
        match RocksStore::new(database, place.tables, Arc::clone(occupied)) {
            Ok(store) => Ok(Opened::Whole(store)),
            Err(error) => match database::noted_damage(path) {
                Some(damage) => Ok(Opened::Damaged(damage)),
                None => Err(error),
            },
        }
    }

    /// Says once of each table that the program has no more, that its state is kept.
    fn mention(&self, path: &Path, strangers: &[String]) {
        let mut mentioned = self
            .mentioned
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for table in strangers {
            if !mentioned.contains(table) {
                warn!(
                    "table `{table}` is in {} and not in this program any more: its state is kept, in case it comes \
                     back. Remove the directory to get rid of it; the other tables are then restored",
                    path.display()
                );
                mentioned.push(table.clone());
            }
        }
    }
}

impl Stores for RocksStores {
    fn open(&self, place: &StorePlace<'_>) -> Result<Box<dyn Store>> {
        if place.tables.is_empty() {
            return Ok(Box::new(MemoryStore::new(0)));
        }
        let path = self.directory.task(place.sub_topology, place.partition);
        let occupied = Occupied::wait(&self.residents, &self.resources, &self.directory, &path)?;
        let store = self.open_database(place, &path, &Arc::new(occupied))?;
        self.mention(&path, store.strangers());
        Ok(Box::new(store))
    }

    fn local(&self) -> Vec<(String, i32)> {
        self.directory.tasks()
    }

    fn worker_id(&self) -> &str {
        self.directory.worker_id()
    }
}
