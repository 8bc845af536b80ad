//! What is there when a worker starts again.

use std::fs;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::Scratch;
use crate::clock;
use crate::error::Result;
use crate::store::rocks::meta::FORMAT_KEY;
use crate::store::tests::{all, get, open, put, tables};
use crate::store::{Batch, Store, StorePlace, StoredTable, Stores};

/// Writes a key to each table, and an offset for it.
fn fill(store: &dyn Store, tables: usize, value: &[u8], offset: i64) {
    let mut batch = Batch::default();
    for table in 0..tables {
        put(&mut batch, table, b"k", Some(value));
        batch.set_changelog_offset(table, offset);
    }
    batch.set_inputs([(Arc::from("in"), offset * 10)]);
    store.apply(&batch).expect("applies");
}

fn open_with(stores: &dyn Stores, tables: &[StoredTable]) -> Result<Box<dyn Store>> {
    stores.open(&StorePlace {
        sub_topology: "counting",
        partition: 3,
        tables,
    })
}

fn table(changelog_id: Option<&str>, max_age: Duration) -> [StoredTable; 1] {
    [StoredTable {
        name: "one".to_owned(),
        changelog_id: changelog_id.map(str::to_owned),
        max_age,
    }]
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_restart_finds_values_offsets_inputs_and_its_name() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    let worker_id = stores.worker_id().to_owned();
    assert_eq!(stores.local(), []);
    let store = open(&stores, &["one", "two"]).expect("opens");
    fill(store.as_ref(), 2, b"v", 7);
    store.close().expect("closes");
    drop(store);
    drop(stores);
    let stores = scratch.stores();
    assert_eq!(stores.worker_id(), worker_id);
    assert_eq!(stores.local(), [("counting".to_owned(), 3)]);
    let store = open(&stores, &["one", "two"]).expect("opens");
    for table in [0, 1] {
        assert_eq!(get(store.as_ref(), table, b"k").as_deref(), Some(&b"v"[..]));
        assert_eq!(store.changelog_offset(table), Some(7));
    }
    assert_eq!(store.inputs(), [("in".to_owned(), 70)]);
}

#[test]
fn a_store_that_was_only_dropped_is_there_as_well() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    let store = open(&stores, &["one"]).expect("opens");
    fill(store.as_ref(), 1, b"v", 7);
    drop(store);
    let store = open(&stores, &["one"]).expect("opens");
    assert_eq!(
        (all(store.as_ref(), 0).len(), store.changelog_offset(0)),
        (1, Some(7))
    );
}

#[test]
fn tables_come_and_go_and_their_state_stays() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    let store = open(&stores, &["one", "default"]).expect("opens");
    fill(store.as_ref(), 2, b"old", 7);
    drop(store);
    let store = open(&stores, &["three", "default"]).expect("a table may be gone");
    assert_eq!(
        (all(store.as_ref(), 0), store.changelog_offset(0)),
        (vec![], None)
    );
    assert_eq!(get(store.as_ref(), 1, b"k").as_deref(), Some(&b"old"[..]));
    fill(store.as_ref(), 2, b"new", 9);
    drop(store);
    let store = open(&stores, &["default", "one", "three"]).expect("and may come back");
    let found: Vec<_> = (0..3)
        .map(|table| (get(store.as_ref(), table, b"k"), store.changelog_offset(table)))
        .collect();
    assert_eq!(
        found,
        [
            (Some(b"new".to_vec()), Some(9)),
            (Some(b"old".to_vec()), Some(7)),
            (Some(b"new".to_vec()), Some(9))
        ]
    );
}

#[test]
fn a_shard_that_is_too_old_is_emptied() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    let store = open_with(&stores, &table(None, DAY)).expect("opens");
    fill(store.as_ref(), 1, b"v", 7);
    drop(store);
    let written = clock::wall_millis();
    while clock::wall_millis() <= written {
        std::thread::sleep(Duration::from_millis(1));
    }
    let store = open_with(&stores, &table(None, Duration::ZERO)).expect("opens");
    assert_eq!(
        (all(store.as_ref(), 0), store.changelog_offset(0)),
        (vec![], None)
    );
    assert_eq!(store.inputs(), []);
}

#[test]
fn a_shard_of_another_changelog_is_emptied_and_one_of_the_same_is_not() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    let store = open_with(&stores, &table(Some("first"), DAY)).expect("opens");
    fill(store.as_ref(), 1, b"v", 7);
    drop(store);
    for id in [Some("first"), None, Some("first")] {
        let store = open_with(&stores, &table(id, DAY)).expect("opens");
        assert_eq!(store.changelog_offset(0), Some(7), "{id:?}");
        fill(store.as_ref(), 1, b"v", 7);
    }
    let store = open_with(&stores, &table(Some("second"), DAY)).expect("opens");
    assert_eq!(
        (all(store.as_ref(), 0), store.changelog_offset(0)),
        (vec![], None)
    );
}

#[test]
fn entries_without_an_offset_are_dropped() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    let store = open(&stores, &["one", "two"]).expect("opens");
    let mut batch = Batch::default();
    put(&mut batch, 0, b"k", Some(b"v"));
    put(&mut batch, 1, b"k", Some(b"v"));
    batch.set_changelog_offset(1, 4);
    store.apply(&batch).expect("applies");
    drop(store);
    let store = open(&stores, &["one", "two"]).expect("opens");
    assert_eq!(
        (all(store.as_ref(), 0).len(), all(store.as_ref(), 1).len()),
        (0, 1)
    );
}

#[test]
fn a_cleared_shard_stays_empty() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    let store = open(&stores, &["one", "two"]).expect("opens");
    fill(store.as_ref(), 2, b"v", 7);
    store.clear(0).expect("clears");
    drop(store);
    let store = open(&stores, &["one", "two"]).expect("opens");
    assert_eq!(
        (all(store.as_ref(), 0), store.changelog_offset(0)),
        (vec![], None)
    );
    assert_eq!(
        (all(store.as_ref(), 1).len(), store.changelog_offset(1)),
        (1, Some(7))
    );
}

#[test]
fn a_task_without_tables_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    open(&stores, &[]).expect("opens");
    assert!(!scratch.task().exists());
    assert_eq!(stores.local(), []);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    drop(open(&scratch.stores(), &["one"]).expect("opens"));
    {
        let options = rocksdb::Options::default();
        let inner = rocksdb::DB::open_cf(&options, scratch.task(), ["default", "table/one"]).expect("opens");
        inner.put(FORMAT_KEY, 2_u32.to_le_bytes()).expect("writes");
    }
    let error = open(&scratch.stores(), &["one"])
        .expect_err("it is newer")
        .to_string();
    assert!(
        error.contains("counting-3 was written by a newer version (format 2, this one knows 1)"),
        "{error}"
    );
    assert!(scratch.task().join("CURRENT").exists());
}

#[test]
fn a_creation_that_was_cut_off_is_made_up_for() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    for debris in ["LOCK", "MANIFEST-000001", "CURRENT.dbtmp", "000004.log"] {
        fs::create_dir_all(scratch.task()).expect("there is room");
        fs::write(scratch.task().join(debris), b"").expect("there is room");
    }
    let store = open(&stores, &["one"]).expect("opens");
    fill(store.as_ref(), 1, b"v", 7);
    drop(store);
    let store = open(&stores, &["one"]).expect("opens");
    assert_eq!(store.changelog_offset(0), Some(7));
}

#[test]
fn a_second_worker_has_a_place_of_its_own_and_the_first_one_is_found_again() {
    let scratch = Scratch::new();
    let first = scratch.stores();
    let store = open(&first, &["one"]).expect("opens");
    fill(store.as_ref(), 1, b"first", 7);
    let second = scratch.stores();
    assert_ne!(first.worker_id(), second.worker_id());
    let other = open(&second, &["one"]).expect("opens");
    assert_eq!(other.changelog_offset(0), None);
    let first_id = first.worker_id().to_owned();
    drop(first);
    // Its store is still open, so its place is still taken.
    assert_ne!(scratch.stores().worker_id(), first_id);
    drop(store);
    assert_eq!(scratch.stores().worker_id(), first_id);
}

#[test]
fn a_thread_waits_for_the_one_that_had_the_task() {
    let scratch = Scratch::new();
    let stores = Arc::new(scratch.stores());
    let store = open(stores.as_ref(), &["one"]).expect("opens");
    let (opened, when_opened) = mpsc::channel();
    let waiting = {
        let stores = Arc::clone(&stores);
        std::thread::spawn(move || {
            let store = open(stores.as_ref(), &["one"]).expect("opens when the other one has closed");
            opened.send(()).expect("the test waits");
            store.changelog_offset(0)
        })
    };
    assert!(when_opened.recv_timeout(Duration::from_millis(50)).is_err());
    fill(store.as_ref(), 1, b"v", 7);
    drop(store);
    assert_eq!(waiting.join().expect("does not panic"), Some(7));
}

#[test]
fn a_database_that_another_program_has_open_is_refused() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    drop(open(&stores, &["one"]).expect("opens"));
    let options = rocksdb::Options::default();
    let _foreign = rocksdb::DB::open_cf(&options, scratch.task(), ["default", "table/one"]).expect("opens");
    let error = open(&stores, &["one"]).expect_err("it is open").to_string();
    assert!(
        error.contains("counting-3 cannot be opened; something else has it open"),
        "{error}"
    );
}

#[test]
fn many_tasks_and_tables_are_kept_apart() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    let place = |sub_topology, partition| (sub_topology, partition, tables(&["one"]));
    let places = [place("a", 1), place("a", 11), place("a-1", 1), place("a.b_c", 0)];
    for reopened in [false, true] {
        for (number, (sub_topology, partition, tables)) in places.iter().enumerate() {
            let store = stores
                .open(&StorePlace {
                    sub_topology,
                    partition: *partition,
                    tables,
                })
                .expect("opens");
            let expected = reopened.then_some(number as i64);
            assert_eq!(store.changelog_offset(0), expected);
            fill(store.as_ref(), 1, b"v", number as i64);
        }
    }
    let local: Vec<_> = places
        .iter()
        .map(|(sub_topology, partition, _)| ((*sub_topology).to_owned(), *partition))
        .collect();
    let mut found = stores.local();
    found.sort();
    let mut expected = local;
    expected.sort();
    assert_eq!(found, expected);
}
