//! The only file that reads the time.
//!
//! Everything else asks here, so that the driver of a test can put virtual time in its place: on its own thread, which is
//! the only one that such a test has.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic time, for deadlines and intervals.
pub(crate) fn now() -> Instant {
    #[cfg(feature = "testing")]
    if let Some(time) = virtual_time::current() {
        return time.now;
    }
    Instant::now()
}

/// Milliseconds since the Unix epoch, for the timestamps of records.
pub(crate) fn wall_millis() -> i64 {
    #[cfg(feature = "testing")]
    if let Some(time) = virtual_time::current() {
        return time.wall_millis;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Blocks the thread. On a worker's thread only when it ends anyway.
pub(crate) fn sleep(duration: Duration) {
    #[cfg(feature = "testing")]
    if virtual_time::pass(duration) {
        return;
    }
    std::thread::sleep(duration);
}

/// Time as a test makes it.
#[cfg(feature = "testing")]
pub(crate) mod virtual_time {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    /// The time of one moment.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Moment {
        pub(crate) now: Instant,
        pub(crate) wall_millis: i64,
    }

    type Pass = Rc<dyn Fn(Duration)>;

    thread_local! {
        static CURRENT: Cell<Option<Moment>> = const { Cell::new(None) };
        static PASS: RefCell<Option<Pass>> = const { RefCell::new(None) };
    }

    pub(super) fn current() -> Option<Moment> {
        CURRENT.get()
    }

    /// Sets the time of this thread; `None` is the real one again.
    pub(crate) fn set(moment: Option<Moment>) {
        CURRENT.set(moment);
    }

    /// The time of tokio's timers, in a runtime whose clock is paused.
    pub(crate) fn of_timers() -> tokio::time::Instant {
        tokio::time::Instant::now()
    }

    /// Says what lets time pass for code that blocks: it sets the time behind it.
    pub(crate) fn set_pass(pass: Option<Pass>) {
        PASS.set(pass);
    }

    pub(super) fn pass(duration: Duration) -> bool {
        let pass = PASS.with_borrow(Option::clone);
        pass.inspect(|pass| pass(duration)).is_some()
    }
}
