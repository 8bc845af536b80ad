//! The simulated disk against ordered maps, as the stores of [`crate::store`], and what it is after a crash.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::store::Batch;
use crate::store::tests::properties::{Model, Step, TABLES, step};
use crate::store::tests::{all, open};
use crate::testing::disk::{Disk, UNFLUSHED};
use crate::testing::random::Random;
use crate::tests::property::holds_for_share;

#[test]
fn a_simulated_disk_is_an_ordered_map_over_starts_and_keeps_what_was_flushed_in_crashes() {
    // A crash of some seed may follow on each step.
    let steps = vec((step(), option::weighted(0.1, any::<u64>())), 0..100);
    holds_for_share(4, steps, |steps| {
        let disk = Disk::new("worker");
        let mut store = open(&*disk.stores(), &TABLES).expect("opens");
        // What it has been since it was flushed, oldest first.
        let mut past = vec![Model::default()];
        let mut model = Model::default();
        for (step, crash) in &steps {
            model.follow(store.as_ref(), step);
            model.agrees(store.as_ref())?;
            past.push(model.clone());
            if let Step::Reopen(true) = step {
                past.drain(..past.len() - 1);
            }
            if let Some(seed) = crash {
                disk.crash(&mut Random::new(*seed));
                prop_assert!(store.apply(&Batch::default()).is_err());
                prop_assert_eq!(all(store.as_ref(), 0), []);
                drop(store);
                store = open(&*disk.stores(), &TABLES).expect("opens");
                past.iter_mut().for_each(Model::reopen);
                let mut late = past.iter().rev().take(UNFLUSHED + 1);
                let found = late.find(|model| model.agrees(store.as_ref()).is_ok()).cloned();
                prop_assert!(found.is_some(), "{store:?} is none of {past:?}");
                model = found.unwrap_or_default();
                past = vec![model.clone()];
            } else if let Step::Reopen(_) = step {
                drop(store);
                prop_assert_eq!(disk.stores().local(), [("counting".to_owned(), 3)]);
                store = open(&*disk.stores(), &TABLES).expect("opens");
                model.reopen();
                model.agrees(store.as_ref())?;
                past = vec![model.clone()];
            }
        }
        Ok(())
    });
}
