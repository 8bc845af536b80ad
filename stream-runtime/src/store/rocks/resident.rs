//! The databases that are open in this process: each once, and none with old writes in memory for long.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::database::Database;
use super::options::Resources;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::directory::StateDirectory;

/// How long a thread waits for another one of this process to let go of a task.
const HAND_OVER: Duration = Duration::from_secs(10);
/// What was written is on the disk after this long and [`LOOK_EVERY`], so that a crash sets no store back further and
/// makes none too old.
const FLUSH_AFTER_MILLIS: i64 = 5 * 60 * 1000;
/// How often databases are looked at.
const LOOK_EVERY_MILLIS: i64 = 30 * 1000;

/// The open databases of a process.
#[derive(Debug, Default)]
pub(super) struct Residents {
    inner: Mutex<Inner>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    taken: BTreeSet<PathBuf>,
    databases: Vec<Arc<Database>>,
    next_look: i64,
}

impl Residents {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have the database at a path open, and what it shares with the others.
#[derive(Debug)]
pub(super) struct Occupied {
    path: PathBuf,
    residents: Arc<Residents>,
    pub resources: Arc<Resources>,
    /// Nobody else takes the directory as long as a database in it is open.
    _directory: Arc<StateDirectory>,
}

impl Occupied {
    /// Waits until no other thread has the database. The thread that had a task last may be a little late to let go.
    pub(super) fn wait(
        residents: &Arc<Residents>,
        resources: &Arc<Resources>,
        directory: &Arc<StateDirectory>,
        path: &Path,
    ) -> Result<Self> {
        let is_taken = |inner: &mut Inner| inner.taken.contains(path);
        let (mut inner, _) = residents
            .left
            .wait_timeout_while(residents.lock(), HAND_OVER, is_taken)
            .unwrap_or_else(PoisonError::into_inner);
        if !inner.taken.insert(path.to_owned()) {
            return Err(Error::state(format!(
                "local state: {} is still in use by another thread of this worker after {HAND_OVER:?}: an agent there \
                 blocks its thread",
                path.display()
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            residents: Arc::clone(residents),
            resources: Arc::clone(resources),
            _directory: Arc::clone(directory),
        })
    }

    /// Has the database looked after with the others.
    pub(super) fn join(&self, database: &Arc<Database>) {
        self.residents.lock().databases.push(Arc::clone(database));
    }

    /// The database closes when the caller drops it: nobody else has it any more.
    pub(super) fn leave(&self, database: &Arc<Database>) {
        let mut inner = self.residents.lock();
        inner.databases.retain(|other| !Arc::ptr_eq(other, database));
    }

    /// Flushes what has been in memory for long, and the largest when memory is short. RocksDB by itself flushes only
    /// the database that is written to: many idle ones could fill the budget, and a busy one would then flush at every
    /// write.
    pub(super) fn look_after_all(&self) {
        let now = clock::wall_millis();
        let mut inner = self.residents.lock();
        self.make_room(&inner.databases);
        // The clock may have been set back.
        if now < inner.next_look && inner.next_look <= now + LOOK_EVERY_MILLIS {
            return;
        }
        inner.next_look = now + LOOK_EVERY_MILLIS;
        let is_old = |since: i64| since.saturating_add(FLUSH_AFTER_MILLIS) <= now;
        for database in &inner.databases {
            if database.unflushed_since().is_some_and(is_old) {
                tell(database.flush(false));
            }
        }
    }

    /// Begins to flush in time, and waits for it when writes come faster than the disk takes them.
    fn make_room(&self, databases: &[Arc<Database>]) {
        let limit = self.resources.write_buffer_limit;
        for _ in databases {
            let usage = self.resources.write_buffer_usage();
            if usage <= limit / 4 * 3 {
                return;
            }
            let sizes = databases
                .iter()
                .map(|database| (database.unflushed_bytes(), database));
            let Some((bytes, largest)) = sizes.max_by_key(|(bytes, _)| *bytes) else {
                return;
            };
            // Less than that is hardly worth a file, and most of what is in memory is on its way to the disk.
            if usage <= limit && bytes < limit / 16 {
                return;
            }
            tell(largest.flush(usage > limit));
            if usage <= limit {
                return;
            }
        }
    }
}

/// Of a flush that was not asked for by its task. The task's next write fails as well, and is told.
fn tell(flushed: Result<()>) {
    if let Err(error) = flushed {
        warn!("{error}");
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.residents.lock().taken.remove(&self.path);
        self.residents.left.notify_all();
    }
}
