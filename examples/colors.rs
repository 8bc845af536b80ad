//! Counts colours: the smallest program with an internal topic and a table.
//!
//! ```sh
//! printf 'red\nblue\npurple\nred\n' | cargo run --example colors
//! cargo run --example colors -- worker -l info --broker kafka://localhost:9092
//! ```
//!
//! The first needs nothing but Rust: it starts a broker inside the process, makes each line of standard input
//! a record of `input`, and prints `red has now been seen 2 times` among others. On a terminal type colours
//! yourself, or watch the ones it makes up. The second is a worker on Apache Kafka; start as many as you like.

use std::process::ExitCode;
use std::time::Duration;

use stream_runtime::prelude::*;

/// Words as they come, one a record.
#[topic(partitions = 1)]
static INPUT: Topic<(), String>;

/// Every new count, keyed by its colour.
#[topic(partitions = 1)]
static OUTPUT: Topic<String, u64>;

/// Colours worth counting, keyed so that one partition sees all of one colour.
#[topic(internal)]
static COLORS: Topic<String, String>;

/// How often each colour has been seen.
#[table]
static COLORS_COUNT: Table<String, u64>;

/// Keeps red, green and blue.
#[agent(topic = INPUT)]
async fn filter_colors(mut words: Stream<String>) {
    while let Some(color) = words.next().await {
        if matches!(color.as_str(), "red" | "green" | "blue") {
            COLORS.send(&color, &color).await;
        }
    }
}

/// Counts colours and reports every new count.
#[agent(topic = COLORS, sink = OUTPUT)]
async fn count_colors(color: String) -> u64 {
    let seen = COLORS_COUNT.update(&color, |count| {
        *count += 1;
        *count
    });
    println!("{color} has now been seen {seen} times");
    seen
}

/// What the demo types.
fn made_up(n: u64) -> String {
    ["red", "green", "purple", "blue", "red"][(n % 5) as usize].to_owned()
}

fn main() -> ExitCode {
    App::new("colors")
        .broker("embedded://")
        .stdin(&INPUT)
        .demo(&INPUT, Duration::from_millis(500), made_up)
        .show_at_end(&COLORS_COUNT)
        .main()
}

/// `cargo test --example colors`
#[cfg(test)]
mod tests {
    use super::*;
    use stream_runtime::testing::TestApp;

    #[test]
    fn colours_are_counted_through_a_crash() {
        let mut app = TestApp::new().workers(2);
        for color in ["red", "purple", "blue", "red"] {
            app.send(&INPUT, (), color);
        }
        app.settle().kill(0);
        app.send(&INPUT, (), "red")
            .advance(Duration::from_secs(120))
            .settle();

        assert_eq!(app.table(&COLORS_COUNT).get("red"), Some(&3));
        let mut counts = app.outputs(&OUTPUT);
        counts.sort();
        let red = |count| ("red".to_owned(), count);
        assert_eq!(counts, [("blue".to_owned(), 1), red(1), red(2), red(3)]);
    }
}
