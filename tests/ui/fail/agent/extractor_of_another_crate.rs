use stream_runtime::prelude::*;

mod chrono {
    pub struct Timestamp;
}

#[agent(topic = "orders")]
async fn count(order: String, at: chrono::Timestamp) {
    drop((order, at));
}

fn main() {}
