//! Mistakes: how they are worded, and a collection so that all of them are told at once.
//!
//! A message is subject, modal, object without a full stop (``agent `count` must be an `async fn` ``); the
//! way out follows on a line of its own that starts with `help:`.

use std::fmt::Display;

use quote::ToTokens;

/// A mistake at these tokens; at the attribute itself where there are none.
pub(crate) fn mistake(at: impl ToTokens, message: impl Display) -> syn::Error {
    syn::Error::new_spanned(at, message)
}

/// A mistake and the way out of it.
pub(crate) fn mistake_with_help(at: impl ToTokens, message: impl Display, help: impl Display) -> syn::Error {
    syn::Error::new_spanned(at, format!("{message}\nhelp: {help}"))
}

/// The mistakes found so far.
///
/// They have to be read: dropping them unread would accept a wrong item, so that panics.
#[derive(Debug)]
pub(crate) struct Errors {
    found: Option<Vec<syn::Error>>,
}

impl Errors {
    pub(crate) fn new() -> Self {
        Self {
            found: Some(Vec::new()),
        }
    }

    pub(crate) fn push(&mut self, error: syn::Error) {
        self.found.get_or_insert_default().push(error);
    }

    /// The value, or nothing and one more mistake.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// All mistakes as one error, or the value when there is none.
    ///
    /// A missing value without a mistake is a bug in a check, which must say why it gives nothing.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> syn::Result<T> {
        let found = self.found.take().into_iter().flatten();
        match (found.reduce(combined), value) {
            (Some(all), _) => Err(all),
            (None, Some(value)) => Ok(value),
            (None, None) => unreachable!("a check gave nothing without a mistake"),
        }
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        if self.found.is_some() && !std::thread::panicking() {
            panic!("mistakes were collected and never read");
        }
    }
}

fn combined(mut all: syn::Error, next: syn::Error) -> syn::Error {
    all.combine(next);
    all
}
