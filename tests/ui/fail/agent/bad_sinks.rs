use stream_runtime::prelude::*;

#[topic(internal)]
static TOTALS: Topic<String, u64>;

#[agent(topic = "orders", sink = TOTALS, sinks = [TOTALS])]
async fn both(order: String) -> u64 {
    drop(order);
    1
}

#[agent(topic = "orders", sink = [TOTALS])]
async fn list(order: String) -> u64 {
    drop(order);
    1
}

#[agent(topic = "orders", sinks = TOTALS)]
async fn no_list(order: String) -> u64 {
    drop(order);
    1
}

#[agent(topic = "orders", sinks = [3, Totals])]
async fn others(order: String) -> u64 {
    drop(order);
    1
}

fn main() {}
