use stream_runtime::prelude::*;

#[table]
static TOTALS: Table<String, u64> = Table::new();

fn main() {}
