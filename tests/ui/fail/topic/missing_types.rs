use stream_runtime::prelude::*;

#[topic]
static ORDERS: Topic<u64>;

fn main() {}
