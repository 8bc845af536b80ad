use stream_runtime::prelude::*;

#[topic(internal)]
static ORDERS: Topic<String, u64>;

#[agent(topic = ORDERS)]
async fn value(order: String) {
    drop(order);
}

#[agent(topic = ORDERS)]
async fn key(order: u64, key: Key<u64>) {
    drop((order, key));
}

#[agent(topic = ORDERS)]
async fn stream(orders: Stream<Event<String, String>>) {
    drop(orders);
}

fn main() {}
