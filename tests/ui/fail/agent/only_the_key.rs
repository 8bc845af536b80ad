use stream_runtime::prelude::*;

#[agent(topic = "orders")]
async fn count(Key(customer): Key<String>, headers: Headers) {
    drop((customer, headers));
}

fn main() {}
