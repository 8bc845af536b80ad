use stream_runtime::prelude::*;

#[table]
static TOTALS: Table<f64, u64>;

fn main() {}
