//! Whether a promise was kept: arithmetic on the input.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use crate::evidence::{ByKey, Dump, Evidence, Tables};
use crate::program::{Account, Group, Move, Part};

/// What must be so, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// Every move has come through.
    NothingMissing,
    /// And no table has less than the moves, nor another content than its changelog.
    NothingLess,
    /// And each table is what its agent's input makes of it.
    ExactTables,
    /// And everything is there once and in order.
    ExactlyOnce,
}

/// What came more than once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Surplus {
    /// Moves that were handed on again.
    pub(crate) parts: u64,
    /// Parts that were put out again.
    pub(crate) totals: u64,
    /// What the tables counted too much.
    pub(crate) by_account: u64,
    pub(crate) by_group: u64,
}

impl Evidence {
    /// Everything that breaks the promise.
    pub(crate) fn broken(&self, promise: Promise) -> Vec<String> {
        let mut broken = Vec::new();
        self.input(&mut broken);
        self.nothing_missing(&mut broken);
        if promise >= Promise::NothingLess {
            for dump in &self.dumps {
                self.nothing_less(dump, &mut broken);
            }
            self.changelogs(&mut broken);
        }
        if promise >= Promise::ExactTables {
            for dump in &self.dumps {
                let truth = self.truth(dump.moves);
                differ(
                    &format!("table by-account of {}", dump.of),
                    &dump.tables.accounts,
                    &truth.accounts,
                    &mut broken,
                );
                differ(
                    &format!("table by-group of {}", dump.of),
                    &dump.tables.groups,
                    &truth.groups,
                    &mut broken,
                );
            }
        }
        if promise == Promise::ExactlyOnce {
            once("the internal topic", &self.parts, |part| part.id, &mut broken);
            once("the output", &self.totals, |total| total.id, &mut broken);
            self.order(&mut broken);
        }
        broken
    }

    /// What came more than once.
    pub(crate) fn surplus(&self) -> Surplus {
        let sent = self.sent.len() as u64;
        let parts = count(&self.parts);
        let last = self.dumps.last();
        let counted = |of: fn(&Tables) -> u64| last.map_or(sent, |dump| of(&dump.tables));
        Surplus {
            parts: parts.saturating_sub(sent),
            totals: count(&self.totals).saturating_sub(parts),
            by_account: counted(|tables| tables.accounts.values().map(|account| account.count).sum())
                .saturating_sub(sent),
            by_group: counted(|tables| tables.groups.values().map(|group| group.count).sum())
                .saturating_sub(sent),
        }
    }

    /// The input is what was acknowledged: otherwise nothing else can be judged.
    fn input(&self, broken: &mut Vec<String>) {
        let mut sent: ByKey<Move> = BTreeMap::new();
        for (account, moved) in &self.sent {
            sent.entry(account.clone()).or_default().push(moved.clone());
        }
        differ("the input topic", &self.moves, &sent, broken);
    }

    fn nothing_missing(&self, broken: &mut Vec<String>) {
        let parts: BTreeSet<_> = self.parts.values().flatten().map(|part| part.id).collect();
        let totals: BTreeSet<_> = self.totals.values().flatten().map(|total| total.id).collect();
        for (place, ids) in [("the internal topic", parts), ("the output", totals)] {
            let missing: Vec<_> = (0..self.sent.len() as u64)
                .filter(|id| !ids.contains(id))
                .collect();
            if !missing.is_empty() {
                broken.push(format!(
                    "{} of {} moves are missing from {place}: {}",
                    missing.len(),
                    self.sent.len(),
                    some(&missing)
                ));
            }
        }
    }

    /// What the agents' inputs make of the first `moves` moves, however often they lie in the internal topic.
    fn truth(&self, moves: u64) -> Tables {
        let mut truth = Tables::default();
        for (account, moved) in self.sent.iter().filter(|(_, moved)| moved.id < moves) {
            let account: &mut Account = truth.accounts.entry(account.clone()).or_default();
            account.add(moved.id, moved.amount);
        }
        for (name, parts) in &self.parts {
            for part in parts.iter().filter(|part| part.id < moves) {
                let group: &mut Group = truth.groups.entry(name.clone()).or_default();
                group.add(part.amount);
            }
        }
        truth
    }

    fn nothing_less(&self, dump: &Dump, broken: &mut Vec<String>) {
        let mut accounts: BTreeMap<&str, u64> = BTreeMap::new();
        let mut groups: BTreeMap<&str, u64> = BTreeMap::new();
        for (account, moved) in self.sent.iter().filter(|(_, moved)| moved.id < dump.moves) {
            *accounts.entry(account).or_default() += 1;
            *groups.entry(&moved.group).or_default() += 1;
        }
        let found_accounts = dump.tables.accounts.iter();
        let found_groups = dump.tables.groups.iter();
        for (table, sent, found) in [
            (
                "by-account",
                accounts,
                found_accounts
                    .map(|(key, account)| (key.as_str(), account.count))
                    .collect::<BTreeMap<_, _>>(),
            ),
            (
                "by-group",
                groups,
                found_groups
                    .map(|(key, group)| (key.as_str(), group.count))
                    .collect(),
            ),
        ] {
            let less: Vec<_> = sent
                .iter()
                .filter(|(key, sent)| found.get(*key).copied().unwrap_or_default() < **sent)
                .map(|(key, sent)| format!("{key}: {:?} of {sent}", found.get(key)))
                .collect();
            if !less.is_empty() {
                broken.push(format!(
                    "table {table} of {} has counted less than was sent: {}",
                    dump.of,
                    some(&less)
                ));
            }
        }
    }

    /// The changelogs, compacted, are what the stores have.
    fn changelogs(&self, broken: &mut Vec<String>) {
        let Some(last) = self.dumps.last() else { return };
        differ(
            "the changelog of by-account",
            &self.changelogs.accounts,
            &last.tables.accounts,
            broken,
        );
        differ(
            "the changelog of by-group",
            &self.changelogs.groups,
            &last.tables.groups,
            broken,
        );
    }

    /// Totals count up by one in the order of the parts, and moves of an account keep theirs.
    fn order(&self, broken: &mut Vec<String>) {
        let totals: ByKey<u64> = ids(&self.totals, |total| total.id);
        let parts: ByKey<u64> = ids(&self.parts, |part| part.id);
        differ("the order of the output", &totals, &parts, broken);
        for (group, totals) in &self.totals {
            let (mut sum, mut last) = (0, BTreeMap::new());
            for (total, count) in totals.iter().zip(1..) {
                let amount = self.amount(total.id);
                sum += amount;
                if (total.count, total.sum) != (count, sum) {
                    broken.push(format!(
                        "total {count} of {group}, of move {}, is {} records and {} where {count} and {sum} are right",
                        total.id, total.count, total.sum
                    ));
                    // What follows from it says nothing new.
                    break;
                }
                if let Some(before) = last.insert(&total.account, total.id)
                    && before >= total.id
                {
                    broken.push(format!(
                        "in {group}, move {} of {} comes after move {before}",
                        total.id, total.account
                    ));
                }
            }
        }
    }

    fn amount(&self, id: u64) -> i64 {
        let at = usize::try_from(id).ok().and_then(|id| self.sent.get(id));
        at.map_or(0, |(_, moved)| moved.amount)
    }
}

fn count<T>(records: &ByKey<T>) -> u64 {
    records.values().map(|records| records.len() as u64).sum()
}

fn ids<T>(records: &ByKey<T>, id: fn(&T) -> u64) -> ByKey<u64> {
    let ids = records
        .iter()
        .map(|(key, records)| (key.clone(), records.iter().map(id).collect()));
    ids.collect()
}

fn once<T>(place: &str, records: &ByKey<T>, id: fn(&T) -> u64, broken: &mut Vec<String>) {
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for record in records.values().flatten() {
        *times.entry(id(record)).or_default() += 1;
    }
    let repeated: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    if !repeated.is_empty() {
        broken.push(format!(
            "{} moves are in {place} more than once (move, times): {}",
            repeated.len(),
            some(&repeated)
        ));
    }
}

/// Says where what was found (left) is not what is right.
fn differ<T: PartialEq + Debug>(
    what: &str,
    found: &BTreeMap<String, T>,
    right: &BTreeMap<String, T>,
    broken: &mut Vec<String>,
) {
    let keys: BTreeSet<_> = found.keys().chain(right.keys()).collect();
    let different: Vec<_> = keys
        .iter()
        .filter(|key| found.get(**key) != right.get(**key))
        .collect();
    if let Some(first) = different.first() {
        let short = |value: Option<&T>| {
            let text = format!("{value:?}");
            match text.char_indices().nth(300) {
                Some((end, _)) => format!("{} …", &text[..end]),
                None => text,
            }
        };
        broken.push(format!(
            "{what}: {} of {} keys are wrong: {}; {first} is {} where {} is right",
            different.len(),
            keys.len(),
            some(&different),
            short(found.get(**first)),
            short(right.get(**first))
        ));
    }
}

fn some<T: Debug>(items: &[T]) -> String {
    let first: Vec<_> = items.iter().take(8).map(|item| format!("{item:?}")).collect();
    let more = if items.len() > first.len() { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}

/// What an undisturbed program leaves, for tests of the judge.
pub(crate) fn undisturbed(moves: u64) -> Evidence {
    let mut evidence = Evidence::default();
    let mut tables = Tables::default();
    for id in 0..moves {
        let account = format!("account-{:03}", id % 7);
        let moved = Move {
            id,
            group: format!("group-{:02}", id % 3),
            amount: id.cast_signed() - 5,
        };
        let (group, amount) = (moved.group.clone(), moved.amount);
        evidence.sent.push((account.clone(), moved.clone()));
        evidence.moves.entry(account.clone()).or_default().push(moved);
        tables
            .accounts
            .entry(account.clone())
            .or_default()
            .add(id, amount);
        let total = tables.groups.entry(group.clone()).or_default();
        total.add(amount);
        let (count, sum) = (total.count, total.sum);
        evidence.parts.entry(group.clone()).or_default().push(Part {
            id,
            account: account.clone(),
            amount,
        });
        evidence
            .totals
            .entry(group)
            .or_default()
            .push(crate::program::Total {
                id,
                account,
                count,
                sum,
            });
    }
    evidence.changelogs = tables.clone();
    evidence.dumps.push(Dump {
        of: "all workers".to_owned(),
        tables,
        moves,
    });
    evidence
}
