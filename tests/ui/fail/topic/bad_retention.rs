use stream_runtime::prelude::*;

#[topic(retention = "1 week")]
static ORDERS: Topic<String, u64>;

#[topic(retention = 7)]
static RETURNS: Topic<String, u64>;

fn main() {}
