//! Workers that come and go.

use std::collections::BTreeMap;
use std::sync::Mutex;

use stream_runtime::Running;
use stream_runtime::prelude::*;

use crate::support::bench::{Output, program};
use crate::support::proxy::Proxy;
use crate::support::{Bench, DEADLINE, Gate, input, log, wait_until};

fn tasks(running: &Running) -> usize {
    running.running_tasks().len()
}

/// How often each value is there.
fn counted(outputs: &[Output]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for output in outputs {
        *counted.entry(output.text()).or_default() += 1;
    }
    counted
}

#[table]
static REBALANCES_SEEN: Table<String, u64>;

/// Says how often it has seen the key.
#[agent(topic = "visits", sink = "visited")]
async fn visit(Key(guest): Key<String>, _value: String) -> String {
    let seen = REBALANCES_SEEN.update(&guest, |seen| {
        *seen += 1;
        *seen
    });
    format!("{guest} {seen}")
}

fn round(bench: &Bench) {
    bench.produce(
        "visits",
        (0..40).map(|guest| input("hello").key(format!("g{guest}"))),
    );
}

#[test]
fn two_workers_share_the_partitions_and_no_record_is_lost_or_doubled() {
    let bench = Bench::new(&[("visits", 4), ("visited", 1)]);
    let first = bench.start([visit::agent()]);
    round(&bench);
    wait_until("the first has all", || tasks(&first) == 4);
    round(&bench);
    let second = bench.start([visit::agent()]);
    round(&bench);
    wait_until("each has two", || tasks(&first) == 2 && tasks(&second) == 2);
    round(&bench);
    let stopping = std::thread::spawn(move || first.stop());
    round(&bench);
    stopping.join().expect("it does not panic").expect("all is well");
    wait_until("the second has all", || tasks(&second) == 4);
    round(&bench);
    second.drain(DEADLINE).expect("all is processed");
    second.stop().expect("all is well");
    let counted = counted(&bench.read("visited"));
    for guest in 0..40 {
        for seen in 1..=6 {
            let line = format!("g{guest} {seen}");
            assert_eq!(counted.get(&line), Some(&1), "{line} in {counted:?}");
        }
    }
    assert_eq!(counted.len(), 240);
}

/// The partitions at which an instance of `follow` began, in order.
static BEGUN: Mutex<Vec<i32>> = Mutex::new(Vec::new());

#[topic]
static REBALANCES_FOLLOWED: Topic<(), String>;

#[agent(topic = "visits")]
async fn follow(mut visits: Stream<Event<String, String>>) {
    let mut begun = false;
    while let Some(visit) = visits.next().await {
        if !begun {
            begun = true;
            BEGUN.lock().expect("no agent panics").push(visit.partition);
        }
        REBALANCES_FOLLOWED.send(&(), &visit.value).await;
    }
}

#[test]
fn tasks_of_untouched_partitions_go_on_through_a_rebalance() {
    let bench = Bench::new(&[("visits", 4), ("rebalances-followed", 1)]);
    let one_each = || {
        bench.produce(
            "visits",
            (0..4).map(|partition| input("x").key("k").to(partition)),
        );
    };
    let first = bench.start([follow::agent()]);
    one_each();
    bench.wait_for_records("rebalances-followed", 4);
    let second = bench.start([follow::agent()]);
    wait_until("each has two", || tasks(&first) == 2 && tasks(&second) == 2);
    one_each();
    bench.wait_for_records("rebalances-followed", 8);
    let begun = BEGUN.lock().expect("no agent panics").clone();
    assert_eq!(
        begun.len(),
        6,
        "the two that stayed were not begun anew: {begun:?}"
    );
    second.stop().expect("all is well");
    wait_until("the first has all", || tasks(&first) == 4);
    one_each();
    bench.wait_for_records("rebalances-followed", 12);
    first.stop().expect("all is well");
    let begun = BEGUN.lock().expect("no agent panics").clone();
    assert_eq!(begun.len(), 8, "{begun:?}");
}

static OPEN: Gate = Gate::new();

#[agent(topic = "rooms", sink = "rooms-left")]
async fn hold(Key(guest): Key<String>, value: String) -> String {
    REBALANCES_SEEN.update(&guest, |seen| *seen += 1);
    if value == "wait" {
        OPEN.pass().await;
    }
    value
}

#[test]
fn a_record_that_is_open_when_its_partition_is_given_back_is_finished_first() {
    log::keep();
    let bench = Bench::new(&[("rooms", 2), ("rooms-left", 1)]);
    let first = bench.start([hold::agent()]);
    bench.produce(
        "rooms",
        (0..2).map(|partition| input("wait").key("k").to(partition)),
    );
    OPEN.wait_for(2);
    let second = bench.start([hold::agent()]);
    // Both partitions are amid a record, so the one that goes is.
    wait_until("the rebalance has begun", || log::has(&["giving back", "rooms"]));
    OPEN.open();
    wait_until("each has one", || tasks(&first) == 1 && tasks(&second) == 1);
    bench.produce(
        "rooms",
        (0..2).map(|partition| input("go").key("k").to(partition)),
    );
    bench.wait_for_commit("rooms", 0, 2);
    bench.wait_for_commit("rooms", 1, 2);
    first.stop().expect("all is well");
    second.stop().expect("all is well");
    assert_eq!(OPEN.arrived(), 2, "nothing was given up and begun anew");
    let counted = counted(&bench.read("rooms-left"));
    assert_eq!(counted, [("go".to_owned(), 2), ("wait".to_owned(), 2)].into());
}

static LOUNGE: Gate = Gate::new();

/// Holds the first record of each of two partitions; who processes them again is let through.
#[agent(topic = "lounges", sink = "lounges-left")]
async fn linger(value: String) -> String {
    REBALANCES_SEEN.update("lounge", |seen| *seen += 1);
    if LOUNGE.arrived() < 2 {
        LOUNGE.pass().await;
    }
    value
}

#[test]
fn a_record_that_stays_open_is_given_up_in_time_and_its_partition_given_back() {
    log::keep();
    let bench = Bench::new(&[("lounges", 2), ("lounges-left", 1)]);
    let start = || {
        let app = bench.app([linger::agent()]);
        let app = app.set("session_timeout", "6s").set("max_poll_interval", "20s");
        app.start().expect("the program starts")
    };
    let first = start();
    bench.produce("lounges", (0..2).map(|partition| input("wait").to(partition)));
    LOUNGE.wait_for(2);
    let second = start();
    wait_until("each has one", || tasks(&first) == 1 && tasks(&second) == 1);
    assert!(
        !log::has(&["lost", "lounges"]),
        "it was given back before the group took it away"
    );
    bench.wait_for_records("lounges-left", 1);
    LOUNGE.open();
    first.drain(DEADLINE).expect("all is processed");
    first.stop().expect("all is well");
    second.stop().expect("all is well");
    assert_eq!(bench.texts("lounges-left"), ["wait"; 2], "each once");
}

#[agent(topic = "islands", sink = "islands-seen")]
async fn be_cut_off(value: String) -> String {
    let seen = REBALANCES_SEEN.update("island", |seen| {
        *seen += 1;
        *seen
    });
    format!("{value} {seen}")
}

#[test]
fn what_a_worker_has_staged_for_a_partition_that_it_lost_is_dropped() {
    log::keep();
    let bench = Bench::new(&[("islands", 1), ("islands-seen", 1)]);
    let proxy = Proxy::before(bench.broker.port());
    // The group gives it up soon when it is cut off.
    let app = program(&bench.id, &proxy.bootstrap(), [be_cut_off::agent()])
        .set("session_timeout", "6s")
        .set("heartbeat_interval", "500ms")
        .set("commit_interval", "4m");
    let first = app.start().expect("the program starts");
    bench.produce("islands", ["a", "b"].map(input));
    bench.wait_for_records("islands-seen", 2);
    proxy.cut();
    let second = bench.start([be_cut_off::agent()]);
    wait_until("the second has it", || tasks(&second) == 1);
    second.drain(DEADLINE).expect("all is processed");
    let changelog = bench.changelog("rebalances-seen");
    let written = bench.end(&changelog);
    proxy.mend();
    wait_until("the first hears of it", || log::has(&["lost", "islands"]));
    first.stop().expect("all is well");
    assert_eq!(bench.end(&changelog), written, "only the owner writes");
    assert_eq!(bench.committed("islands", 0), Some(2));
    bench.produce("islands", ["c"].map(input));
    second.drain(DEADLINE).expect("all is processed");
    second.stop().expect("all is well");
    assert_eq!(
        bench.texts("islands-seen").last().map(String::as_str),
        Some("c 3")
    );
}

#[table]
static REBALANCES_BALANCE: Table<String, i64>;

#[agent(topic = "pay-ins", sink = "balances")]
async fn pay_in(Key(account): Key<String>, amount: i64) -> i64 {
    REBALANCES_BALANCE.update(&account, |balance| {
        *balance += amount;
        *balance
    })
}

#[agent(topic = "pay-outs", sink = "balances")]
async fn pay_out(Key(account): Key<String>, amount: i64) -> i64 {
    REBALANCES_BALANCE.update(&account, |balance| {
        *balance -= amount;
        *balance
    })
}

#[test]
fn inputs_of_one_sub_topology_keep_the_same_partition_numbers_on_every_worker() {
    let bench = Bench::new(&[("pay-ins", 4), ("pay-outs", 4), ("balances", 1)]);
    let agents = || [pay_in::agent(), pay_out::agent()];
    let accounts = |amount: i64| (0..20).map(move |n| input(amount.to_string()).key(format!("account-{n}")));
    let first = bench.start(agents());
    wait_until("the first has all", || tasks(&first) == 4);
    bench.produce("pay-ins", accounts(100));
    bench.wait_for_records("balances", 20);
    let second = bench.start(agents());
    wait_until("each has two", || tasks(&first) == 2 && tasks(&second) == 2);
    bench.produce("pay-outs", accounts(30));
    bench.wait_for_records("balances", 40);
    bench.produce("pay-ins", accounts(5));
    bench.wait_for_records("balances", 60);
    first.stop().expect("all is well");
    wait_until("the second has all", || tasks(&second) == 4);
    bench.produce("pay-outs", accounts(75));
    bench.wait_for_records("balances", 80);
    second.stop().expect("all is well");
    let counted = counted(&bench.read("balances"));
    let expected = ["100", "70", "75", "0"].map(|balance| (balance.to_owned(), 20));
    assert_eq!(counted, expected.into());
}

/// Read again by key.
#[topic(internal, partitions = 8)]
static REBALANCES_BY_KEY: Topic<String, String>;

#[agent(topic = "visits")]
async fn hand_on(Key(guest): Key<String>, value: String) {
    REBALANCES_BY_KEY.send(&guest, &value).await;
}

#[agent(topic = REBALANCES_BY_KEY)]
async fn take_in(_value: String) {}

#[test]
fn every_sub_topology_is_shared_evenly() {
    let bench = Bench::new(&[("visits", 4)]);
    let agents = || [hand_on::agent(), take_in::agent()];
    let first = bench.start(agents());
    wait_until("the first has all", || tasks(&first) == 12);
    let second = bench.start(agents());
    let has_half = |running: &Running| {
        let of = |name: &str| {
            running
                .running_tasks()
                .iter()
                .filter(|task| task.starts_with(name))
                .count()
        };
        (of("visits/"), of("rebalances-by-key/")) == (2, 4)
    };
    wait_until("each has half of both", || has_half(&first) && has_half(&second));
    first.stop().expect("all is well");
    wait_until("the second has all", || tasks(&second) == 12);
    second.stop().expect("all is well");
}
