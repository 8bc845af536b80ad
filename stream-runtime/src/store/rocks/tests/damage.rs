//! Databases that are not what was written.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Scratch;
use crate::store::Batch;
use crate::store::rocks::RocksStores;
use crate::store::tests::{all, get, open, put};

const KEYS: u32 = 50_000;

/// A closed store of a few tables' files.
fn written() -> Scratch {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    let store = open(&stores, &["one"]).expect("opens");
    for round in 0..4 {
        let mut batch = Batch::default();
        for key in 0..KEYS / 4 {
            let key = round * (KEYS / 4) + key;
            // No two values are alike, so that compression leaves the files large.
            let value = u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            put(&mut batch, 0, &key.to_be_bytes(), Some(&value));
        }
        batch.set_changelog_offset(0, i64::from(round) + 1);
        store.apply(&batch).expect("applies");
    }
    store.close().expect("closes");
    drop(store);
    scratch
}

fn files(scratch: &Scratch, is_one: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(scratch.task()).expect("it is there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("can be read").path())
        .filter(|path| is_one(&path.file_name().expect("it has one").to_string_lossy()))
        .collect();
    assert!(!files.is_empty());
    files.sort_by_key(|path| fs::metadata(path).expect("can be read").len());
    files
}

fn is_sst(name: &str) -> bool {
    name.ends_with(".sst")
}

/// Turns bytes around from `at` on, a part of the file's length.
fn spoil(path: &Path, at: f64) {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("can be opened");
    let start = (file.metadata().expect("can be read").len() as f64 * at) as u64;
    let mut bytes = [0; 64];
    file.seek(SeekFrom::Start(start)).expect("is in the file");
    let read = file.read(&mut bytes).expect("can be read");
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    file.seek(SeekFrom::Start(start)).expect("is in the file");
    file.write_all(&bytes[..read]).expect("can be written");
}

/// The store opens empty, what was there is kept beside it, and the new one works.
#[track_caller]
fn assert_set_aside(scratch: &Scratch, stores: &RocksStores) {
    let store = open(stores, &["one"]).expect("a damaged store is no reason not to start");
    assert_eq!(
        store.changelog_offset(0),
        None,
        "it is restored from the beginning"
    );
    assert_eq!(get(store.as_ref(), 0, &7_u32.to_be_bytes()), None);
    assert!(scratch.path().join("program/0/set-aside/counting-3").is_dir());
    let mut batch = Batch::default();
    put(&mut batch, 0, b"k", Some(b"v"));
    batch.set_changelog_offset(0, 3);
    store.apply(&batch).expect("applies");
    drop(store);
    let store = open(stores, &["one"]).expect("opens");
    assert_eq!(store.changelog_offset(0), Some(3));
}

#[test]
fn a_file_that_is_missing_is_noticed() {
    let scratch = written();
    fs::remove_file(files(&scratch, is_sst).last().expect("there are some")).expect("it can be removed");
    assert_set_aside(&scratch, &scratch.stores());
}

#[test]
fn a_file_that_was_cut_off_is_noticed() {
    let scratch = written();
    let path = files(&scratch, is_sst).pop().expect("there are some");
    let file = OpenOptions::new().write(true).open(path).expect("can be opened");
    file.set_len(100).expect("can be cut");
    assert_set_aside(&scratch, &scratch.stores());
}

/// RocksDB takes a manifest up to where it makes sense: that is an earlier cut, or names files that are gone.
#[test]
fn a_manifest_that_is_spoilt_leaves_a_whole_cut_or_none() {
    for at in 0..20 {
        let scratch = written();
        for path in files(&scratch, |name| name.starts_with("MANIFEST-")) {
            spoil(&path, f64::from(at) / 20.0);
        }
        let store = open(&scratch.stores(), &["one"]).expect("a damaged store is no reason not to start");
        let found = all(store.as_ref(), 0).len();
        let expected = store
            .changelog_offset(0)
            .map_or(0, |rounds| rounds as usize * (KEYS / 4) as usize);
        assert_eq!(found, expected, "spoilt at {at} of 20");
    }
}

#[test]
fn a_pointer_to_nowhere_is_noticed() {
    for text in ["MANIFEST-000999\n", "", "x"] {
        let scratch = written();
        fs::write(scratch.task().join("CURRENT"), text).expect("can be written");
        assert_set_aside(&scratch, &scratch.stores());
    }
}

#[test]
fn a_missing_pointer_does_not_empty_the_store_in_silence() {
    let scratch = written();
    fs::remove_file(scratch.task().join("CURRENT")).expect("can be removed");
    assert_set_aside(&scratch, &scratch.stores());
}

#[test]
fn damage_that_a_read_finds_is_told_and_the_next_start_restores() {
    let scratch = written();
    let stores = scratch.stores();
    let path = files(&scratch, is_sst).pop().expect("there are some");
    spoil(&path, 0.5);
    let error = {
        let store = open(&stores, &["one"]).expect("its first entries are whole");
        let first_error = |key: u32| store.get(0, &key.to_be_bytes(), &mut |_| {}).err();
        (0..KEYS)
            .find_map(first_error)
            .expect("a checksum does not match")
            .to_string()
    };
    assert!(
        error.contains("counting-3 cannot be read; it is damaged: start the worker again"),
        "{error}"
    );
    assert_set_aside(&scratch, &stores);
}

#[test]
fn one_damaged_store_is_kept_for_each_task() {
    let scratch = written();
    let stores = scratch.stores();
    fs::write(scratch.task().join("CURRENT"), "x").expect("can be written");
    fs::write(scratch.task().join("first"), "").expect("can be written");
    assert_set_aside(&scratch, &stores);
    fs::write(scratch.task().join("CURRENT"), "x").expect("can be written");
    assert_set_aside(&scratch, &stores);
    assert!(
        !scratch
            .path()
            .join("program/0/set-aside/counting-3/first")
            .exists()
    );
    assert!(!scratch.path().join("program/0/discarded").exists());
}
