use stream_runtime::prelude::*;

#[derive(Clone, Default)]
struct Total(u64);

#[table]
static TOTALS: Table<String, Total>;

fn main() {}
