//! Places at which tests end the process as a `kill -9` would, named by an environment variable.
//!
//! `STREAM_TEST_CRASH=before-offsets@3` ends it the third time it comes by. Debug builds only.

/// The process comes by the place of this name.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static WANTED: OnceLock<Option<(String, AtomicU32)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("STREAM_TEST_CRASH").ok()?;
        let (name, times) = text.split_once('@').unwrap_or((&text, "1"));
        Some((name.to_owned(), AtomicU32::new(times.parse().unwrap_or(1))))
    });
    if let Some((wanted, left)) = wanted
        && wanted == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // Not `abort`, which dumps a core.
        let me = std::process::id().to_string();
        let _ = std::process::Command::new("kill").args(["-9", &me]).status();
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn point(_: &str) {}
