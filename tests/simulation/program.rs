//! The program under test: moves of accounts are counted where they are, go over an internal topic to their groups, are
//! counted there, and every new total of a group is put out.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_runtime::prelude::*;
use stream_runtime::testing::TestApp;

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

/// What a group has moved, with the move that made it so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Total {
    pub(crate) id: u64,
    pub(crate) count: u64,
    pub(crate) sum: i64,
}

/// Moves, keyed by their accounts.
#[topic(name = "moves")]
pub(crate) static MOVES: Topic<String, Move>;

/// Moves, keyed by their groups.
#[topic(internal)]
static PARTS: Topic<String, Part>;

/// Every new total, keyed by its group.
#[topic(name = "totals")]
pub(crate) static TOTALS: Topic<String, Total>;

/// What each account has moved.
#[table]
pub(crate) static BY_ACCOUNT: Table<String, Account>;

/// The accounts and residues of ids that came an odd number of times: half of its writes are deletions.
#[table]
pub(crate) static ODD: Table<(String, u64), u64>;

/// What each group has moved.
#[table(value = json)]
pub(crate) static BY_GROUP: Table<String, Group>;

/// The residues that [`ODD`] tells apart.
pub(crate) const RESIDUES: u64 = 3;

/// Counts by account. Some moves fail at first, before or after they have written something, or take their time.
#[agent(topic = MOVES, on_error = retry(times = 20, backoff = "20ms"))]
async fn count_accounts(moved: Event<String, Move>) -> Result<(), String> {
    let Move { id, group, amount } = moved.value;
    if id % 31 == 7 {
        tokio::time::sleep(Duration::from_millis(id % 50)).await;
    }
    BY_ACCOUNT.update(&moved.key, |account| account.add(id, amount));
    let residue = (moved.key.clone(), id % RESIDUES);
    if ODD.remove(&residue).is_none() {
        ODD.set(&residue, id);
    }
    PARTS.send(&group, &Part { id, amount }).await;
    // Commits that come meanwhile leave out what is written above.
    if id % 17 == 2 {
        tokio::time::sleep(Duration::from_millis(10 * (id % 40))).await;
    }
    if id % 11 == 3 && fails_now(id) {
        return Err(format!("move {id} is not wanted yet"));
    }
    let panics = id % 13 == 5 && id % 11 != 3 && fails_now(id);
    assert!(!panics, "move {id} is not understood yet");
    Ok(())
}

/// Counts by group.
#[agent(topic = PARTS, sink = TOTALS)]
async fn count_groups(part: Event<String, Part>) -> Total {
    let Part { id, amount } = part.value;
    let Group { count, sum } = BY_GROUP.update(&part.key, |group| {
        group.count += 1;
        group.sum += amount;
        group.clone()
    });
    Total { id, count, sum }
}

thread_local! {
    /// How often each move was tried that fails at first.
    static TRIES: RefCell<BTreeMap<u64, u32>> = const { RefCell::new(BTreeMap::new()) };
}

/// Whether this try of a move is one that fails: two of three.
fn fails_now(id: u64) -> bool {
    TRIES.with_borrow_mut(|tries| {
        let tries = tries.entry(id).or_default();
        *tries += 1;
        *tries % 3 != 0
    })
}

/// Begins anew: one run knows nothing of another.
pub(crate) fn forget_tries() {
    TRIES.take();
}

pub(crate) fn app() -> TestApp {
    TestApp::new()
        .agents([count_accounts::agent(), count_groups::agent()])
        .set("session_timeout", "6s")
        .set("heartbeat_interval", "500ms")
        .set("transaction_timeout", "10s")
        .set("shutdown_timeout", "10s")
}
