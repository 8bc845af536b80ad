use stream_runtime::prelude::*;

type Counted = Result<u64, std::io::Error>;

#[agent(topic = "orders")]
async fn count(order: String) -> Counted {
    drop(order);
    Ok(1)
}

fn main() {}
