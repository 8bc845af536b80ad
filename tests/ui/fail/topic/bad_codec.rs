use stream_runtime::prelude::*;

#[topic(key = jsn, value = "json")]
static ORDERS: Topic<String, u64>;

fn main() {}
