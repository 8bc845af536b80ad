//! Where something panicked, which the payload of a panic does not tell.
//!
//! The hook that notes it is that of the whole process and stays once it is there. What panics on threads that are not in
//! [`caught`] goes on to the hook that was there before, as if there were none.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// What something panicked with.
#[derive(Debug)]
pub(super) struct Panicked {
    pub(super) message: String,
    /// File and line, unless it cannot be known: the program has a hook of its own by now, or it did not go through one.
    pub(super) place: Option<String>,
}

/// What a thread that is in [`caught`] knows.
#[derive(Debug)]
struct Noted {
    is_quiet: bool,
    /// The message and the place of the last panic, which may have been caught and be none that matters.
    last: Option<(String, String)>,
}

thread_local! {
    static NOTED: RefCell<Option<Noted>> = const { RefCell::new(None) };
}

/// Does something, and tells what it panicked with and where. When it is quiet, nothing is printed of panics meanwhile.
pub(super) fn caught<R>(is_quiet: bool, act: impl FnOnce() -> R) -> Result<R, Panicked> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            if !note(info) {
                previous(info);
            }
        }));
    });
    let outer = NOTED.replace(Some(Noted { is_quiet, last: None }));
    let done = catch_unwind(AssertUnwindSafe(act));
    let noted = NOTED.replace(outer);
    done.map_err(|payload| {
        let message = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let last = noted.and_then(|noted| noted.last);
        let last = last.filter(|(last, _)| message.as_ref() == Some(last));
        Panicked {
            message: message.unwrap_or_else(|| "a panic without a message".to_owned()),
            place: last.map(|(_, place)| place),
        }
    })
}

/// Notes a panic of this thread. Whether it is to be quiet.
fn note(info: &PanicHookInfo<'_>) -> bool {
    // A thread that ends has no such state any more.
    let noted = NOTED.try_with(|noted| {
        let mut noted = noted.borrow_mut();
        let noted = noted.as_mut()?;
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
        noted.last = info.payload_as_str().map(str::to_owned).zip(place);
        Some(noted.is_quiet)
    });
    noted.ok().flatten().unwrap_or(false)
}
