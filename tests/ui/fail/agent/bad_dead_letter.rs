use stream_runtime::prelude::*;

#[topic]
static ORDERS: Topic<(), String>;

#[agent(topic = "orders", on_error = dead_letter())]
async fn nowhere(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = dead_letter(3))]
async fn no_name(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = dead_letter("not a name"))]
async fn bad_name(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = dead_letter("one", "two"))]
async fn two(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = dead_letter("orders"))]
async fn back(order: String) {
    drop(order);
}

#[agent(topic = ORDERS, on_error = retry(times = 1, then = dead_letter(ORDERS)))]
async fn back_again(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = dead_leter)]
async fn misspelt(order: String) {
    drop(order);
}

#[agent(topic = "orders", on_error = skip("orders-failed"))]
async fn skip_to(order: String) {
    drop(order);
}

fn main() {}
