//! Who is there and what they hold, as the workers tell each other.
//!
//! Each worker writes an announcement to one compacted topic, `<program>-workers`, under its name: whenever what it
//! holds changes, and every third of the time for which it counts. Who has not been heard for that long is gone. The
//! time runs from when an announcement is *received*, so no two clocks have to agree. A worker that stops in order
//! leaves a tombstone.
//!
//! Pure: time is an argument. Not here: reading and writing the topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::debug;

/// The format of announcements; those of another are passed over, and with them their workers.
const FORMAT: u32 = 1;
/// Workers that are gone are forgotten, and their announcements removed, after so many times the time for which they
/// counted: one that was only frozen announces itself again.
const FORGET_AFTER: u32 = 20;

/// What one worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announcement {
    format: u32,
    /// For how long it counts, in milliseconds.
    valid_ms: u64,
    /// The partitions it runs, by sub-topology; only of those with tables.
    pub runs: BTreeMap<String, Vec<i32>>,
    /// The partitions it stands by for, by sub-topology, and how far each is behind, in records of the changelogs.
    pub stands_by: BTreeMap<String, BTreeMap<i32, Option<i64>>>,
}

impl Announcement {
    pub(super) fn new(valid: Duration) -> Self {
        Self {
            format: FORMAT,
            valid_ms: u64::try_from(valid.as_millis()).unwrap_or(u64::MAX),
            runs: BTreeMap::new(),
            stands_by: BTreeMap::new(),
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names and numbers can be written as JSON")
    }

    fn read(value: &[u8]) -> Option<Self> {
        let read: Self = serde_json::from_slice(value).ok()?;
        (read.format == FORMAT).then_some(read)
    }

    /// Whether both hold the same, however far behind.
    pub(super) fn holds_the_same(&self, other: &Self) -> bool {
        let stands_by = |of: &Self| -> Vec<(String, Vec<i32>)> {
            let partitions = |held: &BTreeMap<i32, Option<i64>>| held.keys().copied().collect();
            of.stands_by
                .iter()
                .map(|(name, held)| (name.clone(), partitions(held)))
                .collect()
        };
        self.runs == other.runs && stands_by(self) == stands_by(other)
    }

    fn valid(&self) -> Duration {
        Duration::from_millis(self.valid_ms)
    }
}

/// The workers that were heard of.
#[derive(Debug, Default)]
pub(super) struct Members {
    known: BTreeMap<String, Member>,
    /// The end of the topic was reached once: what comes now is news.
    up_to_date: bool,
}

#[derive(Debug)]
struct Member {
    announcement: Announcement,
    heard: Instant,
    until: Instant,
}

impl Members {
    /// Takes a record of the topic. True when it says anything new of what a worker holds.
    pub(super) fn record(&mut self, worker: &[u8], value: Option<&[u8]>, now: Instant) -> bool {
        let Ok(worker) = std::str::from_utf8(worker) else {
            return false;
        };
        let announcement = value.and_then(Announcement::read);
        if value.is_some() && announcement.is_none() {
            debug!(
                worker,
                "an announcement cannot be read, as if the worker was not there"
            );
        }
        let Some(announcement) = announcement else {
            return self.known.remove(worker).is_some();
        };
        // What was there before may be of a worker that is gone. Any that lives is heard again in half of the time.
        let valid = match self.up_to_date {
            true => announcement.valid(),
            false => announcement.valid() / 2,
        };
        let member = Member {
            until: now + valid,
            heard: now,
            announcement,
        };
        let before = self.known.get(worker).filter(|before| before.until > now);
        let news = before.is_none_or(|before| !before.announcement.holds_the_same(&member.announcement));
        self.known.insert(worker.to_owned(), member);
        news
    }

    /// Everything that was in the topic when it was asked for is taken.
    pub(super) fn reached_end(&mut self) {
        self.up_to_date = true;
    }

    /// Begins anew: the topic is read from its beginning.
    pub(super) fn restart(&mut self) {
        self.up_to_date = false;
    }

    pub(super) fn is_up_to_date(&self) -> bool {
        self.up_to_date
    }

    /// The workers that are there, and what they hold.
    pub(super) fn live(&self, now: Instant) -> impl Iterator<Item = (&str, &Announcement)> {
        let live = self.known.iter().filter(move |(_, member)| member.until > now);
        live.map(|(worker, member)| (worker.as_str(), &member.announcement))
    }

    /// Forgets those that have been gone for long, and gives their names: their announcements are of no more use.
    pub(super) fn forget(&mut self, now: Instant) -> Vec<String> {
        let long_gone = |member: &Member| {
            now.duration_since(member.heard) > member.announcement.valid().saturating_mul(FORGET_AFTER)
        };
        let gone: Vec<_> = self
            .known
            .iter()
            .filter(|(_, member)| long_gone(member))
            .map(|(worker, _)| worker.clone())
            .collect();
        for worker in &gone {
            self.known.remove(worker);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: Duration = Duration::from_secs(30);

    fn announcement(partitions: &[i32]) -> Announcement {
        let mut announcement = Announcement::new(VALID);
        announcement.runs.insert("votes".to_owned(), partitions.to_vec());
        announcement
    }

    fn live(members: &Members, now: Instant) -> Vec<&str> {
        members.live(now).map(|(worker, _)| worker).collect()
    }

    #[test]
    fn an_announcement_is_read_as_it_was_written() {
        let mut written = announcement(&[0, 3]);
        let held = BTreeMap::from([(1, Some(17)), (2, None)]);
        written.stands_by.insert("votes".to_owned(), held);
        let text = String::from_utf8(written.write()).expect("JSON is text");
        assert_eq!(
            text,
            r#"{"format":1,"valid_ms":30000,"runs":{"votes":[0,3]},"stands_by":{"votes":{"1":17,"2":null}}}"#
        );
        assert_eq!(Announcement::read(text.as_bytes()), Some(written));
    }

    #[test]
    fn who_is_not_heard_in_time_is_gone_and_who_says_goodbye_at_once() {
        let start = crate::clock::now();
        let mut members = Members::default();
        members.reached_end();
        for worker in ["a", "b", "c"] {
            assert!(members.record(worker.as_bytes(), Some(&announcement(&[0]).write()), start));
        }
        assert!(members.record(b"c", None, start));
        assert_eq!(live(&members, start), ["a", "b"]);
        let later = start + VALID / 2;
        assert!(
            !members.record(b"a", Some(&announcement(&[0]).write()), later),
            "no news"
        );
        assert_eq!(live(&members, start + VALID), ["a"]);
        assert_eq!(live(&members, later + VALID), Vec::<&str>::new());
        let back = start + VALID * 5;
        assert!(
            members.record(b"a", Some(&announcement(&[0]).write()), back),
            "it is back"
        );
        assert_eq!(live(&members, back), ["a"]);
    }

    #[test]
    fn what_was_there_before_counts_for_half_of_the_time() {
        let start = crate::clock::now();
        let mut members = Members::default();
        members.record(b"dead", Some(&announcement(&[0]).write()), start);
        members.record(b"alive", Some(&announcement(&[1]).write()), start);
        members.reached_end();
        members.record(b"alive", Some(&announcement(&[1]).write()), start + VALID / 3);
        assert_eq!(live(&members, start + VALID / 3), ["alive", "dead"]);
        assert_eq!(live(&members, start + VALID / 2), ["alive"]);
    }

    #[test]
    fn only_what_is_held_is_news() {
        let now = crate::clock::now();
        let mut members = Members::default();
        let mut first = announcement(&[0]);
        let held = |lag| BTreeMap::from([("votes".to_owned(), BTreeMap::from([(1, Some(lag))]))]);
        first.stands_by = held(10);
        assert!(members.record(b"a", Some(&first.write()), now));
        first.stands_by = held(9);
        assert!(!members.record(b"a", Some(&first.write()), now));
        first.stands_by.clear();
        assert!(members.record(b"a", Some(&first.write()), now));
    }

    #[test]
    fn those_who_are_long_gone_are_forgotten_and_others_formats_are_nobody() {
        let start = crate::clock::now();
        let mut members = Members::default();
        members.record(b"a", Some(&announcement(&[0]).write()), start);
        assert!(!members.record(
            b"b",
            Some(br#"{"format":2,"valid_ms":9,"runs":{},"stands_by":{}}"#),
            start
        ));
        assert!(!members.record(b"c", Some(b"hello"), start));
        assert_eq!(members.forget(start + VALID), Vec::<String>::new());
        assert_eq!(members.forget(start + VALID * 21), ["a"]);
        assert_eq!(live(&members, start), Vec::<&str>::new());
    }
}
