//! How fast a worker gets its tables back, beside a loop over rdkafka that does the same by hand.
//!
//! ```sh
//! cargo run --release --features rocksdb --example restore -- --broker 127.0.0.1:9092 --records 2000000
//! ```
//!
//! Needs an empty Apache Kafka (`tests/kafka/run --port 9092`). A program first makes a table of as many keys, in four
//! partitions, with a changelog record each. Then, in turns and twice, each in a process of its own with an empty
//! directory: the program starts with `rocksdb://` and restores them; a plain consumer writes the same records into
//! four RocksDB databases in batches of 10,000 without a write-ahead log. After each restore the program is stopped and
//! started once more over the state it left, which gives the time of a start that has nothing to restore. At the end the
//! program runs with `exactly_once`, is killed while it works, and started once more: it says how much it had to replay.
//! Last, two workers share the partitions, one of them is killed, and the other says when it runs all tasks: without
//! standbys and with them, in memory.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use rocksdb::{DB, Options, WriteBatch, WriteOptions};
use stream_runtime::prelude::*;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const PARTITIONS: i32 = 4;
const SESSION_SECONDS: u64 = 6;
const CHANGELOG: &str = "restore-accounts-changelog";

/// Movements, by account.
#[topic(name = "restore-input")]
static INPUT: Topic<String, u64>;

/// How many movements an account had, and their sum.
#[table]
static ACCOUNTS: Table<String, (u64, u64)>;

/// Adds them up.
#[agent(topic = INPUT)]
async fn add_up(Key(account): Key<String>, amount: u64) {
    ACCOUNTS.update(&account, |(count, sum)| {
        *count += 1;
        *sum += amount;
    });
}

fn main() -> ExitCode {
    let outcome = match std::env::var("RESTORE_ROLE").as_deref() {
        Ok("fill") => fill(),
        Ok("program") => program("at_least_once"),
        Ok("exactly-once") => program("exactly_once"),
        Ok("member-0") => member("0"),
        Ok("member-1") => member("1"),
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
    Ok(argument("--records", "2000000").parse()?)
}

fn directory() -> Outcome<PathBuf> {
    Ok(std::env::var_os("RESTORE_DIRECTORY")
        .ok_or("RESTORE_DIRECTORY is not set")?
        .into())
}

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker());
    config
}

/// Fills the changelog, lets both restore it in turns, and prints.
fn compare() -> Outcome {
    let records = records()?;
    let base = std::env::current_dir()?.join(format!("restore-{}", std::process::id()));
    create_input()?;
    feed(records, records)?;
    finished(start("fill", &base.join("fill"))?, "fill")?;
    let ends = ends()?;
    println!(
        "{} records in {CHANGELOG}; seconds, records/s",
        ends.iter().sum::<i64>()
    );
    for round in 1..=2 {
        let state = base.join(format!("program-{round}"));
        let (restored, said) = timed("program", &state)?;
        let (again, said_again) = timed("program", &state)?;
        let net = restored.saturating_sub(again);
        print(round, "program", restored, records);
        println!(
            "  replayed {}; started again over this state, {}",
            said.trim(),
            said_again.trim()
        );
        print(round, "  net of a start", net, records);
        let (by_hand, _) = timed("loop", &base.join(format!("loop-{round}")))?;
        print(round, "loop", by_hand, records);
    }
    // Killed at work: the time is that of the group, which has to notice.
    let state = base.join("program-2");
    let mut child = start("exactly-once", &state)?;
    wait_for_ready(&mut child)?;
    feed(200_000, records)?;
    child.kill()?;
    child.wait()?;
    let (took, said) = timed("exactly-once", &state)?;
    println!(
        "killed at work under exactly_once, a table of {records} keys: replayed {} after {:.1} s",
        said.trim(),
        took.as_secs_f64()
    );
    for replicas in ["0", "1"] {
        let took = failover(&base, replicas)?;
        println!(
            "all tasks run {:.1} s after a kill, {SESSION_SECONDS} s of which the group waits: standby_replicas = {replicas}",
            took.as_secs_f64()
        );
    }
    Ok(std::fs::remove_dir_all(base)?)
}

/// How long the survivor of two workers takes to run everything.
fn failover(base: &Path, replicas: &str) -> Outcome<Duration> {
    let worker = || -> Outcome<Child> { start(&format!("member-{replicas}"), base) };
    let (mut survivor, mut killed) = (worker()?, worker()?);
    wait_for_ready(&mut killed)?;
    let output = survivor.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(output).lines();
    let mut wait_for = |wanted: &str| -> Outcome {
        for line in &mut lines {
            if line? == wanted {
                return Ok(());
            }
        }
        Err(format!("it ended before it said {wanted}").into())
    };
    wait_for("ready")?;
    killed.kill()?;
    let started = Instant::now();
    killed.wait()?;
    wait_for("all")?;
    let took = started.elapsed();
    survivor.kill()?;
    survivor.wait()?;
    // The next two are not to wait for this one.
    std::thread::sleep(Duration::from_secs(SESSION_SECONDS + 1));
    Ok(took)
}

/// One of two workers.
fn member(replicas: &str) -> Outcome {
    let app = app()
        .set("standby_replicas", replicas)
        .set("session_timeout", format!("{SESSION_SECONDS}s"))
        .set("heartbeat_interval", "1s");
    let running = app.start()?;
    let half = PARTITIONS as usize / 2;
    let says = |what: &str, is_so: &dyn Fn() -> bool| -> Outcome {
        while !is_so() {
            if running.has_failed() {
                return Err("the worker has failed".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        println!("{what}");
        Ok(())
    };
    let stands_by = || {
        let tasks = running.standby_tasks();
        replicas == "0" || (tasks.len() == half && tasks.iter().all(|task| task.lag == Some(0)))
    };
    says("ready", &|| running.running_tasks().len() == half && stands_by())?;
    says("all", &|| running.running_tasks().len() == 2 * half)?;
    loop {
        std::thread::park();
    }
}

fn print(round: u32, what: &str, took: Duration, records: u64) {
    let seconds = took.as_secs_f64();
    println!(
        "{round} {what:20} {seconds:6.2} {:12.0}",
        records as f64 / seconds
    );
}

fn start(role: &str, directory: &Path) -> Outcome<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .args(std::env::args().skip(1))
        .env("RESTORE_ROLE", role)
        .env("RESTORE_DIRECTORY", directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?)
}

/// Runs a role until it says that it is ready, and stops it then. Gives what it said before.
fn timed(role: &str, directory: &Path) -> Outcome<(Duration, String)> {
    let started = Instant::now();
    let mut child = start(role, directory)?;
    let said = wait_for_ready(&mut child)?;
    let took = started.elapsed();
    // Which is its end.
    drop(child.stdin.take());
    finished(child, role)?;
    Ok((took, said))
}

fn wait_for_ready(child: &mut Child) -> Outcome<String> {
    let output = child.stdout.take().ok_or("no output")?;
    let mut said = String::new();
    for line in BufReader::new(output).lines() {
        match line?.as_str() {
            "ready" => return Ok(said),
            line => said.push_str(line),
        }
    }
    Err(format!("it ended before it was ready: {said}").into())
}

fn finished(mut child: Child, role: &str) -> Outcome {
    match child.wait()? {
        status if status.success() => Ok(()),
        status => Err(format!("{role} ended with {status}").into()),
    }
}

fn create_input() -> Outcome {
    let admin: AdminClient<_> = client().create()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let input = NewTopic::new("restore-input", PARTITIONS, TopicReplication::Fixed(1));
    runtime.block_on(admin.create_topics([&input], &AdminOptions::new()))?;
    Ok(())
}

/// Sends records of `keys` keys in turn.
fn feed(records: u64, keys: u64) -> Outcome {
    let producer: BaseProducer = client()
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "50")
        .create()?;
    for n in 0..records {
        let (key, value) = (format!("account-{:09}", n % keys), (n % 1000).to_string());
        let mut record = BaseRecord::to("restore-input").key(&key).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            let KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) = error else {
                return Err(error.into());
            };
            producer.poll(Duration::from_millis(1));
            record = back;
        }
    }
    Ok(producer.flush(Duration::from_secs(60))?)
}

fn app() -> App {
    App::new("restore").broker(format!("kafka://{}", broker()))
}

/// Makes the table.
fn fill() -> Outcome {
    let running = app().start()?;
    running.drain(Duration::from_secs(600))?;
    Ok(running.stop()?)
}

/// The program under test: ready when all of its tasks run.
fn program(guarantee: &str) -> Outcome {
    let app = app()
        .set("store", "rocksdb://")
        .set("datadir", directory()?.display().to_string())
        .set("processing_guarantee", guarantee)
        .set("session_timeout", format!("{SESSION_SECONDS}s"))
        .set("heartbeat_interval", "1s");
    let running = app.start()?;
    while running.running_tasks().len() < PARTITIONS as usize {
        if running.has_failed() {
            return Ok(running.stop()?);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    println!("{} records", running.restored_records());
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(running.stop()?)
}

/// Where each partition of the changelog ends.
fn ends() -> Outcome<Vec<i64>> {
    let consumer: BaseConsumer = client().create()?;
    let ends = (0..PARTITIONS).map(|partition| {
        Ok(consumer
            .fetch_watermarks(CHANGELOG, partition, Duration::from_secs(10))?
            .1)
    });
    ends.collect()
}

/// The same by hand.
fn by_hand() -> Outcome {
    const BATCH: usize = 10_000;
    let ends = ends()?;
    let consumer: BaseConsumer = client()
        .set("group.id", "restore-loop")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    let mut databases = Vec::new();
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    let mut unlogged = WriteOptions::default();
    unlogged.disable_wal(true);
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(CHANGELOG, partition, Offset::Beginning)?;
        let path = directory()?.join(partition.to_string());
        std::fs::create_dir_all(&path)?;
        databases.push((DB::open(&options, path)?, WriteBatch::default(), 0));
    }
    consumer.assign(&assignment)?;
    while databases.iter().zip(&ends).any(|((_, _, next), end)| next < end) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        let (database, batch, next) = &mut databases[message.partition() as usize];
        *next = message.offset() + 1;
        let key = message.key().unwrap_or_default();
        match message.payload() {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
        if batch.len() >= BATCH || *next == ends[message.partition() as usize] {
            database.write_opt(std::mem::take(batch), &unlogged)?;
        }
    }
    println!("ready");
    Ok(())
}
