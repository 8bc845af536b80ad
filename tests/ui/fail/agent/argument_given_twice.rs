use stream_runtime::prelude::*;

#[agent(topic = "orders", topic = "returns")]
async fn count(order: String) {
    drop(order);
}

fn main() {}
