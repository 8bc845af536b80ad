//! How fast the store is, for tuning it: `cargo test --release -p stream-runtime --features rocksdb --lib speed --
//! --ignored --nocapture`.

use super::Scratch;
use crate::clock;
use crate::store::rocks::RocksStores;
use crate::store::tests::{open, put};
use crate::store::{Batch, Store};

const KEYS: u64 = 1_000_000;
const BATCH: u64 = 10_000;

/// Numbers below [`KEYS`], each once, in no order.
fn scattered(n: u64) -> [u8; 16] {
    let mixed = n.wrapping_mul(7_368_787) % KEYS;
    let mut key = [b'k'; 16];
    key[8..].copy_from_slice(&mixed.to_be_bytes());
    key
}

fn measure(what: &str, operations: u64, run: impl FnOnce()) {
    let start = clock::now();
    run();
    let micros = clock::now().duration_since(start).as_secs_f64() * 1e6 / operations as f64;
    println!("{what:40} {micros:8.3} µs each");
}

fn write(store: &dyn Store, round: u64) {
    let mut batch = Batch::default();
    for first in (0..KEYS).step_by(BATCH as usize) {
        batch.clear();
        for n in first..first + BATCH {
            let value = (n ^ round).to_be_bytes().repeat(8);
            put(&mut batch, 0, &scattered(n), Some(&value));
        }
        batch.set_changelog_offset(0, (round * KEYS + first) as i64);
        store.apply(&batch).expect("applies");
    }
}

fn read(store: &dyn Store, from: u64) {
    let mut bytes = 0;
    for n in 0..KEYS {
        let key = scattered(n.wrapping_mul(31) % KEYS + from);
        store
            .get(0, &key, &mut |value| bytes += value.len())
            .expect("reads");
    }
    std::hint::black_box(bytes);
}

#[test]
#[ignore = "a measurement"]
fn a_million_keys() {
    let scratch = Scratch::new();
    let stores = RocksStores::new(scratch.path(), "program", 256 << 20).expect("the directory is free");
    let store = open(&stores, &["one"]).expect("opens");
    store.restoring(true).expect("begins");
    measure("restore, written once", KEYS, || write(store.as_ref(), 0));
    measure("restore, overwritten", KEYS, || write(store.as_ref(), 1));
    measure("restore, its end", 1, || store.restoring(false).expect("ends"));
    measure("read in no order", KEYS, || read(store.as_ref(), 0));
    measure("read in no order, again", KEYS, || read(store.as_ref(), 0));
    measure("overwritten", KEYS, || write(store.as_ref(), 2));
    measure("scan", KEYS, || {
        let mut seen = 0;
        store
            .scan(0, &mut |_, _| {
                seen += 1;
                std::ops::ControlFlow::Continue(())
            })
            .expect("scans");
        assert_eq!(seen, KEYS);
    });
    measure("look for what is not there", KEYS, || {
        for n in 0..KEYS {
            let mut key = scattered(n);
            key[7] = b'x';
            store.get(0, &key, &mut |_| {}).expect("reads");
        }
    });
    measure("small batches of ten", KEYS / 10, || {
        let mut batch = Batch::default();
        for n in 0..KEYS / 100 {
            batch.clear();
            for m in 0..10 {
                put(&mut batch, 0, &scattered(n * 10 + m), Some(b"small"));
            }
            batch.set_changelog_offset(0, n as i64);
            store.apply(&batch).expect("applies");
        }
    });
    measure("close", 1, || store.close().expect("closes"));
    println!("{:?}", stores.resources);
}
