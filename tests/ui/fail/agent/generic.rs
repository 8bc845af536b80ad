use stream_runtime::prelude::*;

#[agent(topic = "orders")]
async fn count<T>(order: T) {
    drop(order);
}

#[agent(topic = "orders")]
async fn bounded(order: String)
where
    String: Clone,
{
    drop(order);
}

fn main() {}
