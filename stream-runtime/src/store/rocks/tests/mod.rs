//! The store over real directories: starts again, crashes, damage, and a full disk.

mod crash;
mod damage;
mod disk;
mod fuzz;
mod memory;
mod reopen;
mod speed;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::RocksStores;
use crate::store::tests::every_store;

/// The least that the setting takes.
const BUDGET: usize = 16 << 20;

/// A directory that goes with the test.
#[derive(Debug)]
pub(in crate::store) struct Scratch(PathBuf);

impl Scratch {
    pub(in crate::store) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("stream-store-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("there is room for a directory");
        Self(path)
    }

    pub(in crate::store) fn path(&self) -> &Path {
        &self.0
    }

    fn stores(&self) -> RocksStores {
        RocksStores::new(&self.0, "program", BUDGET).expect("the directory is free")
    }

    /// Where the first worker has the task of [`open`](crate::store::tests::open).
    fn task(&self) -> PathBuf {
        self.0.join("program/0/tasks/counting-3")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

every_store!({
    let scratch = Scratch::new();
    (scratch.stores(), scratch)
});
