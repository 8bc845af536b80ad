//! The record that ends a transaction in a partition: a control batch of its own, which no consumer shows.
//!
//! Only its records are made here; [`super::batch`] puts the header around them.

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Abort,
    Commit,
}

/// The only record of the batch, with its length in front.
///
/// Its key is a version and the kind of the marker, its value a version and the epoch of the coordinator,
/// which never changes here.
pub(super) fn record(outcome: Outcome) -> [u8; 17] {
    let kind = match outcome {
        Outcome::Abort => 0,
        Outcome::Commit => 1,
    };
    // Lengths are zigzag: 16 bytes, a key of 4, a value of 6. No attributes, deltas or headers.
    [32, 0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 0, 0]
}
