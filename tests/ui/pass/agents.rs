use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_runtime::prelude::*;
use stream_runtime::{Form, OnError, Verdict};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    customer: String,
    total: u64,
}

#[topic]
static ORDERS: Topic<String, Order>;

#[topic(internal)]
static TOTALS: Topic<String, u64>;

#[table]
static SPENT: Table<String, u64>;

mod audit {
    use stream_runtime::prelude::*;

    #[table]
    pub static SEEN: Table<String, u64>;

    pub fn note(total: &u64) {
        println!("{total}");
    }

    #[agent(topic = super::TOTALS)]
    pub(super) async fn watch(total: u64) {
        SEEN.update("all", |n| *n += total);
    }
}

/// What each customer spent.
#[agent(topic = ORDERS, sink = TOTALS)]
async fn spend(order: Order) -> u64 {
    SPENT.update(&order.customer, |spent| {
        *spent += order.total;
        *spent
    })
}

#[agent(
    topic = "raw.orders",
    name = "priced-orders",
    sinks = ["priced", TOTALS, audit::note],
    on_error = retry(times = 5, backoff = "200ms", then = skip),
    tables = [SPENT, audit::SEEN],
)]
pub async fn price(
    Order { total, .. }: Order,
    Key(customer): Key<Option<String>>,
    headers: Headers,
    Timestamp(at): Timestamp,
) -> Result<Option<u64>, std::num::ParseIntError> {
    let discount: u64 = match headers.get("discount") {
        Some(text) => String::from_utf8_lossy(text).parse()?,
        None => 0,
    };
    Ok((customer.is_some() && at > 0).then_some(total - discount))
}

#[agent(topic = "words", sink = "letters", on_error = skip)]
async fn letters(word: String) -> Vec<char> {
    word.chars().collect()
}

#[agent(topic = "words", on_error = stop)]
async fn without_sinks(event: Event<String, String>) -> anyhow_like::Result<u64> {
    Ok(event.value.parse()?)
}

mod anyhow_like {
    pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
}

#[agent(topic = ORDERS)]
async fn streamed(mut orders: Stream<Order>) {
    let mut count = 0_u64;
    while let Some(order) = orders.next().await {
        count += 1;
        TOTALS.send(&order.customer, &count).await;
    }
}

#[agent(topic = ORDERS)]
async fn streamed_events(mut events: Stream<Event<String, Order>>) -> Result<(), String> {
    while let Some(event) = events.next().await {
        if event.key != event.value.customer {
            return Err(format!("offset {} is somebody else's", event.offset));
        }
    }
    Ok(())
}

#[agent(topic = "raw")]
async fn streamed_by_name(mut lines: Stream<Vec<u8>>) {
    while lines.next().await.is_some() {}
}

/// Raw identifiers are names like others.
#[agent(topic = "raw")]
async fn r#match(line: Vec<u8>) {
    drop(line);
}

#[agent(topic = "old")]
#[deprecated]
async fn outdated(line: String) {
    drop(line);
}

#[agent(topic = "absent")]
#[cfg(any())]
async fn absent(line: Missing) {}

// The names that an expansion uses are not those of the user.
#[agent(topic = "hygiene")]
async fn start(record: String) {
    drop(record);
}

#[agent(topic = "hygiene", sink = "value")]
async fn emit(value: String) -> String {
    value
}

fn main() {
    #[derive(Serialize, Deserialize)]
    struct Local;

    #[agent(topic = "local", sink = "locals")]
    async fn in_a_function(local: Local) -> Option<Local> {
        Some(local)
    }

    let spend = spend::agent();
    assert_eq!((spend.name, spend.doc, spend.form), ("spend", "What each customer spent.", Form::Record));
    assert_eq!((spend.input)().name, "orders");
    assert_eq!(spend::topic().def().name, "orders");
    assert_eq!(spend.sinks.iter().map(|sink| sink().name).collect::<Vec<_>>(), ["totals"]);
    assert_eq!(spend.mentions, ["SPENT"]);
    assert_eq!(spend.on_error, OnError::DEFAULT);

    let price = price::agent();
    assert_eq!(price.name, "priced-orders");
    assert_eq!(price.sinks.iter().map(|sink| sink().name).collect::<Vec<_>>(), ["priced", "totals"]);
    assert_eq!(price.tables.iter().map(|table| table().name).collect::<Vec<_>>(), ["spent", "seen"]);
    let backoff = Duration::from_millis(200);
    let max_backoff = Duration::from_secs(60);
    assert_eq!(price.on_error, OnError { retries: 5, backoff, max_backoff, then: Verdict::Skip });
    let topic: &Topic<Option<String>, Order> = price::topic();
    assert_eq!((topic.def().name, topic.def().ident), ("raw.orders", ""));

    assert_eq!(letters::agent().on_error.retries, 0);
    assert_eq!(without_sinks::agent().on_error, OnError::DEFAULT);
    assert_eq!(streamed::agent().form, Form::Stream);
    assert_eq!(streamed::agent().mentions, ["TOTALS"]);
    assert_eq!(audit::watch::agent().mentions, ["SEEN"]);
    assert_eq!(r#match::agent().name, "match");
    assert_eq!(in_a_function::agent().name, "in_a_function");
}
