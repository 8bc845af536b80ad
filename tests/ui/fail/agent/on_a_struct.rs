use stream_runtime::prelude::*;

#[agent(topic = "orders")]
struct Count {
    orders: u64,
}

fn main() {}
