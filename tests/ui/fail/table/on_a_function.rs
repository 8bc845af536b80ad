use stream_runtime::prelude::*;

#[table]
fn totals() {}

fn main() {}
