//! What every store does, tried on each kind.

pub(crate) mod properties;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::*;

/// Shards of these names over changelogs that are not known.
pub(super) fn tables(names: &[&str]) -> Vec<StoredTable> {
    names
        .iter()
        .map(|name| StoredTable {
            name: (*name).to_owned(),
            changelog_id: None,
            max_age: Duration::from_secs(20 * 3600),
        })
        .collect()
}

/// The store of task `counting/3` with these tables.
pub(crate) fn open(stores: &dyn Stores, names: &[&str]) -> Result<Box<dyn Store>> {
    stores.open(&StorePlace {
        sub_topology: "counting",
        partition: 3,
        tables: &tables(names),
    })
}

pub(super) fn put(batch: &mut Batch, table: usize, key: &[u8], value: Option<&[u8]>) {
    batch.push(Write { table, key, value });
}

pub(super) fn get(store: &dyn Store, table: usize, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = None;
    let found = store.get(table, key, &mut |bytes| value = Some(bytes.to_vec()));
    assert_eq!(found.expect("reads"), value.is_some());
    value
}

pub(crate) fn all(store: &dyn Store, table: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    store
        .scan(table, &mut |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .expect("scans");
    entries
}

fn entry(key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), value.to_vec())
}

pub(super) fn a_batch_covers_tables_and_offsets_and_the_last_write_of_a_key_counts(store: &dyn Store) {
    let mut batch = Batch::default();
    put(&mut batch, 0, b"b", Some(b"1"));
    put(&mut batch, 1, b"b", Some(b"other"));
    put(&mut batch, 0, b"a", Some(b"2"));
    put(&mut batch, 0, b"b", Some(b"3"));
    put(&mut batch, 0, b"c", Some(b"4"));
    put(&mut batch, 0, b"c", None);
    batch.set_changelog_offset(0, 5);
    store.apply(&batch).expect("applies");
    assert_eq!(all(store, 0), [entry(b"a", b"2"), entry(b"b", b"3")]);
    assert_eq!(all(store, 1), [entry(b"b", b"other")]);
    assert_eq!(
        (store.changelog_offset(0), store.changelog_offset(1)),
        (Some(5), None)
    );
}

pub(super) fn a_key_has_the_value_that_was_written_last(store: &dyn Store) {
    assert_eq!(get(store, 0, b"k"), None);
    for value in [&b"1"[..], b"22", b"", b"1"] {
        let mut batch = Batch::default();
        put(&mut batch, 0, b"k", Some(value));
        store.apply(&batch).expect("applies");
        assert_eq!(get(store, 0, b"k").as_deref(), Some(value));
    }
    let mut batch = Batch::default();
    put(&mut batch, 0, b"k", None);
    put(&mut batch, 0, b"never there", None);
    store.apply(&batch).expect("applies");
    assert_eq!((get(store, 0, b"k"), get(store, 1, b"k")), (None, None));
}

pub(super) fn keys_are_bytes_in_their_order(store: &dyn Store) {
    let keys: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"a", b"a\xff", b"\xff\xff"];
    let mut batch = Batch::default();
    for key in keys.iter().rev() {
        put(&mut batch, 0, key, Some(b"v"));
    }
    store.apply(&batch).expect("applies");
    let found: Vec<_> = all(store, 0).into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, keys);
    let mut seen = 0;
    store
        .scan(0, &mut |_, _| {
            seen += 1;
            if seen == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .expect("scans");
    assert_eq!(seen, 2, "a scan ends when it is told");
}

pub(super) fn inputs_are_those_named_last_and_others_stay(store: &dyn Store) {
    assert_eq!(store.inputs(), []);
    let mut batch = Batch::default();
    batch.set_inputs([(Arc::from("b"), 1), (Arc::from("a"), 2)]);
    batch.set_changelog_offset(0, 1);
    store.apply(&batch).expect("applies");
    batch.clear();
    batch.set_inputs([(Arc::from("b"), 7)]);
    assert!(!batch.is_empty());
    store.apply(&batch).expect("applies");
    batch.clear();
    assert!(batch.is_empty());
    store.apply(&batch).expect("an empty batch is one");
    assert_eq!(store.inputs(), [("a".to_owned(), 2), ("b".to_owned(), 7)]);
}

pub(super) fn a_cleared_shard_is_empty_and_has_no_offset_and_others_stay(store: &dyn Store) {
    let mut batch = Batch::default();
    for table in [0, 1] {
        put(&mut batch, table, b"k", Some(b"v"));
        batch.set_changelog_offset(table, 9);
    }
    batch.set_inputs([(Arc::from("a"), 2)]);
    store.apply(&batch).expect("applies");
    store.clear(0).expect("clears");
    assert_eq!((all(store, 0), store.changelog_offset(0)), (vec![], None));
    assert_eq!((all(store, 1).len(), store.changelog_offset(1)), (1, Some(9)));
    assert_eq!(store.inputs().len(), 1);
    store.clear(1).expect("clears");
    assert_eq!(
        store.inputs(),
        [],
        "nothing is left that the inputs are the cut of"
    );
    store.apply(&batch).expect("a cleared shard is written to as any");
    assert_eq!((all(store, 0).len(), store.changelog_offset(0)), (1, Some(9)));
}

pub(super) fn a_restore_in_batches_ends_as_it_was_written(store: &dyn Store) {
    store.restoring(true).expect("begins");
    for round in 0..10_u8 {
        let mut batch = Batch::default();
        for key in 0..100_u8 {
            let value = (key % 7 != round % 7).then_some([round; 10]);
            put(&mut batch, 0, &[key], value.as_ref().map(|value| &value[..]));
        }
        batch.set_changelog_offset(0, i64::from(round) + 1);
        store.apply(&batch).expect("applies");
    }
    store.restoring(false).expect("ends");
    assert_eq!(store.changelog_offset(0), Some(10));
    assert!(
        all(store, 0)
            .iter()
            .all(|(key, value)| key[0] % 7 != 2 && *value == [9; 10])
    );
    assert_eq!(all(store, 0).len(), (0..100).filter(|key| key % 7 != 2).count());
    store.close().expect("closes");
}

/// One test for each case, on stores that `$stores` makes for it; it may keep something alive in the second part.
macro_rules! every_store {
    ($stores:expr) => {
        $crate::store::tests::every_store!(
            $stores,
            a_batch_covers_tables_and_offsets_and_the_last_write_of_a_key_counts,
            a_key_has_the_value_that_was_written_last,
            keys_are_bytes_in_their_order,
            inputs_are_those_named_last_and_others_stay,
            a_cleared_shard_is_empty_and_has_no_offset_and_others_stay,
            a_restore_in_batches_ends_as_it_was_written,
        );
    };
    ($stores:expr, $($case:ident,)+) => {
        $(
            #[test]
            fn $case() {
                let (stores, _kept) = $stores;
                let store = $crate::store::tests::open(&stores, &["one", "two"]).expect("opens");
                $crate::store::tests::$case(store.as_ref());
            }
        )+
    };
}
pub(super) use every_store;

mod memory {
    super::every_store!((crate::store::MemoryStores::new(), ()));
}
