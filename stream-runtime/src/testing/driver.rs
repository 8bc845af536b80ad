//! What makes time pass for a program under test: the broker, the network and the workers, on one thread.
//!
//! Time is that of a paused tokio clock, so agents that sleep or set time-outs live on it too. When nobody has anything
//! to do it jumps to the next moment at which somebody will.
//!
//! Invariant: what happens depends on the seed and on what the test does, on nothing else.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::clients::network::{Network, Process, SharedNetwork};
use super::disk::Disk;
use super::effects;
use super::random::Random;
use super::worker::{Facts, Killed, Polled, Program, Worker};
use crate::broker::api::text;
use crate::clock;
use crate::clock::virtual_time::{self, Moment};
use crate::cluster::crash::simulated;
use crate::cluster::status::Stage;
use crate::error::Result;

/// When every test begins: 2020-01-01T00:00:00Z, in milliseconds since the Unix epoch.
pub(super) const EPOCH_MS: i64 = 1_577_836_800_000;

/// So often somebody may have something to do at one moment before that is a loop without an end.
const TURNS_AT_ONCE: u32 = 1_000_000;

/// A worker that is to be killed when it comes by some place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Armed {
    /// The number of the fault; `None` when the test itself wants it.
    pub(super) number: Option<usize>,
    pub(super) worker: usize,
    /// `None` is any place, of which there is one at every call of a client too.
    pub(super) point: Option<&'static str>,
    pub(super) passes: u32,
}

/// A worker was killed where that was to happen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    /// The number of the fault; `None` when the test itself wanted it.
    pub(super) number: Option<usize>,
    /// Where it happened.
    pub(super) point: &'static str,
}

/// A worker that is being polled, and what it loses when it is killed meanwhile.
struct Turn {
    worker: usize,
    process: Process,
    disk: Disk,
}

/// Everything that there is.
pub(super) struct World {
    pub(super) network: SharedNetwork,
    pub(super) random: Random,
    pub(super) program: Program,
    pub(super) workers: Vec<Worker>,
    /// What the workers found and made on the broker, once one was started.
    pub(super) facts: Option<Facts>,
    news: Arc<Notify>,
    processes: u32,
    base: Instant,
    tokio_base: Option<tokio::time::Instant>,
    /// Whose turn it is, if somebody is being polled.
    turn: Rc<RefCell<Option<Turn>>>,
    armed: Rc<RefCell<Vec<Armed>>>,
    /// What killed the worker whose turn it was.
    hit: Rc<Cell<Option<Hit>>>,
}

/// A world and what its time passes on.
pub(super) struct Driver {
    runtime: tokio::runtime::Runtime,
    pub(super) world: World,
}

/// Does what is to be done at some moments of a run.
pub(super) trait Timetable {
    /// When it wants to be called next, since the start.
    fn next(&self) -> Option<Duration>;

    /// Its time has come.
    fn act(&mut self, world: &mut World);

    /// A worker has ended by itself, or since it was asked to.
    fn worker_ended(&mut self, world: &mut World, worker: usize);

    /// A worker was killed where that was to happen.
    fn worker_killed(&mut self, world: &mut World, worker: usize, hit: Hit);
}

impl Driver {
    #[track_caller]
    pub(super) fn new(program: Program, seed: u64) -> Self {
        assert!(
            tokio::runtime::Handle::try_current().is_err(),
            "a TestApp has a runtime of its own, with virtual time: take `#[test]` instead of `#[tokio::test]`"
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without threads and sockets needs nothing that could be missing");
        effects::forget();
        let mut random = Random::new(seed);
        let network = SharedNetwork::new(Network::new(random.number(), EPOCH_MS));
        Self {
            runtime,
            world: World {
                network,
                random,
                program,
                workers: Vec::new(),
                facts: None,
                news: Arc::default(),
                processes: 0,
                base: clock::now(),
                tokio_base: None,
                turn: Rc::default(),
                armed: Rc::default(),
                hit: Rc::default(),
            },
        }
    }

    /// Does something at this moment, on virtual time.
    pub(super) fn at_once<R>(&mut self, act: impl FnOnce(&mut World) -> R) -> R {
        let world = &mut self.world;
        let _time = world.enter();
        self.runtime.block_on(async {
            world.meet_time().await;
            act(world)
        })
    }

    /// Lets time pass until `goal` holds, at most until `end` since the start. Whether it holds.
    pub(super) fn run_until(
        &mut self,
        end: Duration,
        timetable: &mut dyn Timetable,
        goal: impl FnMut(&mut World) -> bool,
    ) -> bool {
        let world = &mut self.world;
        let _time = world.enter();
        self.runtime.block_on(world.run_until(end, timetable, goal))
    }
}

impl Drop for Driver {
    /// Futures may have timers, whose runtime is still there, and look at the time.
    fn drop(&mut self) {
        let _time = self.world.enter();
        let _runtime = self.runtime.enter();
        self.world.workers.clear();
    }
}

/// The thread lives on virtual time as long as there is one.
struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        virtual_time::set(None);
        virtual_time::set_pass(None);
        simulated::set_judge(None);
    }
}

impl World {
    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.network.lock().elapsed()
    }

    fn enter(&self) -> Entered {
        set_time(self.base, self.elapsed(), 0);
        // Somebody's turn may have ended in a panic.
        self.turn.take();
        let (network, base, turn) = (self.network.clone(), self.base, Rc::clone(&self.turn));
        virtual_time::set_pass(Some(Rc::new(move |duration| {
            let mut network = network.lock();
            let end = network.elapsed() + duration;
            network.run_until(end);
            let turn = turn.borrow();
            let skew = turn.as_ref().map_or(0, |turn| network.skew(turn.process));
            set_time(base, end, skew);
        })));
        let (network, armed) = (self.network.clone(), Rc::clone(&self.armed));
        let (turn, hit) = (Rc::clone(&self.turn), Rc::clone(&self.hit));
        simulated::set_judge(Some(Rc::new(move |name| {
            let Some(worker) = turn.borrow().as_ref().map(|turn| turn.worker) else {
                return;
            };
            let found = strike(&mut armed.borrow_mut(), worker, name);
            if found.is_some()
                && let Some(Turn { process, disk, .. }) = turn.take()
            {
                hit.set(found);
                // Before it unwinds: what its destructors would send, write and flush has no effect any more.
                end_process(&network, process, &disk);
                // Not a panic: no message, no backtrace.
                resume_unwind(Box::new(Killed));
            }
        })));
        Entered
    }

    /// Brings the network and the clocks to the same time.
    async fn meet_time(&mut self) {
        let tokio_base = *self.tokio_base.get_or_insert_with(virtual_time::of_timers);
        let tokio_elapsed = virtual_time::of_timers() - tokio_base;
        let elapsed = self.elapsed();
        // Somebody blocked, and let the network's time pass.
        if elapsed > tokio_elapsed {
            tokio::time::advance(elapsed - tokio_elapsed).await;
        } else {
            self.network.lock().run_until(tokio_elapsed);
        }
        set_time(self.base, self.elapsed(), 0);
    }

    async fn run_until(
        &mut self,
        end: Duration,
        timetable: &mut dyn Timetable,
        mut goal: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let mut turns = 0;
        let mut before = self.elapsed();
        loop {
            self.meet_time().await;
            if self.elapsed() > before {
                (before, turns) = (self.elapsed(), 0);
            }
            while timetable.next().is_some_and(|at| at <= self.elapsed()) {
                timetable.act(self);
            }
            if let Some((worker, actor)) = self.any_ready() {
                turns += 1;
                assert!(
                    turns < TURNS_AT_ONCE,
                    "worker {worker} turns and turns without time passing: this is a defect of the runtime"
                );
                self.poll(worker, actor, timetable);
                // Tasks that agents spawned get their turn.
                tokio::task::yield_now().await;
                continue;
            }
            if goal(self) {
                return true;
            }
            let elapsed = self.elapsed();
            if elapsed >= end {
                return false;
            }
            let next = [Some(end), timetable.next(), self.network.lock().next_event()];
            let next = next.into_iter().flatten().min().unwrap_or(end);
            let sleep = tokio::time::sleep(next.saturating_sub(elapsed));
            tokio::select! {
                biased;
                () = self.news.notified() => {}
                () = sleep => {}
            }
        }
    }

    /// Somebody who has something to do, if anybody has.
    fn any_ready(&mut self) -> Option<(usize, usize)> {
        let ready = || {
            let workers = self.workers.iter();
            workers.flat_map(|worker| worker.ready().map(|actor| (worker.number, actor)))
        };
        match ready().count() {
            0 => None,
            many => ready().nth(self.random.index(many)),
        }
    }

    fn poll(&mut self, number: usize, actor: usize, timetable: &mut dyn Timetable) {
        let worker = &mut self.workers[number];
        let Some(process) = worker.process() else {
            return;
        };
        let network = self.network.lock();
        set_time(self.base, network.elapsed(), network.skew(process));
        drop(network);
        self.turn.replace(Some(Turn {
            worker: number,
            process,
            disk: worker.disk.clone(),
        }));
        let polled = worker.poll(actor);
        self.turn.take();
        set_time(self.base, self.elapsed(), 0);
        match polled {
            Polled::Killed => {
                self.bury(number);
                if let Some(hit) = self.hit.take() {
                    timetable.worker_killed(self, number, hit);
                }
            }
            Polled::Alive if !self.workers[number].lives() => timetable.worker_ended(self, number),
            Polled::Alive => {}
        }
    }

    /// Starts a worker; a new one when the number is that of none yet.
    pub(super) fn start(&mut self, number: usize) -> Result<()> {
        while self.workers.len() <= number {
            self.workers.push(Worker::new(self.workers.len()));
        }
        self.processes += 1;
        let process = Process(self.processes);
        let mut network = self.network.lock();
        network.note(|| format!("worker {number} starts"));
        network.set_skew(process, self.workers[number].clock_skew);
        drop(network);
        let facts = self.workers[number].start(&self.program, &self.network, process, &self.news)?;
        self.facts = Some(facts);
        Ok(())
    }

    /// Ends a worker as `kill -9` does.
    pub(super) fn kill(&mut self, number: usize) {
        let worker = &self.workers[number];
        if let Some(process) = worker.process() {
            end_process(&self.network, process, &worker.disk);
            self.bury(number);
        }
    }

    /// Removes what is left of a worker whose process has ended.
    fn bury(&mut self, number: usize) {
        self.workers[number].drop_life();
        self.armed.borrow_mut().retain(|armed| armed.worker != number);
    }

    /// Has a worker killed at a certain place of what it does.
    pub(super) fn arm(&mut self, armed: Armed) {
        self.armed.borrow_mut().push(armed);
    }

    /// Whether a worker is still to be killed that the test itself wants to be.
    pub(super) fn is_armed_by_test(&self) -> bool {
        self.armed.borrow().iter().any(|armed| armed.number.is_none())
    }

    /// Nobody is to be killed any more.
    pub(super) fn disarm(&mut self) {
        self.armed.borrow_mut().clear();
    }

    /// The worker that the test names.
    ///
    /// # Panics
    /// When there is none of this number.
    #[track_caller]
    pub(super) fn known(&mut self, number: usize) -> &mut Worker {
        assert!(number < self.workers.len(), "there is no worker {number}");
        &mut self.workers[number]
    }

    /// Why a worker does nothing any more, or a task, if it is so.
    pub(super) fn failure(&self) -> Option<String> {
        let failed = self.workers.iter().find_map(|worker| {
            let error = worker.failure.as_ref()?;
            Some(format!("{worker:?} has ended: {error}"))
        });
        failed.or_else(|| self.stopped().into_iter().next())
    }

    /// Why tasks have stopped.
    pub(super) fn stopped(&self) -> Vec<String> {
        let tasks = self.workers.iter().flat_map(Worker::tasks);
        let stopped = tasks.filter_map(|(_, stage)| match stage {
            Stage::Stopped(reason) => Some(reason),
            Stage::Asking | Stage::Restoring | Stage::Running => None,
        });
        stopped.collect()
    }

    /// Whether every task runs somewhere, once, nobody has anything to commit, and no transaction that a dead worker left
    /// open hides what others wrote behind it.
    pub(super) fn is_quiet(&self) -> bool {
        let tasks: Vec<_> = self.workers.iter().flat_map(Worker::tasks).collect();
        tasks.len() == self.task_count()
            && tasks.iter().all(|(_, stage)| *stage == Stage::Running)
            && self.complaint_about_group().is_none()
            && !self.workers.iter().any(Worker::is_committing)
            && !self.network.hides_records()
            && self.is_shared_out()
    }

    /// What there is to say against the group: it rests, and its members are the threads of the workers that it can hear, or
    /// else a worker that it has given up, and that has not learned of it, may run tasks that others will have soon.
    pub(super) fn complaint_about_group(&self) -> Option<String> {
        let network = self.network.lock();
        let group = network.broker.groups.get(&text(self.program.app.id()));
        let (phase, members) = group.map_or(("Empty", 0), |group| (group.phase_name(), group.members.len()));
        let heard = self.workers.iter().filter(|worker| worker.is_heard());
        let threads: usize = heard.map(Worker::threads).sum();
        (phase != "Stable" || members != threads)
            .then(|| format!("the group is {phase}, with {members} members for {threads} threads"))
    }

    /// Whether each worker that the group can hear has some of the tasks of each sub-topology, as far as there are enough.
    pub(super) fn is_shared_out(&self) -> bool {
        let heard: Vec<_> = self.workers.iter().filter(|worker| worker.is_heard()).collect();
        let Some(facts) = &self.facts else {
            return true;
        };
        let subs = facts.topology.sub_topologies.iter().zip(&facts.topics.partitions);
        subs.into_iter().all(|(sub, count)| {
            let has_some = |worker: &&&Worker| {
                let tasks = worker.tasks().into_iter();
                tasks
                    .filter_map(|(task, _)| Some(task.rsplit_once('/')?.0.to_owned()))
                    .any(|name| name == sub.name)
            };
            // The group shares out among threads, not among workers.
            let busy = (*count as usize).div_ceil(self.program.settings.threads);
            heard.iter().filter(has_some).count() >= heard.len().min(busy)
        })
    }

    /// The sub-topology of a table, and how many tasks it has.
    pub(super) fn tasks_of(&self, table: &str) -> Option<(String, u32)> {
        let facts = self.facts.as_ref()?;
        let node = facts.topology.tables.iter().find(|node| node.def.name == table)?;
        let sub = &facts.topology.sub_topologies[node.sub_topology];
        Some((sub.name.clone(), facts.topics.partitions[node.sub_topology]))
    }

    /// How many tasks the program has.
    pub(super) fn task_count(&self) -> usize {
        let counts = self.facts.iter().flat_map(|facts| &facts.topics.partitions);
        counts.map(|count| *count as usize).sum()
    }

    /// The tasks whose tables are up to date, and on which worker: sub-topology, partition, number.
    pub(super) fn restored_tasks(&self) -> Vec<(String, i32, usize)> {
        let mut running = Vec::new();
        for worker in self.workers.iter().filter(|worker| worker.is_heard()) {
            for (task, stage) in worker.tasks() {
                if matches!(stage, Stage::Running | Stage::Stopped(_))
                    && let Some((sub_topology, partition)) = task.rsplit_once('/')
                    && let Ok(partition) = partition.parse()
                {
                    running.push((sub_topology.to_owned(), partition, worker.number));
                }
            }
        }
        running
    }

    /// Sets the wall clock of a worker forth or back, in milliseconds from the right time. It stays so when it is
    /// started again.
    pub(super) fn set_clock(&mut self, number: usize, skew: i64) {
        self.workers[number].clock_skew = skew;
        if let Some(process) = self.workers[number].process() {
            self.network.lock().set_skew(process, skew);
        }
    }

    pub(super) fn set_frozen(&mut self, number: usize, is_frozen: bool) {
        if let Some(process) = self.workers[number].process() {
            self.network.lock().set_frozen(process, is_frozen);
            self.workers[number].set_frozen(is_frozen);
        }
    }

    pub(super) fn set_cut_off(&mut self, number: usize, is_cut_off: bool) {
        self.workers[number].set_cut_off(is_cut_off);
        if let Some(process) = self.workers[number].process() {
            self.network.lock().set_cut_off(process, is_cut_off);
        }
    }
}

/// Ends a process as `kill -9` does: nothing of it reaches the broker or its disk from now on.
fn end_process(network: &SharedNetwork, process: Process, disk: &Disk) {
    let mut network = network.lock();
    network.kill(process);
    disk.crash(&mut network.random);
}

/// Whether a worker that comes by a place is killed there.
fn strike(armed: &mut Vec<Armed>, worker: usize, point: &'static str) -> Option<Hit> {
    let here =
        |armed: &&mut Armed| armed.worker == worker && armed.point.is_none_or(|wanted| wanted == point);
    let found = armed.iter_mut().find(here)?;
    found.passes = found.passes.saturating_sub(1);
    if found.passes > 0 {
        return None;
    }
    let number = found.number;
    armed.retain(|other| other.worker != worker);
    Some(Hit { number, point })
}

fn set_time(base: Instant, elapsed: Duration, skew: i64) {
    let millis = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
    virtual_time::set(Some(Moment {
        now: base + elapsed,
        wall_millis: EPOCH_MS + millis + skew,
    }));
}
