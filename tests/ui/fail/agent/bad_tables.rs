use stream_runtime::prelude::*;

#[agent(topic = "orders", tables = ["totals"])]
async fn count(order: String) {
    drop(order);
}

fn main() {}
