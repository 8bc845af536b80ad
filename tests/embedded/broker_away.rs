//! A broker that is away for a while, behind a proxy whose connections are cut.

use stream_runtime::prelude::*;

use crate::support::bench::program;
use crate::support::proxy::Proxy;
use crate::support::{Bench, DEADLINE, input, wait_until};

#[table]
static AWAY_COUNT: Table<String, u64>;

#[agent(topic = "calls", sink = "counts")]
async fn count(Key(caller): Key<String>, _value: String) -> String {
    let count = AWAY_COUNT.update(&caller, |count| {
        *count += 1;
        *count
    });
    format!("{caller} {count}")
}

fn calls(bench: &Bench) {
    bench.produce(
        "calls",
        (0..50).map(|caller| input("ring").key(format!("c{caller}"))),
    );
}

#[test]
fn a_worker_whose_broker_goes_away_keeps_trying_and_goes_on_without_loss() {
    let bench = Bench::new(&[("calls", 4), ("counts", 1)]);
    let proxy = Proxy::before(bench.broker.port());
    let app = program(&bench.id, &proxy.bootstrap(), [count::agent()])
        .set("session_timeout", "6s")
        .set("heartbeat_interval", "500ms");
    let running = app.start().expect("the program starts");
    calls(&bench);
    bench.wait_for_records("counts", 50);
    for outage in 1..=2_u64 {
        proxy.cut();
        calls(&bench);
        let before = proxy.refused();
        wait_until("it tries again", || proxy.refused() >= before + 5);
        assert!(!running.has_failed());
        proxy.mend();
        bench.wait_for_records("counts", 50 * (outage as i64 + 1));
    }
    running.drain(DEADLINE).expect("all is processed");
    running.stop().expect("all is well");
    // At least once: what was sent and not committed before an outage may be there twice, with equal counts.
    let mut counts = bench.texts("counts");
    counts.sort();
    counts.dedup();
    let mut expected: Vec<_> = (0..50)
        .flat_map(|caller| (1..=3).map(move |count| format!("c{caller} {count}")))
        .collect();
    expected.sort();
    assert_eq!(counts, expected);
}

#[test]
fn a_stop_while_the_broker_is_away_ends_in_time_and_the_next_run_goes_on() {
    let bench = Bench::new(&[("calls", 1), ("counts", 1)]);
    let proxy = Proxy::before(bench.broker.port());
    let app = program(&bench.id, &proxy.bootstrap(), [count::agent()])
        .set("session_timeout", "6s")
        .set("heartbeat_interval", "500ms")
        .set("commit_interval", "4m")
        .set("shutdown_timeout", "1s");
    let running = app.start().expect("the program starts");
    calls(&bench);
    bench.wait_for_records("counts", 50);
    proxy.cut();
    // It could not commit: that is no failure of the program, and what was not committed is processed again.
    let _ = running.stop();
    assert_eq!(bench.committed("calls", 0), Some(0));
    let running = bench.start([count::agent()]);
    bench.wait_for_commit("calls", 0, 50);
    running.stop().expect("all is well");
    let mut counts = bench.texts("counts");
    counts.sort();
    counts.dedup();
    assert_eq!(counts.len(), 50, "each caller has called once: {counts:?}");
}
