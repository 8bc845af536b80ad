use stream_runtime::prelude::*;

#[topic]
static ORDERS: Table<String, u64>;

#[topic]
static RETURNS: &str;

fn main() {}
