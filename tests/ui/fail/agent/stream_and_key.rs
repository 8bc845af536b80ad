use stream_runtime::prelude::*;

#[agent(topic = "orders")]
async fn count(orders: Stream<String>, key: Key<String>) {
    drop((orders, key));
}

fn main() {}
