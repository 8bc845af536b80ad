use stream_runtime::prelude::*;

#[agent]
async fn count(order: String) {
    drop(order);
}

#[agent(name = "named")]
async fn named(order: String) {
    drop(order);
}

fn main() {}
