//! Places at which tests end a worker as a `kill -9` would, by name.
//!
//! `STREAM_TEST_CRASH=before-offsets@3` ends the process the third time it comes by; debug builds only. A simulation
//! decides at every place, by [`simulated`].

/// The worker comes by the place of this name.
pub(crate) fn point(name: &'static str) {
    #[cfg(feature = "testing")]
    simulated::pass_by(name);
    #[cfg(debug_assertions)]
    process::pass_by(name);
    #[cfg(not(any(debug_assertions, feature = "testing")))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod process {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    pub(super) fn pass_by(name: &str) {
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
}

/// Crashes of workers that are not processes.
#[cfg(feature = "testing")]
pub(crate) mod simulated {
    use std::cell::RefCell;
    use std::rc::Rc;

    /// What is asked at each place; to crash there it does not return but unwinds.
    type Judge = Rc<dyn Fn(&'static str)>;

    thread_local! {
        static JUDGE: RefCell<Option<Judge>> = const { RefCell::new(None) };
    }

    /// Sets who is asked on this thread.
    pub(crate) fn set_judge(judge: Option<Judge>) {
        JUDGE.set(judge);
    }

    pub(super) fn pass_by(name: &'static str) {
        let judge = JUDGE.with_borrow(Option::clone);
        if let Some(judge) = judge {
            judge(name);
        }
    }
}
