use stream_runtime::prelude::*;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Total(u64);

#[table]
static TOTALS: Table<String, Total>;

fn main() {}
