use stream_runtime::prelude::*;

#[table(name = "all totals")]
static TOTALS: Table<String, u64>;

fn main() {}
