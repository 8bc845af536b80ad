//! Where a record belongs among the partitions that are read.

/// A search that tries the place of the last one first: records come in runs of one partition.
#[derive(Debug, Default)]
pub(super) struct LastFound(usize);

impl LastFound {
    /// The place of the first that fits, or of the last one found while that fits.
    pub(super) fn find<T>(&mut self, all: &[T], fits: impl Fn(&T) -> bool) -> Option<usize> {
        if !all.get(self.0).is_some_and(&fits) {
            self.0 = all.iter().position(fits)?;
        }
        Some(self.0)
    }
}
