//! Disks that take no more, and places where nothing can be written.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BUDGET, Scratch};
use crate::store::Batch;
use crate::store::rocks::RocksStores;
use crate::store::tests::{all, open, put};

/// A small file system in memory, for root.
struct SmallDisk {
    path: PathBuf,
    _scratch: Scratch,
}

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let scratch = Scratch::new();
        let path = scratch.path().to_owned();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&path)
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            let why =
                "LEFT OUT: a disk of a few mebibytes cannot be mounted here, so a full one is not tried";
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("{why}");
            return None;
        }
        Some(Self {
            path,
            _scratch: scratch,
        })
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.path)
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
    }
}

/// Batch `number`: one key of its own, too random to be compressed, and the offset.
fn batch(number: i64) -> Batch {
    let mut seed = number.unsigned_abs().wrapping_add(1);
    let value: Vec<u8> = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_be_bytes()
    })
    .take(2048)
    .flatten()
    .collect();
    let mut batch = Batch::default();
    put(&mut batch, 0, &number.to_be_bytes(), Some(&value));
    batch.set_changelog_offset(0, number + 1);
    batch
}

#[test]
fn a_full_disk_is_told_and_when_there_is_room_the_store_is_whole() {
    let Some(disk) = SmallDisk::mount("size=6m") else {
        return;
    };
    let stores = RocksStores::new(&disk.path, "program", BUDGET).expect("there is room yet");
    let store = open(&stores, &["one"]).expect("there is room yet");
    let error = (0..10_000)
        .find_map(|number| store.apply(&batch(number)).err())
        .expect("it does not fit")
        .to_string();
    assert!(
        error.contains("counting-3 cannot be written; the disk is full: free space on it"),
        "{error}"
    );
    drop(store);
    disk.remount("size=64m");
    let store = open(&stores, &["one"]).expect("it opens again");
    let offset = store.changelog_offset(0).expect("something was written");
    let keys: Vec<_> = all(store.as_ref(), 0).into_iter().map(|(key, _)| key).collect();
    let expected: Vec<_> = (0..offset).map(|number| number.to_be_bytes().to_vec()).collect();
    assert!(keys == expected, "the state is that of offset {offset}");
    store.apply(&batch(offset)).expect("it goes on");
    store.close().expect("closes");
}

#[test]
fn a_disk_that_is_full_from_the_start_is_told() {
    let Some(disk) = SmallDisk::mount("size=64k") else {
        return;
    };
    let opened = RocksStores::new(&disk.path, "program", BUDGET).and_then(|stores| open(&stores, &["one"]));
    let error = opened.expect_err("there is no room").to_string();
    assert!(error.contains("the disk is full"), "{error}");
}

#[test]
fn a_place_that_takes_no_writes_is_told() {
    let Some(disk) = SmallDisk::mount("size=1m,ro") else {
        return;
    };
    let error = RocksStores::new(&disk.path, "program", BUDGET)
        .expect_err("it is read-only")
        .to_string();
    let expected = format!(
        "local state: {}/program cannot be created; this user may not",
        disk.path.display()
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_datadir_that_is_a_file_is_told() {
    let scratch = Scratch::new();
    let file = scratch.path().join("file");
    std::fs::write(&file, "").expect("can be written");
    let error = RocksStores::new(Path::new(&file), "program", BUDGET)
        .expect_err("it is a file")
        .to_string();
    assert!(
        error.contains("file/program cannot be created: Not a directory"),
        "{error}"
    );
}
