//! A program under everything that can go wrong, seed by seed: [`simulate`].

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use super::app::TestApp;
use super::faults::{Faults, Schedule, Told};
use super::once_more::{Place, once_more};
use super::panics::{Panicked, caught};
use super::watch::Runs;

/// How many seeds are tried unless said otherwise.
const SEEDS: u64 = 50;
/// With so many seeds some fault should have happened.
const ENOUGH: u64 = 10;
/// How often a run that fails is repeated to find out which of its faults matter.
const TRIES: usize = 60;
/// A run that takes longer is told of while it goes on: it may never end. By the real time.
const LONG: Duration = Duration::from_secs(60);

/// Runs a program with seed after seed, while workers die, disks fill, networks break and clocks jump, as
/// [`Faults::all`] lists it or [`TestApp::faults`] says.
///
/// `app` makes the program, `run` is the test: what it sends, how long it waits, and what must hold in the end. Faults
/// happen while time passes, that is in [`advance`](TestApp::advance); [`settle`](TestApp::settle) ends them, starts what
/// was ended, and waits until everything is processed. What must hold is checked behind that.
///
/// Each seed is one run, and gives the same run again. `STREAM_TEST_SEEDS=10000` tries as many, `STREAM_TEST_SEEDS=500..900`
/// these, on all cores; 50 are tried otherwise. A run that fails is repeated with fewer faults until none can be left out, and
/// the message ends with the command that replays it (with the variables alone where the thread is not named after a test).
///
/// ```
/// use std::time::Duration;
/// use stream_runtime::prelude::*;
/// use stream_runtime::testing::{TestApp, simulate};
///
/// #[topic]
/// static PAYMENTS: Topic<String, i64>;
///
/// #[table]
/// static BALANCES: Table<String, i64>;
///
/// #[agent(topic = PAYMENTS)]
/// async fn book(payment: Event<String, i64>) {
///     BALANCES.update(&payment.key, |balance| *balance += payment.value);
/// }
///
/// # fn main() {
/// simulate(
///     || TestApp::new().agents([book::agent()]).workers(2).exactly_once(),
///     |world| {
///         for payment in 1..=20 {
///             world.send(&PAYMENTS, "ann", payment).advance(Duration::from_secs(1));
///         }
///         world.settle();
///         assert_eq!(world.table(&BALANCES).get("ann"), Some(&210));
///     },
/// );
/// # }
/// ```
///
/// # Panics
/// When a run does. Settings of tests that are no numbers are reported too.
#[track_caller]
pub fn simulate(app: impl Fn() -> TestApp + Sync, run: impl Fn(&mut TestApp) + Sync) {
    let wanted = Wanted::read(|name| std::env::var(name).ok());
    simulate_some(app, run, wanted);
}

/// The same with these seeds and faults.
#[track_caller]
pub(super) fn simulate_some(
    app: impl Fn() -> TestApp + Sync,
    run: impl Fn(&mut TestApp) + Sync,
    Wanted { seeds, only }: Wanted,
) {
    let simulation = Simulation::new(&app, &run, only);
    assert!(!seeds.is_empty(), "STREAM_TEST_SEEDS: {seeds:?} are no seeds");
    let Some(failed) = simulation.first_failure(seeds.clone(), LONG, &say) else {
        let happened = simulation.happened.load(Ordering::Relaxed);
        let is_idle = happened == 0 && simulation.wants_faults.load(Ordering::Relaxed);
        assert!(
            !is_idle || simulation.only.is_some() || seeds.end - seeds.start < ENOUGH,
            "no fault happened with any of the seeds {seeds:?}: they happen while time passes, so let some pass with \
             `advance` between what the test sends"
        );
        return;
    };
    let seed = failed.seed;
    let Some(failed) = simulation.attempt(seed, simulation.only.clone(), true) else {
        panic!(
            "seed {seed} failed and did not fail again: the test depends on more than its seed, such as a static, a \
             `HashMap` or the real time. It said: {}",
            failed.panicked.message
        );
    };
    let failed = match simulation.only {
        Some(_) => failed,
        None => simulation.with_fewer_faults(failed),
    };
    let faults: Vec<_> = failed.told.iter().map(|told| format!("  {told}\n")).collect();
    let faults = match faults.is_empty() {
        true => "without any fault\n".to_owned(),
        false => format!("with these faults:\n{}", faults.concat()),
    };
    let Panicked { message, place } = &failed.panicked;
    let at = place.iter().map(|place| format!(" at {place}"));
    let at: String = at.collect();
    let once_more = once_more(seed, Some(&failed.numbers()), &Place::current());
    panic!("seed {seed} of {seeds:?} fails{at}: {message}\n{faults}once more: {once_more}");
}

/// Says something at once. What goes through `eprintln!` is kept by the test harness until the test ends.
fn say(text: &str) {
    // Nobody may listen.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) seeds: Range<u64>,
    /// The numbers of the faults that are to happen; `None` for all.
    pub(super) only: Option<BTreeSet<usize>>,
}

impl Wanted {
    /// As the environment says.
    ///
    /// # Panics
    /// When it says something else than numbers.
    #[track_caller]
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut only = None;
        if let Some(numbers) = variable("STREAM_TEST_FAULTS") {
            let numbers = numbers.split(',').map(str::trim).filter(|text| !text.is_empty());
            let mut wanted = BTreeSet::new();
            for text in numbers {
                wanted.insert(number("STREAM_TEST_FAULTS", text));
            }
            only = Some(wanted);
        }
        let seeds = match (variable("STREAM_TEST_SEED"), variable("STREAM_TEST_SEEDS")) {
            (Some(seed), _) => {
                let seed: u64 = number("STREAM_TEST_SEED", &seed);
                seed..seed + 1
            }
            (None, None) => 0..SEEDS,
            (None, Some(seeds)) => match seeds.split_once("..") {
                Some((from, to)) => number("STREAM_TEST_SEEDS", from)..number("STREAM_TEST_SEEDS", to),
                None => 0..number("STREAM_TEST_SEEDS", &seeds),
            },
        };
        Self { seeds, only }
    }
}

struct Simulation<'a> {
    app: &'a (dyn Fn() -> TestApp + Sync),
    run: &'a (dyn Fn(&mut TestApp) + Sync),
    only: Option<BTreeSet<usize>>,
    /// How many faults happened in all runs.
    happened: AtomicUsize,
    /// Whether any were to.
    wants_faults: AtomicBool,
}

/// A run that did not hold.
#[derive(Debug)]
struct Failed {
    seed: u64,
    panicked: Panicked,
    told: Vec<Told>,
}

impl Failed {
    /// The numbers of its faults.
    fn numbers(&self) -> Vec<usize> {
        numbers(&self.told)
    }
}

fn numbers(told: &[Told]) -> Vec<usize> {
    told.iter().filter_map(|told| told.number).collect()
}

impl<'a> Simulation<'a> {
    fn new(
        app: &'a (dyn Fn() -> TestApp + Sync),
        run: &'a (dyn Fn(&mut TestApp) + Sync),
        only: Option<BTreeSet<usize>>,
    ) -> Self {
        Self {
            app,
            run,
            only,
            happened: AtomicUsize::new(0),
            wants_faults: AtomicBool::new(false),
        }
    }

    /// Runs the seeds on all cores until one fails, which need not be the lowest that does. Says which run takes longer than
    /// `long` as soon as it does.
    fn first_failure(
        &self,
        seeds: Range<u64>,
        long: Duration,
        say: &(dyn Fn(&str) + Sync),
    ) -> Option<Failed> {
        let next = AtomicU64::new(seeds.start);
        let is_over = AtomicBool::new(false);
        let failed = Mutex::new(None);
        let runs = Runs::default();
        let work = || {
            while !is_over.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !seeds.contains(&seed) {
                    return;
                }
                let _begun = runs.begin(seed);
                if let Some(failure) = self.attempt(seed, self.only.clone(), false) {
                    is_over.store(true, Ordering::Relaxed);
                    *failed.lock().expect("nobody panics with it") = Some(failure);
                }
            }
        };
        let place = Place::current();
        let only: Option<Vec<_>> = self.only.as_ref().map(|only| only.iter().copied().collect());
        let tell = |seed| {
            let once_more = once_more(seed, only.as_deref(), &place);
            say(&format!(
                "seed {seed} takes longer than {long:?}; once more: {once_more}"
            ));
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = u64::try_from(cores).unwrap_or(1).min(seeds.end - seeds.start);
        std::thread::scope(|scope| {
            // Gone when all are done, also where one panics.
            let (working, over) = mpsc::channel();
            let runs = &runs;
            scope.spawn(move || runs.watch(long, &over, tell));
            if threads <= 1 {
                work();
                return;
            }
            for _ in 0..threads {
                let (work, working) = (&work, working.clone());
                scope.spawn(move || {
                    work();
                    drop(working);
                });
            }
        });
        failed.into_inner().expect("nobody panics with it")
    }

    /// One run; what became of it if it did not hold. One that is repeated is quiet: what it says was printed before.
    fn attempt(&self, seed: u64, only: Option<BTreeSet<usize>>, is_quiet: bool) -> Option<Failed> {
        let mut app = (self.app)().seed(seed);
        let faults = app.wanted_faults.take().unwrap_or_else(Faults::all);
        self.wants_faults.fetch_or(!faults.is_empty(), Ordering::Relaxed);
        app.schedule = Schedule::new(faults, seed);
        app.schedule.only = only;
        let outcome = caught(is_quiet, || (self.run)(&mut app));
        let told = std::mem::take(&mut app.schedule.told);
        let happened = numbers(&told).len();
        self.happened.fetch_add(happened, Ordering::Relaxed);
        let panicked = outcome.err()?;
        if !is_quiet {
            eprintln!("that was seed {seed}; faults: {happened}");
        }
        // What is left of it may panic once more on its way out.
        drop(caught(is_quiet, || drop(app)));
        Some(Failed { seed, panicked, told })
    }

    /// Leaves out faults, first many and then single ones, as long as the run still fails.
    fn with_fewer_faults(&self, mut failed: Failed) -> Failed {
        let mut tries = 0;
        let mut size = failed.numbers().len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < failed.numbers().len() && tries < TRIES {
                let kept = failed.numbers().into_iter().enumerate();
                let kept = kept.filter(|(place, _)| !(from..from + size).contains(place));
                let only = kept.map(|(_, number)| number).collect();
                tries += 1;
                match self.attempt(failed.seed, Some(only), true) {
                    Some(again) => failed = again,
                    None => from += size,
                }
            }
            size = if size == 1 || tries == TRIES {
                0
            } else {
                size.div_ceil(2)
            };
        }
        failed
    }
}

#[track_caller]
fn number<T: std::str::FromStr>(name: &str, text: &str) -> T {
    match text.trim().parse() {
        Ok(number) => number,
        Err(_) => panic!("{name}: `{text}` is no number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Wanted {
        Wanted::read(|name| {
            let mut variables = variables.iter();
            variables
                .find(|(set, _)| *set == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_says_what_is_run() {
        let all = |seeds| Wanted { seeds, only: None };
        assert_eq!(read(&[]), all(0..50));
        assert_eq!(read(&[("STREAM_TEST_SEEDS", "300")]), all(0..300));
        assert_eq!(read(&[("STREAM_TEST_SEEDS", "500..900")]), all(500..900));
        let one = read(&[("STREAM_TEST_SEED", " 17"), ("STREAM_TEST_SEEDS", "300")]);
        assert_eq!(one, all(17..18));
        let only = |numbers| read(&[("STREAM_TEST_FAULTS", numbers)]).only;
        assert_eq!(only("3, 8"), Some([3, 8].into()));
        assert_eq!(only(""), Some([].into()));
    }

    #[test]
    #[should_panic(expected = "STREAM_TEST_SEEDS: `many` is no number")]
    fn what_is_no_number_is_named() {
        read(&[("STREAM_TEST_SEEDS", "1..many")]);
    }

    /// Each run ends when it was told of; all of them take too long.
    #[test]
    fn a_run_that_takes_long_is_told_once_while_it_goes_on() {
        let told = Mutex::new(Vec::new());
        let tells = std::sync::Condvar::new();
        let say = |text: &str| {
            told.lock().expect("nobody panics with it").push(text.to_owned());
            tells.notify_all();
        };
        let run = |app: &mut TestApp| {
            let begins = format!("seed {} takes longer than ", app.seed_number());
            let is_missing = |told: &mut Vec<String>| !told.iter().any(|text| text.starts_with(&begins));
            let told = told.lock().expect("nobody panics with it");
            drop(tells.wait_while(told, is_missing));
        };
        let simulation = Simulation::new(&TestApp::new, &run, None);
        let failed = simulation.first_failure(3..8, Duration::from_millis(1), &say);
        assert!(failed.is_none(), "{failed:?}");
        let mut told = told.into_inner().expect("nobody panics with it");
        told.sort();
        assert_eq!(told.len(), 5, "{told:?}");
        for (text, seed) in told.iter().zip(3..) {
            let command = format!("; once more: STREAM_TEST_SEED={seed}");
            assert!(text.contains(&command), "{text}");
            assert!(text.starts_with(&format!("seed {seed} takes ")), "{text}");
        }
    }
}
