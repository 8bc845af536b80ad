//! How much memory a piece of code takes at most, and how often: the test program counts what each of its threads
//! allocates.

#![allow(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one only counts and hands on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The most bytes that this thread had more than at the beginning while `act` ran.
pub(super) fn most_during(act: impl FnOnce()) -> usize {
    let before = LIVE.get();
    MOST.set(before);
    act();
    usize::try_from(MOST.get() - before).unwrap_or(0)
}

/// How often this thread allocated, or moved what it had, while `act` ran.
pub(crate) fn allocations_during(act: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    act();
    ALLOCATIONS.get() - before
}

fn count(change: isize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + usize::from(change > 0));
    let live = LIVE.get() + change;
    LIVE.set(live);
    MOST.set(MOST.get().max(live));
}

fn size(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: every call goes to the system's allocator as it came, and counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(size(layout.size()));
        // SAFETY: the caller keeps the contract of this very method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(size(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-size(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(size(new_size) - size(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, new_size) }
    }
}

#[test]
fn the_most_is_counted_and_not_what_is_left() {
    let most = most_during(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(100_000))));
    assert!((100_000..110_000).contains(&most), "{most}");
    let most = most_during(|| {
        let mut grown = vec![0_u8; 10];
        grown.reserve_exact(50_000);
        drop(std::hint::black_box(grown));
    });
    assert!((50_000..60_000).contains(&most), "{most}");
}

#[test]
fn allocations_are_counted_and_not_their_ends() {
    let kept = vec![0_u8; 10];
    let allocations = allocations_during(|| {
        drop(std::hint::black_box(kept));
        for size in 1..=7 {
            drop(std::hint::black_box(Vec::<u8>::with_capacity(size)));
        }
    });
    assert_eq!(allocations, 7);
}
