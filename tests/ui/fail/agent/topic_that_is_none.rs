use stream_runtime::prelude::*;

#[agent(topic = 3)]
async fn number(order: String) {
    drop(order);
}

#[agent(topic = "two words")]
async fn bad_name(order: String) {
    drop(order);
}

fn main() {}
