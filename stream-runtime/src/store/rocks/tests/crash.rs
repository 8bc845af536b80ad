//! A process is killed while it writes: what is left is one of its cuts, whole.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::{BUDGET, Scratch};
use crate::store::rocks::RocksStores;
use crate::store::tests::{all, open, put};
use crate::store::{Batch, Store};

/// Tells the child where to write.
const DIRECTORY: &str = "STREAM_TEST_CRASH_DIRECTORY";
/// The keys of each table; not the same, so that the tables reach the size of a flush at different times.
const KEYS: [i64; 2] = [700, 90];

fn value(batch: i64) -> Vec<u8> {
    let mut value = batch.to_be_bytes().repeat(64);
    value.extend(batch.to_be_bytes());
    value
}

/// Batch `number`: five keys of one table, one of the other, and the offsets that go with them.
fn batch(number: i64) -> Batch {
    let mut batch = Batch::default();
    for n in 0..5 {
        let key = (number * 5 + n) % KEYS[0];
        put(&mut batch, 0, &key.to_be_bytes(), Some(&value(number)));
    }
    let key = number % KEYS[1];
    // Every third write removes its key.
    let present = (number % 3 != 0).then(|| value(number));
    put(&mut batch, 1, &key.to_be_bytes(), present.as_deref());
    batch.set_changelog_offset(0, number * 5);
    batch.set_changelog_offset(1, number);
    batch.set_inputs([(Arc::from("in"), number)]);
    batch
}

/// The number of the batch that the store stands behind. Panics unless it is exactly that one's cut.
fn cut(store: &dyn Store) -> i64 {
    let Some(last) = store.changelog_offset(1) else {
        assert_eq!((store.changelog_offset(0), store.inputs()), (None, vec![]));
        assert_eq!((all(store, 0), all(store, 1)), (vec![], vec![]));
        return -1;
    };
    assert_eq!(
        store.changelog_offset(0),
        Some(last * 5),
        "the offsets of both tables are of one cut"
    );
    assert_eq!(store.inputs(), [("in".to_owned(), last)]);
    let mut expected = [
        std::collections::BTreeMap::new(),
        std::collections::BTreeMap::new(),
    ];
    for number in (last - KEYS[0]).max(0)..=last {
        for write in batch(number).writes() {
            match write.value {
                Some(value) => drop(expected[write.table].insert(write.key.to_vec(), value.to_vec())),
                None => drop(expected[write.table].remove(write.key)),
            }
        }
    }
    for (table, expected) in expected.into_iter().enumerate() {
        let found = all(store, table);
        assert!(
            found == expected.into_iter().collect::<Vec<_>>(),
            "table {table} is not as batch {last} left it"
        );
    }
    last
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_cut() {
    let scratch = Scratch::new();
    let mut reached = -1;
    for round in 0..6 {
        let written = write_until_killed(scratch.path(), 300 + round * 130);
        let stores = scratch.stores();
        let store = open(&stores, &["one", "two"]).expect("opens");
        let found = cut(store.as_ref());
        assert!(
            (reached..=written + 1000).contains(&found),
            "{reached} {found} {written}"
        );
        reached = found;
        // What was read again is as good as what was written first.
        drop(store);
        assert_eq!(
            cut(open(&stores, &["one", "two"]).expect("opens").as_ref()),
            found
        );
    }
    assert!(reached > 0, "something has reached the disk in all this time");
}

/// Runs [`child`] until it says that it has written this many batches, and kills it.
fn write_until_killed(directory: &Path, batches: usize) -> i64 {
    let mut child = Command::new(std::env::current_exe().expect("this is a program"))
        .args([
            "--exact",
            "store::rocks::tests::crash::child",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs again");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let numbers = lines.filter_map(|line| line.ok()?.strip_prefix("batch ")?.parse::<i64>().ok());
    let last = numbers.take(batches).last();
    child.kill().expect("it runs until it is killed");
    child.wait().expect("it has ended");
    last.expect("it has written")
}

#[test]
#[ignore = "the other process of the test above"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let stores = RocksStores::new(Path::new(&directory), "program", BUDGET).expect("the directory is free");
    let store = open(&stores, &["one", "two"]).expect("opens");
    for number in cut(store.as_ref()) + 1.. {
        store.apply(&batch(number)).expect("applies");
        println!("batch {number}");
    }
}
