use stream_runtime::prelude::*;

#[table(default = "none")]
static TOTALS: Table<String, u64>;

fn main() {}
