use stream_runtime::prelude::*;

#[agent(topc = "orders", name = "", on_error = retry(backoff = "1 week"))]
unsafe fn count<T>(orders: Stream<String>, other: &str) -> u64 {
    drop((orders, other));
    1
}

fn main() {}
