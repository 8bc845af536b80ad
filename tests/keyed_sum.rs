//! A keyed sum with retries, and its tests: a file to start from.
//!
//! Payments are booked by account. Some cannot be booked at first, and are tried again; what a failed try has written and
//! sent does not count.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_runtime::prelude::*;
use stream_runtime::testing::{Random, TestApp, simulate};

/// A payment; those that are `locked` are booked at the third try.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Payment {
    id: u64,
    amount: i64,
    locked: bool,
}

/// Payments, keyed by their account.
#[topic]
static PAYMENTS: Topic<String, Payment>;

/// Every new balance, keyed by its account.
#[topic]
static STATEMENTS: Topic<String, i64>;

/// The balance of each account.
#[table]
static BALANCES: Table<String, i64>;

/// Books payments.
#[agent(topic = PAYMENTS, sink = STATEMENTS, on_error = retry(times = 5, backoff = "100ms"))]
async fn book(payment: Event<String, Payment>) -> Result<i64, String> {
    let Payment { id, amount, locked } = payment.value;
    let balance = BALANCES.update(&payment.key, |balance| {
        *balance += amount;
        *balance
    });
    // Too late to be polite: the balance is written already.
    if locked && tries_of(id) < 3 {
        return Err(format!("account {} is locked", payment.key));
    }
    Ok(balance)
}

thread_local! {
    /// What the outside world knows of each payment: how often it was tried.
    static TRIES: RefCell<BTreeMap<u64, u32>> = const { RefCell::new(BTreeMap::new()) };
}

fn tries_of(id: u64) -> u32 {
    TRIES.with_borrow_mut(|tries| {
        let tries = tries.entry(id).or_default();
        *tries += 1;
        *tries
    })
}

fn payment(id: u64, amount: i64, locked: bool) -> Payment {
    Payment { id, amount, locked }
}

#[test]
fn a_payment_that_is_tried_again_counts_once() {
    let mut app = TestApp::new().agents([book::agent()]);
    app.send(&PAYMENTS, "ann", payment(1, 100, false))
        .send(&PAYMENTS, "ann", payment(2, -30, true))
        .settle();
    assert_eq!(app.table(&BALANCES).get("ann"), Some(&70));
    let statements: Vec<_> = app.outputs(&STATEMENTS);
    assert_eq!(statements, [("ann".to_owned(), 100), ("ann".to_owned(), 70)]);
}

#[test]
fn a_payment_that_cannot_be_read_stops_its_task_and_others_go_on() {
    let mut app = TestApp::new().agents([book::agent()]);
    // The keys are in different partitions, and so in different tasks.
    app.send_bytes("payments", Some(b"bob"), Some(b"not json"))
        .send(&PAYMENTS, "cat", payment(4, 5, false))
        .advance(Duration::from_secs(30));
    assert_eq!(app.stopped_tasks().len(), 1, "{:?}", app.stopped_tasks());
    assert_eq!(app.table(&BALANCES).get("cat"), Some(&5));
}

#[test]
fn balances_are_right_whatever_happens() {
    simulate(
        || TestApp::new().agents([book::agent()]).workers(2).exactly_once(),
        |world| {
            TRIES.take();
            let mut random = Random::new(world.seed_number());
            let mut right = BTreeMap::new();
            for id in 0..60 {
                let account = format!("account-{}", random.below(5));
                let amount = i64::try_from(random.below(100)).expect("small");
                *right.entry(account.clone()).or_default() += amount;
                world
                    .send(&PAYMENTS, account, payment(id, amount, random.one_in(5)))
                    .advance(random.between(Duration::ZERO, Duration::from_secs(1)));
            }
            world.settle();
            assert_eq!(BTreeMap::from(world.table(&BALANCES)), right);
            assert_eq!(world.outputs(&STATEMENTS).len(), 60);
        },
    );
}
