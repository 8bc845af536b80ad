use stream_runtime::prelude::*;

#[agent(topic = "orders", on_error = retry(backoff = "10s", max = "5s"))]
async fn shorter(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = retry(times = 0, backoff = "1s", max = "5s", then = skip))]
async fn never(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = retry(5))]
async fn without_a_key(order: String) {
    drop(order);
}

fn main() {}
