//! The steps of a commit by their names.

use crate::app::settings::ProcessingGuarantee;

/// A step of a commit, at which [`TestApp::kill_at`](super::TestApp::kill_at) kills a worker. Simulations that fail tell of
/// them by the same names, as in `worker 1 is killed at after-offsets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CommitStep {
    /// The outputs are handed to the producer; the changes of tables are not.
    Outputs,
    /// The broker has the outputs and the changes of tables.
    Changelog,
    /// The offsets of the inputs are committed next. Under `at_least_once` alone.
    BeforeOffsets,
    /// The offsets are committed. Under `at_least_once` alone.
    AfterOffsets,
    /// The transaction, offsets included, is committed next. Under `exactly_once` alone.
    BeforeEndTransaction,
    /// The transaction is committed. Under `exactly_once` alone.
    AfterEndTransaction,
    /// All is committed on the broker; the tables of this worker are to follow.
    BeforeStore,
    /// The tables of this worker have followed. Not all that was written to its disk survives a crash.
    AfterStore,
}

impl CommitStep {
    /// The steps under `at_least_once`, in their order.
    pub const AT_LEAST_ONCE: &[Self] = &[
        Self::Outputs,
        Self::Changelog,
        Self::BeforeOffsets,
        Self::AfterOffsets,
        Self::BeforeStore,
        Self::AfterStore,
    ];
    /// The steps under `exactly_once`, in their order.
    pub const EXACTLY_ONCE: &[Self] = &[
        Self::Outputs,
        Self::Changelog,
        Self::BeforeEndTransaction,
        Self::AfterEndTransaction,
        Self::BeforeStore,
        Self::AfterStore,
    ];

    pub(super) fn of(guarantee: ProcessingGuarantee) -> &'static [Self] {
        match guarantee {
            ProcessingGuarantee::AtLeastOnce => Self::AT_LEAST_ONCE,
            ProcessingGuarantee::ExactlyOnce => Self::EXACTLY_ONCE,
        }
    }

    /// The name of its place in [`crate::cluster::crash`].
    pub(super) fn point(self) -> &'static str {
        match self {
            Self::Outputs => "outputs",
            Self::Changelog => "changelog",
            Self::BeforeOffsets => "before-offsets",
            Self::AfterOffsets => "after-offsets",
            Self::BeforeEndTransaction => "before-end-transaction",
            Self::AfterEndTransaction => "after-end-transaction",
            Self::BeforeStore => "before-store",
            Self::AfterStore => "after-store",
        }
    }
}
