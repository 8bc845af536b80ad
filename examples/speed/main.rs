//! How fast programs are, beside loops over rdkafka that do the same by hand.
//!
//! ```sh
//! cargo run --release --features rocksdb --example speed
//! cargo run --release --features rocksdb --example speed -- latency
//! cargo run --release --features rocksdb --example speed -- keys
//! cargo run --release --features rocksdb --example speed -- partitions
//! cargo run --release --features rocksdb --example speed -- agents
//! cargo run --release --features rocksdb --example speed -- backlog
//! ```
//!
//! Starts an Apache Kafka of its own (`tests/kafka/run`; `--broker HOST:PORT` takes another, whose topics
//! `speed-input` and `speed-output` it deletes), and runs each contender in a process of its own, in turns, over the
//! same records; looks at every output; and prints the medians, the lowest and the highest, and the ratios to the loop
//! of the same round. The machine may drift between rounds, and does not within one.
//!
//! The job is a keyed count: JSON of about 100 bytes, keyed by user (100,000 of them, Zipf 0.8), in four
//! partitions. Each record is decoded, counted and summed in a table with a changelog, and answered by a record with the
//! new count and sum. The second job copies records.
//!
//! - `--records 2000000`, `--users 100000`, `--partitions 4`, `--rounds 3`
//! - `--least N`, `--most N`: no smaller and no larger sizes of keys, partitions, agents, backlog
//! - `--only NAME,NAME`: these contenders alone; the first is what the others are compared with
//! - `--floors`: says of each ratio to the loop whether it is below what was reached before, less some slack
//! - `--set name=value`: a setting for the programs, as often as wanted
//! - `--help`: this

mod arguments;
mod by_hand;
mod cluster;
mod floors;
mod job;
mod latency;
mod many;
mod measure;
mod payments;
mod scale;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use self::by_hand::Way;
use stream_runtime::App;

use self::cluster::Cluster;
use self::job::Purpose;
use self::measure::{Measured, Spread};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Which contender a process is, its id, and where its state goes.
const ROLE: &str = "SPEED_ROLE";
const ID: &str = "SPEED_ID";
const DATADIR: &str = "SPEED_DATADIR";

/// What can be measured beside the throughput.
const MODES: [&str; 5] = ["latency", "keys", "partitions", "agents", "backlog"];

/// All of the throughput table, in its order.
const CONTENDERS: [&str; 12] = [
    "loop",
    "program",
    "program-2-threads",
    "program-100ms",
    "program-rocksdb",
    "loop-exactly-once-100ms",
    "program-exactly-once-100ms",
    "loop-exactly-once-1s",
    "program-exactly-once-1s",
    "program-rocksdb-exactly-once-100ms",
    "loop-copy",
    "program-copy",
];

fn main() -> ExitCode {
    if arguments::flag("--help") || arguments::flag("-h") {
        help();
        return ExitCode::SUCCESS;
    }
    let outcome = match std::env::var(ROLE) {
        Ok(role) => contend(&role),
        Err(_) => arguments::mode(&MODES).and_then(|mode| match mode {
            Some("latency") => latency::compare(),
            Some("keys") => scale::keys(),
            Some("partitions") => scale::partitions(),
            Some("agents") => scale::agents(),
            Some("backlog") => scale::backlog(),
            _ => compare(),
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The head of this file.
fn help() {
    let head = include_str!("main.rs").lines();
    for line in head.map_while(|line| line.strip_prefix("//!")) {
        println!("{}", line.trim_start());
    }
}

/// What a process does that was started to contend.
fn contend(role: &str) -> Outcome {
    let id = std::env::var(ID)?;
    let has = |part: &str| role.contains(part);
    let commit_every = if has("-100ms") { "100ms" } else { "1s" };
    let records = arguments::number(
        "--records",
        if has("scale") || has("agents") {
            500_000
        } else {
            2_000_000
        },
    )?;
    if has("loop") {
        let way = Way {
            passes: has("copy"),
            exactly_once: has("exactly-once"),
            commit_every: Duration::from_millis(if has("-100ms") { 100 } else { 1000 }),
            low_latency: has("latency"),
        };
        return by_hand::run(&id, way, (!has("latency")).then_some(records));
    }
    let mut settings = vec![("datadir".to_owned(), std::env::var(DATADIR)?)];
    let mut set = |name: &str, value: &str| settings.push((name.to_owned(), value.to_owned()));
    set("commit_interval", commit_every);
    if has("rocksdb") {
        set("store", "rocksdb://");
    }
    if has("2-threads") {
        set("threads", "2");
    }
    if has("exactly-once") {
        set("processing_guarantee", "exactly_once");
    }
    if has("latency") {
        set("linger.ms", "0");
    }
    let wanted: Vec<_> = std::env::args().collect();
    for pair in wanted.windows(2).filter(|pair| pair[0] == "--set") {
        let (name, value) = pair[1].split_once('=').ok_or("--set takes name=value")?;
        set(name, value);
    }
    let tasks = arguments::number("--tasks", 0)?;
    let purpose = match tasks {
        _ if has("latency") => Purpose::Answer,
        0 => Purpose::Race {
            warm_up: arguments::number("--warm-up", 0)?,
            records,
        },
        tasks => Purpose::Show { tasks, records },
    };
    let app = if has("agents") {
        App::new(&id).agents(many::agents().into_iter().take(tasks as usize))
    } else if has("copy") {
        job::copy(&id)
    } else {
        job::count(&id)
    };
    job::run(app, &settings, purpose)
}

/// Runs all in turns and prints what they took.
fn compare() -> Outcome {
    let (records, users) = (
        arguments::number("--records", 2_000_000)?,
        arguments::number("--users", 100_000)?,
    );
    let partitions = i32::try_from(arguments::number("--partitions", 4)?)?;
    let contenders = arguments::contenders(&CONTENDERS)?;
    let cluster = Cluster::reach()?;
    cluster.recreate(&[("speed-input", partitions)])?;
    let expected = cluster.feed(payments::payments(records, users))?;
    println!(
        "{records} records of {} users in {partitions} partitions",
        expected.len()
    );
    let mut results: HashMap<&str, Vec<Measured>> = HashMap::new();
    for round in 0..arguments::number("--rounds", 3)? {
        for name in &contenders {
            let run = Run::new(name, round);
            cluster.recreate(&[("speed-output", partitions), (&run.changelog(), partitions)])?;
            let said = run.to_its_end(&cluster)?;
            let measured = Measured::heard(&said).ok_or_else(|| format!("{name} said: {said}"))?;
            if name.contains("copy") {
                cluster.check_copies(partitions, &expected)?;
            } else {
                cluster.check_totals(partitions, &expected)?;
            }
            println!(
                "  round {round} {name:36} {:9.0}/s {:6.2} CPU s/M {:5.0} MiB, first record after {:.2} s",
                measured.records_per_second,
                measured.cpu_seconds_per_million,
                measured.mebibytes,
                measured.seconds_to_first
            );
            results.entry(name).or_default().push(measured);
            run.clean(&cluster)?;
        }
    }
    println!(
        "\n{:36} {:>27} {:>15} {:>6} {:>8} {:>6}",
        "", "records/s", "CPU s/M", "MiB", "ratio", "CPU"
    );
    let base_of = |name: &str| match name.contains("copy") && contenders.contains(&"loop-copy") {
        true => "loop-copy",
        false => contenders[0],
    };
    for name in &contenders {
        tell(name, &results[name], &results[base_of(name)]);
    }
    if arguments::flag("--floors") {
        println!();
        for name in &contenders {
            let base = base_of(name);
            let ratio = ratio(&results[name], &results[base], |run| run.records_per_second);
            floors::tell(name, base, ratio);
        }
    }
    Ok(())
}

/// The median of the ratios of runs of the same round.
fn ratio(runs: &[Measured], base: &[Measured], figure: fn(&Measured) -> f64) -> f64 {
    let pairs = runs.iter().zip(base);
    Spread::of(pairs.map(|(run, base)| figure(run) / figure(base))).median
}

fn tell(name: &str, runs: &[Measured], base: &[Measured]) {
    let spread = |figure: fn(&Measured) -> f64| Spread::of(runs.iter().map(figure));
    let speed = spread(|run| run.records_per_second);
    let cpu = spread(|run| run.cpu_seconds_per_million);
    let memory = spread(|run| run.mebibytes);
    println!(
        "{name:36} {:9.0} ({:7.0}-{:7.0}) {:5.2} ({:4.2}-{:4.2}) {:6.0} {:7.2}x {:5.2}x",
        speed.median,
        speed.lowest,
        speed.highest,
        cpu.median,
        cpu.lowest,
        cpu.highest,
        memory.highest,
        ratio(runs, base, |run| run.records_per_second),
        ratio(runs, base, |run| run.cpu_seconds_per_million),
    );
}

/// One contender in one round.
pub(crate) struct Run {
    role: String,
    id: String,
    datadir: PathBuf,
    arguments: Vec<String>,
}

impl Run {
    pub(crate) fn new(role: &str, round: u64) -> Self {
        let id = format!("speed-{}-{round}-{role}", std::process::id());
        Self {
            role: role.to_owned(),
            datadir: std::env::temp_dir().join(&id),
            id,
            arguments: Vec::new(),
        }
    }

    /// With an argument of its own.
    pub(crate) fn with(mut self, name: &str, value: u64) -> Self {
        self.arguments.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// Where a loop's changes go; a program makes its own.
    pub(crate) fn changelog(&self) -> String {
        format!("{}-changelog", self.id)
    }

    /// Removes what only this run needed.
    pub(crate) fn clean(&self, cluster: &Cluster) -> Outcome {
        cluster.delete(&[&self.changelog(), &format!("{}-totals-changelog", self.id)])?;
        match std::fs::remove_dir_all(&self.datadir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn start(&self, cluster: &Cluster) -> Outcome<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        arguments::pass_on_broker(&mut command, &cluster.address);
        Ok(command
            // Of two the first counts.
            .args(&self.arguments)
            .args(std::env::args().skip(1))
            .env(ROLE, &self.role)
            .env(ID, &self.id)
            .env(DATADIR, &self.datadir)
            .stdout(Stdio::piped())
            .spawn()?)
    }

    /// What it printed.
    pub(crate) fn to_its_end(&self, cluster: &Cluster) -> Outcome<String> {
        let output = self.start(cluster)?.wait_with_output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(format!("{} failed", self.role).into()),
        }
    }
}
