use stream_runtime::prelude::*;

#[topic]
static mut ORDERS: Topic<String, u64>;

fn main() {}
