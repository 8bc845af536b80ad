//! The settings of a topic: Apache Kafka's names, types, defaults and limits.
//!
//! All names are accepted, kept and described; the ones that have a meaning without disks and followers
//! are the fields of [`TopicConfig`].

use std::collections::BTreeMap;

/// How a value is written, and what is allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Boolean,
    Text,
    /// A 32-bit integer not below this.
    Int(i64),
    /// A 64-bit integer not below this.
    Long(i64),
    /// From 0 to 1.
    Ratio,
    /// Several of these, with commas between.
    List(&'static [&'static str]),
    /// One of these.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// The type's number in the protocol.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text | Self::Choice(_) => 2,
            Self::Int(_) => 3,
            Self::Long(_) => 5,
            Self::Ratio => 6,
            Self::List(_) => 7,
        }
    }

    fn check(self, value: &str) -> Result<(), String> {
        let least = |least: i64, found: Option<i64>| match found {
            Some(number) if number >= least => Ok(()),
            Some(_) => Err(format!("Value must be at least {least}")),
            None => Err("Not a number of this type".to_owned()),
        };
        match self {
            Self::Text => Ok(()),
            Self::Boolean if matches!(value, "true" | "false") => Ok(()),
            Self::Boolean => Err("Expected value to be either true or false".to_owned()),
            Self::Int(min) => least(min, value.trim().parse::<i32>().ok().map(i64::from)),
            Self::Long(min) => least(min, value.trim().parse().ok()),
            Self::Ratio => match value.trim().parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
                _ => Err("Value must be from 0 to 1".to_owned()),
            },
            Self::Choice(words) if words.contains(&value) => Ok(()),
            Self::List(words) if value.split(',').all(|word| words.contains(&word.trim())) => Ok(()),
            Self::Choice(words) | Self::List(words) => {
                Err(format!("String must be one of: {}", words.join(", ")))
            }
        }
    }
}

/// One setting that topics have.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
}

const fn known(name: &'static str, default: &'static str, kind: Kind) -> Known {
    Known { name, default, kind }
}

const LARGEST: &str = "9223372036854775807";

/// Every setting, sorted by name.
pub(crate) const KNOWN: &[Known] = &[
    known("cleanup.policy", "delete", Kind::List(&["compact", "delete"])),
    known(
        "compression.type",
        "producer",
        Kind::Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
    ),
    known("delete.retention.ms", "86400000", Kind::Long(0)),
    known("file.delete.delay.ms", "60000", Kind::Long(0)),
    known("flush.messages", LARGEST, Kind::Long(1)),
    known("flush.ms", LARGEST, Kind::Long(0)),
    known("follower.replication.throttled.replicas", "", Kind::Text),
    known("index.interval.bytes", "4096", Kind::Int(0)),
    known("leader.replication.throttled.replicas", "", Kind::Text),
    known("local.retention.bytes", "-2", Kind::Long(-2)),
    known("local.retention.ms", "-2", Kind::Long(-2)),
    known("max.compaction.lag.ms", LARGEST, Kind::Long(1)),
    known("max.message.bytes", "1048588", Kind::Int(0)),
    known("message.timestamp.after.max.ms", "3600000", Kind::Long(0)),
    known("message.timestamp.before.max.ms", LARGEST, Kind::Long(0)),
    known(
        "message.timestamp.type",
        "CreateTime",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
    ),
    known("min.cleanable.dirty.ratio", "0.5", Kind::Ratio),
    known("min.compaction.lag.ms", "0", Kind::Long(0)),
    known("min.insync.replicas", "1", Kind::Int(1)),
    known("preallocate", "false", Kind::Boolean),
    known("remote.log.copy.disable", "false", Kind::Boolean),
    known("remote.log.delete.on.disable", "false", Kind::Boolean),
    known("remote.storage.enable", "false", Kind::Boolean),
    known("retention.bytes", "-1", Kind::Long(i64::MIN)),
    known("retention.ms", "604800000", Kind::Long(-1)),
    known("segment.bytes", "1073741824", Kind::Int(14)),
    known("segment.index.bytes", "10485760", Kind::Int(4)),
    known("segment.jitter.ms", "0", Kind::Long(0)),
    known("segment.ms", "604800000", Kind::Long(1)),
    known("unclean.leader.election.enable", "false", Kind::Boolean),
];

/// A topic's settings: what was set, and the values that the broker acts on.
#[derive(Debug, Clone)]
pub(crate) struct TopicConfig {
    set: BTreeMap<&'static str, String>,
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    pub(crate) append_time: bool,
    pub(crate) max_message_bytes: usize,
    pub(crate) retention_ms: Option<i64>,
    pub(crate) retention_bytes: Option<usize>,
    pub(crate) segment_bytes: usize,
    pub(crate) segment_ms: i64,
    pub(crate) min_compaction_lag_ms: i64,
    pub(crate) delete_retention_ms: i64,
    pub(crate) min_cleanable_dirty_ratio: f64,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) timestamp_before_max_ms: i64,
}

impl TopicConfig {
    /// Settings from names and values.
    ///
    /// # Errors
    ///
    /// A name is unknown or a value not allowed; the message says which.
    pub(crate) fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut set = BTreeMap::new();
        for (name, value) in pairs {
            let known = KNOWN
                .iter()
                .find(|known| known.name == name)
                .ok_or_else(|| format!("Unknown topic config name: {name}"))?;
            known
                .kind
                .check(value)
                .map_err(|why| format!("Invalid value {value} for configuration {name}: {why}"))?;
            set.insert(known.name, value.to_owned());
        }
        Ok(Self::of(set))
    }

    /// The settings with some changed (`Some`) and some back at their defaults (`None`).
    ///
    /// # Errors
    ///
    /// As for [`TopicConfig::new`].
    pub(crate) fn changed<'a>(
        &self,
        changes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, String> {
        let mut pairs: BTreeMap<&str, &str> =
            self.set.iter().map(|(name, value)| (*name, &**value)).collect();
        for (name, value) in changes {
            match value {
                Some(value) => {
                    pairs.insert(name, value);
                }
                None => {
                    pairs.remove(name);
                }
            }
        }
        Self::new(pairs)
    }

    /// What was set for this topic, if it was.
    pub(crate) fn set(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    fn of(set: BTreeMap<&'static str, String>) -> Self {
        let value = |name: &str| {
            let default = KNOWN
                .iter()
                .find(|known| known.name == name)
                .map_or("", |known| known.default);
            set.get(name).map_or(default, String::as_str)
        };
        let long = |name: &str| value(name).trim().parse::<i64>().unwrap_or(i64::MAX);
        let size = |name: &str| usize::try_from(long(name));
        Self {
            compact: value("cleanup.policy").contains("compact"),
            delete: value("cleanup.policy").contains("delete"),
            append_time: value("message.timestamp.type") == "LogAppendTime",
            max_message_bytes: size("max.message.bytes").unwrap_or(usize::MAX),
            retention_ms: Some(long("retention.ms")).filter(|ms| *ms >= 0),
            retention_bytes: size("retention.bytes").ok(),
            segment_bytes: size("segment.bytes").unwrap_or(usize::MAX),
            segment_ms: long("segment.ms"),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            delete_retention_ms: long("delete.retention.ms"),
            min_cleanable_dirty_ratio: value("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            set,
        }
    }
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::of(BTreeMap::new())
    }
}
