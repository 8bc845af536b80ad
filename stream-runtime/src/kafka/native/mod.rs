//! The parts of librdkafka that its safe wrapper does not offer, and the only unsafe code of this crate.
//!
//! The wrapper hides the topic of an end of partition, pays several allocations and clock readings a
//! record, takes a client-wide lock for the topic's name at every send, and cannot tell an empty queue
//! from an event it consumed itself, which an edge-triggered wake-up needs. What is here gives values and
//! borrowed records to safe code; every handle keeps the client alive that it belongs to.
//!
//! Not here: any decision about what an event means.
#![allow(
    unsafe_code,
    reason = "librdkafka is a C library; each block says why it is sound"
)]

mod members;
mod properties;
mod queue;
mod topic_ids;
mod topics;
mod transactions;

pub(super) use members::{Member, committed_in};
pub(super) use properties::{ALIASES, known_properties};
pub(super) use queue::{Event, EventQueue};
pub(super) use topic_ids::topic_ids;
pub(super) use topics::{Refusal, TopicHandles};
pub(crate) use transactions::Complaint;
pub(super) use transactions::Transactions;

use std::ffi::{CStr, c_char};

/// The text behind a pointer from librdkafka, which gives ASCII; anything else reads as empty.
///
/// # Safety
/// `text` is null or points to a NUL-terminated string that lives for `'a`.
unsafe fn borrow_text<'a>(text: *const c_char) -> &'a str {
    if text.is_null() {
        return "";
    }
    // SAFETY: not null, and the caller guarantees the rest.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or_default()
}

/// The bytes behind a pointer and a length; a null pointer is `None`, however long.
///
/// # Safety
/// `bytes` is null or points to `length` initialised bytes that live, unchanged, for `'a`.
unsafe fn borrow_bytes<'a>(bytes: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    if bytes.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller guarantees the rest.
    Some(unsafe { std::slice::from_raw_parts(bytes.cast(), length) })
}
