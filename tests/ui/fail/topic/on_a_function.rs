use stream_runtime::prelude::*;

#[topic(internal)]
fn orders() {}

fn main() {}
