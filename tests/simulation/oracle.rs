//! What must be there in the end, by arithmetic on the input.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use stream_runtime::testing::{Random, TestApp};

use crate::program::{Account, BY_ACCOUNT, BY_GROUP, Group, MOVES, Move, ODD, RESIDUES, TOTALS, Total};

const ACCOUNTS: u64 = 20;
const GROUPS: u64 = 7;

/// What was sent, and what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    sent: u64,
    accounts: BTreeMap<String, Account>,
    groups: BTreeMap<String, Group>,
    odd: BTreeMap<(String, u64), u64>,
}

impl Truth {
    /// Sends some moves more.
    pub(crate) fn send(&mut self, world: &mut TestApp, random: &mut Random, count: u64) {
        for _ in 0..count {
            let id = self.sent;
            self.sent += 1;
            let account = format!("account-{}", random.below(ACCOUNTS));
            let group = format!("group-{}", random.below(GROUPS));
            let amount = i64::try_from(random.below(2001)).expect("small") - 1000;
            self.accounts.entry(account.clone()).or_default().add(id, amount);
            let total = self.groups.entry(group.clone()).or_default();
            total.count += 1;
            total.sum += amount;
            let residue = (account.clone(), id % RESIDUES);
            if self.odd.remove(&residue).is_none() {
                self.odd.insert(residue, id);
            }
            world.send(&MOVES, account, Move { id, group, amount });
        }
    }

    /// Every record has had its effect exactly once.
    pub(crate) fn check_exact(&self, world: &mut TestApp) {
        self.check_first_hop(world);
        same("by-group", &world.table(&BY_GROUP).into(), &self.groups);
        let mut seen: BTreeMap<String, Group> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for (group, Total { id, count, sum }) in world.outputs(&TOTALS) {
            let last = seen.entry(group.clone()).or_default();
            assert_eq!(
                count,
                last.count + 1,
                "the totals of {group} go on one by one (move {id})"
            );
            *last = Group { count, sum };
            assert!(ids.insert(id), "move {id} is in the totals twice");
        }
        same("totals", &seen, &self.groups);
        assert_eq!(ids.len() as u64, self.sent, "every move is in the totals");
    }

    /// Nothing is lost, and tables that are fed from the input itself are exact.
    pub(crate) fn check_at_least(&self, world: &mut TestApp) {
        self.check_first_hop(world);
        self.check_all_there(world);
        let view = world.table(&BY_GROUP);
        for (group, truth) in &self.groups {
            let count = view.get(group).map_or(0, |group| group.count);
            assert!(count >= truth.count, "{group} counts {count} of {}", truth.count);
        }
    }

    /// Every record has its result.
    pub(crate) fn check_all_there(&self, world: &mut TestApp) {
        let totals = world.outputs(&TOTALS).into_iter();
        let ids: BTreeSet<_> = totals.map(|(_, total)| total.id).collect();
        let missing: Vec<_> = (0..self.sent).filter(|id| !ids.contains(id)).collect();
        assert!(missing.is_empty(), "moves {missing:?} are in no total");
    }

    fn check_first_hop(&self, world: &mut TestApp) {
        same("by-account", &world.table(&BY_ACCOUNT).into(), &self.accounts);
        same("odd", &world.table(&ODD).into(), &self.odd);
    }
}

#[track_caller]
fn same<K: Ord + Debug, V: PartialEq + Debug>(what: &str, found: &BTreeMap<K, V>, right: &BTreeMap<K, V>) {
    let keys: BTreeSet<_> = found.keys().chain(right.keys()).collect();
    let wrong: Vec<_> = keys
        .into_iter()
        .filter(|key| found.get(key) != right.get(key))
        .map(|key| {
            format!(
                "{key:?} is {:?} and should be {:?}",
                found.get(key),
                right.get(key)
            )
        })
        .collect();
    assert!(wrong.is_empty(), "{what}: {}", wrong.join("; "));
}
