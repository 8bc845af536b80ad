//! What the program under test can do and promises. A promise that is not kept yet has its tests written, and
//! one constant here that switches them on.

/// The setting `processing_guarantee = "exactly_once"` is there, and kept.
pub(crate) const EXACTLY_ONCE: bool = true;

/// Under at-least-once, a table never counts a record of its input twice, whatever crashes.
pub(crate) const EXACT_TABLES: bool = true;

/// `STREAM_TEST_CRASH=<point>@<n>` ends a worker of a debug build, as `kill -9` does, when it passes the point
/// for the n-th time.
pub(crate) const CRASH_POINTS: bool = true;

/// `store = "rocksdb://"` is there. It also takes the feature: `cargo test --features rocksdb --test chaos`.
pub(crate) const ROCKSDB: bool = true;

/// The embedded broker has transactions.
pub(crate) const EMBEDDED_TRANSACTIONS: bool = true;
