//! The jobs as programs of this library: the keyed count, and passing records through.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stream_runtime::prelude::*;

use crate::by_hand::PATIENCE;
use crate::measure::{Measured, cpu_seconds_of};
use crate::{Outcome, arguments};

/// What comes in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub user: String,
    pub amount: u64,
    pub note: String,
}

/// What goes out for each of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Total {
    pub user: String,
    pub count: u64,
    pub sum: u64,
}

/// Payments, by user.
#[topic(name = "speed-input")]
static INPUT: Topic<String, Payment>;

/// Every new total, by user.
#[topic(name = "speed-output")]
static OUTPUT: Topic<String, Total>;

/// How many payments each user made, and their sum.
#[table(name = "totals")]
static TOTALS: Table<String, (u64, u64)>;

/// How many records this process has done.
pub(crate) static DONE: AtomicU64 = AtomicU64::new(0);

/// Adds them up.
#[agent(topic = INPUT, sink = OUTPUT)]
async fn add_up(payment: Payment) -> Total {
    let (count, sum) = TOTALS.update(&payment.user, |(count, sum)| {
        *count += 1;
        *sum += payment.amount;
        (*count, *sum)
    });
    DONE.fetch_add(1, Ordering::Relaxed);
    Total {
        user: payment.user,
        count,
        sum,
    }
}

/// The same records, as they are.
#[topic(name = "speed-input")]
static BYTES: Topic<Vec<u8>, Vec<u8>>;

/// Their copies.
#[topic(name = "speed-output")]
static COPIES: Topic<Vec<u8>, Vec<u8>>;

/// Changes nothing.
#[agent(topic = BYTES, sink = COPIES)]
async fn pass(bytes: Vec<u8>) -> Option<Vec<u8>> {
    DONE.fetch_add(1, Ordering::Relaxed);
    // A list would be several records.
    Some(bytes)
}

/// What a program is run for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// To be measured from the first record behind those of the warm-up to the last commit.
    Race { warm_up: u64, records: u64 },
    /// To be watched from outside: says when all its tasks run and when it has done all records, and goes on.
    Show { tasks: u64, records: u64 },
    /// To answer records until it is killed.
    Answer,
}

/// A program that counts.
pub(crate) fn count(id: &str) -> App {
    App::new(id).agents([add_up::agent()])
}

/// A program that copies.
pub(crate) fn copy(id: &str) -> App {
    App::new(id).agents([pass::agent()])
}

/// Runs a program.
pub(crate) fn run(app: App, settings: &[(String, String)], purpose: Purpose) -> Outcome {
    let mut app = app.broker(format!("kafka://{}", arguments::broker()));
    for (name, value) in settings {
        app = app.set(name, value);
    }
    let started = Instant::now();
    let running = app.start()?;
    let wait_until = |every: Duration, holds: &dyn Fn() -> bool| -> Outcome {
        while !holds() {
            if running.has_failed() {
                return Err("the worker has failed".into());
            }
            std::thread::sleep(every);
        }
        Ok(())
    };
    let has_done = |records: u64| DONE.load(Ordering::Relaxed) >= records;
    match purpose {
        Purpose::Race { warm_up, records } => {
            wait_until(Duration::from_millis(1), &|| has_done(warm_up + 1))?;
            let first = Instant::now();
            // Without a warm-up, the start is part of what it costs, as it is for the loop.
            let spent = if warm_up > 0 { cpu_seconds_of("self")? } else { 0.0 };
            wait_until(Duration::from_millis(1), &|| has_done(warm_up + records))?;
            // What is left to commit is part of the work, as it is for the loop; to leave the group is not, for either.
            running.drain(PATIENCE)?;
            let measured = Measured::until_now(records, started, first, spent)?;
            running.stop()?;
            measured.tell();
            return Ok(());
        }
        Purpose::Show { tasks, records } => {
            // Rarely: the process is measured meanwhile, and the first question copies the names of all tasks.
            let every = Duration::from_millis(20);
            wait_until(every, &|| running.running_tasks().len() as u64 == tasks)?;
            println!("ready");
            wait_until(every, &|| has_done(records))?;
            println!("done");
        }
        Purpose::Answer => {}
    }
    loop {
        std::thread::park();
    }
}
