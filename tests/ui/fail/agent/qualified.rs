use stream_runtime::prelude::*;

#[agent(topic = "orders")]
unsafe fn not_safe(order: String) {
    drop(order);
}

#[agent(topic = "orders")]
const fn constant(order: u64) {
    let _ = order;
}

#[agent(topic = "orders")]
extern "C" fn foreign(order: u64) {
    let _ = order;
}

fn main() {}
