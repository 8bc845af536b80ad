//! What a commit says of its task beside the offsets: where the changelogs stood. Pure.
//!
//! All offsets of a task are committed in one request, which a broker stores whole or not at all, and each carries
//! this text as its metadata. So whoever takes the task over knows which records of the changelogs belong to what was
//! committed and which were written by somebody who did not live to commit them. Inputs that had nothing to
//! commit keep the text of an earlier cut; the highest number counts.

use std::collections::BTreeMap;
use std::fmt;

/// The format of the text; others are passed over.
const FORMAT: &str = "1";

/// The longest text that brokers take unless told otherwise (`offset.metadata.max.bytes`).
pub(crate) const MAX_BYTES: usize = 4096;

/// One committed cut of a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cut {
    /// Counts the cuts of the task, whoever made them, from 1.
    pub number: u64,
    /// For each table the changelog offset behind everything that was committed; a table whose offset was not known
    /// is left out.
    pub changelogs: BTreeMap<String, i64>,
}

impl Cut {
    /// The newest cut that these texts tell of.
    pub(crate) fn newest<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        texts
            .into_iter()
            .filter_map(Self::parse)
            .max_by_key(|cut| cut.number)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        if words.next() != Some(FORMAT) {
            return None;
        }
        let number = words.next()?.parse().ok()?;
        let changelogs = words
            .map(|word| {
                let (table, offset) = word.split_once('=')?;
                Some((table.to_owned(), offset.parse().ok()?))
            })
            .collect::<Option<_>>()?;
        Some(Self { number, changelogs })
    }

    /// The longest text that a task with these tables can have.
    pub(crate) fn longest<'a>(tables: impl IntoIterator<Item = &'a str>) -> usize {
        let changelogs = tables.into_iter().map(|table| (table.to_owned(), i64::MAX));
        let cut = Self {
            number: u64::MAX,
            changelogs: changelogs.collect(),
        };
        cut.to_string().len()
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORMAT} {}", self.number)?;
        for (table, offset) in &self.changelogs {
            write!(f, " {table}={offset}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    mod properties;

    use super::*;

    fn cut(number: u64, changelogs: &[(&str, i64)]) -> Cut {
        Cut {
            number,
            changelogs: changelogs
                .iter()
                .map(|(table, offset)| ((*table).to_owned(), *offset))
                .collect(),
        }
    }

    #[test]
    fn a_cut_is_read_as_it_was_written() {
        let written = cut(7, &[("colors-count", 0), ("seen", 1_234)]);
        let text = written.to_string();
        assert_eq!(text, "1 7 colors-count=0 seen=1234");
        assert_eq!(Cut::newest([text.as_str()]), Some(written));
        assert_eq!(Cut::newest(["1 3"]), Some(cut(3, &[])));
    }

    #[test]
    fn of_several_the_newest_counts_and_what_others_wrote_is_passed_over() {
        let texts = ["1 9 t=3", "", "1 10 t=2", "2 99 t=9", "1 x", "1 12 t", "hello"];
        assert_eq!(Cut::newest(texts), Some(cut(10, &[("t", 2)])));
        assert_eq!(Cut::newest(["", "consumer-1"]), None);
    }

    #[test]
    fn the_longest_text_is_known() {
        let longest = cut(u64::MAX, &[("a", i64::MAX), ("b", i64::MAX)]);
        assert_eq!(Cut::longest(["a", "b"]), longest.to_string().len());
    }
}
