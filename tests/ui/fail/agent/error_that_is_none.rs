use stream_runtime::prelude::*;

struct Failure;

#[agent(topic = "orders")]
async fn count(order: String) -> Result<(), Failure> {
    drop(order);
    Err(Failure)
}

fn main() {}
