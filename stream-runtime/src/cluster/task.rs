//! One task: the agents of a sub-topology on one partition number, with their shards.
//!
//! A task begins by learning what the group has committed, then its shards are restored, then it runs.
//!
//! It has one open record at a time. It goes to each agent that reads its topic, one after the other,
//! and then the next record is opened. So what an agent wrote before it failed can be undone without touching
//! what others wrote, and what all of them wrote when the record is given up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{debug, warn};

use super::cut::Cut;
use super::failures::{self, Follow};
use super::plan::{Blueprint, TaskId};
use super::pulse::{Doing, Pulse};
use super::turn::Turn;
use super::waker::TaskWaker;
use crate::agent::context::{Entered, TaskContext, TopicNames};
use crate::agent::input::InputBuffer;
use crate::agent::instance::{Failure, Instance, Polled};
use crate::clock;
use crate::error::{Error, Result};
use crate::kafka::{CommitOffset, Producer, SendOutcome, TopicPartition};
use crate::store::{Batch, Store};
use crate::table::AHEAD;

/// An offset that did not change is committed again after this long: brokers forget offsets of topics
/// that the group does not subscribe to, which is so for all but the lead topics.
const RECOMMIT_AFTER: Duration = Duration::from_secs(3600);

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// What the group has committed for its partitions is not known yet.
    Asking,
    /// Its shards are being filled from their changelogs; no record is opened.
    Restoring,
    Running,
    /// An agent failed for good. Nothing runs, nothing is committed; the partition stays here.
    Stopped(String),
}

/// Where the sends of finished records go.
pub(crate) enum Outlet<'a> {
    Producer(&'a mut dyn Producer),
    /// Nowhere yet. They are kept, and no other record is opened once they take so many bytes.
    Kept(usize),
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
    /// The store cannot be read, which no error policy of an agent is about.
    Unreadable(String),
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
    /// No new record is opened while set: the task comes to its end.
    pub hold: bool,
    context: Rc<TaskContext>,
    store: Rc<dyn Store>,
    instances: Vec<Instance>,
    /// For each input the instances that read it.
    readers: Vec<Vec<usize>>,
    open: Option<Open>,
    waker: Arc<TaskWaker>,
    /// A record was finished since the last cut.
    moved_on: bool,
    /// What was committed last for each input, and when.
    committed: Vec<Option<(i64, Instant)>>,
    /// The last committed cut; number 0 before the first. Its changelogs are what is known of them, committed or
    /// found at the restore.
    cut: Cut,
    /// Whether the next changes wait for a commit of where reading begins: until one says where every changelog stands,
    /// nobody can tell changes of a worker that crashed from state that is merely older than what the group remembers.
    anchors: bool,
    /// What restores found behind the last cut, to be put right by the next commit.
    repair: Batch,
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
        exactly_once: bool,
    ) -> Self {
        let buffer = |topic: &Arc<str>| RefCell::new(InputBuffer::new(Arc::clone(topic), id.partition));
        let shards = blueprint.tables.iter().enumerate().map(|(number, table)| {
            let shard = (table.entry.open)().0;
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
            store_failure: RefCell::new(None),
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
            stage: Stage::Asking,
            hold: false,
            cut: Cut::default(),
            anchors: !exactly_once && !blueprint.tables.is_empty(),
            repair: Batch::default(),
            committed: vec![None; blueprint.inputs.len()],
            context,
            store,
            instances,
            readers,
            open: None,
            waker: TaskWaker::new(wake),
            moved_on: false,
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

    /// Takes what the group has committed for the inputs, in their order.
    pub(crate) fn learn(&mut self, committed: &[Option<CommitOffset>]) {
        let now = clock::now();
        for (input, found) in committed.iter().enumerate() {
            if let Some(found) = found {
                self.context.inputs[input].borrow_mut().start_at(found.offset);
                self.committed[input] = Some((found.offset, now));
            }
        }
        for (topic, local) in self.store.inputs() {
            let known = committed.iter().flatten();
            if let Some(found) = known.into_iter().find(|found| *found.at.topic == *topic)
                && found.offset < local
            {
                warn!(
                    task = self.name(), input = %found.at, from = local, to = found.offset,
                    "the offsets of the group were set back; the tables keep what these records did, unless their \
                     changelogs say otherwise, and they are processed again"
                );
            }
        }
        let texts = committed.iter().flatten().map(|found| found.metadata.as_str());
        self.cut = Cut::newest(texts).unwrap_or_default();
    }

    /// The changelog offset behind everything that was committed, if that is known.
    pub(crate) fn committed_changelog(&self, table: &str) -> Option<i64> {
        self.cut.changelogs.get(table).copied()
    }

    /// The shards are as they were at the last cut. `changelogs` says where that is; `repair` overwrites what was
    /// written behind the cut and not committed.
    pub(crate) fn restored(&mut self, changelogs: Vec<(&'static str, i64)>, repair: Batch) {
        let known: BTreeMap<_, _> = changelogs
            .into_iter()
            .map(|(table, offset)| (table.to_owned(), offset))
            .collect();
        // A cut that says the same of every table tells their next changes from these.
        self.anchors &= self.cut.number == 0 || self.cut.changelogs != known;
        self.cut.changelogs = known;
        self.repair = repair;
        self.stage = Stage::Running;
    }

    /// Goes back to the last commit: a task that knows what this one knew, and has done nothing since. For tasks that
    /// have begun; the others have nothing to go back from.
    pub(crate) fn rewound(mut self, fresh: Self) -> Self {
        self.end_instances();
        for (input, start) in self.starts().into_iter().enumerate() {
            if let Some(start) = start {
                fresh.context.inputs[input].borrow_mut().start_at(start);
            }
        }
        Self {
            // A record that stopped it is tried once more.
            stage: Stage::Running,
            hold: self.hold,
            cut: self.cut,
            committed: self.committed,
            repair: self.repair,
            anchors: self.anchors,
            pulse: self.pulse,
            ..fresh
        }
    }

    /// Ends the functions of its agents where they are. What they hold is dropped as in a poll, since it is code of the
    /// user, who may use tables there.
    pub(crate) fn end_instances(&mut self) {
        let context = Rc::clone(&self.context);
        let _entered = Entered::new(&context);
        for instance in &mut self.instances {
            instance.abort();
        }
    }

    /// Where the records begin that are not committed, for each input; `None` where none was read.
    pub(crate) fn starts(&self) -> Vec<Option<i64>> {
        let inputs = self.context.inputs.iter().zip(&self.committed);
        inputs
            .map(|(buffer, committed)| match committed {
                Some((offset, _)) => Some(*offset),
                None => buffer.borrow().began(),
            })
            .collect()
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

    /// Processes up to `budget` records, as long as the turn lasts and there is room for what they send.
    pub(crate) fn run(&mut self, mut outlet: Outlet<'_>, budget: usize, turn: &mut Turn) -> Ran {
        if !self.is_ready() {
            return Ran::Idle;
        }
        let context = Rc::clone(&self.context);
        let _entered = Entered::new(&context);
        let waker = Waker::from(Arc::clone(&self.waker));
        let mut cx = Context::from_waker(&waker);
        let mut done = 0;
        loop {
            if let Outlet::Producer(producer) = &mut outlet {
                match self.hand_over(&mut **producer) {
                    Ok(true) => {}
                    Ok(false) => return Ran::Blocked,
                    Err(refusal) => return Ran::Refused(refusal),
                }
            }
            if self.open.is_none() {
                if self.hold || self.stage != Stage::Running || self.wants_anchor() {
                    return Ran::Idle;
                }
                // The commit that it waits for tells when it goes on.
                if matches!(outlet, Outlet::Kept(most) if self.kept_back() >= most) {
                    return Ran::Idle;
                }
                if done == budget || turn.is_over() {
                    // Whoever gives no budget waits for something else, which tells.
                    return if budget == 0 { Ran::Idle } else { Ran::Busy };
                }
                if !self.open_next() {
                    return Ran::Idle;
                }
                done += 1;
                turn.record();
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
        self.read_ahead(input);
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

    /// Has the shards look up the keys of the records that come next: one record after the other each would wait for memory.
    fn read_ahead(&self, input: usize) {
        let shards = self.context.shards.borrow();
        let mut buffer = self.context.inputs[input].borrow_mut();
        if shards.is_empty() || !buffer.has_keys_ahead() {
            return;
        }
        let mut keys = [&[][..]; AHEAD];
        let mut count = 0;
        for (place, key) in keys.iter_mut().zip(buffer.keys_ahead(AHEAD)) {
            *place = key;
            count += 1;
        }
        shards.iter().for_each(|shard| shard.read_ahead(&keys[..count]));
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
        if let Some(failure) = self.context.store_failure.take() {
            self.undo_record();
            return Some(Ran::Unreadable(failure));
        }
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
            self.moved_on = true;
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

    /// Whether it knows what is committed and has its state.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Stopped(_))
    }

    /// Whether an agent is at a record.
    pub(crate) fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether sends of finished records wait for the producer.
    pub(crate) fn has_unsent(&self) -> bool {
        self.context.outbox.borrow().has_sealed()
    }

    /// How many bytes the sends take that are not with the producer.
    pub(crate) fn kept_back(&self) -> usize {
        self.context.outbox.borrow().bytes()
    }

    /// Whether where reading begins is to be committed before anything else is.
    pub(crate) fn wants_anchor(&self) -> bool {
        self.anchors
            && self.stage == Stage::Running
            && self
                .context
                .inputs
                .iter()
                .any(|buffer| buffer.borrow().head_offset().is_some())
    }

    /// Whether a record was finished since the last cut: somebody may wait for what came of it.
    pub(crate) fn has_moved_on(&self) -> bool {
        self.moved_on && self.is_ready()
    }

    /// Whether finished records have done what is not committed, an input has moved on over what is no record, or the
    /// restore of its tables found what is to be overwritten. An idle thread commits for nothing else but
    /// [`wants_anchor`](Self::wants_anchor): whatever [`stage`](Self::stage) gives is to be counted here.
    pub(crate) fn has_uncommitted(&self) -> bool {
        let now = clock::now();
        self.is_ready()
            && (self.has_unsent()
                || self.staged() > 0
                || !self.repair.is_empty()
                || (0..self.committed.len()).any(|input| self.offset_due(input, now).is_some()))
    }

    /// Whether nothing of it is left to be done or committed.
    pub(crate) fn is_drained(&self) -> bool {
        !self.has_open() && !self.has_uncommitted()
    }

    /// About how many bytes the values of its tables take that are in memory, beside what the stores have there.
    pub(crate) fn held(&self) -> usize {
        let shards = self.context.shards.borrow();
        shards.iter().map(|shard| shard.held()).sum()
    }

    /// Drops values that the stores have as well, down to about this share of what it holds. Not while a commit is under
    /// way.
    pub(crate) fn evict(&self, share: f64) {
        for shard in self.context.shards.borrow().iter() {
            shard.evict((shard.held() as f64 * share) as usize);
        }
    }

    /// How many keys wait for a commit.
    fn staged(&self) -> usize {
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

    /// What a commit would bring the task to: the offsets of its inputs, and every changed key, encoded, in `batch`.
    /// The record that is open is no part of it. `None` when nothing has changed since the last.
    pub(crate) fn stage(&mut self, batch: &mut Batch) -> Result<Option<(Vec<CommitOffset>, Cut)>> {
        if !self.is_ready() {
            return Ok(None);
        }
        let mut cut = self.cut.clone();
        cut.number += 1;
        if self.wants_anchor() {
            let heads = self.context.inputs.iter();
            let offsets = heads.filter_map(|buffer| {
                let buffer = buffer.borrow();
                let offset = buffer.committable().or_else(|| buffer.head_offset())?;
                Some(commit_offset(&buffer, offset))
            });
            return Ok(Some((offsets.collect(), cut)));
        }
        // Before anything is taken out of the shards.
        let is_counted = !cfg!(debug_assertions) || self.has_uncommitted();
        self.moved_on = false;
        for write in self.repair.writes() {
            batch.push(write);
        }
        for shard in self.context.shards.borrow().iter() {
            // Values encode themselves, by code of the user.
            catch_unwind(AssertUnwindSafe(|| shard.stage_into(batch))).unwrap_or_else(|_| {
                let table = shard.def().name;
                Err(Error::codec(format!(
                    "a value of table `{table}` panicked while it was encoded, so nothing was committed"
                )))
            })?;
        }
        let now = clock::now();
        let is_due = (0..self.committed.len()).any(|input| self.offset_due(input, now).is_some());
        if !is_due && batch.is_empty() {
            return Ok(None);
        }
        debug_assert!(is_counted, "an idle thread would never commit it");
        // All inputs carry the cut, those that stand still too: of some the offsets may be reset or gone at the next
        // start, and an older cut on another would seem to be the newest.
        let offsets = self.context.inputs.iter().filter_map(|buffer| {
            let buffer = buffer.borrow();
            Some(commit_offset(&buffer, buffer.committable()?))
        });
        Ok(Some((offsets.collect(), cut)))
    }

    /// The cut is committed: the store follows.
    pub(crate) fn committed(&mut self, offsets: &[CommitOffset], cut: Cut, batch: &Batch) -> Result<()> {
        if !self.context.shards.borrow().is_empty() {
            self.store.apply(batch)?;
        }
        let now = clock::now();
        for (input, committed) in self.committed.iter_mut().enumerate() {
            let topic = &self.context.inputs[input].borrow().topic;
            if let Some(offset) = offsets.iter().find(|offset| offset.at.topic == *topic) {
                *committed = Some((offset.offset, now));
            }
        }
        self.anchors = false;
        // The commit of where reading begins has none of it.
        if batch.writes().next().is_some() {
            self.repair.clear();
        }
        self.cut = cut;
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

fn commit_offset(buffer: &InputBuffer, offset: i64) -> CommitOffset {
    CommitOffset {
        at: TopicPartition {
            topic: Arc::clone(&buffer.topic),
            partition: buffer.partition,
        },
        offset,
        metadata: String::new(),
    }
}
