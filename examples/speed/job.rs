//! The jobs as programs of this library: the keyed count, and passing records through.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stream_runtime::prelude::*;

use crate::measure::Measured;
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
static DONE: AtomicU64 = AtomicU64::new(0);

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

/// Runs one of them over all records, or until it is killed.
pub(crate) fn run(id: &str, passes: bool, settings: &[(String, String)], records: Option<u64>) -> Outcome {
    let agents = if passes { [pass::agent()] } else { [add_up::agent()] };
    let mut app = App::new(id)
        .broker(format!("kafka://{}", arguments::broker()))
        .agents(agents);
    for (name, value) in settings {
        app = app.set(name, value);
    }
    let started = Instant::now();
    let running = app.start()?;
    let Some(records) = records else {
        std::thread::park();
        return Ok(());
    };
    let wait_for = |count: u64| -> Outcome {
        while DONE.load(Ordering::Relaxed) < count {
            if running.has_failed() {
                return Err("the worker has failed".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    };
    wait_for(1)?;
    let first = Instant::now();
    wait_for(records)?;
    // What is left to commit is part of the work, as it is for the loop.
    running.stop()?;
    Measured::until_now(records, started, first)?.tell();
    Ok(())
}
