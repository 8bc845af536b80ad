use stream_runtime::prelude::*;

#[topic(partition = 8)]
static ORDERS: Topic<String, u64>;

#[topic(external)]
static RETURNS: Topic<String, u64>;

fn main() {}
