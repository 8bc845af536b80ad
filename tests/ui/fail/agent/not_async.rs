use stream_runtime::prelude::*;

#[agent(topic = "orders")]
fn count(order: String) {
    drop(order);
}

fn main() {}
