use stream_runtime::prelude::*;

struct Order;

#[topic]
static ORDERS: Topic<String, Order>;

#[topic(key = json, value = text)]
static RETURNS: Topic<Order, u64>;

fn main() {}
