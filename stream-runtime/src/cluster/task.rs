//! One task: the agents of a sub-topology on one partition number, with their shards.
//!
//! A task has one open record at a time. It goes to each agent that reads its topic, one after the other,
//! and then the next record is opened. So what an agent wrote before it failed can be undone without touching
//! what others wrote, and what all of them wrote when the record is given up.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::debug;

use super::failures::{self, Follow};
use super::plan::{Blueprint, TaskId};
use super::pulse::{Doing, Pulse};
use super::waker::TaskWaker;
use crate::agent::context::{Entered, TaskContext, TopicNames};
use crate::agent::input::InputBuffer;
use crate::agent::instance::{Failure, Instance, Polled};
use crate::clock;
use crate::error::{Error, Result};
use crate::kafka::{CommitOffset, Producer, SendOutcome, TopicPartition};
use crate::store::{Batch, Store};

/// An offset that did not change is committed again after this long: brokers forget offsets of topics
/// that the group does not subscribe to, which is so for all but the lead topics.
const RECOMMIT_AFTER: Duration = Duration::from_secs(3600);

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its shards are being filled from their changelogs; no record is opened.
    Restoring,
    Running,
    /// An agent failed for good. Nothing runs, nothing is committed; the partition stays here.
    Stopped(String),
}

/// What [`Task::run`] came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Ran {
    /// Nothing to do until records arrive or an agent is woken.
    Idle,
    /// There is more to do.
    Busy,
    /// The failed record is tried again at this time.
    BackingOff(Instant),
    /// The producer takes no more for now.
    Blocked,
    /// The producer refused a record; nothing sent so far may be committed.
    Refused(String),
    /// An agent failed for good just now.
    Stopped,
}

/// The record an agent is at.
#[derive(Debug)]
struct Open {
    input: usize,
    /// Which of the agents that read the input is at it.
    turn: usize,
    /// How often this agent failed on it.
    failures: u32,
    retry_at: Option<Instant>,
    /// The agent was polled and waits for something.
    waiting: bool,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub id: TaskId,
    pub stage: Stage,
    /// No new record is opened while set: a commit is due.
    pub hold: bool,
    context: Rc<TaskContext>,
    store: Rc<dyn Store>,
    instances: Vec<Instance>,
    /// For each input the instances that read it.
    readers: Vec<Vec<usize>>,
    open: Option<Open>,
    waker: Arc<TaskWaker>,
    /// What was committed last for each input, and when.
    committed: Vec<Option<(i64, Instant)>>,
    pulse: Arc<Pulse>,
}

impl Task {
    pub(crate) fn new(
        id: TaskId,
        blueprint: &Blueprint,
        names: Arc<TopicNames>,
        store: Rc<dyn Store>,
        wake: Arc<Notify>,
        max_record_bytes: usize,
    ) -> Self {
        let buffer = |topic: &Arc<str>| RefCell::new(InputBuffer::new(Arc::clone(topic), id.partition));
        let shards = blueprint.tables.iter().enumerate().map(|(number, (table, _))| {
            let shard = (table.open)().0;
            shard.attach(Rc::clone(&store), number);
            shard
        });
        let context = Rc::new(TaskContext {
            name: format!("{}/{}", blueprint.name, id.partition),
            inputs: blueprint.inputs.iter().map(buffer).collect(),
            shards: RefCell::new(shards.collect()),
            outbox: RefCell::default(),
            names,
            open: Cell::new(None),
            failure: RefCell::new(None),
            max_record_bytes,
            detached: false,
        });
        let instances: Vec<_> = blueprint
            .agents
            .iter()
            .map(|(def, _)| Instance::new(def, &context))
            .collect();
        let mut readers = vec![Vec::new(); blueprint.inputs.len()];
        for (instance, (_, input)) in blueprint.agents.iter().enumerate() {
            readers[*input].push(instance);
        }
        Self {
            id,
            stage: if blueprint.tables.is_empty() {
                Stage::Running
            } else {
                Stage::Restoring
            },
            hold: false,
            committed: vec![None; blueprint.inputs.len()],
            context,
            store,
            instances,
            readers,
            open: None,
            waker: TaskWaker::new(wake),
            pulse: Pulse::new(
                id.partition,
                &blueprint.inputs,
                blueprint.agents.iter().map(|(def, _)| def.name),
            ),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.context.name
    }

    /// What it shows of itself between two turns of its thread.
    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Shows where it stands at the end of a turn.
    pub(crate) fn show(&self) {
        let waiting = self.context.inputs.iter().map(|buffer| buffer.borrow().len());
        let doing = match &self.open {
            Some(open) if open.retry_at.is_some() => Doing::BackingOff,
            Some(_) => Doing::Awaiting,
            None if self.context.outbox.borrow().has_sealed() => Doing::Sending,
            None if self.hold => Doing::Holding,
            None => Doing::Nothing,
        };
        let failures = self.open.as_ref().map_or(0, |open| open.failures);
        self.pulse.stands(doing, waiting.sum(), failures);
    }

    /// The store, for restore.
    pub(crate) fn store(&self) -> &Rc<dyn Store> {
        &self.store
    }

    /// What its agents share, with the buffers of its inputs.
    pub(crate) fn context(&self) -> &Rc<TaskContext> {
        &self.context
    }

    /// The entries of every table, for people.
    pub(crate) fn rows(&self) -> Vec<(&'static str, Vec<(String, String)>)> {
        let shards = self.context.shards.borrow();
        shards
            .iter()
            .map(|shard| (shard.def().name, shard.rows()))
            .collect()
    }

    /// Processes up to `budget` records and hands their sends to the producer.
    pub(crate) fn run(&mut self, producer: &mut dyn Producer, budget: usize) -> Ran {
        if self.stage == Stage::Restoring {
            return Ran::Idle;
        }
        let context = Rc::clone(&self.context);
        let _entered = Entered::new(&context);
        let waker = Waker::from(Arc::clone(&self.waker));
        let mut cx = Context::from_waker(&waker);
        let mut done = 0;
        loop {
            match self.hand_over(producer) {
                Ok(true) => {}
                Ok(false) => return Ran::Blocked,
                Err(refusal) => return Ran::Refused(refusal),
            }
            if self.open.is_none() {
                if self.hold || self.stage != Stage::Running {
                    return Ran::Idle;
                }
                if done == budget {
                    return Ran::Busy;
                }
                if !self.open_next() {
                    return Ran::Idle;
                }
                done += 1;
            }
            if let Some(ran) = self.work(&mut cx) {
                return ran;
            }
        }
    }

    /// Gives the sends of finished records to the producer. False when it takes no more for now.
    fn hand_over(&mut self, producer: &mut dyn Producer) -> Result<bool, String> {
        let mut refused = None;
        let mut outbox = self.context.outbox.borrow_mut();
        outbox.drain(|record| match producer.send(record) {
            SendOutcome::Queued => true,
            SendOutcome::Full => false,
            SendOutcome::Refused(reason) => {
                refused = Some(format!(
                    "a record for topic `{}` was refused: {reason}",
                    record.topic
                ));
                false
            }
        });
        match refused {
            Some(reason) => Err(reason),
            None => Ok(!outbox.has_sealed()),
        }
    }

    /// Opens the record with the lowest timestamp among the inputs and offers it. False when there is none.
    fn open_next(&mut self) -> bool {
        let heads = self
            .context
            .inputs
            .iter()
            .enumerate()
            .filter_map(|(input, buffer)| {
                let timestamp = buffer.borrow().head_timestamp()?;
                Some((timestamp, input))
            });
        let Some((_, input)) = heads.min() else {
            return false;
        };
        self.context.open.set(Some(input));
        let offset = self.context.with_open(|record| record.offset);
        self.pulse.opened(input, offset.unwrap_or_default());
        self.open = Some(Open {
            input,
            turn: 0,
            failures: 0,
            retry_at: None,
            waiting: false,
        });
        self.offer();
        true
    }

    /// Offers the open record to the agent whose turn it is.
    fn offer(&self) {
        if let Some(instance) = self.turn() {
            self.instances[instance].offer();
        }
    }

    /// The instance that is at the open record.
    fn turn(&self) -> Option<usize> {
        let open = self.open.as_ref()?;
        self.readers[open.input].get(open.turn).copied()
    }

    /// Lets the agent at the open record go on. `None` when it is done with it.
    fn work(&mut self, cx: &mut Context<'_>) -> Option<Ran> {
        let instance = self.turn();
        let open = self.open.as_mut()?;
        if let Some(at) = open.retry_at {
            if clock::now() < at {
                return Some(Ran::BackingOff(at));
            }
            open.retry_at = None;
            if let Some(instance) = instance {
                self.instances[instance].offer();
            }
        }
        if open.waiting && !self.waker.take() {
            return Some(Ran::Idle);
        }
        let Some(instance) = instance else {
            self.close_record();
            return None;
        };
        self.pulse.polling(instance);
        let polled = self.instances[instance].poll(cx);
        self.pulse.polled();
        match polled {
            Polled::Done => {
                self.next_turn();
                None
            }
            Polled::Waiting => {
                open.waiting = true;
                Some(Ran::Idle)
            }
            Polled::Failed(failure) => self.agent_failed(instance, &failure),
        }
    }

    /// The next agent's turn, or the end of the record.
    fn next_turn(&mut self) {
        let Some(open) = &mut self.open else {
            return;
        };
        open.turn += 1;
        open.failures = 0;
        open.waiting = false;
        if open.turn < self.readers[open.input].len() {
            self.context.outbox.borrow_mut().seal_agent();
            for shard in self.context.shards.borrow().iter() {
                shard.seal_agent();
            }
            self.offer();
        } else {
            self.close_record();
        }
    }

    /// Every agent is done with the record: what they wrote is staged, what they sent may go.
    fn close_record(&mut self) {
        self.context.outbox.borrow_mut().seal();
        for shard in self.context.shards.borrow().iter() {
            shard.seal_record();
        }
        if let Some(open) = self.open.take() {
            self.context.inputs[open.input].borrow_mut().pop();
            self.context.open.set(None);
            self.pulse.closed();
        }
    }

    /// Drops what the agent wrote for the open record and follows its error policy.
    fn agent_failed(&mut self, instance: usize, failure: &Failure) -> Option<Ran> {
        self.undo_agent();
        let def = self.instances[instance].def;
        let open = self.open.as_mut()?;
        open.waiting = false;
        open.failures += 1;
        match failures::follow(&self.context, &self.pulse, instance, def, failure, open.failures) {
            Follow::TryAgain(wait) => {
                let retry_at = clock::now() + wait;
                open.retry_at = Some(retry_at);
                Some(Ran::BackingOff(retry_at))
            }
            Follow::PassOver => {
                self.next_turn();
                None
            }
            Follow::Stop(reason) => {
                // What was done before this record is a cut, and is still committed.
                self.undo_record();
                self.open = None;
                self.context.open.set(None);
                self.stage = Stage::Stopped(reason);
                Some(Ran::Stopped)
            }
        }
    }

    fn undo_agent(&self) {
        self.context.failure.take();
        self.context.outbox.borrow_mut().undo_agent();
        for shard in self.context.shards.borrow().iter() {
            shard.undo_agent();
        }
    }

    fn undo_record(&self) {
        self.context.failure.take();
        self.context.outbox.borrow_mut().undo();
        for shard in self.context.shards.borrow().iter() {
            shard.undo_record();
        }
    }

    /// Gives up the open record as if it had never been opened: it will be processed again, here or elsewhere.
    pub(crate) fn abandon_open(&mut self) {
        let context = Rc::clone(&self.context);
        let _entered = Entered::new(&context);
        if let Some(instance) = self.turn() {
            self.instances[instance].abort();
            debug!(
                task = self.name(),
                record = failures::place(&self.context),
                "given up before it was done"
            );
        }
        self.undo_record();
        self.open = None;
        self.context.open.set(None);
    }

    /// Whether the open record waits for its next try, so that no agent is at it.
    pub(crate) fn is_backing_off(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.retry_at.is_some())
    }

    /// Whether every agent stands between two records and everything sent is with the producer.
    pub(crate) fn at_cut(&self) -> bool {
        self.open.is_none() && !self.context.outbox.borrow().has_sealed()
    }

    /// Whether there is anything that a commit would change.
    pub(crate) fn wants_commit(&self) -> bool {
        if self.stage == Stage::Restoring {
            return false;
        }
        let staged = || {
            self.context
                .shards
                .borrow()
                .iter()
                .any(|shard| shard.staged() > 0)
        };
        let now = clock::now();
        self.open.is_some()
            || staged()
            || (0..self.committed.len()).any(|input| self.offset_due(input, now).is_some())
    }

    /// How many keys wait for a commit.
    pub(crate) fn staged(&self) -> usize {
        self.context
            .shards
            .borrow()
            .iter()
            .map(|shard| shard.staged())
            .sum()
    }

    fn offset_due(&self, input: usize, now: Instant) -> Option<i64> {
        let offset = self.context.inputs[input].borrow().committable()?;
        match self.committed[input] {
            Some((committed, at)) if committed == offset && now < at + RECOMMIT_AFTER => None,
            _ => Some(offset),
        }
    }

    /// The offsets of the cut that the task stands at.
    pub(crate) fn cut(&self) -> Vec<CommitOffset> {
        let now = clock::now();
        (0..self.committed.len())
            .filter_map(|input| {
                let offset = self.offset_due(input, now)?;
                let buffer = self.context.inputs[input].borrow();
                Some(CommitOffset {
                    at: TopicPartition {
                        topic: Arc::clone(&buffer.topic),
                        partition: buffer.partition,
                    },
                    offset,
                    metadata: String::new(),
                })
            })
            .collect()
    }

    /// Encodes every changed key once, into `batch`.
    pub(crate) fn stage_into(&self, batch: &mut Batch) -> Result<()> {
        for shard in self.context.shards.borrow().iter() {
            // Values encode themselves, by code of the user.
            catch_unwind(AssertUnwindSafe(|| shard.stage_into(batch))).unwrap_or_else(|_| {
                let table = shard.def().name;
                Err(Error::codec(format!(
                    "a value of table `{table}` panicked while it was encoded, so nothing was committed"
                )))
            })?;
        }
        Ok(())
    }

    /// The cut is committed: the store follows.
    pub(crate) fn committed(&mut self, offsets: &[CommitOffset], batch: &Batch) -> Result<()> {
        self.store.apply(batch)?;
        let now = clock::now();
        for (input, committed) in self.committed.iter_mut().enumerate() {
            let topic = &self.context.inputs[input].borrow().topic;
            if let Some(offset) = offsets.iter().find(|offset| offset.at.topic == *topic) {
                *committed = Some((offset.offset, now));
            }
        }
        self.hold = false;
        Ok(())
    }

    /// Lets the functions of stream-form agents see the end of their streams. What they still write is
    /// dropped: the last commit is behind.
    pub(crate) fn close(mut self) {
        let context = Rc::clone(&self.context);
        let _entered = Entered::new(&context);
        let waker = Waker::from(Arc::clone(&self.waker));
        let mut cx = Context::from_waker(&waker);
        for instance in &mut self.instances {
            instance.close(&mut cx);
        }
        self.undo_record();
    }
}
