//! The thread of a worker's standbys: hears of the other workers, decides, follows, and tells the others.
//!
//! It may wait for the broker, as nobody waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{debug, info, warn};

use super::following::Following;
use super::holdings::Standbys;
use super::lent::open;
use super::members::{Announcement, Members};
use super::placement::{Peer, Placement, Question, weight};
use super::{Filling, StandbyControl, StandbySetup};
use crate::clock;
use crate::cluster::plan::TaskId;
use crate::error::Result;
use crate::kafka::{OutgoingRecord, PartitionReader, RecordSink, StartOffset, TopicPartition};
use crate::record::RecordRef;

/// The longest sleep of an idle thread: wake-ups by librdkafka are edge-triggered, this is the net below them.
const TICK: Duration = Duration::from_millis(100);
/// Records of the workers' topic taken in one round.
const ROUND: usize = 10_000;
/// How often it is decided anew what this worker stands by for.
const DECIDE_EVERY: Duration = Duration::from_millis(200);
/// The shortest time between two announcements.
const ANNOUNCE_AT_MOST: Duration = Duration::from_millis(200);
/// The longest wait for an announcement to be acknowledged.
const ACKNOWLEDGE: Duration = Duration::from_secs(2);
/// The wait before something is tried again that the broker did not let happen.
const AGAIN: Duration = Duration::from_secs(5);
/// How many stores a starting worker fills at a time.
const FILL_AT_ONCE: usize = 8;

pub(super) struct StandbyThread {
    setup: StandbySetup,
    standbys: Standbys,
    filling: Filling,
    stop: Arc<AtomicBool>,
    wake: Arc<Notify>,
    members: Members,
    reader: Option<Box<dyn PartitionReader>>,
    read_again: Instant,
    following: Following,
    /// Every task with tables, and its name.
    names: BTreeMap<TaskId, String>,
    /// The tasks by their names in announcements.
    numbers: BTreeMap<(String, i32), TaskId>,
    next_decision: Instant,
    /// Standbys for tasks that nobody was known to run at the last look, and since when.
    undecided: BTreeMap<TaskId, Instant>,
    /// What was filled before this worker joined the group, and how long it stays at least.
    filled: BTreeMap<TaskId, Instant>,
    /// What a starting worker is to fill, the likeliest first, once that is known.
    plan: Option<Vec<TaskId>>,
    announced: Option<(Announcement, Instant)>,
    announce_again: Instant,
}

impl StandbyThread {
    pub(super) fn new(setup: StandbySetup, control: StandbyControl) -> Self {
        let StandbyControl {
            standbys,
            filling,
            stop,
            wake,
        } = control;
        let now = clock::now();
        let following = Following::new(&setup, standbys.clone(), Arc::clone(&wake));
        let facts = standbys.tasks().iter();
        let names = facts.map(|(task, facts)| (*task, facts.name.clone())).collect();
        let number = |task: &TaskId| ((setup.blueprints.get(*task).name.clone(), task.partition), *task);
        let numbers = standbys.tasks().keys().map(number).collect();
        Self {
            setup,
            standbys,
            filling,
            stop,
            wake,
            members: Members::default(),
            reader: None,
            read_again: now,
            following,
            names,
            numbers,
            next_decision: now,
            undecided: BTreeMap::new(),
            filled: BTreeMap::new(),
            plan: None,
            announced: None,
            announce_again: now,
        }
    }

    pub(super) async fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            let now = clock::now();
            let news = self.hear(now);
            if news || now >= self.next_decision {
                self.next_decision = now + DECIDE_EVERY;
                self.decide(now);
                self.clean_up(now).await;
            }
            let busy = self.following.step(now);
            self.following.learn(now);
            self.announce(now).await;
            if busy {
                tokio::task::yield_now().await;
            } else {
                let _ = tokio::time::timeout(self.idle_for(), self.wake.notified()).await;
            }
        }
        for (task, slot) in self.standbys.slots() {
            self.standbys.close(task, &slot);
        }
        if self.announced.is_some() {
            self.tell(None).await;
        }
    }

    fn idle_for(&self) -> Duration {
        let now = clock::now();
        let next = [Some(self.next_decision), self.following.next_learn()];
        let waits = next
            .into_iter()
            .flatten()
            .map(|at| at.saturating_duration_since(now));
        waits
            .chain([TICK])
            .min()
            .unwrap_or(TICK)
            .max(Duration::from_millis(1))
    }

    /// Takes what the other workers say. True when it is news.
    fn hear(&mut self, now: Instant) -> bool {
        if now < self.read_again {
            return false;
        }
        let heard = self.read(now);
        heard.unwrap_or_else(|error| {
            warn!("the other workers are not heard of for {AGAIN:?}: {error}");
            self.reader = None;
            self.members.restart();
            self.read_again = now + AGAIN;
            false
        })
    }

    fn read(&mut self, now: Instant) -> Result<bool> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let mut reader = self.setup.cluster.partition_reader(Arc::clone(&self.wake))?;
                let at = TopicPartition {
                    topic: Arc::clone(&self.setup.topic),
                    partition: 0,
                };
                reader.add(&[(at, StartOffset::Beginning)])?;
                none.insert(reader)
            }
        };
        let mut sink = Hearing {
            members: &mut self.members,
            now,
            news: false,
        };
        reader.poll(&mut sink, ROUND)?;
        Ok(sink.news)
    }

    /// Decides what this worker stands by for.
    fn decide(&mut self, now: Instant) {
        if self.filling.is_under_way() {
            self.fill(now);
            return;
        }
        if self.plan.take().is_some() {
            // They stay until the group has had time to share the tasks out with this worker among them.
            let until = now + self.setup.valid * 2;
            self.filled = self
                .standbys
                .slots()
                .into_keys()
                .map(|task| (task, until))
                .collect();
        }
        if self.members.is_up_to_date() {
            let placement = self.placement(now);
            self.dismiss(&placement, now);
            self.take_on(&placement, now);
        }
    }

    fn placement(&self, now: Instant) -> Placement {
        let me = self.setup.worker.as_str();
        let runs = self.standbys.active().into_iter().collect();
        let others = self.members.live(now).filter(|(worker, _)| *worker != me);
        let peers: Vec<_> = others
            .map(|(worker, announcement)| Peer {
                worker,
                runs: self.tasks_of(announcement),
            })
            .collect();
        let question = Question {
            me,
            runs: &runs,
            peers: &peers,
            tasks: &self.names,
            replicas: self.setup.replicas,
        };
        question.answer()
    }

    fn tasks_of(&self, announcement: &Announcement) -> BTreeSet<TaskId> {
        let named = announcement.runs.iter().flat_map(|(name, partitions)| {
            let partitions = partitions.iter();
            partitions.map(|partition| (name.clone(), *partition))
        });
        named
            .filter_map(|named| self.numbers.get(&named).copied())
            .collect()
    }

    /// Ends the standbys that this worker is not chosen for.
    fn dismiss(&mut self, placement: &Placement, now: Instant) {
        let slots = self.standbys.slots();
        self.undecided
            .retain(|task, _| placement.undecided.contains(task));
        self.filled
            .retain(|task, until| *until > now && slots.contains_key(task));
        let mut dismissed = Vec::new();
        for (task, slot) in slots {
            if placement.chosen.contains(&task) || self.filled.contains_key(&task) {
                continue;
            }
            if placement.undecided.contains(&task) {
                let since = *self.undecided.entry(task).or_insert(now);
                if now < since + self.setup.valid * 2 {
                    continue;
                }
            }
            self.standbys.close(task, &slot);
            dismissed.push(task);
        }
        if !dismissed.is_empty() {
            info!(tasks = self.listed(&dismissed), "stands by no longer, others do");
        }
    }

    /// Opens the stores of the tasks that this worker is chosen for.
    fn take_on(&mut self, placement: &Placement, now: Instant) {
        let mut begun = Vec::new();
        for task in &placement.chosen {
            if self.open(*task, now) {
                begun.push(*task);
            }
        }
        if !begun.is_empty() {
            info!(tasks = self.listed(&begun), "stands by");
        }
    }

    /// Opens the store of a standby. True when it is new.
    fn open(&mut self, task: TaskId, now: Instant) -> bool {
        if !self.following.may_open(task, now) {
            return false;
        }
        let blueprint = self.setup.blueprints.get(task);
        let opened = self.standbys.open(task, || {
            open(self.setup.stores.as_ref(), blueprint, task.partition)
        });
        match opened {
            Ok(slot) => slot.is_some(),
            Err(error) => {
                self.following.fail(task, &error, now);
                false
            }
        }
    }

    /// Goes on filling the stores of a worker that has not joined the group yet.
    fn fill(&mut self, now: Instant) {
        let plan = match &self.plan {
            Some(plan) => plan.clone(),
            None => match self.following.committed() {
                Ok(committed) => self.plan.insert(self.likeliest(committed)).clone(),
                Err(error) => {
                    debug!("what is committed is not known yet: {error}");
                    return;
                }
            },
        };
        let mut unfinished = 0;
        for task in plan {
            if unfinished == FILL_AT_ONCE {
                return;
            }
            self.open(task, now);
            let given_up = !self.following.may_open(task, now);
            unfinished += usize::from(!given_up && !self.following.is_filled(task));
        }
        if unfinished == 0 {
            self.filling.set(Filling::DONE);
        }
    }

    /// Tasks by how likely they come to this worker: those of which it has state, as it may have had them before,
    /// then by weight.
    fn likeliest(&self, mut tasks: Vec<TaskId>) -> Vec<TaskId> {
        let local: BTreeSet<_> = self.setup.stores.local().into_iter().collect();
        tasks.sort_by_key(|task| {
            let place = (self.setup.blueprints.get(*task).name.clone(), task.partition);
            let weight = weight(&self.setup.worker, &self.names[task]);
            std::cmp::Reverse((local.contains(&place), weight))
        });
        tasks
    }

    /// Tells the others what this worker holds: when that has changed, and now and then.
    async fn announce(&mut self, now: Instant) {
        if now < self.announce_again {
            return;
        }
        let announcement = self.announcement();
        let due = match &self.announced {
            None => true,
            Some((before, at)) => now >= *at + self.setup.valid / 3 || !before.holds_the_same(&announcement),
        };
        if !due {
            return;
        }
        let told = self.tell(Some(&announcement)).await;
        self.announce_again = now
            + if told {
                ANNOUNCE_AT_MOST
            } else {
                AGAIN.min(self.setup.valid / 3)
            };
        if told {
            self.announced = Some((announcement, now));
        }
    }

    fn announcement(&self) -> Announcement {
        let mut announcement = Announcement::new(self.setup.valid);
        let name = |task: &TaskId| self.setup.blueprints.get(*task).name.clone();
        for task in self.standbys.active() {
            announcement
                .runs
                .entry(name(&task))
                .or_default()
                .push(task.partition);
        }
        for (task, slot) in self.standbys.slots() {
            let held = announcement.stands_by.entry(name(&task)).or_default();
            held.insert(task.partition, slot.progress().lag);
        }
        announcement
    }

    /// Writes an announcement of this worker, or takes leave.
    async fn tell(&self, announcement: Option<&Announcement>) -> bool {
        let value = announcement.map(Announcement::write);
        self.write(&self.setup.worker, value.as_deref()).await
    }

    async fn write(&self, worker: &str, value: Option<&[u8]>) -> bool {
        let record = OutgoingRecord {
            topic: &self.setup.topic,
            partition: Some(0),
            key: Some(worker.as_bytes()),
            value,
            headers: &[],
            timestamp: None,
        };
        match tokio::time::timeout(ACKNOWLEDGE, self.setup.producer.send(record)).await {
            Ok(Ok(_)) => return true,
            Ok(Err(error)) => warn!("the other workers are not told what this one holds: {error}"),
            Err(_) => debug!("an announcement was not acknowledged within {ACKNOWLEDGE:?}"),
        }
        false
    }

    /// Removes what workers left behind that have been gone for long; one of the live workers does.
    async fn clean_up(&mut self, now: Instant) {
        let gone = self.members.forget(now);
        let first = self.members.live(now).map(|(worker, _)| worker).min();
        if gone.is_empty() || first != Some(self.setup.worker.as_str()) {
            return;
        }
        for worker in gone {
            if worker != self.setup.worker {
                self.write(&worker, None).await;
            }
        }
    }

    fn listed(&self, tasks: &[TaskId]) -> String {
        let names: Vec<_> = tasks.iter().map(|task| self.names[task].as_str()).collect();
        names.join(" ")
    }
}

/// Takes announcements.
struct Hearing<'a> {
    members: &'a mut Members,
    now: Instant,
    news: bool,
}

impl RecordSink for Hearing<'_> {
    fn record(&mut self, record: RecordRef<'_>) {
        if let Some(worker) = record.key {
            self.news |= self.members.record(worker, record.value, self.now);
        }
    }

    fn wants_headers(&self) -> bool {
        false
    }

    fn end_of_partition(&mut self, _: &str, _: i32, _: i64) {
        self.members.reached_end();
    }
}
