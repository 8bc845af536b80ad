//! What a record costs between its arrival and the producer, by what its agent does with it:
//! `cargo bench -p stream-runtime --features testing`.
//!
//! One task on one thread: decoding, the agent, its table and its sends, without the clients of Kafka. That nothing is
//! allocated but what the agent takes and makes is a test (`testing/tests/allocations.rs`).

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use serde::{Deserialize, Serialize};
use stream_runtime::AgentDef;
use stream_runtime::prelude::*;
use stream_runtime::testing::OneTask;

/// Records of one run.
const RECORDS: usize = 1_000;
/// Keys of the tables.
const USERS: usize = 100_000;

#[derive(Debug, Serialize, Deserialize)]
struct Payment {
    user: String,
    amount: u64,
    note: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Total {
    user: String,
    count: u64,
    sum: u64,
}

/// Numbers, by themselves.
#[topic(name = "numbers")]
static NUMBERS: Topic<u64, u64>;

/// Numbers again.
#[topic(name = "copies")]
static COPIES: Topic<u64, u64>;

/// Payments, by user.
#[topic(name = "payments")]
static PAYMENTS: Topic<String, Payment>;

/// Totals, by user.
#[topic(name = "totals")]
static TOTALS: Topic<String, Total>;

/// How often each number came.
#[table]
static SEEN: Table<u64, u64>;

/// How many payments each user made, and their sum.
#[table]
static SUMS: Table<String, (u64, u64)>;

/// Takes a record and does nothing.
#[agent(topic = NUMBERS)]
async fn step(_number: u64) {}

/// The same over a stream.
#[agent(topic = NUMBERS)]
async fn stream(mut numbers: Stream<u64>) {
    while numbers.next().await.is_some() {}
}

/// Sends a number on.
#[agent(topic = NUMBERS, sink = COPIES)]
async fn send(number: u64) -> u64 {
    number
}

/// Counts numbers.
#[agent(topic = NUMBERS)]
async fn update(number: u64) {
    SEEN.update(&number, |count| *count += 1);
}

/// The job of `examples/speed`.
#[agent(topic = PAYMENTS, sink = TOTALS)]
async fn keyed_count(payment: Payment) -> Total {
    let (count, sum) = SUMS.update(&payment.user, |(count, sum)| {
        *count += 1;
        *sum += payment.amount;
        (*count, *sum)
    });
    Total {
        user: payment.user,
        count,
        sum,
    }
}

type Arrived = Vec<(Vec<u8>, Vec<u8>)>;

/// Numbers below that of the users, far apart.
fn scattered() -> impl Iterator<Item = usize> {
    (0..).map(|n: usize| n.wrapping_mul(7_919) % USERS)
}

fn numbers(records: usize) -> Arrived {
    let number = |n: usize| (n.to_string().into_bytes(), n.to_string().into_bytes());
    scattered().map(number).take(records).collect()
}

fn payments(records: usize) -> Arrived {
    let payment = |n: usize| {
        let payment = Payment {
            user: format!("user-{n:07}"),
            amount: n as u64 % 1000,
            note: "a payment whose note makes it a record of about 100 bytes".to_owned(),
        };
        let value = serde_json::to_vec(&payment).expect("plain data");
        (payment.user.into_bytes(), value)
    };
    scattered().map(payment).take(records).collect()
}

fn task(agent: &'static AgentDef) -> OneTask {
    OneTask::new(App::new("bench").agents([agent])).expect("a program")
}

fn process(task: &mut OneTask, records: &Arrived) {
    for (key, value) in records {
        task.feed(key, value);
    }
    task.run();
}

fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(RECORDS as u64));
    let agents = [
        ("step", step::agent(), numbers(RECORDS)),
        ("stream", stream::agent(), numbers(RECORDS)),
        ("send", send::agent(), numbers(RECORDS)),
        ("update", update::agent(), numbers(RECORDS)),
        ("keyed count", keyed_count::agent(), payments(RECORDS)),
    ];
    for (name, agent, records) in agents {
        let mut task = task(agent);
        group.bench_function(name, |bencher| bencher.iter(|| process(&mut task, &records)));
    }
    // Of all users, in another order than that in which they came first: the table is in none of the faster caches, and each
    // is far from the one before.
    let (mut counting, first) = (task(keyed_count::agent()), payments(USERS));
    process(&mut counting, &first);
    let all: Arrived = (0..USERS).map(|n| first[n * 61_897 % USERS].clone()).collect();
    group.throughput(Throughput::Elements(USERS as u64));
    group.bench_function("keyed count of all users", |bencher| {
        bencher.iter(|| process(&mut counting, &all));
    });
    group.throughput(Throughput::Elements(RECORDS as u64));
    // What of it is the decoding alone, by hand.
    let records = payments(RECORDS);
    group.bench_function("decoding of the keyed count", |bencher| {
        bencher.iter(|| {
            for (_, value) in &records {
                let payment: Payment = serde_json::from_slice(value).expect("plain data");
                std::hint::black_box(payment);
            }
        });
    });
    group.finish();
}

fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    for keys in [RECORDS, USERS] {
        let (mut task, records) = (task(keyed_count::agent()), payments(keys));
        group.throughput(Throughput::Elements(keys as u64));
        group.bench_function(BenchmarkId::new("changed keys", keys), |bencher| {
            bencher.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    process(&mut task, &records);
                    let start = Instant::now();
                    task.commit().expect("plain data encodes");
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    records(&mut criterion);
    commits(&mut criterion);
    criterion.final_summary();
}
