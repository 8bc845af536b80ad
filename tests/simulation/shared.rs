//! Tasks of several inputs and agents, on several threads: two agents read each order, two inputs feed one table, and
//! some payments are none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_runtime::prelude::*;
use stream_runtime::testing::{Faults, Random, TestApp, simulate};

/// Orders by their numbers, keyed by customers.
#[topic(name = "shared-orders")]
static ORDERS: Topic<String, u64>;

/// What customers pay.
#[topic(name = "shared-payments")]
static PAYMENTS: Topic<String, i64>;

/// The numbers of orders that were followed, keyed by customers.
#[topic(name = "shared-receipts")]
static RECEIPTS: Topic<String, u64>;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    orders: u64,
    payments: u64,
    paid: i64,
}

/// Of each customer; two agents write it.
#[table(name = "shared-accounts")]
static ACCOUNTS: Table<String, Account>;

/// Of the numbers of each customer's orders, in their order.
#[table(name = "shared-orders-of")]
static ORDERS_OF: Table<String, Vec<u64>>;

#[agent(topic = ORDERS)]
async fn take_orders(order: Event<String, u64>) {
    if order.value % 23 == 4 {
        tokio::time::sleep(Duration::from_millis(order.value % 400)).await;
    }
    ACCOUNTS.update(&order.key, |account| account.orders += 1);
}

#[agent(topic = ORDERS)]
async fn follow_orders(mut orders: Stream<Event<String, u64>>) {
    while let Some(order) = orders.next().await {
        ORDERS_OF.update(&order.key, |numbers| numbers.push(order.value));
        if order.value % 19 == 3 {
            tokio::time::sleep(Duration::from_millis(order.value % 300)).await;
        }
        RECEIPTS.send(&order.key, &order.value).await;
    }
}

#[agent(topic = PAYMENTS, on_error = dead_letter)]
async fn take_payments(payment: Event<String, i64>) {
    ACCOUNTS.update(&payment.key, |account| {
        account.payments += 1;
        account.paid += payment.value;
    });
}

/// What was sent, and what follows from it.
#[derive(Debug, Default)]
struct Truth {
    accounts: BTreeMap<String, Account>,
    orders: BTreeMap<String, Vec<u64>>,
    refused: BTreeSet<Vec<u8>>,
}

fn feed(world: &mut TestApp) -> Truth {
    let mut truth = Truth::default();
    let mut random = Random::new(world.seed_number() ^ 0x5a4ed);
    for number in 0..100 + random.below(50) {
        let customer = format!("customer-{}", random.below(9));
        match random.below(8) {
            0 => {
                let nothing = format!("nothing {number}").into_bytes();
                world.send_bytes("shared-payments", Some(customer.as_bytes()), Some(&nothing));
                truth.refused.insert(nothing);
            }
            1..4 => {
                let amount = i64::try_from(number).expect("small") - 60;
                let account = truth.accounts.entry(customer.clone()).or_default();
                account.payments += 1;
                account.paid += amount;
                world.send(&PAYMENTS, customer, amount);
            }
            _ => {
                truth.accounts.entry(customer.clone()).or_default().orders += 1;
                truth.orders.entry(customer.clone()).or_default().push(number);
                world.send(&ORDERS, customer, number);
            }
        }
        if random.below(5) == 0 {
            world.advance(random.between(Duration::from_millis(1), Duration::from_secs(3)));
        }
    }
    world.settle();
    truth
}

impl Truth {
    fn check_tables(&self, world: &mut TestApp) {
        assert_eq!(world.table(&ACCOUNTS), self.accounts);
        assert_eq!(world.table(&ORDERS_OF), self.orders);
    }

    fn receipts(world: &mut TestApp) -> BTreeMap<String, Vec<u64>> {
        let mut receipts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (customer, number) in world.outputs(&RECEIPTS) {
            receipts.entry(customer).or_default().push(number);
        }
        receipts
    }

    fn refused(world: &mut TestApp) -> Vec<Vec<u8>> {
        let letters = world.records("test-dead-letters").into_iter();
        letters.filter_map(|letter| letter.value).collect()
    }
}

fn app() -> TestApp {
    TestApp::new()
        .agents([
            take_orders::agent(),
            follow_orders::agent(),
            take_payments::agent(),
        ])
        .workers(2)
        .set("threads", 2)
        .set("session_timeout", "6s")
        .set("heartbeat_interval", "500ms")
        .set("transaction_timeout", "10s")
        .set("shutdown_timeout", "10s")
}

#[test]
fn exactly_once_holds_for_all_agents_of_a_record_and_all_inputs_of_a_table() {
    simulate(
        || app().exactly_once(),
        |world| {
            let truth = feed(world);
            truth.check_tables(world);
            assert_eq!(Truth::receipts(world), truth.orders);
            let refused = Truth::refused(world);
            assert_eq!(refused.len(), truth.refused.len());
            assert_eq!(BTreeSet::from_iter(refused), truth.refused);
        },
    );
}

#[test]
fn at_least_once_keeps_a_table_of_two_inputs_exact_through_crashes() {
    simulate(
        || app().set("restore_ahead", "3s").faults(Faults::at_least_once()),
        |world| {
            let truth = feed(world);
            truth.check_tables(world);
            let mut receipts = Truth::receipts(world);
            for (customer, numbers) in &truth.orders {
                let receipts = receipts.remove(customer).unwrap_or_default();
                let missing: Vec<_> = numbers
                    .iter()
                    .filter(|number| !receipts.contains(number))
                    .collect();
                assert!(missing.is_empty(), "{customer} has no receipts for {missing:?}");
            }
            assert_eq!(BTreeSet::from_iter(Truth::refused(world)), truth.refused);
        },
    );
}
