#![deny(warnings)]

use std::time::Duration;

use stream_runtime::prelude::*;
use stream_runtime::{AgentDef, OnError, Ownership, TopicDef, Verdict};

/// Kept for a month, in more partitions.
#[topic(internal, partitions = 3, retention = "30d")]
static FAILED: Topic<Vec<u8>, Vec<u8>>;

macro_rules! agent_with {
    ($name:ident, $($policy:tt)+) => {
        #[agent(topic = "orders", on_error = $($policy)+)]
        async fn $name(order: String) {
            drop(order);
        }
    };
}

#[agent(topic = "orders", on_error = stop)]
async fn stop(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = dead_letter)]
async fn of_the_program(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = dead_letter("orders-failed"))]
async fn by_name(mut orders: Stream<String>) {
    while orders.next().await.is_some() {}
}

#[agent(topic = "orders", on_error = dead_letter(FAILED))]
async fn declared(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = retry(times = 0))]
async fn stop_at_once(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = retry(times = 7, backoff = "1s", max = "10s", then = dead_letter("orders-failed")))]
async fn in_full(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = retry(then = dead_letter))]
async fn retried(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = retry(backoff = "5m"))]
async fn slowly(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = retry(max = "50ms"))]
async fn quickly(order: String) {
    drop(order);
}

agent_with!(passed_on, retry(times = 1, then = skip));

fn dead_letters(agent: &AgentDef) -> &'static TopicDef {
    agent.on_error.then.dead_letters().expect("it has some")
}

fn main() {
    assert_eq!(stop::agent().on_error, OnError::DEFAULT);
    assert_eq!(of_the_program::agent().on_error.retries, 0);
    let own = dead_letters(of_the_program::agent());
    assert_eq!((own.name, own.ownership, own.retention_ms), ("dead-letters", Ownership::Internal, Some(-1)));
    let named = dead_letters(by_name::agent());
    assert_eq!((named.name, named.ownership), ("orders-failed", Ownership::External));
    assert!(std::ptr::eq(dead_letters(declared::agent()), FAILED.def()));

    let at_once = stop_at_once::agent().on_error;
    assert_eq!((at_once.retries, at_once.then), (0, Verdict::Stop));
    let in_full = in_full::agent().on_error;
    let seconds = Duration::from_secs;
    assert_eq!((in_full.retries, in_full.backoff, in_full.max_backoff), (7, seconds(1), seconds(10)));
    assert_eq!(in_full.then.dead_letters().map(|topic| topic.name), Some("orders-failed"));
    assert_eq!(retried::agent().on_error.retries, 3);
    let slowly = slowly::agent().on_error;
    assert_eq!((slowly.backoff, slowly.max_backoff), (seconds(300), seconds(300)));
    let quickly = quickly::agent().on_error;
    assert_eq!((quickly.backoff, quickly.max_backoff), (Duration::from_millis(50), Duration::from_millis(50)));
    assert_eq!(passed_on::agent().on_error.then, Verdict::Skip);
}
