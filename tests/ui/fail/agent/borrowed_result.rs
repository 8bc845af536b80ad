use stream_runtime::prelude::*;

#[agent(topic = "orders", sink = "totals")]
async fn reference(order: String) -> &'static str {
    drop(order);
    "one"
}

#[agent(topic = "orders", sink = "totals")]
async fn opaque(order: String) -> impl Clone {
    order
}

fn main() {}
