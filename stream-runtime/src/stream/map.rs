//! Other items.

use super::Records;

/// A stream of changed items; made by [`Records::map`].
#[derive(Debug)]
pub struct Map<S, F> {
    stream: S,
    change: F,
}

impl<S, F> Map<S, F> {
    pub(super) fn new(stream: S, change: F) -> Self {
        Self { stream, change }
    }
}

impl<S: Records, U, F: FnMut(S::Item) -> U> Records for Map<S, F> {
    type Item = U;

    async fn next(&mut self) -> Option<U> {
        self.stream.next().await.map(&mut self.change)
    }
}
