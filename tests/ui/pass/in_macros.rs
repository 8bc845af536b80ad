//! Agents that a `macro_rules!` makes, with what it was given.

use stream_runtime::prelude::*;

#[topic]
static ORDERS: Topic<String, String>;

macro_rules! one {
    ($name:ident $topic:expr) => {
        #[agent(topic = $topic)]
        async fn $name(_text: String) {}
    };
}

one!(read ORDERS);

macro_rules! named {
    ($($name:ident $topic:literal $sink:expr;)*) => {$(
        #[agent(topic = $topic, sinks = [$sink, "copies"])]
        async fn $name(text: String) -> String {
            text
        }
    )*};
}

named! {
    first "a" "b";
    second "c" "d";
}

fn main() {
    let _ = (first::agent(), second::agent(), read::agent());
}
