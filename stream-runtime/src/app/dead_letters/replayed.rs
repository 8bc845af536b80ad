//! Which dead letters of a partition were replayed: a committed offset and what lies beyond it. Pure.
//!
//! Everything before the offset is done. Replays that pick some letters leave others behind, so the text beside the
//! offset has the runs beyond it that are done as well: `1:` and then, for each run, its distance from what is
//! before it and its length.

use crate::error::{Error, Result};

/// What the text may have: brokers take 4096 bytes unless told otherwise.
const LONGEST: usize = 4000;
const VERSION: &str = "1:";

/// Offsets that are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Everything before it.
    next: i64,
    /// Runs beyond it, from and to, in order, apart from each other.
    beyond: Vec<(i64, i64)>,
}

impl Replayed {
    /// Nothing from `first` on.
    pub(super) fn nothing(first: i64) -> Self {
        Self {
            next: first,
            beyond: Vec::new(),
        }
    }

    /// What was committed.
    ///
    /// # Errors
    /// When the text is none of [`encode`](Self::encode)'s.
    pub(super) fn decode(offset: i64, text: &str) -> Result<Self> {
        let mut replayed = Self::nothing(offset);
        if text.is_empty() {
            return Ok(replayed);
        }
        let unreadable = || {
            Error::state(format!(
                "what is remembered of earlier replays, `{text}`, was not written by this version: use a newer one, or \
                 name what to replay by `--partition`, `--from-offset` and `--again`"
            ))
        };
        let numbers: Option<Vec<i64>> = text.strip_prefix(VERSION).and_then(|text| {
            let numbers = text
                .split(',')
                .map(|number| number.parse().ok().filter(|n| *n > 0));
            numbers.collect()
        });
        let numbers = numbers.ok_or_else(unreadable)?;
        let mut end = offset;
        for pair in numbers.chunks(2) {
            let [distance, length] = *pair else {
                return Err(unreadable());
            };
            let from = end.checked_add(distance).ok_or_else(unreadable)?;
            end = from.checked_add(length).ok_or_else(unreadable)?;
            replayed.beyond.push((from, end));
        }
        Ok(replayed)
    }

    /// The offset to commit and the text beside it.
    pub(super) fn encode(&self) -> (i64, String) {
        let mut end = self.next;
        let pairs: Vec<_> = self
            .beyond
            .iter()
            .map(|(from, to)| {
                let pair = format!("{},{}", from - end, to - from);
                end = *to;
                pair
            })
            .collect();
        match pairs.is_empty() {
            true => (self.next, String::new()),
            false => (self.next, format!("{VERSION}{}", pairs.join(","))),
        }
    }

    /// Whether it still fits beside an offset.
    pub(super) fn fits(&self) -> bool {
        // Runs are short texts, so there is no need to write them out as long as there are few.
        self.beyond.len() < LONGEST / 42 || self.encode().1.len() <= LONGEST
    }

    /// The first offset that is not done.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    pub(super) fn has(&self, offset: i64) -> bool {
        offset < self.next
            || self
                .beyond
                .iter()
                .any(|(from, to)| (*from..*to).contains(&offset))
    }

    /// The offsets from `from` up to `to`, without it, are done.
    pub(super) fn add(&mut self, from: i64, to: i64) {
        if from >= to {
            return;
        }
        let (mut from, mut to) = (from, to);
        self.beyond.retain(|run| {
            let apart = run.1 < from || to < run.0;
            if !apart {
                (from, to) = (from.min(run.0), to.max(run.1));
            }
            apart
        });
        if from <= self.next {
            self.next = self.next.max(to);
            let next = self.next;
            self.beyond.retain(|run| run.1 > next);
            return;
        }
        let at = self.beyond.partition_point(|run| run.0 < from);
        self.beyond.insert(at, (from, to));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_prefix_is_an_offset_alone() {
        let mut replayed = Replayed::nothing(5);
        replayed.add(5, 6);
        replayed.add(6, 9);
        assert_eq!(replayed.encode(), (9, String::new()));
        assert!(replayed.has(8) && !replayed.has(9));
    }

    #[test]
    fn what_was_picked_lies_beyond_and_joins_when_the_rest_is_done() {
        let mut replayed = Replayed::nothing(0);
        replayed.add(3, 4);
        replayed.add(7, 9);
        replayed.add(4, 5);
        assert_eq!(replayed.encode(), (0, "1:3,2,2,2".to_owned()));
        replayed.add(0, 3);
        assert_eq!(replayed.encode(), (5, "1:2,2".to_owned()));
        replayed.add(5, 7);
        assert_eq!(replayed.encode(), (9, String::new()));
    }

    #[test]
    fn it_is_a_set_whatever_the_order() {
        // A small generator: the same numbers every time.
        let mut state = 7_u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            i64::from((state >> 8) % below)
        };
        for _ in 0..200 {
            let first = random(10);
            let mut replayed = Replayed::nothing(first);
            let mut set: BTreeSet<i64> = (0..first).collect();
            for _ in 0..random(30) {
                let from = first + random(60);
                let to = from + random(5);
                replayed.add(from, to);
                set.extend(from..to);
            }
            let (offset, text) = replayed.encode();
            let back = Replayed::decode(offset, &text).expect("it was encoded");
            assert_eq!(back, replayed);
            for offset in 0..80 {
                assert_eq!(back.has(offset), set.contains(&offset), "{offset} of {back:?}");
            }
            assert!(!set.contains(&back.next()));
        }
    }

    #[test]
    fn what_is_too_long_is_known_before_it_is_committed() {
        let mut replayed = Replayed::nothing(0);
        let mut runs = 0;
        while replayed.fits() {
            runs += 1;
            replayed.add(2 * runs, 2 * runs + 1);
            assert!(runs < 10_000);
        }
        assert!(runs > 900, "{runs}");
        replayed.add(0, 2 * runs);
        assert!(replayed.fits());
    }

    #[test]
    fn texts_of_others_are_refused() {
        for text in ["2:1,1", "1:1", "1:0,1", "1:1,-1", "1:a,b", "1:", "x"] {
            assert!(Replayed::decode(0, text).is_err(), "{text}");
        }
    }
}
