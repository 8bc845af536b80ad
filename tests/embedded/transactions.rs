//! Transactions that fail, and what becomes of their records.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use stream_runtime::prelude::*;

use crate::support::{Bench, DEADLINE, input, wait_until};

#[table]
static TRANSACTIONS_COUNT: Table<String, u64>;

static COUNTED: AtomicUsize = AtomicUsize::new(0);
/// Held by the test, the third record stands still, and its thread with it.
static GATE: Mutex<()> = Mutex::new(());

#[agent(topic = "payments", sink = "payments-counted")]
async fn count_payments(payer: String) -> String {
    let count = TRANSACTIONS_COUNT.update(&payer, |count| {
        *count += 1;
        *count
    });
    if COUNTED.fetch_add(1, Ordering::SeqCst) == 2 {
        drop(GATE.lock().unwrap_or_else(PoisonError::into_inner));
    }
    format!("{payer} {count}")
}

#[test]
fn records_whose_transaction_is_taken_away_are_processed_again_and_count_once() {
    let bench = Bench::new(&[("payments", 1), ("payments-counted", 1)]);
    let app = bench
        .app([count_payments::agent()])
        .set("processing_guarantee", "exactly_once")
        .set("instance_id", "till")
        .set("transaction_timeout", "8m")
        .set("commit_interval", "4m");
    let running = app.start().expect("the program starts");
    bench.produce("payments", [input("a")]);
    wait_until(
        "the first record is committed, and an idle worker rests for 2.4 seconds",
        || bench.committed("payments", 0) == Some(1),
    );
    let closed = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    bench.produce("payments", ["b", "a"].map(input));
    wait_until("one more is processed, and the last stands still", || {
        COUNTED.load(Ordering::SeqCst) == 3
    });
    bench.take_transactions(&format!("{}-till-payments-0", bench.id));
    drop(closed);
    running.drain(DEADLINE).expect("all is processed");
    running.stop().expect("all is well");
    assert_eq!(
        COUNTED.load(Ordering::SeqCst),
        5,
        "what was not committed once more"
    );
    assert_eq!(bench.texts("payments-counted"), ["a 1", "b 1", "a 2"]);
    assert_eq!(bench.committed("payments", 0), Some(3));
    let changes = bench.read(&bench.changelog("transactions-count"));
    let mut keys: Vec<_> = changes.iter().map(|change| change.key_text()).collect();
    keys[1..].sort();
    assert_eq!(keys, ["a", "a", "b"]);
}
