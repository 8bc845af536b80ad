//! Tasks that stand still are noticed, whatever they stand at, and named.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stream_runtime::Running;
use stream_runtime::prelude::*;

use crate::support::{Bench, Gate, assert_mentions, input, log, wait_until};

/// The only sentence about what is stuck, once there is one with all of these parts.
fn stuck(running: &Running, parts: &[&str]) -> String {
    let mut said = Vec::new();
    wait_until(&format!("something is stuck: {parts:?}"), || {
        said = running.stuck_tasks();
        said.len() == 1 && parts.iter().all(|part| said[0].contains(part))
    });
    said.remove(0)
}

static WAITING: Gate = Gate::new();

#[agent(topic = "awaited")]
async fn await_long(_text: String) {
    WAITING.pass().await;
}

#[test]
fn an_agent_that_awaits_for_long_is_named_again_and_again_until_it_moves() {
    log::keep();
    let bench = Bench::new(&[("awaited", 1)]);
    bench.produce("awaited", ["a", "b"].map(input));
    let app = bench.app([await_long::agent()]).set("stuck_after", "40ms");
    let running = app.start().expect("the program starts");
    WAITING.wait_for(1);
    let sentence = stuck(
        &running,
        &["task awaited/0", "`await_long`", "awaited/0 offset 0"],
    );
    assert_mentions(&sentence, &["still awaits something"]);
    wait_until("it is told more than once", || {
        log::lines(&["WARN", "awaited/0", "makes no progress"]).len() > 1
    });
    WAITING.open();
    bench.wait_for_commit("awaited", 0, 2);
    wait_until("nothing is stuck", || running.stuck_tasks().is_empty());
    wait_until("the end of it is told", || {
        log::has(&["task awaited/0 moves again after"])
    });
    running.stop().expect("all is well");
}

static BLOCKED: AtomicBool = AtomicBool::new(true);

/// Does what agents must not do.
#[agent(topic = "blocked")]
async fn block(_text: String) {
    while BLOCKED.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets [`block`] go on when it is dropped.
struct Unblock;

impl Drop for Unblock {
    fn drop(&mut self) {
        BLOCKED.store(false, Ordering::SeqCst);
    }
}

#[test]
fn an_agent_that_blocks_its_thread_is_named_though_the_thread_cannot_speak() {
    log::keep();
    let bench = Bench::new(&[("blocked", 2)]);
    let app = bench.app([block::agent()]).set("stuck_after", "100ms");
    let running = app.start().expect("the program starts");
    // Dropped before `running`, which waits for the agent: a failure must not hang.
    let block = Unblock;
    wait_until("both tasks run", || running.running_tasks().len() == 2);
    bench.produce("blocked", [input("a").to(1)]);
    // The task may seem to stand still a look earlier than its thread: until then the agent is said to work.
    let blocks = ["`block`", "blocked/1 offset 0", "blocks thread `blocked-0`"];
    let sentence = stuck(&running, &blocks);
    assert_mentions(&sentence, &["task blocked/1", "another task of it"]);
    wait_until("it is told", || {
        log::has(&["WARN", "`block`", "blocks thread `blocked-0`"])
    });
    drop(block);
    bench.wait_for_commit("blocked", 1, 1);
    wait_until("nothing is stuck", || running.stuck_tasks().is_empty());
    running.stop().expect("all is well");
}

#[agent(topic = "failing", on_error = retry(times = 5, backoff = "10m", max = "1h"))]
async fn fail(_text: String) -> Result<(), std::io::Error> {
    Err(std::io::Error::other("as ever"))
}

#[test]
fn an_agent_that_waits_for_its_next_try_is_named() {
    let bench = Bench::new(&[("failing", 1)]);
    bench.produce("failing", [input("a")]);
    let app = bench.app([fail::agent()]).set("stuck_after", "40ms");
    let running = app.start().expect("the program starts");
    let sentence = stuck(&running, &["task failing/0", "`fail`", "failing/0 offset 0"]);
    assert_mentions(&sentence, &["failed on it 1 time", "next try"]);
    assert_eq!(running.failures()[0].retries, 1);
    running.stop().expect("what is tried again can be left");
}

#[agent(topic = "quiet")]
async fn take(_text: String) {}

#[test]
fn who_has_nothing_to_do_is_not_stuck() {
    let bench = Bench::new(&[("quiet", 1), ("failing", 1)]);
    bench.produce("quiet", [input("a")]);
    bench.produce("failing", [input("a")]);
    // The other agent shows that there was time enough.
    let app = bench
        .app([take::agent(), fail::agent()])
        .set("stuck_after", "40ms");
    let running = app.start().expect("the program starts");
    stuck(&running, &["task failing/0"]);
    bench.wait_for_commit("quiet", 0, 1);
    running.stop().expect("all is well");
}
