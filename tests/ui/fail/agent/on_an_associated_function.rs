use stream_runtime::prelude::*;

struct Counter;

impl Counter {
    #[agent(topic = "orders")]
    async fn count(order: String) {
        drop(order);
    }
}

fn main() {}
