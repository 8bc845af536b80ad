use stream_runtime::prelude::*;

#[topic(internal = true)]
static ORDERS: Topic<String, u64>;

#[topic(partitions)]
static RETURNS: Topic<String, u64>;

fn main() {}
