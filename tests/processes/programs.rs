//! The programs that this executable turns into: `colors` with four partitions and an id of its own for every
//! run, and one whose records may not decode.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_runtime::dead_letter;
use stream_runtime::prelude::*;

use crate::cluster::{Cluster, unique};
use crate::held::held_in;
use crate::process::{Process, clean};

/// Names of shades, as they come.
#[topic(name = "shades", partitions = 4)]
pub(crate) static SHADES: Topic<(), String>;

/// Every new count, keyed by its shade.
#[topic(name = "shade-counts", partitions = 4)]
pub(crate) static SHADE_COUNTS: Topic<String, u64>;

/// Shades worth counting, keyed by themselves.
#[topic(internal, partitions = 4)]
static SORTED: Topic<String, String>;

/// How often each shade has been seen.
#[table]
static SEEN: Table<String, u64>;

/// Passes over black.
#[agent(topic = SHADES)]
async fn sort_shades(mut shades: Stream<String>) {
    while let Some(shade) = shades.next().await {
        if shade != "black" {
            SORTED.send(&shade, &shade).await;
        }
    }
}

/// Counts shades. `stuck` never comes to an end, and `cursed` fails.
#[agent(topic = SORTED, sink = SHADE_COUNTS)]
async fn count_shades(shade: Event<String, String>) -> Result<u64, String> {
    match shade.key.as_str() {
        "stuck" => {
            println!("stuck");
            tokio::time::sleep(Duration::from_secs(100_000)).await;
        }
        "cursed" => return Err("this shade is cursed".to_owned()),
        _ => {}
    }
    let seen = SEEN.update(&shade.key, |count| {
        *count += 1;
        *count
    });
    println!("{} {seen} on {}", shade.key, shade.partition);
    Ok(seen)
}

/// How often each shade has been seen in each partition.
#[table]
static PLACES: Table<String, u64>;

/// Counts shades where they are: a program of one sub-topology.
#[agent(topic = SHADES)]
async fn count_places(shade: Event<(), String>) {
    let place = format!("{}@{}", shade.value, shade.partition);
    let seen = PLACES.update(&place, |count| {
        *count += 1;
        *count
    });
    println!("{place} {seen} on {}", shade.partition);
    SHADE_COUNTS.send(&place, &seen).await;
}

/// An order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    number: u64,
}

/// Orders, in JSON.
#[topic(name = "orders")]
pub(crate) static ORDERS: Topic<(), Order>;

/// Prints orders.
#[agent(topic = ORDERS)]
async fn take_orders(order: Order) {
    println!("order {}", order.number);
}

/// Parcels that went out.
#[topic(name = "delivered")]
static DELIVERED: Topic<(), String>;

/// What is done about a parcel, and how often it was replayed. Bad ones fail, unless somebody has mended the program.
fn deal_with(parcel: &str, headers: &Headers) -> Result<String, String> {
    if parcel.starts_with("bad") && std::env::var_os("PARCELS_MENDED").is_none() {
        return Err("it is bad".to_owned());
    }
    Ok(match headers.get(dead_letter::REPLAYS) {
        None => parcel.to_owned(),
        Some(replays) => format!("{parcel} ({})", String::from_utf8_lossy(replays)),
    })
}

/// Delivers parcels.
#[agent(topic = "parcels", sink = DELIVERED, on_error = retry(times = 1, backoff = "1ms", then = dead_letter))]
async fn deliver(parcel: String, headers: Headers) -> Result<String, String> {
    deal_with(&parcel, &headers)
}

/// Delivers parcels that come back.
#[agent(topic = "returns", sink = DELIVERED, on_error = retry(times = 1, backoff = "1ms", then = dead_letter))]
async fn take_back(parcel: String, headers: Headers) -> Result<String, String> {
    Ok(format!("back: {}", deal_with(&parcel, &headers)?))
}

/// Of the topics of shades.
const PARTITIONS: i32 = 4;

/// Says which program to be: its name, a colon and its id.
const VARIABLE: &str = "PROCESSES_PROGRAM";

/// The program that this process is asked to be, if it is not to be the test.
pub(crate) fn asked_for() -> Option<App> {
    let asked = std::env::var(VARIABLE).ok()?;
    let (program, id) = asked.split_once(':').expect("a program and an id");
    Some(match program {
        "shades" => App::new(id)
            .agents([sort_shades::agent(), count_shades::agent()])
            .stdin(&SHADES)
            .show_at_end(&SEEN),
        "places" => App::new(id).agents([count_places::agent()]),
        "parcels" => App::new(id).agents([deliver::agent(), take_back::agent()]),
        "orders" => App::new(id).agents([take_orders::agent()]),
        other => panic!("no program `{other}`"),
    })
}

fn command_of(program: &str, id: &str) -> Command {
    let mut command = clean(std::env::current_exe().expect("the test knows where it is"));
    command.env(VARIABLE, format!("{program}:{id}"));
    command
}

/// The program `shades`.
pub(crate) fn shades(id: &str) -> Command {
    command_of("shades", id)
}

/// The program `orders`.
pub(crate) fn orders(id: &str) -> Command {
    command_of("orders", id)
}

/// The program `parcels`.
pub(crate) fn parcels(id: &str) -> Command {
    command_of("parcels", id)
}

/// Starts a worker whose log tells what it does, and which is missed soon when it is gone.
pub(crate) fn worker(name: &str, mut command: Command, broker: &str, more: &[&str]) -> Process {
    command
        .args(["worker", "--quiet", "--log", "info", "--broker", broker])
        .args(["--session-timeout", "6s", "--heartbeat-interval", "500ms"])
        .args(["--commit-interval", "200ms"])
        .args(more);
    Process::start(name, &mut command)
}

/// The lead partitions that a worker holds, by topic, as its log tells.
pub(crate) fn held(worker: &Process) -> BTreeMap<String, BTreeSet<i32>> {
    held_in(&worker.err())
}

/// How many tasks a worker holds.
pub(crate) fn tasks(worker: &Process) -> usize {
    held(worker).values().map(BTreeSet::len).sum()
}

/// A program that counts shades on a cluster, with its topics empty and an id that was never used.
pub(crate) struct Shades<'a> {
    cluster: &'a Cluster,
    id: String,
    repartitions: bool,
    /// How often each key was sent.
    truth: BTreeMap<String, u64>,
    sent: usize,
}

impl<'a> Shades<'a> {
    /// The program `shades`: the records go over an internal topic to where they are counted.
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        Self::of(cluster, true)
    }

    /// The program `places`: the records are counted in the partition they come from.
    pub(crate) fn in_place(cluster: &'a Cluster) -> Self {
        Self::of(cluster, false)
    }

    fn of(cluster: &'a Cluster, repartitions: bool) -> Self {
        cluster.topic("shades", PARTITIONS);
        cluster.topic("shade-counts", PARTITIONS);
        Self {
            cluster,
            id: unique("shades"),
            repartitions,
            truth: BTreeMap::new(),
            sent: 0,
        }
    }

    /// How many tasks the program has.
    pub(crate) fn tasks(&self) -> usize {
        self.inputs().len() * 4
    }

    fn inputs(&self) -> Vec<String> {
        let internal = self.repartitions.then(|| format!("{}-sorted", self.id));
        ["shades".to_owned()].into_iter().chain(internal).collect()
    }

    pub(crate) fn command(&self) -> Command {
        command_of(if self.repartitions { "shades" } else { "places" }, &self.id)
    }

    pub(crate) fn start(&self, name: &str) -> Process {
        worker(name, self.command(), &self.cluster.address(), &[])
    }

    /// Starts a worker and waits until it has all tasks.
    pub(crate) fn start_alone(&self, name: &str) -> Process {
        let mut worker = self.start(name);
        self.wait_for_all_tasks(&mut worker);
        worker
    }

    pub(crate) fn wait_for_all_tasks(&self, worker: &mut Process) {
        let all = self.tasks();
        worker.wait_for("all tasks", |worker| (tasks(worker) == all).then_some(()));
    }

    /// The next records of the input, for its partitions in turn, and notes what must come of them.
    pub(crate) fn more(&mut self, count: usize) -> Vec<&'static str> {
        assert_eq!(count % 4, 0, "every sending begins with partition 0");
        let shade = |n| ["red", "green", "black", "blue", "white", "red", "grey"][(n / 4 + n) % 7];
        let numbers = self.sent..self.sent + count;
        self.sent += count;
        for n in numbers.clone() {
            let key = match shade(n) {
                "black" if self.repartitions => continue,
                shade if self.repartitions => shade.to_owned(),
                shade => format!("{shade}@{}", n % 4),
            };
            *self.truth.entry(key).or_default() += 1;
        }
        numbers.map(shade).collect()
    }

    /// Sends records and waits until the broker has them.
    pub(crate) fn send(&mut self, count: usize) {
        let records = self.more(count);
        self.cluster.send("shades", records);
    }

    /// Waits until the group has committed everything.
    pub(crate) fn wait_until_done(&self) {
        let inputs = self.inputs();
        let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
        self.cluster.wait_until_done(&self.id, &inputs);
    }

    /// The counts that were put out, by shade, in their order.
    fn counts(&self) -> BTreeMap<String, Vec<u64>> {
        let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (shade, count) in self.cluster.read("shade-counts") {
            let count = count.parse().expect("a count is a number");
            counts.entry(shade).or_default().push(count);
        }
        counts
    }

    /// Every count was put out once, in order, up to what was sent.
    #[track_caller]
    pub(crate) fn assert_exact(&self) {
        let counts = self.counts();
        let last = last_of(&counts);
        assert_eq!(
            last, self.truth,
            "the last counts (left) are what was sent (right)"
        );
        for (shade, counts) in &counts {
            let all: Vec<_> = (1..=self.truth[shade]).collect();
            assert_eq!(*counts, all, "every count of {shade} once and in order");
        }
    }

    /// Every count was put out, some perhaps again, and the table counted every record once.
    #[track_caller]
    pub(crate) fn assert_counted_once(&self) {
        self.assert_nothing_lost();
        assert_eq!(
            last_of(&self.counts()),
            self.truth,
            "the last counts (left) are what was sent (right)"
        );
    }

    /// Nothing was lost: every count was put out, some perhaps again, and the last are not below what was sent.
    #[track_caller]
    pub(crate) fn assert_nothing_lost(&self) {
        let counts = self.counts();
        for (shade, truth) in &self.truth {
            let counts = counts.get(shade).map(Vec::as_slice).unwrap_or_default();
            let seen: BTreeSet<_> = counts.iter().copied().collect();
            let missing: Vec<_> = (1..=*truth).filter(|count| !seen.contains(count)).collect();
            assert!(missing.is_empty(), "counts of {shade} never put out: {missing:?}");
            let last = counts.last().copied().unwrap_or_default();
            assert!(last >= *truth, "{shade}: {last} counted, {truth} sent");
            if counts.len() as u64 != *truth {
                println!(
                    "     {shade}: {truth} sent, {last} counted, {} put out",
                    counts.len()
                );
            }
        }
    }
}

fn last_of(counts: &BTreeMap<String, Vec<u64>>) -> BTreeMap<String, u64> {
    let last = |(shade, counts): (&String, &Vec<u64>)| Some((shade.clone(), *counts.last()?));
    counts.iter().filter_map(last).collect()
}
