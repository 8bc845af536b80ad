use stream_runtime::prelude::*;

#[topic(internal)]
static TOTALS: Topic<String, String>;

fn log(total: &String) {
    println!("{total}");
}

#[agent(topic = "orders", sink = TOTALS)]
async fn to_a_topic(order: String) -> u64 {
    drop(order);
    1
}

#[agent(topic = "orders", sink = log)]
async fn to_a_function(order: String) -> Option<u64> {
    drop(order);
    None
}

fn fallible(total: &u64) -> Result<(), String> {
    Err(total.to_string())
}

#[agent(topic = "orders", sinks = [fallible])]
async fn to_a_fallible_function(order: String) -> u64 {
    drop(order);
    1
}

fn main() {}
