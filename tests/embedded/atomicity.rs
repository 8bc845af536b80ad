//! A record is processed whole or not at all.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use stream_runtime::prelude::*;

use crate::support::{Bench, Gate, assert_mentions, input, wait_until};

#[table]
static ATOMIC_SUMS: Table<String, i64>;

#[topic]
static ATOMIC_NOTES: Topic<String, String>;

/// Adds up, and fails in the way the value says after it has written and sent.
async fn add(key: String, value: String) -> Result<i64, std::io::Error> {
    let amount: i64 = value.trim_matches(char::is_alphabetic).parse().unwrap_or(1000);
    let sum = ATOMIC_SUMS.update(&key, |sum| {
        *sum += amount;
        *sum
    });
    ATOMIC_NOTES.send(&key, &value).await;
    match value.trim_matches(|c: char| !c.is_alphabetic()) {
        "" => Ok(sum),
        "error" => Err(std::io::Error::other("as asked")),
        "late" => {
            tokio::task::yield_now().await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            ATOMIC_SUMS.remove(&key);
            Err(std::io::Error::other("after an await"))
        }
        other => panic!("{other} in {value}"),
    }
}

#[agent(topic = "amounts", sink = "sums", on_error = skip, tables = [ATOMIC_SUMS])]
async fn add_or_skip(Key(key): Key<String>, value: String) -> Result<i64, std::io::Error> {
    let sum = add(key, value).await?;
    ATOMIC_NOTES.def();
    Ok(sum)
}

#[test]
fn a_record_that_fails_by_an_error_a_panic_or_after_an_await_leaves_nothing_and_the_next_goes_on() {
    let bench = Bench::new(&[("amounts", 1), ("sums", 1), ("atomic-notes", 1)]);
    let values = ["1", "10error", "2", "100panic", "3", "1000late", "4"];
    bench.produce("amounts", values.map(|value| input(value).key("k")));
    let running = bench.start([add_or_skip::agent()]);
    bench.wait_for_commit("amounts", 0, 7);
    running.stop().expect("skipped records stop nobody");
    assert_eq!(bench.texts("sums"), ["1", "3", "6", "10"]);
    assert_eq!(bench.texts("atomic-notes"), ["1", "2", "3", "4"]);
}

#[agent(topic = "amounts", on_error = skip, tables = [ATOMIC_SUMS])]
async fn add_up_or_skip(mut events: Stream<Event<String, String>>) -> Result<(), std::io::Error> {
    while let Some(event) = events.next().await {
        let sum = add(event.key.clone(), event.value).await?;
        ATOMIC_NOTES.send(&event.key, &format!("sum {sum}")).await;
    }
    Ok(())
}

#[test]
fn in_stream_form_too_a_record_that_fails_leaves_nothing() {
    let bench = Bench::new(&[("amounts", 1), ("atomic-notes", 1)]);
    let values = ["1", "10error", "2", "100panic", "3", "1000late", "4"];
    bench.produce("amounts", values.map(|value| input(value).key("k")));
    let running = bench.start([add_up_or_skip::agent()]);
    bench.wait_for_commit("amounts", 0, 7);
    running.stop().expect("skipped records stop nobody");
    assert_eq!(
        bench.texts("atomic-notes"),
        ["1", "sum 1", "2", "sum 3", "3", "sum 6", "4", "sum 10"]
    );
}

static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

#[agent(topic = "amounts", sink = "sums", on_error = retry(times = 4, backoff = "1ms"), tables = [ATOMIC_SUMS])]
async fn add_at_the_third_attempt(Key(key): Key<String>, amount: i64) -> Result<i64, std::io::Error> {
    let sum = ATOMIC_SUMS.update(&key, |sum| {
        *sum += amount;
        *sum
    });
    ATOMIC_NOTES.send(&key, &sum.to_string()).await;
    match ATTEMPTS.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Err(std::io::Error::other("not yet")),
        _ => Ok(sum),
    }
}

#[test]
fn a_record_that_is_tried_again_counts_once() {
    let bench = Bench::new(&[("amounts", 1), ("sums", 1), ("atomic-notes", 1)]);
    bench.produce("amounts", ["1", "10"].map(|value| input(value).key("k")));
    let running = bench.start([add_at_the_third_attempt::agent()]);
    bench.wait_for_commit("amounts", 0, 2);
    running.stop().expect("it came through");
    assert_eq!(ATTEMPTS.load(Ordering::SeqCst), 4);
    assert_eq!(bench.texts("sums"), ["1", "11"]);
    assert_eq!(bench.texts("atomic-notes"), ["1", "11"]);
}

#[agent(topic = "amounts", sink = "sums", on_error = retry(times = 1, backoff = "1ms"), tables = [ATOMIC_SUMS])]
async fn add_or_stop(Key(key): Key<String>, value: String) -> Result<i64, std::io::Error> {
    ATOMIC_NOTES.def();
    add(key, value).await
}

#[test]
fn a_stopped_task_commits_what_was_done_before_the_record_and_others_go_on() {
    let bench = Bench::new(&[("amounts", 2), ("sums", 1), ("atomic-notes", 1)]);
    let to = |partition| move |value| input(value).key("k").to(partition);
    bench.produce("amounts", ["1", "2", "100error", "4"].map(to(0)));
    let running = bench.start([add_or_stop::agent()]);
    bench.wait_for_commit("amounts", 0, 2);
    wait_until("the task has stopped", || running.stopped_tasks().len() == 1);
    bench.produce("amounts", ["10", "20"].map(to(1)));
    bench.wait_for_commit("amounts", 1, 2);
    assert_eq!(running.running_tasks(), ["amounts/1"]);
    assert!(!running.has_failed());
    let error = running.stop().expect_err("a task has stopped").to_string();
    assert_mentions(
        &error,
        &["add_or_stop", "amounts/0 offset 2", "as asked", "on_error = skip"],
    );
    assert_eq!(
        bench.committed("amounts", 0),
        Some(2),
        "the record itself is not committed"
    );
    let sums: BTreeSet<_> = bench.texts("sums").into_iter().collect();
    assert_eq!(sums, ["1", "3", "10", "30"].map(String::from).into());
    assert_eq!(bench.end("sums"), 4);
    assert_eq!(bench.end("atomic-notes"), 4);
    assert_eq!(
        bench.end(&bench.changelog("atomic-sums")),
        bench.read(&bench.changelog("atomic-sums")).len() as i64
    );
}

#[test]
fn a_panic_stops_its_task_with_its_message() {
    crate::support::log::keep();
    let bench = Bench::new(&[("amounts", 1), ("sums", 1), ("atomic-notes", 1)]);
    bench.produce("amounts", ["1", "5boom"].map(|value| input(value).key("k")));
    let running = bench.start([add_or_stop::agent()]);
    wait_until("the only task has stopped, and the worker with it", || {
        running.has_failed()
    });
    let stopped = running.stopped_tasks();
    assert_mentions(
        &stopped.join(" "),
        &["add_or_stop", "amounts/0 offset 1", "panicked", "boom in 5boom"],
    );
    let error = running.stop().expect_err("a task has stopped").to_string();
    assert_mentions(&error, &["add_or_stop", "amounts/0 offset 1", "boom in 5boom"]);
    assert_eq!(bench.committed("amounts", 0), Some(1));
    assert_eq!(bench.texts("sums"), ["1"]);
    assert!(crate::support::log::has(&[
        "ERROR",
        "boom in 5boom",
        "has stopped"
    ]));
}

#[test]
fn a_skipped_record_is_logged_with_its_place_and_reason() {
    crate::support::log::keep();
    let bench = Bench::new(&[("amounts", 1), ("sums", 1), ("atomic-notes", 1)]);
    bench.produce("amounts", ["1", "7crash"].map(|value| input(value).key("k")));
    let running = bench.start([add_or_skip::agent()]);
    bench.wait_for_commit("amounts", 0, 2);
    running.stop().expect("skipped records stop nobody");
    assert!(crate::support::log::has(&[
        "WARN",
        "add_or_skip",
        "amounts/0 offset 1",
        "crash in 7crash",
        "skipped"
    ]));
}

static TRIED: Mutex<Vec<std::time::Instant>> = Mutex::new(Vec::new());

#[agent(topic = "amounts")]
async fn never(_amount: i64) -> Result<(), std::io::Error> {
    TRIED
        .lock()
        .expect("nobody panics with it")
        .push(std::time::Instant::now());
    Err(std::io::Error::other("never"))
}

#[test]
fn the_default_policy_tries_three_times_more_with_growing_waits_and_stops() {
    let bench = Bench::new(&[("amounts", 1)]);
    bench.produce("amounts", ["1", "2"].map(input));
    let running = bench.start([never::agent()]);
    wait_until("the worker has stopped", || running.has_failed());
    let error = running.stop().expect_err("a task has stopped").to_string();
    assert_mentions(&error, &["never", "amounts/0 offset 0"]);
    assert_eq!(bench.committed("amounts", 0), None);
    let tried = TRIED.lock().expect("nobody panics with it");
    let waits: Vec<_> = tried
        .windows(2)
        .map(|two| (two[1] - two[0]).as_millis())
        .collect();
    assert_eq!(waits.len(), 3);
    for (wait, least) in waits.iter().zip([100, 200, 400]) {
        assert!(*wait >= least, "waited {waits:?}");
    }
}

#[agent(topic = "amounts", name = "one", tables = [ATOMIC_SUMS])]
async fn first_of_two(Key(key): Key<String>, amount: i64) {
    let sum = ATOMIC_SUMS.update(&key, |sum| {
        *sum += amount;
        *sum
    });
    ATOMIC_NOTES.send(&key, &format!("first {sum}")).await;
}

static SECOND_FAILS: AtomicU32 = AtomicU32::new(0);

#[agent(topic = "amounts", name = "two", on_error = retry(times = 1, backoff = "1ms"), tables = [ATOMIC_SUMS])]
async fn second_of_two(Key(key): Key<String>, amount: i64) -> Result<(), std::io::Error> {
    let sum = ATOMIC_SUMS.update(&key, |sum| {
        *sum += amount;
        *sum
    });
    ATOMIC_NOTES.send(&key, &format!("second {sum}")).await;
    match amount == 10 && SECOND_FAILS.load(Ordering::SeqCst) == 0 {
        true => Err(std::io::Error::other("the second")),
        false => Ok(()),
    }
}

#[test]
fn a_record_at_which_one_of_its_agents_stops_leaves_nothing_of_the_others_either() {
    let bench = Bench::new(&[("amounts", 1), ("atomic-notes", 1)]);
    bench.produce("amounts", ["1", "10"].map(|value| input(value).key("k")));
    let agents = || [first_of_two::agent(), second_of_two::agent()];
    let running = bench.start(agents());
    wait_until("the worker has stopped", || running.has_failed());
    running.stop().expect_err("a task has stopped");
    assert_eq!(bench.committed("amounts", 0), Some(1));
    assert_eq!(bench.texts("atomic-notes"), ["first 1", "second 2"]);
    SECOND_FAILS.store(1, Ordering::SeqCst);
    let running = bench.start(agents());
    bench.wait_for_commit("amounts", 0, 2);
    running.stop().expect("it comes through now");
    assert_eq!(
        bench.texts("atomic-notes"),
        ["first 1", "second 2", "first 12", "second 22"]
    );
}

static HELD: Gate = Gate::new();

#[agent(topic = "amounts", name = "two", tables = [ATOMIC_SUMS])]
async fn second_is_held(Key(key): Key<String>, amount: i64) {
    let sum = ATOMIC_SUMS.update(&key, |sum| {
        *sum += amount;
        *sum
    });
    HELD.pass().await;
    ATOMIC_NOTES.send(&key, &format!("second {sum}")).await;
}

#[test]
fn a_record_that_is_given_up_at_the_end_of_a_stop_leaves_nothing_of_any_agent() {
    let bench = Bench::new(&[("amounts", 1), ("atomic-notes", 1)]);
    bench.produce("amounts", [input("1").key("k")]);
    let agents = || [first_of_two::agent(), second_is_held::agent()];
    let app = bench.app(agents()).set("shutdown_timeout", "200ms");
    let running = app.start().expect("the program starts");
    HELD.wait_for(1);
    running.stop().expect("an open record is no failure");
    assert_eq!(bench.committed("amounts", 0), Some(0));
    assert_eq!(bench.end("atomic-notes"), 0);
    HELD.open();
    let running = bench.start(agents());
    bench.wait_for_commit("amounts", 0, 1);
    running.stop().expect("it comes through now");
    assert_eq!(bench.texts("atomic-notes"), ["first 1", "second 2"]);
}

#[agent(topic = "amounts", name = "two", on_error = skip, tables = [ATOMIC_SUMS])]
async fn second_skips(Key(key): Key<String>, amount: i64) -> Result<(), std::io::Error> {
    ATOMIC_SUMS.update(&key, |sum| *sum += 1000 * amount);
    ATOMIC_NOTES.send(&key, &"second".to_owned()).await;
    Err(std::io::Error::other("the second"))
}

#[test]
fn a_record_that_one_agent_skips_keeps_what_the_others_made_of_it() {
    let bench = Bench::new(&[("amounts", 1), ("atomic-notes", 1)]);
    bench.produce("amounts", ["1", "10"].map(|value| input(value).key("k")));
    let running = bench.start([first_of_two::agent(), second_skips::agent()]);
    bench.wait_for_commit("amounts", 0, 2);
    running.stop().expect("skipped records stop nobody");
    assert_eq!(bench.texts("atomic-notes"), ["first 1", "first 11"]);
}
