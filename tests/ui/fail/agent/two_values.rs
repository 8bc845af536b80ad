use stream_runtime::prelude::*;

#[agent(topic = "orders")]
async fn count(order: String, other: u64) {
    drop((order, other));
}

#[agent(topic = "orders")]
async fn twice(event: Event<String, u64>, key: Key<String>, same_key: Key<String>) {
    drop((event, key, same_key));
}

fn main() {}
