use stream_runtime::prelude::*;

#[agent(topic = "orders")]
unsafe extern "C" fn count(order: u64, _more: ...) {
    let _ = order;
}

fn main() {}
