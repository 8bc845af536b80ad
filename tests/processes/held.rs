//! What a worker holds, as its log tells.

use std::collections::{BTreeMap, BTreeSet};

/// The lead partitions that a worker with this log holds, by topic.
pub(crate) fn held_in(log: &[String]) -> BTreeMap<String, BTreeSet<i32>> {
    let mut held: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for line in log {
        let Some((before, listed)) = line.split_once(" partitions=") else {
            continue;
        };
        let taken = before.contains(": giving back") || before.contains(": lost");
        if !taken && !before.contains(": assigned") {
            continue;
        }
        let listed = listed.split(" tasks=").next().unwrap_or(listed);
        for topic in listed.split(", ") {
            let mut words = topic.split_whitespace();
            let partitions = held
                .entry(words.next().unwrap_or_default().to_owned())
                .or_default();
            for partition in words.map_while(|word| word.parse().ok()) {
                if taken {
                    partitions.remove(&partition);
                } else {
                    partitions.insert(partition);
                }
            }
        }
    }
    held.retain(|_, partitions| !partitions.is_empty());
    held
}
