//! The program under test, which this executable turns into: moves of accounts are counted where they are, go over an
//! internal topic to their groups, are counted there, and every new total of a group is put out.

use std::process::Command;

use serde::{Deserialize, Serialize};
use stream_runtime::prelude::*;

use crate::process::clean;

/// Of all its topics.
pub(crate) const PARTITIONS: i32 = 4;
/// Its id, and its group's.
pub(crate) const ID: &str = "chaos";
/// The topics that its agents read, in the order in which records take them.
pub(crate) const INPUTS: [&str; 2] = ["moves", "chaos-parts"];
/// The topic of its results.
pub(crate) const TOTALS_TOPIC: &str = "totals";
/// The changelogs of its tables.
pub(crate) const CHANGELOGS: [&str; 2] = ["chaos-by-account-changelog", "chaos-by-group-changelog"];

/// An amount that an account moves, for a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    pub(crate) id: u64,
    pub(crate) group: String,
    pub(crate) amount: i64,
}

/// A move on its way to its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) id: u64,
    pub(crate) account: String,
    pub(crate) amount: i64,
}

/// What an account has moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) count: u64,
    pub(crate) sum: i64,
    /// Of the ids in their order: it shows what came twice, not at all, or in another order.
    pub(crate) order: u64,
}

impl Account {
    pub(crate) fn add(&mut self, id: u64, amount: i64) {
        self.count += 1;
        self.sum += amount;
        self.order = (self.order.rotate_left(5) ^ id).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

/// What a group has moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) count: u64,
    pub(crate) sum: i64,
}

impl Group {
    pub(crate) fn add(&mut self, amount: i64) {
        self.count += 1;
        self.sum += amount;
    }
}

/// What a group has moved, with the move that made it so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Total {
    pub(crate) id: u64,
    pub(crate) account: String,
    pub(crate) count: u64,
    pub(crate) sum: i64,
}

/// Moves, keyed by their accounts.
#[topic(name = "moves", partitions = 4)]
static MOVES: Topic<String, Move>;

/// Moves, keyed by their groups. The judge reads them at the end, so they are kept.
#[topic(internal, partitions = 4, retention = "7d")]
static PARTS: Topic<String, Part>;

/// Every new total, keyed by its group.
#[topic(name = "totals", partitions = 4)]
static TOTALS: Topic<String, Total>;

/// What each account has moved.
#[table(value = json)]
static BY_ACCOUNT: Table<String, Account>;

/// What each group has moved.
#[table(value = json)]
static BY_GROUP: Table<String, Group>;

/// Counts by account.
#[agent(topic = MOVES)]
async fn count_accounts(moved: Event<String, Move>) {
    let Move { id, group, amount } = moved.value;
    BY_ACCOUNT.update(&moved.key, |account| account.add(id, amount));
    let part = Part {
        id,
        account: moved.key,
        amount,
    };
    PARTS.send(&group, &part).await;
}

/// Counts by group.
#[agent(topic = PARTS, sink = TOTALS)]
async fn count_groups(part: Event<String, Part>) -> Total {
    let Part { id, account, amount } = part.value;
    let Group { count, sum } = BY_GROUP.update(&part.key, |group| {
        group.add(amount);
        group.clone()
    });
    Total {
        id,
        account,
        count,
        sum,
    }
}

/// Says that this executable is to be the program.
const VARIABLE: &str = "CHAOS_PROGRAM";

/// The program, if this process is asked to be it.
pub(crate) fn asked_for() -> Option<App> {
    std::env::var_os(VARIABLE)?;
    let app = App::new(ID).agents([count_accounts::agent(), count_groups::agent()]);
    Some(app.show_at_end(&BY_ACCOUNT).show_at_end(&BY_GROUP))
}

pub(crate) fn command() -> Command {
    let mut command = clean(std::env::current_exe().expect("the test knows where it is"));
    command.env(VARIABLE, "yes");
    command
}
