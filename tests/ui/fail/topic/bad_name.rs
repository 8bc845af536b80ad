use stream_runtime::prelude::*;

#[topic(name = "shop/orders")]
static ORDERS: Topic<String, u64>;

#[topic(name = "..")]
static PARENT: Topic<String, u64>;

#[topic(name = "")]
static EMPTY: Topic<String, u64>;

#[topic]
static ÄPFEL: Topic<String, u64>;

fn main() {}
