use stream_runtime::prelude::*;

// Two mistakes, two messages: the static is there, with its type.
#[topic(partitions = 0, intrnal)]
static ORDERS: Topic<String, u64>;

#[agent(topic = ORDERS)]
async fn count(order: u64) {
    ORDERS.send(&"a".to_owned(), &order).await;
}

fn main() {}
