//! The only file that reads the time.
//!
//! Everything else asks here, so that a driver can put virtual time in its place.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic time, for deadlines and intervals.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the Unix epoch, for the timestamps of records.
pub(crate) fn wall_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
