//! What is promised of a program whose workers, state, broker and network fail while it works, at random places: kill
//! tests with arithmetic as the judge.
//!
//! Worker processes count under a steady load on Apache Kafka that is this test's own, or on the embedded broker,
//! while a schedule that is drawn from a seed kills, freezes, cuts and starts them. At the end everything is
//! processed, and topics, changelogs and the workers' stores are compared with what was sent.
//!
//! The short form is a part of `cargo test`: `cargo test --test chaos [part of a name …]`. The long one:
//!
//! ```text
//! cargo test --features rocksdb --test chaos -- --long --faults 100 --guarantee exactly_once --seed 7
//! ```
//!
//! `-- --help` has all flags. Every run tells its seed; `STREAM_TEST_SEED` or `--seed` repeats its schedule. Of a
//! run that fails, the logs of all workers are kept and named. Apache Kafka is run where `STREAM_TEST_KAFKA` is set,
//! as `tests/run` does. What the program under test cannot do yet is switched on in `chaos/abilities.rs`.

#[path = "chaos/abilities.rs"]
mod abilities;
#[path = "processes/broker.rs"]
mod broker;
#[allow(
    dead_code,
    reason = "shared with the tests of processes, which use more of it"
)]
#[path = "processes/cluster.rs"]
mod cluster;
#[path = "chaos/disk.rs"]
mod disk;
#[path = "chaos/evidence.rs"]
mod evidence;
#[path = "chaos/faults.rs"]
mod faults;
#[path = "processes/held.rs"]
mod held;
#[path = "chaos/judge.rs"]
mod judge;
#[path = "chaos/moves.rs"]
mod moves;
#[allow(
    dead_code,
    reason = "shared with the tests of processes, which use more of it"
)]
#[path = "processes/process.rs"]
mod process;
#[path = "chaos/program.rs"]
mod program;
#[path = "chaos/promises.rs"]
mod promises;
#[allow(
    dead_code,
    reason = "shared with the tests on the embedded broker, which use more of it"
)]
#[path = "support/proxy.rs"]
mod proxy;
#[path = "chaos/random.rs"]
mod random;
#[path = "chaos/report.rs"]
mod report;
#[path = "chaos/run.rs"]
mod run;
#[path = "chaos/schedule.rs"]
mod schedule;
#[path = "chaos/settings.rs"]
mod settings;
#[path = "chaos/verdicts.rs"]
mod verdicts;
#[path = "chaos/worker.rs"]
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use judge::Promise;
use promises::Trial;
use run::Plan;
use schedule::Kind;
use settings::{Guarantee, Settings};

macro_rules! named {
    ($module:ident: $($case:ident)*) => {
        [$((concat!(stringify!($module), "::", stringify!($case)), $module::$case as _)),*]
    };
}

/// A case and its name.
type Case<T> = (&'static str, fn() -> T);

/// Cases of the judge.
const VERDICTS: [Case<()>; 5] = named! { verdicts: a_missing_record_is_found a_record_that_came_twice_is_found
a_table_that_is_wrong_is_found another_order_is_found a_seed_repeats_its_schedule };

/// Runs of the short form, on each broker.
const TRIALS: [Case<Trial>; 3] = named! { promises: workers_that_die_lose_nothing_and_count_once
workers_that_come_back_lose_nothing everything_counts_once_whatever_happens };

/// What became of the cases.
#[derive(Debug, Default)]
struct Outcome {
    failed: Vec<String>,
    left_out: Vec<String>,
}

fn main() -> ExitCode {
    if let Some(program) = program::asked_for() {
        return program.main();
    }
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{}", settings::USAGE);
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::from(arguments.into_iter()) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}\n\n{}", settings::USAGE);
            return ExitCode::from(2);
        }
    };
    let mut outcome = Outcome::default();
    if settings.long {
        long(&settings, &mut outcome);
    } else {
        short(&settings, &mut outcome);
    }
    for line in &outcome.left_out {
        println!("*** LEFT OUT {line}");
    }
    for name in &outcome.failed {
        println!("FAILED {name}");
    }
    println!(
        "\nchaos: {} failed, {} left out",
        outcome.failed.len(),
        outcome.left_out.len()
    );
    if outcome.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn short(settings: &Settings, outcome: &mut Outcome) {
    let wanted = |name: &str| {
        settings.filters.is_empty() || settings.filters.iter().any(|filter| name.contains(filter))
    };
    for (name, case) in VERDICTS.into_iter().filter(|(name, _)| wanted(name)) {
        if settings.list {
            println!("{name}: test");
            continue;
        }
        let found = catch_unwind(case).is_ok();
        println!("test {name} ... {}", if found { "ok" } else { "FAILED" });
        if !found {
            outcome.failed.push(name.to_owned());
        }
    }
    let mut lanes = [Vec::new(), Vec::new()];
    for (lane, embedded) in lanes.iter_mut().zip([true, false]) {
        for (case, trial) in TRIALS {
            let name = format!("{}::{case}", if embedded { "embedded" } else { "kafka" });
            if !wanted(&name) {
                continue;
            }
            if settings.list {
                println!("{name}: test");
                continue;
            }
            lane.extend(short_plan(&name, &trial(), embedded, settings, outcome));
        }
    }
    // One after the other on each broker: two programs at work are enough for a small machine.
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for lane in &lanes {
            let failed = &failed;
            scope.spawn(move || {
                for plan in lane {
                    if !try_one(plan, &format!("cargo test --test chaos -- {}", plan.name)) {
                        let mut failed = failed.lock().expect("nothing panics under it");
                        failed.push(plan.name.clone());
                    }
                }
            });
        }
    });
    outcome
        .failed
        .extend(failed.into_inner().expect("nothing panics under it"));
}

/// A run of the short form, unless it is left out.
fn short_plan(
    name: &str,
    trial: &Trial,
    embedded: bool,
    settings: &Settings,
    outcome: &mut Outcome,
) -> Option<Plan> {
    if !embedded && std::env::var_os("STREAM_TEST_KAFKA").is_none() {
        let why = "STREAM_TEST_KAFKA is not set, see tests/run";
        outcome.left_out.push(format!("{name}: {why}"));
        if std::env::var("CI").is_ok_and(|ci| ci == "true") {
            outcome
                .failed
                .push(format!("{name}: left out, which is not allowed where CI=true"));
        }
        return None;
    }
    if let Some(why) = not_yet(trial.guarantee, embedded) {
        outcome.left_out.push(format!("{name}: {why}"));
        return None;
    }
    let mut kinds = trial.kinds.clone();
    kinds.retain(|(kind, _)| can_be(*kind, embedded, settings, name, outcome));
    // The embedded broker is for the program's own part; one of each kind shows that.
    if embedded {
        for (_, times) in kinds.iter_mut().filter(|(kind, _)| *kind != Kind::CrashPoint) {
            *times = 1;
        }
    }
    Some(Plan {
        steps: schedule::fixed(settings.seed, trial.guarantee, &kinds),
        promise: trial.promise,
        guarantee: trial.guarantee,
        ..plan(name, embedded, settings)
    })
}

fn long(settings: &Settings, outcome: &mut Outcome) {
    let guarantee = settings.guarantee;
    if let Some(why) = not_yet(guarantee, settings.embedded) {
        outcome
            .failed
            .push(format!("the long form of {guarantee}: {why}"));
        return;
    }
    let name = format!("long::{guarantee}");
    let mut kinds = settings.kinds.clone();
    kinds.retain(|kind| can_be(*kind, settings.embedded, settings, &name, outcome));
    if kinds.is_empty() {
        outcome
            .failed
            .push(format!("{name}: no fault of these kinds can be"));
        return;
    }
    let zombies = kinds.iter().any(|kind| kind.makes_zombies());
    let plan = Plan {
        steps: schedule::drawn(settings.seed, guarantee, &kinds, settings.faults),
        promise: match guarantee {
            Guarantee::ExactlyOnce => Promise::ExactlyOnce,
            Guarantee::AtLeastOnce if zombies => Promise::NothingMissing,
            Guarantee::AtLeastOnce => promises::promise_of_crashes(),
        },
        tell: true,
        ..plan(&name, settings.embedded, settings)
    };
    let names: Vec<_> = settings.kinds.iter().map(|kind| kind.name()).collect();
    let again = format!(
        "cargo test --test chaos -- --long --guarantee {guarantee} --faults {} --kinds {} --rate {} --broker {}",
        settings.faults,
        names.join(","),
        settings.rate,
        if settings.embedded { "embedded" } else { "kafka" }
    );
    if !try_one(&plan, &again) {
        outcome.failed.push(name);
    }
}

fn plan(name: &str, embedded: bool, settings: &Settings) -> Plan {
    Plan {
        name: name.to_owned(),
        seed: settings.seed,
        guarantee: settings.guarantee,
        promise: Promise::NothingMissing,
        steps: Vec::new(),
        embedded,
        store: settings.store.clone(),
        rate: settings.rate,
        keep: settings.keep,
        tell: false,
    }
}

/// What is missing for a guarantee.
fn not_yet(guarantee: Guarantee, embedded: bool) -> Option<&'static str> {
    match guarantee {
        Guarantee::ExactlyOnce if !abilities::EXACTLY_ONCE => Some("exactly-once is not promised yet"),
        Guarantee::ExactlyOnce if embedded && !abilities::EMBEDDED_TRANSACTIONS => {
            Some("the embedded broker has no transactions yet")
        }
        _ => None,
    }
}

fn can_be(kind: Kind, embedded: bool, settings: &Settings, name: &str, outcome: &mut Outcome) -> bool {
    let why = schedule::left_out(kind, !embedded, &settings.store);
    if let Some(why) = why {
        outcome.left_out.push(format!("{} of {name}: {why}", kind.name()));
    }
    why.is_none()
}

/// Whether it holds.
fn try_one(plan: &Plan, again: &str) -> bool {
    println!(
        "     {}: seed {}, {} faults",
        plan.name,
        plan.seed,
        plan.steps.len()
    );
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| plan.run()));
    let took = start.elapsed().as_secs_f32();
    let (name, seed) = (&plan.name, plan.seed);
    match &result {
        Ok(report) => println!("test {name} ... ok ({took:.1} s, seed {seed})\n{report}"),
        Err(_) => {
            let features = if cfg!(feature = "rocksdb") {
                " --features rocksdb"
            } else {
                ""
            };
            let again = again.replace("cargo test", &format!("cargo test{features}"));
            println!(
                "test {name} ... FAILED ({took:.1} s, seed {seed})\n     once more: STREAM_TEST_SEED={seed} {again}\n     \
                 logs and state: {}",
                plan.scratch().display()
            );
        }
    }
    result.is_ok()
}
