use stream_runtime::prelude::*;

#[topic]
static ORDERS: Topic<String, u64> = Topic::new("orders");

fn main() {}
