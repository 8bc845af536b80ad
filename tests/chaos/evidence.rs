//! What is found at the end: the topics, the changelogs, what workers have in their stores.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::cluster::{Cluster, Pair};
use crate::program::{Account, CHANGELOGS, Group, INPUTS, Move, Part, TOTALS_TOPIC, Total};

/// Records by their keys, each key's in their order.
pub(crate) type ByKey<T> = BTreeMap<String, Vec<T>>;

/// The content of both tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) groups: BTreeMap<String, Group>,
}

/// What workers had in their stores at one time.
#[derive(Debug, Clone)]
pub(crate) struct Dump {
    pub(crate) of: String,
    pub(crate) tables: Tables,
    /// How many moves there had been, all of them processed.
    pub(crate) moves: u64,
}

/// Everything that is judged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// What was sent and acknowledged, by id.
    pub(crate) sent: Vec<(String, Move)>,
    pub(crate) moves: ByKey<Move>,
    pub(crate) parts: ByKey<Part>,
    pub(crate) totals: ByKey<Total>,
    /// The last value of each key.
    pub(crate) changelogs: Tables,
    pub(crate) dumps: Vec<Dump>,
}

impl Evidence {
    /// Reads everything that is on the broker, as far as it is committed.
    pub(crate) fn read(cluster: &Cluster, sent: Vec<(String, Move)>, dumps: Vec<Dump>) -> Self {
        Self {
            sent,
            moves: by_key(cluster.read(INPUTS[0])),
            parts: by_key(cluster.read(INPUTS[1])),
            totals: by_key(cluster.read(TOTALS_TOPIC)),
            changelogs: Tables {
                accounts: compacted(cluster.read(CHANGELOGS[0])),
                groups: compacted(cluster.read(CHANGELOGS[1])),
            },
            dumps,
        }
    }
}

fn decoded<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

fn by_key<T: DeserializeOwned>(records: Vec<Pair>) -> ByKey<T> {
    let mut by_key = ByKey::new();
    for (key, value) in records {
        by_key.entry(key).or_insert_with(Vec::new).push(decoded(&value));
    }
    by_key
}

fn compacted<T: DeserializeOwned>(records: Vec<Pair>) -> BTreeMap<String, T> {
    let mut last = BTreeMap::new();
    for (key, value) in records {
        let mut rest = value.chars();
        // The format of the value.
        let format = rest.next();
        match format {
            Some('\0'..='\u{8}') => last.insert(key, decoded(rest.as_str())),
            Some(other) => panic!("a changelog's value begins with {other:?}"),
            None => last.remove(&key),
        };
    }
    last
}

impl Tables {
    /// Reads what workers show at their end; gives what does not fit together as well.
    pub(crate) fn shown<'a>(lines: impl IntoIterator<Item = &'a str>) -> (Self, Vec<String>) {
        let mut tables = Self::default();
        let mut problems = Vec::new();
        for line in lines {
            let Some((key, value)) = line.trim().split_once(char::is_whitespace) else {
                continue;
            };
            let (key, value) = (key.trim_matches('"').to_owned(), value.trim());
            let shown_before = if key.starts_with("account-") {
                let account: Account = decoded(value);
                tables
                    .accounts
                    .insert(key.clone(), account.clone())
                    .is_some_and(|before| before != account)
            } else if key.starts_with("group-") {
                let group: Group = decoded(value);
                tables
                    .groups
                    .insert(key.clone(), group.clone())
                    .is_some_and(|before| before != group)
            } else {
                false
            };
            if shown_before {
                problems.push(format!("two workers show different values of {key}"));
            }
        }
        (tables, problems)
    }
}
