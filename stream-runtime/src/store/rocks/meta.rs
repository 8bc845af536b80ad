//! What a database says of itself, in its default family: how far each shard is and when it was up to date.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::store::StoredTable;

/// The format of databases that this version writes and reads.
pub(super) const FORMAT: u32 = 1;

/// The key of the format.
pub(super) const FORMAT_KEY: &[u8] = b"format";
/// The key of the inputs' offsets at the last cut: `(topic, offset)`, sorted.
pub(super) const INPUTS_KEY: &[u8] = b"inputs";

/// The key of a shard's [`Progress`].
pub(super) fn progress_key(table: &str) -> Vec<u8> {
    format!("table/{table}").into_bytes()
}

/// The column family of a table. The prefix keeps a table called `default` apart from the default family.
pub(super) fn family_of(table: &str) -> String {
    format!("table/{table}")
}

/// The table of a column family.
pub(super) fn table_of(family: &str) -> Option<&str> {
    family.strip_prefix("table/")
}

/// How far a shard is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub changelog_offset: i64,
    /// Which topic the offset is of; `None` when it was unknown.
    pub changelog_id: Option<String>,
    /// When the shard was known to be up to date with its changelog, in milliseconds since the Unix epoch. While it is
    /// restored this is when the restore began: whatever was read, its tombstones are there for
    /// `delete.retention.ms` from then on.
    pub current_at: i64,
}

/// What becomes of a shard that is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is new.
    Begin,
    /// It goes on from its offset.
    Keep,
    /// It is emptied and restored from the beginning of its changelog.
    Rebuild(Reason),
}

/// Why a shard cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// A first restore, or a clearing, was cut off.
    NoOffset,
    OtherChangelog,
    TooOld {
        age: Duration,
        max_age: Duration,
    },
    /// The clock was set back by so much that the age is not known.
    FromTheFuture,
}

/// Decides what becomes of a shard, from what its database says of it and whether it has entries.
pub(super) fn fate(found: Option<&Progress>, has_entries: bool, wanted: &StoredTable, now: i64) -> Fate {
    let Some(found) = found else {
        return match has_entries {
            true => Fate::Rebuild(Reason::NoOffset),
            false => Fate::Begin,
        };
    };
    if let (Some(found), Some(wanted)) = (&found.changelog_id, &wanted.changelog_id)
        && found != wanted
    {
        return Fate::Rebuild(Reason::OtherChangelog);
    }
    let age = Duration::from_millis(now.abs_diff(found.current_at));
    match age > wanted.max_age {
        false => Fate::Keep,
        true if found.current_at > now => Fate::Rebuild(Reason::FromTheFuture),
        true => Fate::Rebuild(Reason::TooOld {
            age,
            max_age: wanted.max_age,
        }),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = |duration: &Duration| duration.as_secs_f64() / 3600.0;
        match self {
            Self::NoOffset => f.write_str("it was not restored to its end when the worker ended"),
            Self::OtherChangelog => f.write_str("its changelog is another topic than the one it came from"),
            Self::TooOld { age, max_age } => write!(
                f,
                "it was up to date {:.1} hours ago, and after {:.1} its changelog may have dropped what says that a \
                 key was removed",
                hours(age),
                hours(max_age)
            ),
            Self::FromTheFuture => {
                f.write_str("it is of a time that is still to come: was the clock set back?")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOW: i64 = 1_000 * HOUR;

    fn wanted(changelog_id: Option<&str>) -> StoredTable {
        StoredTable {
            name: "counts".to_owned(),
            changelog_id: changelog_id.map(str::to_owned),
            max_age: Duration::from_secs(20 * 3600),
        }
    }

    fn found(changelog_id: Option<&str>, hours_ago: i64) -> Progress {
        Progress {
            changelog_offset: 7,
            changelog_id: changelog_id.map(str::to_owned),
            current_at: NOW - hours_ago * HOUR,
        }
    }

    #[track_caller]
    fn check(found: Option<&Progress>, has_entries: bool, id: Option<&str>, expected: &Fate) {
        assert_eq!(fate(found, has_entries, &wanted(id), NOW), *expected);
    }

    #[test]
    fn a_shard_is_kept_while_its_changelog_is_the_same_and_has_all_its_tombstones() {
        for has_entries in [true, false] {
            check(Some(&found(Some("a"), 0)), has_entries, Some("a"), &Fate::Keep);
            check(Some(&found(Some("a"), 20)), has_entries, Some("a"), &Fate::Keep);
        }
    }

    #[test]
    fn a_shard_that_is_too_old_is_rebuilt() {
        let reason = Reason::TooOld {
            age: Duration::from_secs(21 * 3600),
            max_age: Duration::from_secs(20 * 3600),
        };
        assert!(reason.to_string().contains("21.0 hours ago"), "{reason}");
        check(
            Some(&found(Some("a"), 21)),
            true,
            Some("a"),
            &Fate::Rebuild(reason),
        );
    }

    #[test]
    fn a_clock_that_was_set_back_a_little_does_no_harm_and_one_set_back_far_rebuilds() {
        check(Some(&found(None, -1)), true, None, &Fate::Keep);
        check(
            Some(&found(None, -21)),
            true,
            None,
            &Fate::Rebuild(Reason::FromTheFuture),
        );
    }

    #[test]
    fn a_shard_of_another_changelog_is_rebuilt_and_one_that_is_unknown_is_no_other() {
        check(
            Some(&found(Some("a"), 0)),
            true,
            Some("b"),
            &Fate::Rebuild(Reason::OtherChangelog),
        );
        check(Some(&found(None, 0)), true, Some("b"), &Fate::Keep);
        check(Some(&found(Some("a"), 0)), true, None, &Fate::Keep);
    }

    #[test]
    fn a_shard_without_an_offset_is_new_or_half_restored() {
        check(None, false, Some("a"), &Fate::Begin);
        check(None, true, Some("a"), &Fate::Rebuild(Reason::NoOffset));
    }
}
