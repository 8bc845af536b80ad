use stream_runtime::prelude::*;

#[agent("orders")]
async fn count(order: String) {
    drop(order);
}

#[agent(topic = "orders" name = "total")]
async fn without_comma(order: String) {
    drop(order);
}

#[agent(topic)]
async fn without_value(order: String) {
    drop(order);
}

#[agent(topic = )]
async fn half_typed(order: String) {
    drop(order);
}

fn main() {}
