//! Between two commits a record takes no memory beyond the user's own values.

use crate::AgentDef;
use crate::prelude::*;
use crate::testing::OneTask;
use crate::tests::memory::allocations_during;

/// Numbers to be counted.
#[topic(name = "numbers")]
static NUMBERS: Topic<u64, u64>;

/// Their totals.
#[topic(name = "totals")]
static TOTALS: Topic<u64, u64>;

/// What each number came to.
#[table(name = "sums")]
static SUMS: Table<u64, u64>;

/// Adds up, and puts out.
#[agent(topic = NUMBERS, sink = TOTALS)]
async fn add(number: u64) -> u64 {
    SUMS.update(&(number % 100), |sum| {
        *sum += number;
        *sum
    })
}

/// The same over a stream, with a send of its own.
#[agent(topic = NUMBERS)]
async fn stream_and_send(mut numbers: Stream<u64>) {
    while let Some(number) = numbers.next().await {
        let sum = SUMS.get(&(number % 100)).unwrap_or_default();
        TOTALS.send(&number, &sum).await;
    }
}

/// Text is a value of the user's, and his alone.
#[agent(topic = "lines")]
async fn length(line: String) -> usize {
    line.len()
}

/// How often each line came, in a table too large for the processor's faster caches.
#[table(name = "seen")]
static SEEN: Table<String, [u64; 32]>;

/// Counts lines, whose keys are looked up ahead.
#[agent(topic = "lines")]
async fn see(line: String) {
    SEEN.update(line.as_str(), |times| times[0] += 1);
}

/// How often memory was taken while a thousand records arrived and were processed by these agents, which send so many
/// each.
fn allocations_of_a_thousand(agents: &[&'static AgentDef], sends: u64) -> usize {
    let app = App::new("counted").agents(agents.iter().copied());
    let mut task = OneTask::new(app).expect("a program");
    let numbers: Vec<String> = (0..1000).map(|number: u64| number.to_string()).collect();
    let process = |task: &mut OneTask| {
        for number in &numbers {
            task.feed(number.as_bytes(), number.as_bytes());
        }
        task.run();
    };
    // Room is made at first, and kept.
    for _ in 0..2 {
        process(&mut task);
        task.commit().expect("numbers encode");
    }
    let before = task.sent();
    let allocations = allocations_during(|| process(&mut task));
    assert_eq!(task.sent() - before, 1000 * sends);
    allocations
}

#[test]
fn a_record_allocates_nothing_in_either_form_of_an_agent() {
    assert_eq!(allocations_of_a_thousand(&[add::agent()], 1), 0);
    assert_eq!(allocations_of_a_thousand(&[stream_and_send::agent()], 1), 0);
    let both = [add::agent(), stream_and_send::agent()];
    assert_eq!(allocations_of_a_thousand(&both, 2), 0);
}

#[test]
fn a_record_allocates_what_the_agent_takes_and_no_more() {
    assert_eq!(allocations_of_a_thousand(&[length::agent()], 0), 1000);
    assert_eq!(allocations_of_a_thousand(&[see::agent()], 0), 1000);
}
