//! Streams of records, one operator a file, and sending.
//!
//! Operators are lazy and allocate nothing a record: each asks the one before it when it is asked.

mod enumerate;
mod filter;
mod map;
pub(crate) mod send;

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;

pub use enumerate::Enumerate;
pub use filter::Filter;
pub use map::Map;
pub use send::{Delivery, Sending};

use crate::agent::extract::Incoming;
use crate::agent::instance::Inbox;
use crate::record::codec::CodecError;

/// The records of one partition, decoded, as an agent in stream form takes them.
///
/// ```
/// use stream_runtime::prelude::*;
///
/// #[agent(topic = "words")]
/// async fn long_words(words: Stream<String>) {
///     let mut long = words.filter(|word| word.len() > 10).enumerate();
///     while let Some((n, word)) = long.next().await {
///         println!("{n}: {word}");
///     }
/// }
/// # fn main() {}
/// ```
///
/// Asking for the next record says that the one before is done: its table writes and sends become part of
/// the next commit. A record that the function is still at when it fails leaves nothing behind.
pub struct Stream<T> {
    inbox: Rc<Inbox>,
    extract: fn(&Incoming<'_>) -> Result<T, CodecError>,
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Stream<{}> of {}",
            std::any::type_name::<T>(),
            self.inbox.task().name
        )
    }
}

impl<T> Stream<T> {
    pub(crate) fn new(inbox: Rc<Inbox>, extract: fn(&Incoming<'_>) -> Result<T, CodecError>) -> Self {
        Self { inbox, extract }
    }
}

impl<T> Records for Stream<T> {
    type Item = T;

    /// `None` when the partition is no longer held.
    ///
    /// Cancel safe: a record is taken only when this is ready. While it waits, the agent is woken by a record and by
    /// nothing else: a timer beside it in a `tokio::select!` is looked at when the next record comes.
    async fn next(&mut self) -> Option<T> {
        poll_fn(|_| self.inbox.poll_next(self.extract)).await
    }
}

/// What streams and everything built on them can do.
#[expect(
    async_fn_in_trait,
    reason = "agents run on the thread that owns them: their futures need not be Send"
)]
pub trait Records: Sized {
    /// What comes.
    type Item;

    /// The next item; `None` when the partition is no longer held.
    async fn next(&mut self) -> Option<Self::Item>;

    /// Only the items for which `keep` holds; the others are done as soon as they are seen.
    fn filter<F: FnMut(&Self::Item) -> bool>(self, keep: F) -> Filter<Self, F> {
        Filter::new(self, keep)
    }

    /// Each item as `change` makes it.
    fn map<U, F: FnMut(Self::Item) -> U>(self, change: F) -> Map<Self, F> {
        Map::new(self, change)
    }

    /// Each item with its number, from 0; the count begins anew with every assignment of the partition.
    fn enumerate(self) -> Enumerate<Self> {
        Enumerate::new(self)
    }
}
