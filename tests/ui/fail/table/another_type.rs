use stream_runtime::prelude::*;

#[table]
static TOTALS: std::collections::HashMap<String, u64>;

fn main() {}
