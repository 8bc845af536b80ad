//! Programs as their users run them: processes, on Apache Kafka and on the embedded broker.
//!
//! The programs are the example `colors` and those of `processes/programs.rs`, which this executable turns into
//! when it is told to. Cases wait for conditions and never measure time; what a worker holds is read from its log.
//! A case for both brokers gets one of them as a [`Cluster`]. The Apache Kafka ones need what `tests/run` sets:
//! `STREAM_TEST_KAFKA=host:port`, and `STREAM_TEST_KAFKA_CLASSPATH` for Kafka's own tools. Without, they are
//! reported as left out, which fails where `CI=true`.
//!
//! `cargo test --test processes [part of a name …]`; a name is `broker::file::case`. Run it without `--test`,
//! or build the example first: `cargo build --example colors`.

#[path = "processes/broker.rs"]
mod broker;
#[path = "processes/cluster.rs"]
mod cluster;
#[path = "processes/commands.rs"]
mod commands;
#[path = "processes/crashes.rs"]
mod crashes;
#[path = "processes/dead_letters.rs"]
mod dead_letters;
#[path = "processes/ending.rs"]
mod ending;
#[path = "processes/failover.rs"]
mod failover;
#[path = "processes/first_run.rs"]
mod first_run;
#[path = "processes/held.rs"]
mod held;
#[path = "processes/kcat.rs"]
mod kcat;
#[path = "processes/outage.rs"]
mod outage;
#[path = "processes/process.rs"]
mod process;
#[path = "processes/programs.rs"]
mod programs;
#[path = "processes/refusals.rs"]
mod refusals;
#[path = "processes/tools.rs"]
mod tools;

use cluster::Cluster;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;

/// What a case needs.
#[derive(Clone, Copy)]
enum Needs {
    /// Nothing: the program brings its broker along.
    Nothing(fn()),
    /// A broker of its own, the embedded one and then Apache Kafka.
    Broker(fn(&Cluster)),
    /// The embedded broker as a process, and `kcat`.
    Kcat(fn(&Cluster)),
    /// Apache Kafka, or the means to start it.
    Kafka(fn(&Cluster)),
}

macro_rules! cases {
    ($($needs:ident $module:ident: $($case:ident)*;)*) => {
        &[$($((concat!(stringify!($module), "::", stringify!($case)), Needs::$needs($module::$case)),)*)*]
    };
}

const CASES: &[(&str, Needs)] = cases! {
    Nothing first_run: counts_the_lines_of_standard_input counts_what_the_demo_makes_up;
    Nothing commands: what_is_declared_is_listed_without_a_broker;
    Nothing ending: a_signal_ends_the_wait_for_a_broker;
    Nothing refusals: a_flag_that_does_not_exist_ends_with_2 an_unknown_setting_ends_with_2_and_the_nearest_name
        a_line_that_fails_for_good_ends_with_1_and_its_place;
    Broker refusals: a_missing_external_topic_ends_with_1_and_its_name
        a_record_that_does_not_decode_ends_with_1_and_its_place
        a_stopped_task_leaves_the_others_running;
    Broker commands: topics_are_checked_created_and_printed records_are_sent;
    Broker dead_letters: dead_letters_are_listed_and_replayed_once what_fails_again_comes_back_and_says_how_often
        what_cannot_be_replayed_is_told;
    Broker ending: sigterm_commits_what_was_processed sigint_commits_what_was_processed
        a_stop_does_not_wait_for_a_stuck_agent a_second_signal_ends_at_once;
    Broker failover: two_workers_have_two_tasks_each_of_four_partitions
        another_worker_takes_over_from_a_killed_one another_worker_takes_over_repartitioned_counts
        nothing_is_lost_by_a_kill_at_work a_stopped_worker_hands_over a_frozen_worker_does_no_harm;
    Broker crashes: a_table_counts_a_record_once_wherever_its_worker_dies
        every_count_is_put_out_once_wherever_its_worker_dies exactly_once_survives_a_kill_at_work;
    Kcat kcat: kcat_reads_and_writes;
    Kafka tools: counts_between_kafkas_own_tools;
    Kafka outage: a_worker_survives_its_broker a_worker_that_lost_its_group_loses_no_record
        a_worker_waits_for_its_broker;
};

/// A case on one broker.
struct Run {
    name: String,
    case: Box<dyn Fn() + Send + Sync>,
}

fn main() -> ExitCode {
    if let Some(program) = programs::asked_for() {
        return program.main();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let kafka = std::env::var("STREAM_TEST_KAFKA").ok();
    let has_kcat = process::is_installed("kcat");
    let (mut embedded, mut on_kafka, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for (case, needs) in CASES {
        let on_embedded = |run: fn(&Cluster)| -> Box<dyn Fn() + Send + Sync> {
            Box::new(move || run(&Cluster::embedded()))
        };
        let mut embedded_run = |run| {
            let name = format!("embedded::{case}");
            embedded.push(Run { name, case: run });
        };
        let mut kafka_run = |run: fn(&Cluster)| {
            let name = format!("kafka::{case}");
            match kafka.clone() {
                Some(bootstrap) => on_kafka.push(Run {
                    name,
                    case: Box::new(move || run(&Cluster::kafka(&bootstrap))),
                }),
                None => left_out.push((name, "STREAM_TEST_KAFKA=host:port is not set, see tests/run")),
            }
        };
        match *needs {
            Needs::Nothing(run) => embedded_run(Box::new(run)),
            Needs::Broker(run) => {
                embedded_run(on_embedded(run));
                kafka_run(run);
            }
            Needs::Kcat(run) if has_kcat => embedded_run(on_embedded(run)),
            Needs::Kcat(_) => left_out.push((
                format!("embedded::{case}"),
                "`kcat` is not installed: apt-get install kcat",
            )),
            Needs::Kafka(run) => kafka_run(run),
        }
    }
    embedded.retain(|run| wanted(&run.name));
    on_kafka.retain(|run| wanted(&run.name));
    left_out.retain(|(name, _)| wanted(name));
    if arguments.iter().any(|argument| argument == "--list") {
        for run in embedded.iter().chain(&on_kafka) {
            println!("{}: test", run.name);
        }
        return ExitCode::SUCCESS;
    }
    // One after the other on each broker, since on Apache Kafka they share topics.
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for runs in [&embedded, &on_kafka] {
            let failed = &failed;
            scope.spawn(move || runs.iter().for_each(|run| try_one(run, failed)));
        }
    });
    let mut failed = failed.into_inner().expect("no case runs under the lock");
    for (name, reason) in &left_out {
        println!("*** LEFT OUT {name}: {reason}");
        if std::env::var("CI").is_ok_and(|ci| ci == "true") {
            failed.push(format!("{name}: left out, which is not allowed where CI=true"));
        }
    }
    for name in &failed {
        println!("FAILED {name}");
    }
    println!(
        "\nprocesses: {} failed, {} left out",
        failed.len(),
        left_out.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn try_one(run: &Run, failed: &Mutex<Vec<String>>) {
    let start = std::time::Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(&run.case));
    let took = start.elapsed().as_secs_f32();
    if outcome.is_ok() {
        println!("test {} ... ok ({took:.1} s)", run.name);
    } else {
        println!("test {} ... FAILED ({took:.1} s)", run.name);
        failed
            .lock()
            .expect("no case runs under the lock")
            .push(run.name.clone());
    }
}
