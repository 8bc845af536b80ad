//! Numbered items.

use super::Records;

/// A stream of numbered items; made by [`Records::enumerate`].
#[derive(Debug)]
pub struct Enumerate<S> {
    stream: S,
    next: u64,
}

impl<S> Enumerate<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, next: 0 }
    }
}

impl<S: Records> Records for Enumerate<S> {
    type Item = (u64, S::Item);

    async fn next(&mut self) -> Option<(u64, S::Item)> {
        let item = self.stream.next().await?;
        let number = self.next;
        self.next += 1;
        Some((number, item))
    }
}
