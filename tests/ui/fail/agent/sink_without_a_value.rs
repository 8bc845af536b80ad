use stream_runtime::prelude::*;

#[agent(topic = "orders", sink = "totals")]
async fn nothing(order: String) {
    drop(order);
}

#[agent(topic = "orders", sink = "totals")]
async fn nothing_or_an_error(order: String) -> std::io::Result<()> {
    drop(order);
    Ok(())
}

fn main() {}
