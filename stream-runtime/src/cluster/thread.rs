//! A worker thread: one loop that owns a group member, a producer and its tasks.
//!
//! Each turn takes what arrived, answers rebalances, restores, runs tasks and steps the commit. Nothing in it
//! waits but the end of an idle turn, so slow agents (that await) and slow brokers never keep it from polling.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::commit::{Bench, Commit};
use super::plan::{Blueprints, Listed, TaskId};
use super::restore::Restores;
use super::routes::Routes;
use super::status::{TaskStatus, ThreadStatus};
use super::task::{Ran, Stage, Task};
use crate::agent::context::TopicNames;
use crate::clock;
use crate::error::{Error, Result};
use crate::kafka::{Cluster, GroupConsumer, Producer, Rebalance, StartOffset, TopicPartition};
use crate::store::{MemoryStore, Store};

/// Records taken from the client in one turn.
const FETCH: usize = 2_000;
/// Records a task processes in one turn.
const BUDGET: usize = 2_000;
/// Changed keys of a thread that make a commit due before its time, which bounds memory.
const STAGED_KEYS: usize = 200_000;
/// How long a commit waits for agents that are still at a record, before it goes without them.
const STRAGGLERS: Duration = Duration::from_millis(20);
/// The wait before a full producer is tried again.
const PRODUCER_FULL: Duration = Duration::from_millis(1);
/// The longest sleep of an idle thread: wake-ups by librdkafka are edge-triggered, this is the net below them.
const TICK: Duration = Duration::from_millis(100);
/// How often stopped tasks are complained about.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// What a thread is made of.
pub(crate) struct ThreadSetup {
    /// The thread's number in the worker, from 0.
    pub number: usize,
    pub blueprints: Arc<Blueprints>,
    pub names: Arc<TopicNames>,
    pub cluster: Arc<dyn Cluster>,
    pub commit_interval: Duration,
    /// How long a revoke may drain and commit.
    pub revoke_timeout: Duration,
    /// How long a stop may.
    pub shutdown_timeout: Duration,
    pub max_record_bytes: usize,
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

/// A running thread.
pub(crate) struct ThreadHandle {
    commands: mpsc::Sender<Command>,
    wake: Arc<Notify>,
    status: ThreadStatus,
    join: std::thread::JoinHandle<Result<Rows>>,
}

impl ThreadHandle {
    /// Tells the thread; one that has ended hears nothing.
    pub(crate) fn tell(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.wake.notify_one();
        }
    }

    pub(crate) fn status(&self) -> &ThreadStatus {
        &self.status
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.join.is_finished()
    }

    /// Waits for its end.
    pub(crate) fn join(self) -> Result<Rows> {
        let name = self.join.thread().name().unwrap_or("worker").to_owned();
        self.join.join().unwrap_or_else(|_| {
            Err(Error::state(format!(
                "thread {name} panicked: this is a defect of the runtime"
            )))
        })
    }
}

/// Starts a thread. `changed` is notified when it ends, for whatever reason, and when a task of it stops.
pub(crate) fn start(setup: ThreadSetup, changed: Arc<Notify>) -> Result<ThreadHandle> {
    let wake = Arc::new(Notify::new());
    let status = ThreadStatus::default();
    let (commands, inbox) = mpsc::channel();
    let builder = std::thread::Builder::new().name(format!("worker-{}", setup.number));
    let (thread_wake, thread_status) = (Arc::clone(&wake), status.clone());
    let body = move || {
        let _ended = NotifyOnDrop(Arc::clone(&changed));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::state("a worker thread cannot start").with_source(error))?;
        let thread = Thread::new(setup, thread_wake, thread_status, inbox, changed)?;
        runtime.block_on(thread.run())
    };
    let join = builder
        .spawn(body)
        .map_err(|error| Error::state("a worker thread cannot start").with_source(error))?;
    Ok(ThreadHandle {
        commands,
        wake,
        status,
        join,
    })
}

struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Why the thread brings tasks to an end.
#[derive(Debug)]
enum Drain {
    None,
    /// The group wants these partitions back.
    Revoke {
        partitions: Vec<TopicPartition>,
        tasks: Vec<TaskId>,
        deadline: Instant,
    },
    Stop {
        deadline: Instant,
    },
}

struct Thread {
    setup: ThreadSetup,
    wake: Arc<Notify>,
    status: ThreadStatus,
    commands: mpsc::Receiver<Command>,
    consumer: Box<dyn GroupConsumer>,
    producer: Box<dyn Producer>,
    routes: Routes,
    restores: Restores,
    tasks: BTreeMap<TaskId, Task>,
    commit: Commit,
    next_commit: Instant,
    /// Since when tasks are held for the commit that is due.
    held_since: Option<Instant>,
    drain: Drain,
    eager: bool,
    /// The earliest time a task wants to be run again.
    retry_at: Option<Instant>,
    reminded: Instant,
    /// A drain was given up before everything was committed.
    unfinished: bool,
    /// Notified when a task stops.
    stopped: Arc<Notify>,
}

impl Thread {
    fn new(
        setup: ThreadSetup,
        wake: Arc<Notify>,
        status: ThreadStatus,
        commands: mpsc::Receiver<Command>,
        stopped: Arc<Notify>,
    ) -> Result<Self> {
        let now = clock::now();
        Ok(Self {
            consumer: setup.cluster.group_consumer(setup.number, Arc::clone(&wake))?,
            producer: setup.cluster.producer(Arc::clone(&wake))?,
            restores: Restores::new(Arc::clone(&setup.cluster), Arc::clone(&wake)),
            next_commit: now + setup.commit_interval,
            setup,
            wake,
            status,
            commands,
            routes: Routes::default(),
            tasks: BTreeMap::new(),
            commit: Commit::None,
            held_since: None,
            drain: Drain::None,
            eager: false,
            retry_at: None,
            reminded: now,
            unfinished: false,
            stopped,
        })
    }

    async fn run(mut self) -> Result<Rows> {
        self.consumer.subscribe(&self.setup.blueprints.lead_topics())?;
        let result = self.turns().await;
        let rows = match &result {
            Ok(()) if self.setup.want_rows => self.rows(),
            _ => Rows::new(),
        };
        for (_, task) in std::mem::take(&mut self.tasks) {
            match &result {
                Ok(()) => task.close(),
                Err(_) => drop(task),
            }
        }
        if result.is_err() || self.unfinished {
            self.producer.purge();
        }
        self.consumer
            .close(self.setup.shutdown_timeout.min(Duration::from_secs(10)));
        result.map(|()| rows)
    }

    async fn turns(&mut self) -> Result<()> {
        loop {
            let mut busy = self.take_commands();
            busy |= self.consumer.poll(&mut self.routes, FETCH)? > 0;
            self.producer.poll();
            busy |= self.answer_rebalance()?;
            busy |= self.step_restores()?;
            busy |= self.run_tasks()?;
            busy |= self.step_commit(busy)?;
            busy |= self.step_drain()?;
            self.routes.regulate(self.consumer.as_mut())?;
            if self.is_done() {
                return Ok(());
            }
            if busy {
                // Timers and sockets of agents get their turn.
                tokio::task::yield_now().await;
            } else {
                let _ = tokio::time::timeout(self.idle_for(), self.wake.notified()).await;
            }
        }
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

    fn answer_rebalance(&mut self) -> Result<bool> {
        let waiting = self.consumer.rebalance();
        // While tasks drain only a loss is heard: what was to be given back may turn into one.
        if !matches!(self.drain, Drain::None) && !matches!(waiting, Some(Rebalance::Lost(_))) {
            return Ok(false);
        }
        match waiting {
            None => return Ok(false),
            Some(Rebalance::Assign(partitions)) => self.take_on(&partitions)?,
            Some(Rebalance::Revoke(partitions)) => {
                let tasks = self.setup.blueprints.tasks_led_by(&partitions);
                info!(partitions = %Listed(&partitions), "giving back");
                self.drain = Drain::Revoke {
                    partitions,
                    tasks,
                    deadline: clock::now() + self.setup.revoke_timeout,
                };
            }
            Some(Rebalance::Lost(partitions)) => {
                warn!(
                    partitions = %Listed(&partitions),
                    "lost: this worker was away from the group for too long; what was not committed is processed \
                     again by those who have the partitions now"
                );
                let tasks = self.setup.blueprints.tasks_led_by(&partitions);
                // Nothing that is still queued may be written behind the back of the new owners. Should other tasks
                // remain, their sends are in the same queue, and a commit relies on them.
                if self.tasks.keys().all(|id| tasks.contains(id)) {
                    self.producer.purge();
                }
                if matches!(self.drain, Drain::Revoke { .. }) {
                    self.drain = Drain::None;
                }
                self.give_up(&tasks, &partitions)?;
            }
        }
        Ok(true)
    }

    /// Makes the tasks of newly assigned lead partitions.
    fn take_on(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let blueprints = Arc::clone(&self.setup.blueprints);
        let mut inputs = Vec::new();
        for id in blueprints.tasks_led_by(partitions) {
            let blueprint = blueprints.get(id);
            if id.partition.cast_unsigned() >= blueprint.partitions {
                return Err(Error::topology(format!(
                    "topic `{}` has got more partitions than the {} it had when this worker started, and its keys \
                     have moved away from their state: stop all workers of the program, and start them when its \
                     topics fit together again",
                    blueprint.inputs[0], blueprint.partitions
                )));
            }
            if let Some(stale) = self.tasks.remove(&id) {
                self.close_task(id, stale)?;
            }
            let store: Rc<dyn Store> = Rc::new(MemoryStore::new(blueprint.tables.len()));
            let task = Task::new(
                id,
                blueprint,
                Arc::clone(&self.setup.names),
                store,
                Arc::clone(&self.wake),
                self.setup.max_record_bytes,
            );
            if task.stage == Stage::Restoring {
                self.restores
                    .add(id, &blueprints.changelogs_of(id), task.store())?;
            }
            self.routes.add(task.context());
            inputs.extend(
                blueprints
                    .inputs_of(id)
                    .into_iter()
                    .map(|input| (input, StartOffset::Committed)),
            );
            self.tasks.insert(id, task);
        }
        self.consumer.assign(&inputs)?;
        info!(partitions = %Listed(partitions), tasks = self.tasks.len(), "assigned");
        self.publish_status();
        Ok(())
    }

    /// Ends tasks without a commit of what they have not committed, and answers the rebalance.
    fn give_up(&mut self, tasks: &[TaskId], partitions: &[TopicPartition]) -> Result<()> {
        self.commit.forget(tasks);
        let mut inputs = partitions.to_vec();
        for id in tasks {
            if let Some(task) = self.tasks.remove(id) {
                self.close_task(*id, task)?;
                for input in self.setup.blueprints.inputs_of(*id) {
                    if !inputs.contains(&input) {
                        inputs.push(input);
                    }
                }
            }
        }
        self.consumer.unassign(&inputs)?;
        self.publish_status();
        Ok(())
    }

    fn close_task(&mut self, id: TaskId, task: Task) -> Result<()> {
        self.restores.remove(id)?;
        self.routes.remove(task.context());
        task.close();
        Ok(())
    }

    fn step_restores(&mut self) -> Result<bool> {
        if !self.restores.active() {
            return Ok(false);
        }
        let (records, restored) = self.restores.step()?;
        for id in &restored {
            if let Some(task) = self.tasks.get_mut(id) {
                task.stage = Stage::Running;
            }
        }
        if !restored.is_empty() {
            self.publish_status();
        }
        Ok(records > 0 || !restored.is_empty())
    }

    fn run_tasks(&mut self) -> Result<bool> {
        self.retry_at = None;
        if self.commit.holds_sends() {
            return Ok(false);
        }
        let mut busy = false;
        let mut stopped = false;
        let mut retry_at: Option<Instant> = None;
        let mut retry = |at: Instant| retry_at = Some(retry_at.map_or(at, |earliest| earliest.min(at)));
        for task in self.tasks.values_mut() {
            match task.run(self.producer.as_mut(), BUDGET) {
                Ran::Idle => {}
                Ran::Busy => busy = true,
                Ran::Blocked => retry(clock::now() + PRODUCER_FULL),
                Ran::BackingOff(at) => retry(at),
                Ran::Stopped => stopped = true,
                Ran::Refused(reason) => return Err(Error::broker(reason)),
            }
        }
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
        let moved = self.commit.step(&mut Bench {
            blueprints: &self.setup.blueprints,
            tasks: &mut self.tasks,
            consumer: self.consumer.as_mut(),
            producer: self.producer.as_mut(),
        })?;
        Ok(moved)
    }

    /// Holds the tasks that want a commit when one is due, and begins it with those that stand at a cut.
    fn begin_commit(&mut self, busy: bool) -> Result<()> {
        let now = clock::now();
        let staged = || self.tasks.values().map(Task::staged).sum::<usize>();
        let due = now >= self.next_commit
            || !matches!(self.drain, Drain::None)
            || (self.eager && !busy)
            || staged() > STAGED_KEYS;
        let candidate = |task: &Task| (due || task.hold) && task.wants_commit();
        let wanting: Vec<_> = self
            .tasks
            .values()
            .filter(|task| candidate(task))
            .map(|task| task.id)
            .collect();
        if wanting.is_empty() {
            self.held_since = None;
            for task in self.tasks.values_mut() {
                task.hold = false;
            }
            if now >= self.next_commit {
                self.next_commit = now + self.setup.commit_interval;
            }
            return Ok(());
        }
        for id in &wanting {
            if let Some(task) = self.tasks.get_mut(id) {
                task.hold = true;
            }
        }
        let held_since = *self.held_since.get_or_insert(now);
        let at_cut: Vec<_> = wanting
            .iter()
            .copied()
            .filter(|id| self.tasks[id].at_cut())
            .collect();
        if at_cut.len() == wanting.len() || (!at_cut.is_empty() && now >= held_since + STRAGGLERS) {
            self.commit = Commit::begin(&mut self.tasks, &at_cut)?;
            self.held_since = None;
            self.next_commit = now + self.setup.commit_interval;
        }
        Ok(())
    }

    fn step_drain(&mut self) -> Result<bool> {
        let (tasks, deadline): (Vec<_>, _) = match &self.drain {
            Drain::None => return Ok(false),
            Drain::Revoke { tasks, deadline, .. } => (tasks.clone(), *deadline),
            Drain::Stop { deadline } => (self.tasks.keys().copied().collect(), *deadline),
        };
        let now = clock::now();
        let half = match &self.drain {
            Drain::Stop { .. } => self.setup.shutdown_timeout / 2,
            Drain::None | Drain::Revoke { .. } => self.setup.revoke_timeout / 2,
        };
        for id in &tasks {
            if let Some(task) = self.tasks.get_mut(id) {
                task.hold = true;
                if !task.at_cut() && (task.is_backing_off() || now + half >= deadline) {
                    task.abandon_open();
                }
            }
        }
        let drained = tasks
            .iter()
            .all(|id| !self.commit.covers(*id) && self.tasks.get(id).is_none_or(|task| !task.wants_commit()));
        if !drained && now < deadline {
            return Ok(false);
        }
        if !drained {
            warn!("not everything could be committed in time; what was not is processed again");
        }
        self.unfinished |= !drained;
        if let Drain::Revoke {
            partitions, tasks, ..
        } = std::mem::replace(&mut self.drain, Drain::None)
        {
            if !drained && self.commit.holds_sends() {
                self.take_back_sends(&tasks)?;
            }
            self.give_up(&tasks, &partitions)?;
        } else {
            // Nothing is left to drain, which ends the thread.
            self.drain = Drain::Stop { deadline: now };
        }
        Ok(true)
    }

    /// Drops changes of tables that the broker did not take in time: behind the back of the new owner they would
    /// overwrite newer ones.
    fn take_back_sends(&mut self, revoked: &[TaskId]) -> Result<()> {
        if self.tasks.keys().all(|id| revoked.contains(id)) {
            self.producer.purge();
            return Ok(());
        }
        // Other tasks have sends in the same queue, and no commit of theirs would know what is missing.
        Err(Error::broker(format!(
            "the broker did not take what belongs to partitions that had to be given back within {:?}; this worker \
             ends so that nothing of it is written late, and whoever has its partitions then processes again what was \
             not committed",
            self.setup.revoke_timeout
        )))
    }

    /// Whether the thread was told to end and may.
    fn is_done(&mut self) -> bool {
        let now = clock::now();
        if let Drain::Stop { deadline } = self.drain
            && now >= deadline
        {
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

    fn idle_for(&self) -> Duration {
        let now = clock::now();
        // A commit that waits for agents is roused by them; only the end of its patience is a time.
        let commit_at = match self.held_since {
            None => Some(self.next_commit).filter(|_| self.commit.is_none()),
            Some(held_since) => Some(held_since + STRAGGLERS).filter(|patience| *patience > now),
        };
        [self.retry_at, self.commit.next_step(), commit_at]
            .into_iter()
            .flatten()
            .map(|at| at.saturating_duration_since(now))
            .chain([TICK])
            .min()
            .unwrap_or(TICK)
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

    fn publish_status(&self) {
        let tasks = self.tasks.values().map(|task| TaskStatus {
            name: task.name().to_owned(),
            stage: task.stage.clone(),
        });
        self.status.set(tasks.collect());
    }
}

fn stop_reason(task: &Task) -> Option<&str> {
    match &task.stage {
        Stage::Stopped(reason) => Some(reason),
        Stage::Restoring | Stage::Running => None,
    }
}
