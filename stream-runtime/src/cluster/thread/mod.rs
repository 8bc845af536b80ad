//! A worker thread: one loop that owns a group member, a producer and its tasks.
//!
//! Each turn takes what arrived, answers rebalances, restores, runs tasks and steps the commit. Nothing in it
//! waits but the end of an idle turn, so slow agents (that await) and slow brokers never keep it from polling.

mod rebalance;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::error;

use self::rebalance::Drain;
use super::commit::{Bench, Commit, Stepped};
use super::failures;
use super::output::{Guarantee, Output};
use super::plan::{Blueprints, TaskId};
use super::progress::RestoreProgress;
use super::restore::{RestoreRequest, Restores};
use super::routes::Routes;
use super::standby::{Standbys, TaskStores};
use super::status::{TaskStatus, ThreadStatus};
use super::task::{Outlet, Ran, Stage, Task};
use super::turn::Turn;
use crate::agent::context::TopicNames;
use crate::clock;
use crate::error::{Error, Result};
use crate::kafka::{Cluster, GroupConsumer, StartOffset, TopicPartition};
use crate::store::{Store, Stores};

/// Records taken from the client in one turn.
const FETCH: usize = 2_000;
/// Records a task processes in one turn.
const BUDGET: usize = 2_000;
/// How long tasks run in one turn. What else a thread has to do, as commits and rebalances, waits as long, however slow
/// its agents are.
const TURN: Duration = Duration::from_millis(50);
/// What is usual for [`ThreadSetup::values_due`].
pub(crate) const VALUES_DUE: usize = 16 << 20;
/// Bytes of what agents send that a thread keeps while nothing may be sent: of some 100,000 small records.
const KEPT_BACK: usize = 16 << 20;
/// The share of the time that the last commit of an idle thread took that is between it and the next.
const REST_SHARE: u32 = 4;
/// The shares of the commit interval that are between two such commits at least and at most: those whose records came
/// while a broker stood still need not wait any longer.
const LEAST_REST_SHARE: u32 = 100;
const MOST_REST_SHARE: u32 = 20;
/// The wait before a full producer is tried again.
const PRODUCER_FULL: Duration = Duration::from_millis(1);
/// How often stopped tasks are complained about.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// What a thread is made of.
pub(crate) struct ThreadSetup {
    /// Its name among the threads of the worker: `<sub-topology>-<number>`.
    pub member: String,
    pub blueprints: Blueprints,
    pub names: Arc<TopicNames>,
    pub cluster: Arc<dyn Cluster>,
    pub guarantee: Guarantee,
    /// Its name among all threads of all workers, for good if it can be.
    pub transactional_id: String,
    pub stores: Arc<dyn Stores>,
    pub commit_interval: Duration,
    /// Bytes of values in memory, changed or only read, that make a commit due before its time. While it takes its time,
    /// as many again may come. Behind it three quarters may stay.
    pub values_due: usize,
    /// How long a revoke may drain and commit.
    pub revoke_timeout: Duration,
    /// How long a stop may.
    pub shutdown_timeout: Duration,
    pub max_record_bytes: usize,
    /// Where the stores of standbys change hands.
    pub standbys: Option<Standbys>,
    /// Whether the entries of the tables are wanted at the end.
    pub want_rows: bool,
}

/// The entries of tables, by name.
pub(crate) type Rows = BTreeMap<&'static str, Vec<(String, String)>>;

/// What a thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Commit whenever there is nothing else to do.
    CommitEagerly,
    /// Finish open records, commit, leave the group and end.
    Stop,
}

/// The way to a thread from outside.
#[derive(Debug)]
pub(crate) struct ThreadControl {
    commands: mpsc::Sender<Command>,
    wake: Arc<Notify>,
    status: ThreadStatus,
}

impl ThreadControl {
    /// Tells the thread; one that has ended hears nothing.
    pub(crate) fn tell(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.wake.notify_one();
        }
    }

    pub(crate) fn status(&self) -> &ThreadStatus {
        &self.status
    }
}

/// The thread's end of its control.
#[derive(Debug)]
pub(crate) struct Controlled {
    commands: mpsc::Receiver<Command>,
    wake: Arc<Notify>,
    status: ThreadStatus,
}

/// Both ends of what controls a thread.
pub(crate) fn control() -> (ThreadControl, Controlled) {
    let (wake, status) = (Arc::new(Notify::new()), ThreadStatus::default());
    let (sender, receiver) = mpsc::channel();
    let control = ThreadControl {
        commands: sender,
        wake: Arc::clone(&wake),
        status: status.clone(),
    };
    let controlled = Controlled {
        commands: receiver,
        wake,
        status,
    };
    (control, controlled)
}

/// A running thread.
pub(crate) struct ThreadHandle {
    control: ThreadControl,
    name: String,
    /// `None` once it has been waited for.
    join: Option<std::thread::JoinHandle<Result<Rows>>>,
}

impl ThreadHandle {
    /// Tells the thread; one that has ended hears nothing.
    pub(crate) fn tell(&self, command: Command) {
        self.control.tell(command);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn status(&self) -> &ThreadStatus {
        self.control.status()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.status().has_ended()
    }

    /// Waits for its end.
    pub(crate) fn join(mut self) -> Result<Rows> {
        let Some(join) = self.join.take() else {
            return Ok(Rows::new());
        };
        join.join().unwrap_or_else(|_| {
            Err(Error::state(format!(
                "thread {} panicked: this is a defect of the runtime",
                self.name
            )))
        })
    }
}

/// Nothing goes on that nobody could stop any more, as when a start fails half-way.
impl Drop for ThreadHandle {
    fn drop(&mut self) {
        if let Some(join) = self.join.take() {
            self.tell(Command::Stop);
            // Its error has nobody to be told to.
            let _ = join.join();
        }
    }
}

/// Starts a thread. `changed` is notified when it ends, for whatever reason, and when a task of it stops.
pub(crate) fn start(setup: ThreadSetup, changed: Arc<Notify>) -> Result<ThreadHandle> {
    let (control, controlled) = control();
    let name = setup.member.clone();
    let builder = std::thread::Builder::new().name(name.clone());
    let body = move || {
        // Dropped from the last to the first: it has ended by when that is told, and both whatever comes of it.
        let _told = NotifyOnDrop(Arc::clone(&changed));
        let _alive = controlled.status.until_its_end();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::state("a worker thread cannot start").with_source(error))?;
        runtime.block_on(run(setup, controlled, changed))
    };
    let join = builder
        .spawn(body)
        .map_err(|error| Error::state("a worker thread cannot start").with_source(error))?;
    Ok(ThreadHandle {
        control,
        name,
        join: Some(join),
    })
}

/// What a thread does, to its end. Never moves to another thread. `changed` is notified when a task stops.
pub(crate) async fn run(setup: ThreadSetup, controlled: Controlled, changed: Arc<Notify>) -> Result<Rows> {
    Thread::new(setup, controlled, changed)?.run().await
}

struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

struct Thread {
    setup: ThreadSetup,
    wake: Arc<Notify>,
    status: ThreadStatus,
    commands: mpsc::Receiver<Command>,
    consumer: Box<dyn GroupConsumer>,
    output: Output,
    routes: Routes,
    restores: Restores,
    stores: TaskStores,
    tasks: BTreeMap<TaskId, Task>,
    commit: Commit,
    commit_began: Instant,
    /// How many have ended.
    commits: u64,
    next_commit: Instant,
    /// Before this no commit begins for the reason alone that there is nothing else to do.
    rested_at: Instant,
    /// When one begins for that reason.
    idle_commit: Option<Instant>,
    /// A commit is due and waits until everything that was sent is with the producer.
    pressing: bool,
    /// Transactions that failed since the last that did not.
    failures: u32,
    /// What the consumer was asked: what is committed for these partitions.
    question: Option<Vec<TopicPartition>>,
    drain: Drain,
    eager: bool,
    /// The earliest time a task wants to be run again.
    retry_at: Option<Instant>,
    /// When the client was asked for records last.
    polled: Instant,
    /// It was not asked in this turn, since no task needed any.
    is_sated: bool,
    /// Where the turn before ended, if it did before all tasks had run.
    resume_at: Option<TaskId>,
    /// The tasks in the order of the turn, kept for its room.
    order: Vec<TaskId>,
    reminded: Instant,
    /// A drain was given up before everything was committed.
    unfinished: bool,
    /// Notified when a task stops.
    stopped: Arc<Notify>,
}

impl Thread {
    fn new(setup: ThreadSetup, controlled: Controlled, stopped: Arc<Notify>) -> Result<Self> {
        let Controlled {
            commands,
            wake,
            status,
        } = controlled;
        let now = clock::now();
        let output = Output::new(
            setup.guarantee,
            &setup.cluster,
            &setup.transactional_id,
            setup.blueprints.changelogs(),
            &wake,
        )?;
        Ok(Self {
            consumer: setup.cluster.group_consumer(&setup.member, Arc::clone(&wake))?,
            commit: Commit::at_start(&output),
            output,
            restores: Restores::new(Arc::clone(&setup.cluster), Arc::clone(&wake)),
            commit_began: now,
            commits: 0,
            next_commit: now + setup.commit_interval,
            rested_at: now,
            idle_commit: None,
            stores: TaskStores::new(Arc::clone(&setup.stores), setup.standbys.clone()),
            routes: Routes::new(setup.blueprints.need_headers()),
            setup,
            wake,
            status,
            commands,
            tasks: BTreeMap::new(),
            pressing: false,
            failures: 0,
            question: None,
            drain: Drain::None,
            eager: false,
            retry_at: None,
            polled: now,
            is_sated: false,
            resume_at: None,
            order: Vec::new(),
            reminded: now,
            unfinished: false,
            stopped,
        })
    }

    async fn run(mut self) -> Result<Rows> {
        self.consumer.subscribe(&self.setup.blueprints.lead_topics())?;
        let result = self.turns().await;
        failures::tell_all_left_out();
        let rows = match &result {
            Ok(()) if self.setup.want_rows => self.rows(),
            _ => Rows::new(),
        };
        for (_, mut task) in std::mem::take(&mut self.tasks) {
            match &result {
                Ok(()) => task.close(),
                Err(_) => task.end_instances(),
            }
        }
        if result.is_err() || self.unfinished {
            self.output.give_up();
        }
        self.consumer
            .close(self.setup.shutdown_timeout.min(Duration::from_secs(10)));
        result.map(|()| rows)
    }

    async fn turns(&mut self) -> Result<()> {
        loop {
            let mut busy = self.take_commands();
            busy |= self.take_records()?;
            self.output.producer().poll();
            busy |= self.answer_rebalance()?;
            busy |= self.learn()?;
            busy |= self.step_restores()?;
            busy |= self.run_tasks()?;
            // What was left with the client tells of itself no more.
            busy |= self.is_sated && self.routes.are_hungry();
            busy |= self.step_commit(busy)?;
            busy |= self.step_drain()?;
            self.routes.regulate(self.consumer.as_mut())?;
            self.beat();
            if self.is_done() {
                return Ok(());
            }
            if busy {
                // Timers and sockets of agents get their turn.
                tokio::task::yield_now().await;
                continue;
            }
            let has_uncommitted = self.tasks.values().any(Task::has_uncommitted);
            let _ = tokio::time::timeout(self.idle_for(has_uncommitted), self.wake.notified()).await;
            if !has_uncommitted {
                // The interval counts from when there is something again.
                self.next_commit = clock::now() + self.setup.commit_interval;
            }
        }
    }

    /// Takes what has arrived, unless all tasks have enough: then it is only looked now and then, for rebalances.
    fn take_records(&mut self) -> Result<bool> {
        let now = clock::now();
        let looks_at = self.polled + self.setup.cluster.looks_every();
        self.is_sated = matches!(self.drain, Drain::None) && now < looks_at && !self.routes.are_hungry();
        if self.is_sated {
            self.consumer.poll(&mut self.routes, 0)?;
            return Ok(false);
        }
        self.polled = now;
        Ok(self.consumer.poll(&mut self.routes, FETCH)? > 0)
    }

    fn take_commands(&mut self) -> bool {
        let mut any = false;
        while let Ok(command) = self.commands.try_recv() {
            any = true;
            match command {
                Command::CommitEagerly => self.eager = true,
                Command::Stop => {
                    // A revoke under way is part of the stop: its tasks drain as all do now.
                    self.drain = Drain::Stop {
                        deadline: clock::now() + self.setup.shutdown_timeout,
                    };
                }
            }
        }
        any
    }

    /// Asks what is committed where that has to be known, and takes the answer.
    fn learn(&mut self) -> Result<bool> {
        let asking = self.tasks.values().filter(|task| task.stage == Stage::Asking);
        let asking: Vec<_> = asking.map(|task| task.id).collect();
        let looks_at = self.commit.looks_at();
        let is_looking = looks_at.is_some();
        if asking.is_empty() && !is_looking {
            self.question = None;
            return Ok(false);
        }
        let inputs = asking.iter().flat_map(|id| self.setup.blueprints.inputs_of(*id));
        let wanted: Vec<_> = inputs.chain(looks_at.unwrap_or_default()).collect();
        let covered = |asked: &Vec<TopicPartition>| wanted.iter().all(|at| asked.contains(at));
        if !self.question.as_ref().is_some_and(covered) {
            self.consumer.fetch_committed(&wanted)?;
            self.question = Some(wanted);
            return Ok(true);
        }
        let Some(answer) = self.consumer.committed() else {
            return Ok(false);
        };
        let asked = self.question.take().unwrap_or_default();
        let found = |at: &TopicPartition| {
            let place = asked.iter().position(|asked| asked == at)?;
            answer.get(place).cloned().flatten()
        };
        for id in asking {
            let inputs = self.setup.blueprints.inputs_of(id);
            let committed: Vec<_> = inputs.iter().map(found).collect();
            if let Some(task) = self.tasks.get_mut(&id) {
                task.learn(&committed);
            }
            self.restore(id)?;
        }
        if is_looking {
            let committed: Vec<_> = answer.into_iter().flatten().collect();
            let mut bench = Bench {
                blueprints: &self.setup.blueprints,
                tasks: &mut self.tasks,
                consumer: self.consumer.as_mut(),
                output: &mut self.output,
                failures: &mut self.failures,
            };
            if let Stepped::Rewind(tasks) = self.commit.looked(&committed, &mut bench)? {
                self.rewind(&tasks)?;
            }
        }
        self.publish_status();
        Ok(true)
    }

    /// Begins to restore the shards of a task that knows what is committed.
    fn restore(&mut self, id: TaskId) -> Result<()> {
        let Some(task) = self.tasks.get_mut(&id) else {
            return Ok(());
        };
        let blueprint = self.setup.blueprints.get(id);
        if blueprint.tables.is_empty() {
            task.stage = Stage::Running;
            return Ok(());
        }
        task.stage = Stage::Restoring;
        let changelogs = self.setup.blueprints.changelogs_of(id);
        let requests = blueprint.tables.iter().zip(changelogs);
        let requests = requests.map(|(table, changelog)| RestoreRequest {
            name: table.name(),
            changelog,
            committed: task.committed_changelog(table.name()),
            kept: table.changelog.versions_kept,
        });
        self.restores.add(id, requests.collect(), task.store())
    }

    fn step_restores(&mut self) -> Result<bool> {
        if !self.restores.active() {
            self.restores.rest()?;
            return Ok(false);
        }
        let (records, restored) = self.restores.step()?;
        self.status.add_restored(records);
        let any = records > 0 || !restored.is_empty();
        let looked = self.restores.look();
        if restored.is_empty() {
            if looked {
                self.publish_status();
            }
            return Ok(any);
        }
        for done in restored {
            if let Some(task) = self.tasks.get_mut(&done.task) {
                task.restored(done.changelogs, done.repair);
            }
        }
        self.publish_status();
        Ok(any)
    }

    /// Takes tasks back to their last commit.
    fn rewind(&mut self, tasks: &[TaskId]) -> Result<()> {
        let mut starts = Vec::new();
        for id in tasks {
            // A task that has not begun has nothing to take back, and what has come for it is what it begins with.
            if !self.tasks.get(id).is_some_and(Task::is_ready) {
                continue;
            }
            let Some(task) = self.tasks.remove(id) else {
                continue;
            };
            let inputs = self.setup.blueprints.inputs_of(*id);
            let from = task.starts().into_iter();
            let from = from.map(|start| start.map_or(StartOffset::Committed, StartOffset::At));
            starts.extend(inputs.into_iter().zip(from));
            self.routes.remove(task.context());
            let fresh = self.new_task(*id, Rc::clone(task.store()));
            let again = task.rewound(fresh);
            self.routes.add(again.context());
            self.tasks.insert(*id, again);
        }
        if !starts.is_empty() {
            self.consumer.seek(&starts)?;
            // Their buffers are empty, and nothing else would resume those that were full.
            let places: Vec<_> = starts.into_iter().map(|(at, _)| at).collect();
            self.consumer.resume(&places)?;
        }
        self.publish_status();
        Ok(())
    }

    fn new_task(&self, id: TaskId, store: Rc<dyn Store>) -> Task {
        Task::new(
            id,
            self.setup.blueprints.get(id),
            Arc::clone(&self.setup.names),
            store,
            Arc::clone(&self.wake),
            self.setup.max_record_bytes,
            self.output.is_transactional(),
        )
    }

    fn run_tasks(&mut self) -> Result<bool> {
        self.retry_at = None;
        self.hold_draining();
        // While a commit takes its time, only so much may be changed that it does not cover.
        let is_full = !self.commit.is_none() && self.held() > 2 * self.setup.values_due;
        let budget = if self.pressing || is_full { 0 } else { BUDGET };
        let mut sender = match self.commit.holds_sends() {
            true => None,
            false => self.output.sender(),
        };
        let mut kept_back = match sender {
            Some(_) => 0,
            None => self.tasks.values().map(Task::kept_back).sum::<usize>(),
        };
        let mut busy = false;
        let mut stopped = false;
        let mut retry_at: Option<Instant> = None;
        let mut retry = |at: Instant| retry_at = Some(retry_at.map_or(at, |earliest| earliest.min(at)));
        let mut turn = Turn::new(TURN);
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(self.tasks.keys());
        if let Some(first) = self.resume_at.take() {
            let before = order.partition_point(|id| *id < first);
            order.rotate_left(before);
        }
        for id in &order {
            if turn.is_over() {
                self.resume_at = Some(*id);
                busy = true;
                break;
            }
            let Some(task) = self.tasks.get_mut(id) else {
                continue;
            };
            let ran = match &mut sender {
                Some(sender) => task.run(Outlet::Producer(&mut **sender), budget, &mut turn),
                None => {
                    let by_others = kept_back - task.kept_back();
                    let ran = task.run(
                        Outlet::Kept(KEPT_BACK.saturating_sub(by_others)),
                        budget,
                        &mut turn,
                    );
                    kept_back = by_others + task.kept_back();
                    ran
                }
            };
            match ran {
                Ran::Idle => {}
                Ran::Unreadable(reason) => return Err(Error::state(reason)),
                Ran::Busy => busy = true,
                Ran::Blocked => retry(clock::now() + PRODUCER_FULL),
                Ran::BackingOff(at) => retry(at),
                Ran::Stopped => stopped = true,
                Ran::Refused(reason) => return Err(Error::broker(reason)),
            }
        }
        self.order = order;
        self.retry_at = retry_at;
        if stopped {
            self.publish_status();
            self.stopped.notify_one();
        }
        Ok(busy || stopped)
    }

    fn step_commit(&mut self, busy: bool) -> Result<bool> {
        if self.commit.is_none() {
            self.begin_commit(busy)?;
        }
        if self.commit.is_none() {
            return Ok(false);
        }
        let stepped = self.commit.step(&mut Bench {
            blueprints: &self.setup.blueprints,
            tasks: &mut self.tasks,
            consumer: self.consumer.as_mut(),
            output: &mut self.output,
            failures: &mut self.failures,
        })?;
        if self.commit.is_none() {
            self.commits += 1;
            let now = clock::now();
            let rest = now.duration_since(self.commit_began) / REST_SHARE;
            let interval = self.setup.commit_interval;
            self.rested_at = now + rest.clamp(interval / LEAST_REST_SHARE, interval / MOST_REST_SHARE);
            self.evict_values();
        }
        match stepped {
            Stepped::Still => Ok(false),
            Stepped::Moved => Ok(true),
            Stepped::Rewind(tasks) => {
                self.rewind(&tasks)?;
                Ok(true)
            }
        }
    }

    /// About how many bytes the values of tables take that are in memory.
    fn held(&self) -> usize {
        self.tasks.values().map(Task::held).sum()
    }

    /// Lets go of values that the stores have, if they are too many: half of those that may stay, so that it is not done
    /// again soon.
    fn evict_values(&self) {
        debug_assert!(
            self.commit.is_none(),
            "what is on its way into a store is not there yet"
        );
        let (held, most) = (self.held(), self.setup.values_due / 4 * 3);
        if held > most {
            let share = (most / 2) as f64 / held as f64;
            self.tasks.values().for_each(|task| task.evict(share));
        }
    }

    /// Begins a commit when one is due and everything that was sent is with the producer.
    fn begin_commit(&mut self, busy: bool) -> Result<()> {
        let now = clock::now();
        self.idle_commit = self.idle_commit_at(busy);
        let due = now >= self.next_commit
            || self.idle_commit.is_some_and(|at| now >= at)
            || !matches!(self.drain, Drain::None)
            || (self.eager && !busy)
            || self.tasks.values().any(Task::wants_anchor)
            || self.held() > self.setup.values_due;
        self.pressing = due && self.tasks.values().any(Task::has_unsent);
        if due && !self.pressing {
            self.commit = Commit::begin(&mut self.tasks)?;
            self.commit_began = now;
            self.next_commit = now + self.setup.commit_interval;
            if self.commit.is_none() {
                // Nothing was changed, but much may have been read.
                self.evict_values();
            }
        }
        Ok(())
    }

    /// When a thread that has nothing else to do commits, without waiting for the interval: with transactions, what
    /// records came to is seen only then. Between two of them is a share of the time that such a commit takes, within
    /// bounds, so that brokers have time for others.
    fn idle_commit_at(&self, busy: bool) -> Option<Instant> {
        let is_idle = self.output.is_transactional() && !busy;
        (is_idle && self.tasks.values().any(Task::has_moved_on)).then_some(self.rested_at)
    }

    /// Whether the thread was told to end and may.
    fn is_done(&mut self) -> bool {
        let now = clock::now();
        if matches!(self.drain, Drain::Ended) {
            return true;
        }
        if now >= self.reminded + REMIND_EVERY {
            self.reminded = now;
            for reason in self.tasks.values().filter_map(stop_reason) {
                error!("still stopped: {reason}");
            }
        }
        false
    }

    fn idle_for(&self, has_uncommitted: bool) -> Duration {
        let now = clock::now();
        let next_commit = self
            .idle_commit
            .map_or(self.next_commit, |at| at.min(self.next_commit));
        let commit_at = Some(next_commit).filter(|_| self.commit.is_none() && has_uncommitted);
        let tick = self.setup.cluster.looks_every();
        [
            self.retry_at,
            self.commit.next_step(),
            commit_at,
            self.drain_step(),
        ]
        .into_iter()
        .flatten()
        .map(|at| at.saturating_duration_since(now))
        .chain([tick])
        .min()
        .unwrap_or(tick)
        .max(Duration::from_millis(1))
    }

    fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        for task in self.tasks.values() {
            for (table, entries) in task.rows() {
                rows.entry(table).or_default().extend(entries);
            }
        }
        rows
    }

    /// Shows that it turns, and where its tasks stand.
    fn beat(&self) {
        self.tasks.values().for_each(Task::show);
        self.status.beat(self.commit.shows(), self.commits);
        failures::tell_left_out(clock::now());
    }

    fn publish_status(&self) {
        let tasks = self.tasks.values().map(|task| TaskStatus {
            name: task.name().to_owned(),
            stage: task.stage.clone(),
            pulse: Arc::clone(task.pulse()),
        });
        let restoring = self.restores.progress().map(|(id, progress)| RestoreProgress {
            task: self.tasks.get(&id).map_or("", Task::name).to_owned(),
            ..progress
        });
        self.status.set(tasks.collect(), restoring.collect());
    }
}

fn stop_reason(task: &Task) -> Option<&str> {
    match &task.stage {
        Stage::Stopped(reason) => Some(reason),
        Stage::Asking | Stage::Restoring | Stage::Running => None,
    }
}
