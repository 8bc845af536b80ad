use stream_runtime::prelude::*;

#[topic(partitions = 0)]
static NONE: Topic<String, u64>;

#[topic(partitions = "8")]
static TEXT: Topic<String, u64>;

#[topic(partitions = -1, replicas = 40000)]
static NUMBERS: Topic<String, u64>;

fn main() {}
