//! One budget for all stores of a process.

use super::{BUDGET, Scratch};
use crate::store::tests::{get, put, tables};
use crate::store::{Batch, StorePlace, Stores};

const STORES: i32 = 24;

#[test]
fn many_stores_stay_within_the_budget() {
    let scratch = Scratch::new();
    let stores = scratch.stores();
    let tables = tables(&["one", "two"]);
    let opened: Vec<_> = (0..STORES)
        .map(|partition| {
            let place = StorePlace {
                sub_topology: "counting",
                partition,
                tables: &tables,
            };
            stores.open(&place).expect("opens")
        })
        .collect();
    let counted = BUDGET / 8 * 5;
    let limit = counted / 4;
    let (mut highest, mut highest_buffers) = (0, 0);
    let mut written = 0;
    // Each in turn takes more than its share and then rests, so that memory fills with what idle stores hold.
    for round in 0..4_u32 {
        for store in &opened {
            for part in 0..4_u32 {
                let mut batch = Batch::default();
                for key in 0..250_u32 {
                    let key = (part * 250 + key).to_be_bytes();
                    let value = [(round as u8).wrapping_add(key[3]); 512];
                    put(&mut batch, (part % 2) as usize, &key, Some(&value));
                    written += 512;
                }
                store.apply(&batch).expect("applies");
                highest = highest.max(stores.resources.usage());
                highest_buffers = highest_buffers.max(stores.resources.write_buffer_usage());
            }
        }
        for store in &opened {
            for key in 0..250_u32 {
                let found = get(store.as_ref(), 0, &key.to_be_bytes());
                assert_eq!(
                    found.map(|value| value[0]),
                    Some((round as u8).wrapping_add(key as u8))
                );
            }
            highest = highest.max(stores.resources.usage());
        }
    }
    assert!(written > 2 * BUDGET, "all of it would not fit: {written}");
    assert!(highest <= counted + counted / 8, "{highest} of {counted}");
    assert!(
        highest_buffers <= limit + limit / 2,
        "{highest_buffers} of {limit}"
    );
}
