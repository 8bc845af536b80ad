//! One open database: its families, its flushes, and what its errors mean.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rocksdb::{
    BoundColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, DEFAULT_COLUMN_FAMILY_NAME, ErrorKind,
    FlushOptions, MultiThreaded, Options, WriteBatch, WriteOptions,
};

use super::meta::{FORMAT, FORMAT_KEY, family_of, table_of};
use super::options::Resources;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::StoredTable;
use crate::store::trouble::{Cause, failed};

/// The file that names RocksDB's present manifest: with it there is a database.
const CURRENT: &str = "CURRENT";
/// A file of ours: a read has found damage that opening does not.
const DAMAGE_FOUND: &str = "DAMAGED";

/// An open database.
pub(super) struct Database {
    inner: DBWithThreadMode<MultiThreaded>,
    path: PathBuf,
    /// The names of all its families; a flush takes all.
    families: Vec<String>,
    /// Tables that are in it and that the program does not have.
    pub strangers: Vec<String>,
    /// When the oldest write was made that may not be on the disk yet; 0 for none.
    unflushed_since: AtomicI64,
}

/// What opening came to.
pub(super) enum Opened<T> {
    Whole(T),
    /// It cannot be used, for this reason.
    Damaged(String),
}

impl Database {
    /// Opens or creates the database at `path`, with a family for each table and for each that is in it.
    pub(super) fn open(path: &Path, tables: &[StoredTable], resources: &Resources) -> Result<Opened<Self>> {
        fs::create_dir_all(path).map_err(|error| failed(path, "cannot be created", error))?;
        if let Some(damage) = visible_damage(path)? {
            return Ok(Opened::Damaged(damage));
        }
        let options = resources.database();
        let wanted: BTreeSet<_> = tables
            .iter()
            .map(|table| family_of(&table.name))
            .chain([DEFAULT_COLUMN_FAMILY_NAME.to_owned()])
            .collect();
        let opened = families_in(&options, path).and_then(|found| {
            // All families have to be named, also those that are of no use, and their options are not kept for them.
            let families: Vec<_> = found.union(&wanted).cloned().collect();
            let descriptors = families
                .iter()
                .map(|name| ColumnFamilyDescriptor::new(name, resources.family()));
            let inner = DBWithThreadMode::open_cf_descriptors(&options, path, descriptors)?;
            let strangers = found.difference(&wanted).filter_map(|family| table_of(family));
            Ok((inner, strangers.map(str::to_owned).collect(), families))
        });
        match opened {
            Ok((inner, strangers, families)) => {
                let database = Self {
                    inner,
                    path: path.to_owned(),
                    families,
                    strangers,
                    unflushed_since: AtomicI64::new(0),
                };
                database.check_format()
            }
            Err(error) if cause_of(&error) == Cause::Damaged => Ok(Opened::Damaged(error.into_string())),
            Err(error) => Err(explain(path, "cannot be opened", error)),
        }
    }

    fn check_format(self) -> Result<Opened<Self>> {
        let found = self.get_meta(FORMAT_KEY)?;
        let format = match found.as_deref().map(<[u8; 4]>::try_from) {
            None => {
                let mut batch = WriteBatch::default();
                batch.put(FORMAT_KEY, FORMAT.to_le_bytes());
                self.write(batch)?;
                FORMAT
            }
            Some(Ok(bytes)) => u32::from_le_bytes(bytes),
            Some(Err(_)) => return Ok(Opened::Damaged("its format is no number".to_owned())),
        };
        if format > FORMAT {
            return Err(Error::state(format!(
                "local state: {} was written by a newer version (format {format}, this one knows {FORMAT}): start that \
                 version, or remove the directory to have its tables restored from their changelogs",
                self.path.display()
            )));
        }
        Ok(Opened::Whole(self))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn inner(&self) -> &DBWithThreadMode<MultiThreaded> {
        &self.inner
    }

    pub(super) fn family(&self, name: &str) -> Result<Arc<BoundColumnFamily<'_>>> {
        self.inner.cf_handle(name).ok_or_else(|| {
            Error::state(format!(
                "local state: {} has no family `{name}`",
                self.path.display()
            ))
        })
    }

    /// What the default family has for a key.
    pub(super) fn get_meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = self.inner.get(key);
        found.map_err(|error| self.explain("cannot be read", error))
    }

    /// Applies all of a batch or nothing of it.
    pub(super) fn write(&self, batch: WriteBatch) -> Result<()> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.inner
            .write_opt(batch, &options)
            .map_err(|error| self.explain("cannot be written", error))?;
        let now = clock::wall_millis();
        let _ = self
            .unflushed_since
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        Ok(())
    }

    /// Brings what is in memory to the disk, all families at once; waits for it or only begins it.
    pub(super) fn flush(&self, wait: bool) -> Result<()> {
        let since = self.unflushed_since.swap(0, Ordering::Relaxed);
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        let families: Vec<_> = self.families();
        let families: Vec<_> = families.iter().collect();
        self.inner.flush_cfs_opt(&families, &options).map_err(|error| {
            self.unflushed_since.store(since, Ordering::Relaxed);
            self.explain("cannot be written", error)
        })
    }

    /// Since when, in milliseconds since the Unix epoch, there may be writes that are not on the disk.
    pub(super) fn unflushed_since(&self) -> Option<i64> {
        Some(self.unflushed_since.load(Ordering::Relaxed)).filter(|since| *since != 0)
    }

    /// How much would be flushed.
    pub(super) fn unflushed_bytes(&self) -> usize {
        let bytes = self.families().into_iter().map(|family| {
            let size = self
                .inner
                .property_int_value_cf(&family, "rocksdb.cur-size-active-mem-table");
            size.ok().flatten().unwrap_or(0)
        });
        usize::try_from(bytes.sum::<u64>()).unwrap_or(usize::MAX)
    }

    fn families(&self) -> Vec<Arc<BoundColumnFamily<'_>>> {
        let families = self.families.iter();
        families.filter_map(|name| self.inner.cf_handle(name)).collect()
    }

    /// What an error means. Damage is noted, so that the next start does not open what cannot be read.
    pub(super) fn explain(&self, what: &str, error: rocksdb::Error) -> Error {
        if cause_of(&error) == Cause::Damaged {
            let noted = fs::write(self.path.join(DAMAGE_FOUND), error.to_string());
            if let Err(failure) = noted {
                tracing::warn!("the damage in {} cannot be noted: {failure}", self.path.display());
            }
        }
        explain(&self.path, what, error)
    }
}

/// The families of the database at `path`; none when there is no database.
fn families_in(options: &Options, path: &Path) -> Result<BTreeSet<String>, rocksdb::Error> {
    if !path.join(CURRENT).exists() {
        return Ok(BTreeSet::new());
    }
    let families = DBWithThreadMode::<MultiThreaded>::list_cf(options, path)?;
    Ok(families.into_iter().collect())
}

/// The damage that a read has found in the database at `path`.
pub(super) fn noted_damage(path: &Path) -> Option<String> {
    let note = path.join(DAMAGE_FOUND);
    note.exists()
        .then(|| fs::read_to_string(&note).unwrap_or_default())
}

/// Damage that RocksDB would not tell of: it was found by a read of an earlier run, or there are tables that nothing
/// names, which would be taken for leftovers and removed.
fn visible_damage(path: &Path) -> Result<Option<String>> {
    if let Some(damage) = noted_damage(path) {
        return Ok(Some(damage));
    }
    if path.join(CURRENT).exists() {
        return Ok(None);
    }
    let entries = fs::read_dir(path).map_err(|error| failed(path, "cannot be read", error))?;
    let mut tables = entries.filter_map(Result::ok).filter(|entry| {
        entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "sst")
    });
    Ok(tables.next().map(|_| format!("the file {CURRENT} is missing")))
}

fn explain(path: &Path, what: &str, error: rocksdb::Error) -> Error {
    let advice = cause_of(&error).advice();
    Error::state(format!("local state: {} {what}{advice}", path.display())).with_source(error)
}

/// RocksDB tells causes as text; one may be wrapped in another (`Corruption: Can't access …: IO error: …`), and the
/// system's is what counts.
fn cause_of(error: &rocksdb::Error) -> Cause {
    let text = error.to_string();
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if says(&["No space left on device", "Disk quota exceeded"]) {
        Cause::DiskFull
    } else if says(&[
        "Permission denied",
        "Read-only file system",
        "Operation not permitted",
    ]) {
        Cause::Forbidden
    } else if says(&["Too many open files"]) {
        Cause::TooManyFiles
    } else if says(&["lock hold by current process", "While lock file"]) {
        Cause::InUse
    } else if error.kind() == ErrorKind::Corruption || says(&["No such file or directory"]) {
        Cause::Damaged
    } else {
        Cause::Other
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.path.display())
    }
}
