use stream_runtime::prelude::*;

#[table]
static TOTALS: Table;

fn main() {}
