use stream_runtime::prelude::*;

#[table]
static mut TOTALS: Table<String, u64>;

fn main() {}
