use stream_runtime::prelude::*;

#[agent(topic = "orders", name = "count/orders")]
async fn count(order: String) {
    drop(order);
}

#[agent(topic = "orders", name = count)]
async fn not_quoted(order: String) {
    drop(order);
}

fn main() {}
