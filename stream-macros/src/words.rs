//! Every word an attribute understands, once, so that parser and messages cannot drift apart.

// Keys that several macros share.
pub(crate) const NAME: &str = "name";
pub(crate) const CONFIG: &str = "config";
pub(crate) const VALUE: &str = "value";

// Keys of `#[agent]`.
pub(crate) const TOPIC: &str = "topic";
pub(crate) const SINK: &str = "sink";
pub(crate) const SINKS: &str = "sinks";
pub(crate) const ON_ERROR: &str = "on_error";
pub(crate) const TABLES: &str = "tables";

// Keys of `#[topic]`.
pub(crate) const INTERNAL: &str = "internal";
pub(crate) const PARTITIONS: &str = "partitions";
pub(crate) const REPLICAS: &str = "replicas";
pub(crate) const RETENTION: &str = "retention";
pub(crate) const COMPACT: &str = "compact";
pub(crate) const KEY: &str = "key";

// Keys of `#[table]`.
pub(crate) const DEFAULT: &str = "default";

// What `on_error` can be, and the keys of `retry(…)`.
pub(crate) const STOP: &str = "stop";
pub(crate) const SKIP: &str = "skip";
pub(crate) const DEAD_LETTER: &str = "dead_letter";
pub(crate) const RETRY: &str = "retry";
pub(crate) const TIMES: &str = "times";
pub(crate) const BACKOFF: &str = "backoff";
pub(crate) const MAX: &str = "max";
pub(crate) const THEN: &str = "then";

// Codecs that come along.
pub(crate) const JSON: &str = "json";
pub(crate) const TEXT: &str = "text";
pub(crate) const RAW: &str = "raw";
pub(crate) const POSTCARD: &str = "postcard";

/// A retention without end.
pub(crate) const FOREVER: &str = "forever";

/// The keys of each attribute, in the order in which messages list them.
pub(crate) const OF_AGENT: &[&str] = &[TOPIC, NAME, SINK, SINKS, ON_ERROR, TABLES];
pub(crate) const OF_TOPIC: &[&str] = &[
    INTERNAL, NAME, PARTITIONS, REPLICAS, RETENTION, COMPACT, KEY, VALUE, CONFIG,
];
pub(crate) const OF_TABLE: &[&str] = &[NAME, VALUE, DEFAULT, CONFIG];
pub(crate) const OF_RETRY: &[&str] = &[TIMES, BACKOFF, MAX, THEN];

/// The word of `known` that `written` was probably meant to be.
///
/// A third of the letters may differ, as in rustc's own suggestions; two swapped letters are one difference.
pub(crate) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, word) = known
        .iter()
        .map(|word| (distance(written, word), *word))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= written.len().max(3) / 3).then_some(word)
}

/// Edits between two words: insertions, deletions, substitutions, swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let differs = usize::from(a[i - 1] != b[j - 1]);
                let edited = (rows[i - 1][j] + 1)
                    .min(rows[i][j - 1] + 1)
                    .min(rows[i - 1][j - 1] + differs);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped {
                    edited.min(rows[i - 2][j - 2] + 1)
                } else {
                    edited
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

/// Words as a message lists them: `` `a`, `b` ``.
pub(crate) fn listed(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(nearest("topc", OF_AGENT), Some(TOPIC));
        assert_eq!(nearest("tpoic", OF_AGENT), Some(TOPIC));
        assert_eq!(nearest("onerror", OF_AGENT), Some(ON_ERROR));
    }

    #[test]
    fn another_word_is_not() {
        assert_eq!(nearest("concurrency", OF_AGENT), None);
        assert_eq!(nearest("x", OF_AGENT), None);
    }
}
