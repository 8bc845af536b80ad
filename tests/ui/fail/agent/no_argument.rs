use stream_runtime::prelude::*;

#[agent(topic = "orders")]
async fn count() {}

fn main() {}
