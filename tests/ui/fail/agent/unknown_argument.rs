use stream_runtime::prelude::*;

#[agent(topc = "orders")]
async fn count(order: String) {
    drop(order);
}

#[agent(topic = "orders", concurrency = 4)]
async fn parallel(order: String) {
    drop(order);
}

fn main() {}
