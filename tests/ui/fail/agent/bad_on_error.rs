use stream_runtime::prelude::*;

#[agent(topic = "orders", on_error = ignore)]
async fn unknown(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = retry(tims = 3, backoff = "soon", then = retry))]
async fn within(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = retry(times = -1, backoff = 100, max = 7))]
async fn numbers(order: String) {
    drop(order);
}

fn main() {}
