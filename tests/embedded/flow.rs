//! More records than a worker can hold.

use stream_runtime::prelude::*;

use crate::support::bench::program;
use crate::support::proxy::Proxy;
use crate::support::{Bench, DEADLINE, Gate, input};

static SLOW: Gate = Gate::new();

/// Partition 0 is held at its first record.
#[agent(topic = "flood", sink = "drops")]
async fn drop_by_drop(event: Event<(), String>) -> u64 {
    if event.partition == 0 && event.offset == 0 {
        SLOW.pass().await;
    }
    event.value.len() as u64
}

#[test]
fn a_slow_agent_does_not_fill_the_memory_and_nothing_is_lost() {
    const RECORDS: i64 = 600;
    const SIZE: usize = 100_000;
    let bench = Bench::new(&[("flood", 2), ("drops", 1)]);
    let value = "x".repeat(SIZE);
    for partition in 0..2 {
        bench.produce("flood", (0..RECORDS).map(|_| input(&value).to(partition)));
    }
    let proxy = Proxy::before(bench.broker.port());
    let app = program(&bench.id, &proxy.bootstrap(), [drop_by_drop::agent()])
        .set("kafka.queued.max.messages.kbytes", 1024)
        .set("kafka.fetch.message.max.bytes", 1_000_000);
    let running = app.start().expect("the program starts");
    SLOW.wait_for(1);
    // Everything of the other partition came through the same connection meanwhile.
    bench.wait_for_commit("flood", 1, RECORDS);
    let all = 2 * RECORDS as u64 * SIZE as u64;
    let taken = proxy.bytes_to_clients();
    assert!(
        taken < all - 40_000_000,
        "{taken} of {all} bytes were fetched for a task that is held"
    );
    SLOW.open();
    running.drain(DEADLINE).expect("all is processed");
    running.stop().expect("all is well");
    assert_eq!(bench.end("drops"), 2 * RECORDS);
}
