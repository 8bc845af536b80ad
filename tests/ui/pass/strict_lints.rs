//! Expansions satisfy the strictest of programs.

#![forbid(unsafe_code)]
#![deny(
    warnings,
    future_incompatible,
    let_underscore_drop,
    missing_debug_implementations,
    missing_docs,
    nonstandard_style,
    rust_2018_idioms,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unnameable_types,
    unreachable_pub,
    unused,
    unused_import_braces,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![deny(clippy::all, clippy::pedantic)]

use stream_runtime::{Event, Key, Records, Stream, Table, Topic, agent, table, topic};

/// Orders.
#[topic(internal, partitions = 4)]
pub static ORDERS: Topic<String, u64>;

#[topic]
static UNUSED: Topic<String, u64>;

/// Totals.
#[table(default = 3)]
pub static TOTALS: Table<String, u64>;

#[table]
static UNUSED_TABLE: Table<String, String>;

/// Counts.
///
/// # Errors
/// Never.
#[agent(topic = ORDERS, sink = "counts")]
pub async fn count(order: u64, Key(customer): Key<String>) -> Result<Option<u64>, std::io::Error> {
    Ok(Some(TOTALS.update(&customer, |total| *total + order)))
}

#[agent(topic = "orders")]
async fn returns_something(order: u64) -> String {
    order.to_string()
}

#[agent(topic = "orders", sink = look)]
async fn borrows(order: String) -> Vec<String> {
    println!("{order}");
    Vec::new()
}

fn look(order: &str) {
    println!("{order}");
}

#[agent(topic = "orders")]
async fn returns_nothing(event: Event<String, u64>) {
    drop(event);
}

#[agent(topic = ORDERS)]
async fn streams(mut orders: Stream<u64>) {
    while orders.next().await.is_some() {}
}

/// A module.
pub mod inner {
    use super::{Event, Records, Stream, agent};

    /// Streams.
    ///
    /// # Errors
    /// Never.
    #[agent(topic = super::ORDERS)]
    pub async fn events(mut orders: Stream<Event<String, u64>>) -> Result<(), std::io::Error> {
        while orders.next().await.is_some() {}
        Ok(())
    }
}

fn main() {}
