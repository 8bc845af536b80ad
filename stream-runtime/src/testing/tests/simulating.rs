//! Simulations: what fails is found, told with what matters, and can be run again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use super::{COUNTS, WORDS, app, seconds};
use crate::testing::panics::caught;
use crate::testing::simulate::{Wanted, simulate_some};
use crate::testing::{FaultKind, Faults, TestApp};

/// Sends words for a while.
fn feed(app: &mut TestApp) {
    for _ in 0..40 {
        app.send(&WORDS, "red", "red").advance(seconds(1) / 3);
    }
    app.settle();
}

/// What a simulation says when it fails.
fn failure(faults: &Faults, wanted: Wanted, check: impl Fn(&mut TestApp) + Sync) -> Option<String> {
    let run = |app: &mut TestApp| {
        feed(app);
        check(app);
    };
    let make = || app().faults(faults.clone());
    let failed = catch_unwind(AssertUnwindSafe(|| simulate_some(make, run, wanted))).err()?;
    Some(failed.downcast_ref::<String>().expect("a text").clone())
}

/// A result that comes again after a kill is one too many for somebody who takes at-least-once for exactly-once.
fn is_put_out_once(app: &mut TestApp) {
    assert_eq!(app.outputs(&COUNTS).len(), 40);
}

/// Faults that matter, and some that do not.
fn faults() -> Faults {
    Faults::of([FaultKind::Kill, FaultKind::ClockJump, FaultKind::SlowDisk]).every(seconds(1))
}

fn all(seeds: Range<u64>) -> Wanted {
    Wanted { seeds, only: None }
}

#[test]
fn a_program_that_counts_twice_after_a_kill_fails_with_that_kill_alone_and_can_be_run_again() {
    let message = failure(&faults(), all(0..50), is_put_out_once).expect("it is found");
    let (_, told) = message.split_once("with these faults:\n").expect("it lists them");
    let (told, command) = told.split_once("once more: ").expect("it says how");
    let (number, told) = told.trim().split_once(": ").expect("a number");
    assert!(
        told.ends_with('s') && told.contains("worker 0 is killed, for "),
        "{message}"
    );
    assert_eq!(told.lines().count(), 1, "{message}");
    let (variables, command) = command.split_once(" cargo test ").expect("it names the test");
    let name = "a_program_that_counts_twice_after_a_kill_fails_with_that_kill_alone_and_can_be_run_again";
    assert!(command.starts_with("-p stream-runtime --lib "), "{message}");
    assert!(command.ends_with(&format!("{name} -- --exact")), "{message}");

    let variables: BTreeMap<_, _> = variables
        .split(' ')
        .filter_map(|set| set.split_once('='))
        .collect();
    assert_eq!(variables.get("STREAM_TEST_FAULTS"), Some(&number), "{message}");
    let wanted = Wanted::read(|name| variables.get(name).map(|&value| value.to_owned()));
    let again = failure(&faults(), wanted.clone(), is_put_out_once).expect("it fails again");
    assert_eq!(again.lines().last(), message.lines().last());
    let without = Wanted {
        only: Some([].into()),
        ..wanted
    };
    assert_eq!(failure(&faults(), without, is_put_out_once), None);
}

#[test]
fn what_fails_without_any_fault_is_told_so() {
    let (line, fails) = (line!(), |_: &mut TestApp| panic!("it never holds"));
    let message = failure(&faults(), all(3..4), fails).expect("it fails");
    let wanted = format!(
        "seed 3 of 3..4 fails at {}:{line}: it never holds\nwithout any fault\nonce more: STREAM_TEST_SEED=3 \
         STREAM_TEST_FAULTS=",
        file!()
    );
    assert!(message.starts_with(&wanted), "{message}");
}

#[test]
fn a_simulation_fails_at_the_line_of_the_test() {
    let fails = |_: &mut TestApp| panic!("it never holds");
    let (line, act) = (line!(), || simulate_some(app, fails, all(3..4)));
    let panicked = caught(true, act).expect_err("it fails");
    assert_eq!(panicked.place, Some(format!("{}:{line}", file!())));
}

/// The name of the next test, and the variable that has it fail, in a process of its own.
const QUIET: &str = "testing::tests::simulating::only_the_first_run_that_fails_prints_what_it_panics_with";
const FAILS: &str = "SIMULATION_FAILS";

#[test]
fn only_the_first_run_that_fails_prints_what_it_panics_with() {
    if std::env::var_os(FAILS).is_some() {
        let fails = |app: &mut TestApp| {
            app.advance(seconds(5));
            let other = std::thread::spawn(|| panic!("what is on other threads is printed")).join();
            other.expect_err("it panics");
            panic!("it never holds");
        };
        return simulate_some(|| app().faults(faults()), fails, all(3..4));
    }
    let mut test = Command::new(std::env::current_exe().expect("it runs"));
    test.args(["--exact", QUIET, "--nocapture"]).env(FAILS, "");
    let output = test.output().expect("it starts");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(printed.matches(":\nit never holds\n").count(), 1, "{printed}");
    assert_eq!(printed.matches(": it never holds\n").count(), 1, "{printed}");
    assert_eq!(printed.matches("that was seed 3").count(), 1, "{printed}");
    assert!(
        printed.matches(":\nwhat is on other threads").count() > 2,
        "{printed}"
    );
}

#[test]
fn a_simulation_in_which_no_fault_happens_is_none() {
    let settles = |app: &mut TestApp| {
        app.settle();
    };
    let message = catch_unwind(|| simulate_some(app, settles, all(0..20))).expect_err("it fails");
    let message = message.downcast_ref::<String>().expect("a text");
    assert!(
        message.starts_with("no fault happened with any of the seeds 0..20"),
        "{message}"
    );
    simulate_some(|| app().faults(Faults::none()), settles, all(0..20));
}

#[test]
fn a_run_that_does_not_fail_again_is_told() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let fails_once = |_: &mut TestApp| {
        let tries = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(tries > 0, "the first time");
    };
    let message = failure(&faults(), all(1..2), fails_once).expect("it is told");
    assert!(
        message.starts_with("seed 1 failed and did not fail again"),
        "{message}"
    );
    assert!(message.ends_with("It said: the first time"), "{message}");
}
