//! What `#[agent]` asks rustc about returned types: nothing may fail unseen.
//!
//! The macro sees names: behind `type Counted = Result<u64, Error>` it would take the `Result` for a value.
//! So every return type that is not called `Result` is asked, at compile time.

use std::marker::PhantomData;

/// Answers with `Returned::<R>::IS_RESULT`, where its own constant goes before that of the trait.
#[derive(Debug)]
pub struct Returned<R>(PhantomData<R>);

impl<T, E> Returned<Result<T, E>> {
    /// It is one.
    pub const IS_RESULT: bool = true;
}

/// The answer for all types, unless a better one is there.
pub trait NotAResult {
    /// It is none.
    const IS_RESULT: bool = false;
}

impl<R> NotAResult for Returned<R> {}

/// Takes what a function returned that is a sink; rustc prints the name.
pub fn sink_function_must_return_nothing((): ()) {}
