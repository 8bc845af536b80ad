use stream_runtime::prelude::*;

#[topic(config = ["segment.ms", ("segment.ms", 3)])]
static ORDERS: Topic<String, u64>;

#[topic(config = ("segment.ms", "3"))]
static RETURNS: Topic<String, u64>;

#[topic(config = [("segment.ms", "3"), ("segment.ms", "4")])]
static TWICE: Topic<String, u64>;

fn main() {}
