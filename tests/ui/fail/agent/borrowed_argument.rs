use stream_runtime::prelude::*;

#[agent(topic = "orders")]
async fn reference(order: &str) {
    let _ = order;
}

#[agent(topic = "orders")]
async fn stream_of_references(orders: Stream<&'static str>) {
    drop(orders);
}

fn main() {}
