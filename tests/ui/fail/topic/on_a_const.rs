use stream_runtime::prelude::*;

#[topic]
const ORDERS: &str = "orders";

fn main() {}
