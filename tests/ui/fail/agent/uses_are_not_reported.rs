use stream_runtime::prelude::*;

// One mistake, one message: the function and the handle are there.
#[agent]
async fn count(order: String) -> u64 {
    drop(order);
    1
}

async fn tested() {
    let _total: u64 = count("an order".to_owned()).await;
    println!("{}", count::agent().name);
}

fn main() {}
