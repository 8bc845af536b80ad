use stream_runtime::prelude::*;

#[agent(topic = "orders", sink = "totals")]
async fn count(mut orders: Stream<String>) {
    while orders.next().await.is_some() {}
}

fn main() {}
