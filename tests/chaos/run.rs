//! A run: workers under load, what the schedule does to them, and the verdict.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::cluster::{Cluster, Progress};
use crate::disk::SmallDisk;
use crate::evidence::{Dump, Evidence, Tables};
use crate::judge::Promise;
use crate::moves::Feeder;
use crate::program::{self, ID, INPUTS, PARTITIONS, TOTALS_TOPIC};
use crate::report::{Bound, Report};
use crate::schedule::{Kind, Step};
use crate::settings::Guarantee;
use crate::worker::{Common, Worker};

/// How long anything may take before the run fails. Nothing is proven by it.
const DEADLINE: Duration = Duration::from_secs(180);
/// Tasks of the program: one of each partition and sub-topology.
pub(crate) const TASKS: usize = 8;
/// Workers that can run; two do unless the schedule says otherwise.
const WORKERS: usize = 3;

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) guarantee: Guarantee,
    pub(crate) promise: Promise,
    pub(crate) steps: Vec<Step>,
    pub(crate) embedded: bool,
    pub(crate) store: String,
    pub(crate) rate: u64,
    pub(crate) keep: bool,
    /// Whether each step is told as it is taken.
    pub(crate) tell: bool,
}

impl Plan {
    /// Where its logs and state are.
    pub(crate) fn scratch(&self) -> PathBuf {
        let name = self.name.replace("::", "-");
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos").join(format!(
            "{name}-{}-{}",
            self.seed,
            std::process::id()
        ))
    }

    /// Runs it; panics when the promise is broken.
    pub(crate) fn run(&self) -> Report {
        let scratch = self.scratch();
        let mut run = Run::start(self, &scratch);
        for (number, step) in self.steps.iter().enumerate() {
            run.tell(&format!("{}/{}: {step}", number + 1, self.steps.len()));
            run.take(step);
        }
        run.tell("the end");
        let report = run.finish();
        if !self.keep {
            let _ = fs::remove_dir_all(scratch);
        }
        report
    }
}

/// A program at work, with its broker.
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) workers: Vec<Worker>,
    pub(crate) feeder: Feeder,
    pub(crate) cluster: Cluster,
    /// Ours, if it is Apache Kafka.
    pub(crate) kafka: Option<Broker>,
    /// Under the state of worker 0, if disks are to be full.
    pub(crate) disk: Option<SmallDisk>,
    pub(crate) report: Report,
    began: Instant,
    scratch: PathBuf,
}

impl<'a> Run<'a> {
    fn start(plan: &'a Plan, scratch: &Path) -> Self {
        fs::create_dir_all(scratch).expect("a directory can be made");
        let (cluster, kafka) = if plan.embedded {
            (Cluster::embedded_in(&mut program::command()), None)
        } else {
            let mut broker = Broker::new();
            broker.start();
            let cluster = Cluster::kafka(&broker.bootstrap());
            for topic in [INPUTS[0], TOTALS_TOPIC] {
                cluster.topic(topic, PARTITIONS);
            }
            (cluster, Some(broker))
        };
        let common = Common {
            scratch: scratch.to_owned(),
            guarantee: plan.guarantee,
            store: plan.store.clone(),
        };
        let port = cluster
            .bootstrap()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a broker has a port");
        let mut workers: Vec<_> = (0..WORKERS)
            .map(|number| Worker::new(number, port, &common))
            .collect();
        let fills = plan.steps.iter().any(|step| step.fault.kind() == Kind::FullDisk);
        let disk = fills.then(|| SmallDisk::mount(&workers[0].state()).expect("that it can be was tried"));
        for worker in &mut workers[..2] {
            worker.start(None);
        }
        let feeder = Feeder::start(cluster.bootstrap(), plan.seed, plan.rate);
        let mut run = Self {
            plan,
            workers,
            feeder,
            cluster,
            kafka,
            disk,
            report: Report::default(),
            began: Instant::now(),
            scratch: scratch.to_owned(),
        };
        run.settle();
        run
    }

    /// Notes what is done, and tells it where that is wanted.
    pub(crate) fn tell(&self, what: &str) {
        let line = format!("{:7.1} s  {what}\n", self.began.elapsed().as_secs_f32());
        if self.plan.tell {
            print!("{line}");
        }
        let file = self.scratch.join("events.log");
        let mut events = fs::read_to_string(&file).unwrap_or_default();
        events.push_str(&line);
        fs::write(file, events).expect("a log can be written");
    }

    /// Waits for something; `Err` says what is seen instead.
    pub(crate) fn wait<T>(&mut self, what: &str, mut find: impl FnMut(&mut Self) -> Result<T, String>) -> T {
        let start = Instant::now();
        loop {
            let seen = match find(self) {
                Ok(found) => return found,
                Err(seen) => seen,
            };
            assert!(
                start.elapsed() < DEADLINE,
                "not within {DEADLINE:?}: {what}; what is seen: {seen}"
            );
            self.supervise();
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts workers again that ended by themselves, as whoever runs them would.
    fn supervise(&mut self) {
        for number in 0..self.workers.len() {
            let worker = &mut self.workers[number];
            if let Some(status) = worker.has_ended() {
                let story = worker.failed(status);
                assert_eq!(status.code(), Some(1), "{story}");
                self.tell(&story);
                self.report.ended_by_themselves += 1;
                // Some faults may end a worker; one that does nothing else has no hope.
                let allowed = 10 + 2 * self.plan.steps.len();
                assert!(
                    self.report.ended_by_themselves <= allowed,
                    "workers keep ending by themselves: {story}"
                );
                self.count_crash();
                self.workers[number].start(None);
            }
        }
    }

    /// How far the group has come in both inputs.
    pub(crate) fn progress(&self) -> Option<Bound> {
        let progress = self.cluster.progress(ID, &INPUTS)?;
        let sum = |topic: &str, of: fn(&Progress) -> i64| -> u64 {
            let partitions = progress.iter().filter(|((name, _), _)| name == topic);
            let sum: i64 = partitions.map(|(_, progress)| of(progress)).sum();
            sum.cast_unsigned()
        };
        Some(Bound {
            committed: INPUTS.map(|topic| sum(topic, |progress| progress.committed)),
            ends: INPUTS.map(|topic| sum(topic, |progress| progress.end)),
        })
    }

    pub(crate) fn progress_now(&mut self) -> Bound {
        self.wait("the group's offsets can be read", |run| {
            run.progress().ok_or_else(|| "no answer".to_owned())
        })
    }

    /// A worker has just died: what is not committed now may come again.
    pub(crate) fn count_crash(&mut self) {
        let now = self.progress_now();
        self.report.disturbed(&now, &now);
    }

    /// Waits until all tasks are held, and commits come through.
    pub(crate) fn settle(&mut self) {
        self.wait("all tasks are held by the workers that run", |run| {
            let held: Vec<_> = run.workers.iter().map(Worker::tasks).collect();
            let all = held.iter().sum::<usize>() == TASKS;
            all.then_some(())
                .ok_or_else(|| format!("tasks by worker: {held:?}"))
        });
        let before = self.progress_now();
        self.wait("commits come through", |run| {
            let now = run.progress().ok_or_else(|| "no answer".to_owned())?;
            let on = (0..2).all(|input| now.committed[input] > before.committed[input]);
            on.then_some(())
                .ok_or_else(|| format!("{before:?} and then {now:?}"))
        });
    }

    /// Waits until this many more moves are committed.
    pub(crate) fn work(&mut self, moves: u64) {
        let before = self.progress_now().committed[0];
        self.wait("moves are processed", |run| {
            let now = run.progress().map_or(0, |progress| progress.committed[0]);
            let on = now >= before + moves;
            on.then_some(())
                .ok_or_else(|| format!("{now} committed, {before} before"))
        });
    }

    /// Waits until the group has committed everything.
    fn drain(&mut self) {
        self.wait("everything is processed and committed", |run| {
            let left = run.cluster.left(ID, &INPUTS);
            let left = left.ok_or_else(|| "no answer".to_owned())?;
            left.is_empty().then_some(()).ok_or_else(|| format!("{left:?}"))
        });
    }

    /// Stops all workers that run, with everything processed, and takes what they show of their tables.
    fn dump(&mut self, of: &str) -> Dump {
        // One that has none yet is about to take some from the others.
        self.wait("all tasks are held, and each worker has some", |run| {
            let started = run.workers.iter().filter(|worker| worker.is_started());
            let held: Vec<_> = started.map(Worker::tasks).collect();
            let all = held.iter().sum::<usize>() == TASKS && !held.contains(&0);
            all.then_some(())
                .ok_or_else(|| format!("tasks by worker that runs: {held:?}"))
        });
        // A task that has processed one of these is restored.
        self.feeder.sweep();
        self.drain();
        let running: Vec<_> = (0..self.workers.len())
            .filter(|number| self.workers[*number].is_started())
            .collect();
        for number in &running {
            self.workers[*number].ask();
        }
        let mut lines = Vec::new();
        for number in running {
            self.workers[number].stopped();
            lines.extend(self.workers[number].out());
        }
        let (tables, problems) = Tables::shown(lines.iter().map(String::as_str));
        assert!(problems.is_empty(), "{of}: {problems:?}");
        Dump {
            of: of.to_owned(),
            tables,
            moves: self.feeder.sent(),
        }
    }

    fn finish(mut self) -> Report {
        self.settle();
        self.feeder.stop();
        let mut dumps = vec![self.dump("the workers as they ran")];
        // On its own state, each must come to the same.
        let on_disk = self.plan.store.starts_with("rocksdb");
        let alone = if on_disk { self.workers.len() } else { 1 };
        for number in 0..alone {
            self.workers[number].start(None);
            dumps.push(self.dump(&format!("worker {number} alone on its state")));
        }
        if on_disk {
            crate::faults::empty(&self.workers[0].state());
            self.workers[0].start(None);
            dumps.push(self.dump("worker 0 without any state"));
        }
        let evidence = Evidence::read(&self.cluster, self.feeder.moves(), dumps);
        self.report.took = self.began.elapsed();
        self.report.count(&evidence, &self.scratch.join("logs"));
        let mut broken = evidence.broken(self.plan.promise);
        // A worker that lives on can repeat more than what was uncommitted when something happened to it.
        let zombies = self
            .plan
            .steps
            .iter()
            .any(|step| step.fault.kind().makes_zombies());
        if self.plan.guarantee == Guarantee::AtLeastOnce && !zombies {
            broken.extend(self.report.beyond_bound());
        }
        assert!(
            broken.is_empty(),
            "broken:\n  {}\n{}",
            broken.join("\n  "),
            self.report
        );
        self.report
    }
}
