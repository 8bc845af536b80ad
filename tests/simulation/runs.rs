//! Runs by seed.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stream_runtime::testing::{Faults, Random, TestApp};

use crate::effects::{
    OF_CRASHES, OF_MANY_CRASHES, OF_PURGES, OF_SILENCE, OF_TRANSACTIONS, OF_ZOMBIES, simulate_seeing,
};
use crate::oracle::Truth;
use crate::program::{app, forget_tries};

/// Sends moves for a while, in bursts.
fn feed(world: &mut TestApp) -> Truth {
    forget_tries();
    let mut truth = Truth::default();
    let mut random = Random::new(world.seed_number() ^ 0x5eed);
    for _ in 0..12 + random.below(12) {
        let burst = random.below(12);
        truth.send(world, &mut random, burst);
        let pause = random.between(Duration::from_millis(1), Duration::from_secs(4));
        world.advance(pause);
    }
    world.settle();
    truth
}

#[test]
fn exactly_once_counts_every_record_once_whatever_happens() {
    simulate_seeing(
        &[OF_CRASHES, OF_SILENCE, OF_TRANSACTIONS],
        || app().workers(2).exactly_once(),
        |world| feed(world).check_exact(world),
    );
}

/// Who stands still leaves the group by itself as well, since it was not at work for too long.
#[test]
fn exactly_once_holds_with_tables_in_memory() {
    simulate_seeing(
        &[OF_CRASHES, OF_SILENCE, OF_TRANSACTIONS],
        || {
            app()
                .workers(3)
                .exactly_once()
                .in_memory()
                .set("max_poll_interval", "7s")
        },
        |world| feed(world).check_exact(world),
    );
}

#[test]
fn exactly_once_holds_with_standbys() {
    simulate_seeing(
        &[OF_CRASHES, OF_SILENCE, OF_TRANSACTIONS, OF_PURGES],
        || {
            app()
                .workers(3)
                .exactly_once()
                .set("standby_replicas", 1)
                .set("purge_interval", "2s")
        },
        |world| feed(world).check_exact(world),
    );
}

#[test]
fn at_least_once_keeps_tables_of_the_input_exact_through_crashes() {
    simulate_seeing(
        &[OF_CRASHES, OF_MANY_CRASHES, OF_PURGES],
        || {
            app()
                .workers(2)
                .set("purge_interval", "2s")
                .faults(Faults::at_least_once())
        },
        |world| feed(world).check_at_least(world),
    );
}

/// A worker that was away for longer than its session may overwrite what its successor wrote to a changelog, which only
/// exactly-once prevents; every record has its results nevertheless.
#[test]
fn at_least_once_loses_no_record_whatever_happens() {
    simulate_seeing(
        &[OF_CRASHES, OF_SILENCE, OF_ZOMBIES, OF_PURGES],
        || app().workers(2).set("purge_interval", "2s"),
        |world| feed(world).check_all_there(world),
    );
}

/// A producer that is full when a commit is due had its worker turn without an end.
#[test]
fn a_full_producer_is_waited_for() {
    let mut world = app().workers(2).exactly_once().seed(1013).faults(Faults::all());
    let truth = feed(&mut world);
    truth.check_exact(&mut world);
}

/// A program of some workers, with everything that can go wrong.
fn of(workers: usize) -> TestApp {
    app().workers(workers).faults(Faults::all())
}

/// Programs that differ in what they are made of.
const PROGRAMS: [fn() -> TestApp; 3] = [
    || of(2).exactly_once(),
    || of(2),
    || of(3).exactly_once().set("standby_replicas", 1),
];

fn assert_same(one: &[String], other: &[String]) {
    assert!(one.len() > 1000, "{} events", one.len());
    let different = one.iter().zip(other).position(|(one, other)| one != other);
    if let Some(place) = different {
        panic!("event {place}: {} and then {}", one[place], other[place]);
    }
    assert_eq!(one.len(), other.len());
}

#[test]
fn a_seed_gives_the_same_run_to_the_letter() {
    for program in PROGRAMS {
        let run = || {
            let mut world = program().seed(7).traced();
            feed(&mut world);
            feed(&mut world);
            world.trace()
        };
        assert_same(&run(), &run());
    }
}

/// The next test, and the variable that has it run a seed and print the trace, in a process of its own.
const TRACES: &str = "runs::a_seed_gives_the_same_run_in_every_process";
const SEED: &str = "SIMULATION_SEED";

/// Statics, addresses and the order of hash maps are others in another process.
#[test]
fn a_seed_gives_the_same_run_in_every_process() {
    if let Ok(seed) = std::env::var(SEED) {
        let seed: usize = seed.parse().expect("a number");
        let mut world = PROGRAMS[seed % PROGRAMS.len()]().seed(seed as u64).traced();
        feed(&mut world);
        // The harness has begun a line.
        println!();
        for event in world.trace() {
            println!("event {event}");
        }
        return;
    }
    let start = |seed: usize| {
        let mut test = Command::new(std::env::current_exe().expect("it runs"));
        test.args(["--exact", TRACES, "--nocapture"])
            .env(SEED, seed.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        test.spawn().expect("it starts")
    };
    let trace = |process: Child| {
        let output = process.wait_with_output().expect("it ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let printed = String::from_utf8(output.stdout).expect("a trace is text");
        let events = printed.lines().filter(|line| line.starts_with("event "));
        events.map(str::to_owned).collect::<Vec<_>>()
    };
    for seed in 7..10 {
        let processes = [start(seed), start(seed)];
        let [one, other] = processes.map(trace);
        assert_same(&one, &other);
    }
}
