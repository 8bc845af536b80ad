//! What has become of faults, counted where it takes effect: that a fault happened does not show that anybody noticed.
//!
//! Counted by thread, as everything of a program under test is on one, since it was started there last. Not here: which
//! effects there should be, which the tests of this project say.

use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static COUNTS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Begins anew.
pub(super) fn forget() {
    COUNTS.take();
}

/// This has happened.
pub(super) fn count(effect: &'static str) {
    COUNTS.with_borrow_mut(|counts| *counts.entry(effect).or_default() += 1);
}

/// How often each has happened.
pub(super) fn counts() -> BTreeMap<&'static str, u64> {
    COUNTS.with_borrow(Clone::clone)
}
