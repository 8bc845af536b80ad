use stream_runtime::prelude::*;

#[agent(topic = "orders")]
async fn join(left: Stream<String>, right: Stream<String>) {
    drop((left, right));
}

fn main() {}
