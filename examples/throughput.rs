//! How fast colours are counted, beside a loop over rdkafka that does the same by hand.
//!
//! ```sh
//! cargo run --release --example throughput -- --broker 127.0.0.1:9092 --records 1000000
//! ```
//!
//! Needs an empty Apache Kafka (`tests/kafka/run --port 9092`). Both read the same records from a topic with one
//! partition, pass the colours on by key to a topic with eight, count them, and send every new count to a third;
//! both commit once a second with idempotent producers, and the program runs with `exactly_once` too, committing every
//! 100 ms. Each runs twice in a process of its own, in turns. The
//! loop keeps its counts in a map that dies with it; the program keeps a table with a changelog.

use std::collections::HashMap;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use stream_runtime::prelude::*;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const WORDS: [&str; 5] = ["red", "green", "purple", "blue", "red"];
/// How many of `records` words are counted.
fn counted(records: u64) -> u64 {
    (0..records)
        .filter(|n| WORDS[(n % 5) as usize] != "purple")
        .count() as u64
}

/// Words.
#[topic(name = "throughput-input")]
static INPUT: Topic<(), String>;
/// Counts.
#[topic(name = "throughput-output")]
static OUTPUT: Topic<String, u64>;
/// Colours, by colour.
#[topic(internal)]
static COLORS: Topic<String, String>;
/// How often each was seen.
#[table]
static COUNTS: Table<String, u64>;

/// Keeps colours.
#[agent(topic = INPUT)]
async fn filter_colors(mut words: Stream<String>) {
    while let Some(color) = words.next().await {
        if matches!(color.as_str(), "red" | "green" | "blue") {
            COLORS.send(&color, &color).await;
        }
    }
}

/// Counts them.
#[agent(topic = COLORS, sink = OUTPUT)]
async fn count_colors(color: String) -> u64 {
    COUNTS.update(&color, |count| {
        *count += 1;
        *count
    })
}

fn main() -> ExitCode {
    let outcome = match std::env::var("THROUGHPUT_ROLE").as_deref() {
        Ok("program") => program("at_least_once"),
        Ok("exactly-once") => program("exactly_once"),
        Ok("loop") => by_hand(),
        _ => compare(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn argument(name: &str, default: &str) -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).unwrap_or_else(|| default.to_owned())
}

fn broker() -> String {
    argument("--broker", "127.0.0.1:9092")
}

fn records() -> Outcome<u64> {
    Ok(argument("--records", "1000000").parse()?)
}

fn id() -> Outcome<String> {
    Ok(std::env::var("THROUGHPUT_ID")?)
}

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker());
    config
}

/// Feeds the input, runs both in turns, checks and prints.
fn compare() -> Outcome {
    let records = records()?;
    feed(records)?;
    println!("{records} records; seconds, records/s, CPU seconds per million records, peak RSS in MiB");
    for round in 1..=2 {
        for role in ["program", "exactly-once", "loop"] {
            let id = format!("throughput-{role}-{}-{round}", std::process::id());
            let output = format!("{id}-output");
            for (topic, partitions) in [(output.as_str(), 1), (&format!("{id}-plain"), 8)] {
                create(topic, partitions)?;
            }
            recreate("throughput-output", 1)?;
            let status = Command::new(std::env::current_exe()?)
                .args(std::env::args().skip(1))
                .env("THROUGHPUT_ROLE", role)
                .env("THROUGHPUT_ID", &id)
                .status()?;
            if !status.success() {
                return Err(format!("{role} failed").into());
            }
            check(
                if role == "loop" {
                    &output
                } else {
                    "throughput-output"
                },
                records,
            )?;
        }
    }
    Ok(())
}

fn feed(records: u64) -> Outcome {
    recreate("throughput-input", 1)?;
    let producer: BaseProducer = client().set("linger.ms", "50").create()?;
    for n in 0..records {
        send(
            &producer,
            "throughput-input",
            None,
            WORDS[(n % 5) as usize].as_bytes(),
        )?;
    }
    Ok(producer.flush(Duration::from_secs(60))?)
}

fn recreate(topic: &str, partitions: i32) -> Outcome {
    let admin: AdminClient<_> = client().create()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(admin.delete_topics(&[topic], &AdminOptions::new()))?;
    while exists(topic)? {
        std::thread::sleep(Duration::from_millis(50));
    }
    create(topic, partitions)
}

fn create(topic: &str, partitions: i32) -> Outcome {
    let admin: AdminClient<_> = client().create()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let created = runtime.block_on(admin.create_topics([&new], &AdminOptions::new()))?;
    created
        .into_iter()
        .next()
        .ok_or("no answer")?
        .map_err(|(topic, code)| format!("{topic}: {code}"))?;
    while !exists(topic)? {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn exists(topic: &str) -> Outcome<bool> {
    let consumer: BaseConsumer = client().create()?;
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
    Ok(metadata
        .topics()
        .iter()
        .any(|topic| topic.error().is_none() && !topic.partitions().is_empty()))
}

/// The last count of each colour is what it must be.
fn check(output: &str, records: u64) -> Outcome {
    let consumer: BaseConsumer = client()
        .set("group.id", "throughput-check")
        .set("auto.offset.reset", "earliest")
        .create()?;
    let mut assignment = rdkafka::TopicPartitionList::new();
    assignment.add_partition_offset(output, 0, rdkafka::Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let mut last: HashMap<Vec<u8>, u64> = HashMap::new();
    let (wanted, started) = (counted(records), Instant::now());
    // Transactions end with markers, so no record's offset tells the end.
    while last.values().sum::<u64>() < wanted && started.elapsed() < Duration::from_secs(60) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        let count = std::str::from_utf8(message.payload().unwrap_or_default())?.parse()?;
        last.insert(message.key().unwrap_or_default().to_vec(), count);
    }
    let found = last.values().sum::<u64>();
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{output}: {found} colours were counted, not {wanted}").into())
    }
}

/// The program under test.
fn program(guarantee: &str) -> Outcome {
    let started = Instant::now();
    let app = App::new(id()?).broker(format!("kafka://{}", broker()));
    let running = app.set("processing_guarantee", guarantee).start()?;
    running.drain(Duration::from_secs(600))?;
    let took = started.elapsed();
    running.stop()?;
    report(guarantee, took)
}

/// The same by hand.
fn by_hand() -> Outcome {
    let started = Instant::now();
    let (id, wanted) = (id()?, counted(records()?));
    let (plain, output) = (format!("{id}-plain"), format!("{id}-output"));
    let producer: BaseProducer = client()
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .create()?;
    let consumer: BaseConsumer = client()
        .set("group.id", &id)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .create()?;
    consumer.subscribe(&["throughput-input", &plain])?;
    let mut counts: HashMap<Vec<u8>, u64> = HashMap::new();
    let (mut counted, mut committed) = (0, Instant::now());
    while counted < wanted {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message?;
            let color = message.payload().unwrap_or_default();
            if message.topic() == plain {
                let count = counts.entry(color.to_vec()).or_default();
                *count += 1;
                counted += 1;
                send(&producer, &output, Some(color), count.to_string().as_bytes())?;
            } else if matches!(color, b"red" | b"green" | b"blue") {
                send(&producer, &plain, Some(color), color)?;
            }
        }
        if committed.elapsed() > Duration::from_secs(1) {
            producer.flush(Duration::from_secs(60))?;
            commit(&consumer)?;
            committed = Instant::now();
        }
    }
    producer.flush(Duration::from_secs(60))?;
    commit(&consumer)?;
    report("loop", started.elapsed())
}

/// Commits what was read, if anything was.
fn commit(consumer: &BaseConsumer) -> Outcome {
    match consumer.commit_consumer_state(CommitMode::Sync) {
        Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
        committed => Ok(committed?),
    }
}

fn send(producer: &BaseProducer, topic: &str, key: Option<&[u8]>, value: &[u8]) -> Outcome {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(value);
    record.key = key;
    while let Err((error, back)) = producer.send(record) {
        let KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) = error else {
            return Err(error.into());
        };
        producer.poll(Duration::from_millis(1));
        record = back;
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

fn report(role: &str, took: Duration) -> Outcome {
    let records = records()? as f64;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    // A tick is 10 ms on every Linux there is today.
    let cpu = ticks.iter().sum::<f64>() / 100.0;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default();
    let peak: f64 = peak.split_whitespace().nth(1).unwrap_or("0").parse()?;
    println!(
        "{role:13} {:6.2} s {:9.0}/s {:6.2} CPU s/M {:6.0} MiB",
        took.as_secs_f64(),
        records / took.as_secs_f64(),
        cpu / records * 1e6,
        peak / 1024.0
    );
    Ok(())
}
