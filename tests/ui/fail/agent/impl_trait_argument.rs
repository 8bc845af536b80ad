use stream_runtime::prelude::*;

#[agent(topic = "orders")]
async fn count(order: impl Clone) {
    drop(order);
}

fn main() {}
