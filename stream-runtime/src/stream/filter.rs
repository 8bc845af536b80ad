//! Only some items.

use super::Records;

/// A stream without the items that are not wanted; made by [`Records::filter`].
#[derive(Debug)]
pub struct Filter<S, F> {
    stream: S,
    keep: F,
}

impl<S, F> Filter<S, F> {
    pub(super) fn new(stream: S, keep: F) -> Self {
        Self { stream, keep }
    }
}

impl<S: Records, F: FnMut(&S::Item) -> bool> Records for Filter<S, F> {
    type Item = S::Item;

    async fn next(&mut self) -> Option<S::Item> {
        loop {
            let item = self.stream.next().await?;
            if (self.keep)(&item) {
                return Some(item);
            }
        }
    }
}
