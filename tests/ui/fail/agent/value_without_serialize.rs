use stream_runtime::prelude::*;

struct Order;

#[agent(topic = "orders")]
async fn count(order: Order) {
    drop(order);
}

#[agent(topic = "orders")]
async fn stream(orders: Stream<Order>) {
    drop(orders);
}

#[agent(topic = "words", sink = "orders")]
async fn produce(word: String) -> Vec<Order> {
    drop(word);
    Vec::new()
}

fn main() {}
