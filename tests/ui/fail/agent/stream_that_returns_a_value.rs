use stream_runtime::prelude::*;

#[agent(topic = "orders")]
async fn count(mut orders: Stream<String>) -> u64 {
    let mut count = 0;
    while orders.next().await.is_some() {
        count += 1;
    }
    count
}

fn main() {}
