use stream_runtime::prelude::*;

#[table(defualt = 3)]
static TOTALS: Table<String, u64>;

#[table(key = text)]
static RETURNS: Table<String, u64>;

fn main() {}
