//! How far restores have come, as a worker tells it while they go on.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use stream_runtime::RestoreProgress;
use stream_runtime::prelude::*;

use crate::support::bench::program;
use crate::support::proxy::Proxy;
use crate::support::{Bench, DEADLINE, eventually, input, log, wait_until};

#[table]
static PROGRESS_LONG: Table<String, String>;

#[table]
static PROGRESS_SHORT: Table<String, u64>;

#[agent(topic = "orders")]
async fn file(Key(id): Key<String>, order: String) {
    PROGRESS_LONG.set(&id, order);
    if id.len() == 1 {
        PROGRESS_SHORT.set(&id, 1);
    }
}

const ORDERS: i64 = 1000;

/// Leaves a record that does not count, and a marker, at the end of a log.
fn abort_a_transaction(bench: &Bench, topic: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bench.broker.bootstrap())
        .set("transactional.id", "somebody")
        .create()
        .expect("a producer");
    producer
        .init_transactions(DEADLINE)
        .expect("the coordinator answers");
    producer.begin_transaction().expect("it begins");
    let record = BaseRecord::to(topic).partition(0).key("0").payload("dropped");
    producer.send(record).expect("queued");
    producer.flush(DEADLINE).expect("delivered");
    producer.abort_transaction(DEADLINE).expect("it aborts");
}

fn of(restoring: &[RestoreProgress], table: &str) -> Option<RestoreProgress> {
    restoring.iter().find(|shard| shard.table == table).cloned()
}

#[test]
fn a_restore_is_seen_with_its_end_and_reaches_it() {
    log::keep();
    let bench = Bench::new(&[("orders", 1)]);
    // Small batches, so that it takes many answers to read them again.
    let app = |bootstrap: &str| {
        program(&bench.id, bootstrap, [file::agent()])
            .set("compression.type", "none")
            .set("batch.size", 16 * 1024)
            .set("fetch.message.max.bytes", 16 * 1024)
    };
    let running = app(&bench.broker.bootstrap())
        .start()
        .expect("the program starts");
    let order = "x".repeat(2000);
    bench.produce("orders", (0..ORDERS).map(|n| input(&order).key(n.to_string())));
    bench.wait_for_commit("orders", 0, ORDERS);
    running.stop().expect("all is well");
    let (long, short) = (
        bench.changelog("progress-long"),
        bench.changelog("progress-short"),
    );
    abort_a_transaction(&bench, &short);
    assert_eq!((bench.end(&long), bench.end(&short)), (ORDERS, 12));

    let proxy = Proxy::before(bench.broker.port());
    proxy.hold_large();
    let running = app(&proxy.bootstrap()).start().expect("the program starts");
    let mut elapsed = Duration::ZERO;
    let mut offset = 0;
    let (of_long, of_short) = eventually("one shard is at its end, and one is under way", || {
        let restoring = running.restoring();
        let (long, short) = (
            of(&restoring, "progress-long")?,
            of(&restoring, "progress-short")?,
        );
        assert!(
            long.offset >= offset && long.elapsed >= elapsed,
            "back from {offset}: {long:?}"
        );
        offset = long.offset;
        if long.elapsed > elapsed {
            elapsed = long.elapsed;
            proxy.pass_one();
        }
        let there = Some(short.offset) == short.end && long.end.is_some() && long.eta.is_some();
        there.then_some((long, short))
    });
    // Ten records, one that was aborted, and its marker.
    assert_eq!(
        (of_short.records, of_short.offset, of_short.end),
        (10, 12, Some(12))
    );
    assert_eq!(
        (of_short.fraction(), of_short.eta),
        (Some(1.0), Some(Duration::ZERO))
    );
    assert_eq!((&of_short.changelog, of_short.partition), (&short, 0));
    assert_eq!((of_long.start, of_long.end), (0, Some(ORDERS)));
    assert_eq!(of_long.records as i64, of_long.offset);
    assert!(of_long.offset > 0 && of_long.offset < ORDERS, "{of_long:?}");
    assert_eq!(of_long.expected_records(), Some(ORDERS as u64));
    assert!(of_long.rate > 0.0, "{of_long:?}");
    assert!(running.running_tasks().is_empty());

    wait_until("the log tells of it", || {
        log::has(&["restoring", &long, &format!("of={ORDERS}"), "rate=", "/s", "eta="])
    });
    proxy.pass_all();
    wait_until("the task runs", || {
        running.running_tasks() == [of_long.task.clone()]
    });
    assert!(running.restoring().is_empty());
    running.stop().expect("all is well");
    assert!(log::has(&[
        "restored in",
        &long,
        &format!("records={ORDERS}"),
        "/s"
    ]));
}
