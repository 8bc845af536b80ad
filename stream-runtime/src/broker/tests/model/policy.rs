//! The topics that the model of a log is tried with: what each promises of old records.

use proptest::prelude::*;

/// How a topic is set, and the same in numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) settings: &'static [(&'static str, &'static str)],
    pub(super) compact: bool,
    pub(super) delete: bool,
    pub(super) append_time: bool,
    pub(super) retention_ms: Option<i64>,
    pub(super) retention_bytes: Option<usize>,
    pub(super) min_lag_ms: i64,
    pub(super) delete_retention_ms: i64,
    /// Compacted whenever there is anything to compact.
    pub(super) is_eager: bool,
}

const DELETE: Policy = Policy {
    settings: &[],
    compact: false,
    delete: true,
    append_time: false,
    retention_ms: None,
    retention_bytes: None,
    min_lag_ms: 0,
    delete_retention_ms: 0,
    is_eager: false,
};

const COMPACT: Policy = Policy {
    compact: true,
    delete: false,
    delete_retention_ms: 5_000,
    is_eager: true,
    ..DELETE
};

/// Old records go.
pub(super) const RETAINED: Policy = Policy {
    settings: &[("retention.ms", "20000")],
    retention_ms: Some(20_000),
    ..DELETE
};

/// Compacted as soon as it can be.
pub(super) const EAGER: Policy = Policy {
    settings: &[
        ("cleanup.policy", "compact"),
        ("segment.ms", "1000"),
        ("delete.retention.ms", "5000"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ],
    ..COMPACT
};

const ALL: &[Policy] = &[
    RETAINED,
    EAGER,
    Policy {
        settings: &[("retention.bytes", "600")],
        retention_ms: Some(604_800_000),
        retention_bytes: Some(600),
        ..DELETE
    },
    Policy {
        settings: &[
            ("retention.ms", "20000"),
            ("message.timestamp.type", "LogAppendTime"),
        ],
        retention_ms: Some(20_000),
        append_time: true,
        ..DELETE
    },
    Policy {
        settings: &[
            ("cleanup.policy", "compact"),
            ("segment.bytes", "200"),
            ("delete.retention.ms", "5000"),
            ("min.compaction.lag.ms", "8000"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ],
        min_lag_ms: 8_000,
        ..COMPACT
    },
    Policy {
        settings: &[
            ("cleanup.policy", "compact"),
            ("segment.ms", "1000"),
            ("delete.retention.ms", "5000"),
            ("min.cleanable.dirty.ratio", "0.5"),
            ("message.timestamp.type", "LogAppendTime"),
        ],
        append_time: true,
        is_eager: false,
        ..COMPACT
    },
    Policy {
        settings: &[
            ("cleanup.policy", "compact,delete"),
            ("segment.ms", "1000"),
            ("delete.retention.ms", "5000"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("retention.ms", "20000"),
        ],
        delete: true,
        retention_ms: Some(20_000),
        ..COMPACT
    },
];

/// One of them.
pub(super) fn any_policy() -> impl Strategy<Value = Policy> {
    proptest::sample::select(ALL)
}
