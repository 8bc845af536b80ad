//! All standbys of a worker on their way through the changelogs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{debug, warn};

use super::StandbySetup;
use super::follow::{Follower, Reading};
use super::holdings::{Progress, Slot, Standbys};
use crate::clock;
use crate::cluster::cut::Cut;
use crate::cluster::last_found::LastFound;
use crate::cluster::plan::{Blueprints, TaskId};
use crate::error::{Error, Result};
use crate::kafka::{Admin, Cluster, PartitionReader, RecordSink};
use crate::record::RecordRef;
use crate::store::Batch;

/// Records taken in one round.
const ROUND: usize = 5_000;
/// The bytes of all standbys that may be held back: written and not committed yet.
const HELD_BYTES: usize = 32 << 20;
/// How often the committed cuts are asked for.
const LEARN_EVERY: Duration = Duration::from_secs(1);
/// The longest wait for the answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How often a store that is up to date and does not change is told so.
const TOUCH_EVERY: Duration = Duration::from_secs(60);
/// A standby that is behind for longer is told that it is not up to date. Not at once, since catching up again makes its
/// store write to the disk.
const BEHIND: Duration = Duration::from_secs(30);
/// The wait before a failed reader is made anew.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// The wait before a task is stood by for again whose store failed.
const OPEN_AGAIN: Duration = Duration::from_secs(30);

/// The standbys and their reader.
pub(super) struct Following {
    cluster: Arc<dyn Cluster>,
    admin: Arc<dyn Admin>,
    group: String,
    blueprints: Blueprints,
    standbys: Standbys,
    wake: Arc<Notify>,
    /// Made when it is first needed, and again after a failure.
    reader: Option<Box<dyn PartitionReader>>,
    read_again: Option<Instant>,
    tasks: BTreeMap<TaskId, Followed>,
    followers: Vec<Follower>,
    last: LastFound,
    next_learn: Instant,
    /// Tasks whose store failed, and when they may be tried again.
    failed: BTreeMap<TaskId, Instant>,
}

/// One task that is stood by for.
#[derive(Debug)]
struct Followed {
    slot: Arc<Slot>,
    /// All that was committed at the last look but one was there at the last, or a short time ago.
    fresh: bool,
    up_to_date_at: Instant,
    /// When the last answer came to what is committed, since it is followed.
    answered_at: Option<Instant>,
    touched: Instant,
}

impl Following {
    pub(super) fn new(setup: &StandbySetup, standbys: Standbys, wake: Arc<Notify>) -> Self {
        Self {
            cluster: Arc::clone(&setup.cluster),
            admin: Arc::clone(&setup.admin),
            group: setup.group.clone(),
            blueprints: setup.blueprints.clone(),
            standbys,
            wake,
            reader: None,
            read_again: None,
            tasks: BTreeMap::new(),
            followers: Vec::new(),
            last: LastFound::default(),
            next_learn: clock::now(),
            failed: BTreeMap::new(),
        }
    }

    /// Goes on with all standbys there are. True when there may be more to do at once.
    pub(super) fn step(&mut self, now: Instant) -> bool {
        let stepped = self.meet_holdings(now).and_then(|()| self.read(now));
        stepped.unwrap_or_else(|error| {
            warn!("standbys are not followed for {READ_AGAIN:?}: {error}");
            self.reader = None;
            self.read_again = Some(now + READ_AGAIN);
            self.followers.iter_mut().for_each(Follower::stopped);
            false
        })
    }

    /// Whether the store of this task may be opened now.
    pub(super) fn may_open(&self, task: TaskId, now: Instant) -> bool {
        self.failed.get(&task).is_none_or(|again| *again <= now)
    }

    /// Closes a standby whose store failed, or could not be opened.
    pub(super) fn fail(&mut self, task: TaskId, error: &Error, now: Instant) {
        warn!(
            task = self.standbys.facts(task).name,
            "the standby is closed and tried again in {OPEN_AGAIN:?}: {error}"
        );
        self.failed.insert(task, now + OPEN_AGAIN);
        if let Some(followed) = self.tasks.get(&task) {
            self.standbys.close(task, &followed.slot);
        }
    }

    /// Whether all that is committed is in the store of this task, as far as anybody can tell.
    pub(super) fn is_filled(&self, task: TaskId) -> bool {
        let known = self
            .tasks
            .get(&task)
            .is_some_and(|followed| followed.answered_at.is_some());
        let mut shards = self.followers.iter().filter(|follower| follower.task == task);
        known && shards.all(|follower| follower.lag().is_none_or(|lag| lag == 0))
    }

    /// The tasks of which something is committed.
    pub(super) fn committed(&self) -> Result<Vec<TaskId>> {
        let all: Vec<_> = self.standbys.tasks().keys().copied().collect();
        let cuts = self.cuts(&all)?;
        let known = all.into_iter().zip(cuts).filter(|(_, cut)| cut.is_some());
        Ok(known.map(|(task, _)| task).collect())
    }

    /// Begins with standbys that were added, and ends with those that are gone.
    fn meet_holdings(&mut self, now: Instant) -> Result<()> {
        let slots = self.standbys.slots();
        let stays =
            |task: &TaskId, slot: &Arc<Slot>| slots.get(task).is_some_and(|found| Arc::ptr_eq(found, slot));
        self.tasks.retain(|task, followed| stays(task, &followed.slot));
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.followers)
            .into_iter()
            .partition(|follower| stays(&follower.task, &follower.slot));
        self.followers = kept;
        let read = gone
            .into_iter()
            .filter(|follower| follower.reading != Reading::No);
        let places: Vec<_> = read.map(|follower| follower.at).collect();
        if let Some(reader) = &mut self.reader
            && !places.is_empty()
        {
            reader.remove(&places)?;
        }
        for (task, slot) in slots {
            if !self.tasks.contains_key(&task) {
                self.follow(task, slot, now);
            }
        }
        Ok(())
    }

    fn follow(&mut self, task: TaskId, slot: Arc<Slot>, now: Instant) {
        let place = slot.store();
        let Some(kept) = &*place else {
            return;
        };
        let restoring = kept.store.restoring(true);
        let tables = self.blueprints.get(task).tables.iter().enumerate();
        let changelogs = self.blueprints.changelogs_of(task);
        let followers = tables.zip(changelogs).map(|((number, table), at)| {
            Follower::new(task, at, (number, table.name()), &slot, kept.store.as_ref())
        });
        self.followers.extend(followers);
        drop(place);
        let followed = Followed {
            slot,
            fresh: false,
            up_to_date_at: now,
            answered_at: None,
            touched: now,
        };
        self.tasks.insert(task, followed);
        self.next_learn = now;
        if let Err(error) = restoring {
            self.fail(task, &error, now);
        }
    }

    fn read(&mut self, now: Instant) -> Result<bool> {
        if self.tasks.is_empty() || self.read_again.is_some_and(|again| again > now) {
            return Ok(false);
        }
        let begun = self.steer()?;
        let Some(reader) = &mut self.reader else {
            return Ok(begun);
        };
        let mut sink = Changelogs {
            followers: &mut self.followers,
            last: &mut self.last,
        };
        let records = reader.poll(&mut sink, ROUND)?;
        self.apply(now);
        self.bound_held();
        Ok(begun || records >= ROUND)
    }

    /// Has the reader read what is to be read.
    fn steer(&mut self) -> Result<bool> {
        let mut stops = Vec::new();
        for follower in &mut self.followers {
            if follower.reading == Reading::Stop {
                stops.push(follower.at.clone());
                follower.stopped();
            }
        }
        if let Some(reader) = &mut self.reader
            && !stops.is_empty()
        {
            reader.remove(&stops)?;
        }
        let mut starts = Vec::new();
        for follower in &mut self.followers {
            if let Some(start) = follower.start() {
                starts.push((follower.at.clone(), start));
                follower.started();
            }
        }
        if starts.is_empty() {
            return Ok(false);
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(self.cluster.partition_reader(Arc::clone(&self.wake))?),
        };
        reader.add(&starts)?;
        Ok(true)
    }

    /// Writes what is committed into the stores.
    fn apply(&mut self, now: Instant) {
        let mut failures = Vec::new();
        for follower in &mut self.followers {
            let slot = Arc::clone(&follower.slot);
            // One that a thread has taken is let go of at the next step.
            let place = slot.store();
            let Some(kept) = &*place else {
                continue;
            };
            let applied = match follower.reading {
                Reading::OutOfRange => {
                    warn!(
                        changelog = %follower.at,
                        "the changelog does not reach back to where the standby stands: it was truncated or made anew, \
                         and the standby is filled from what it has"
                    );
                    follower.begin_anew(kept.store.as_ref())
                }
                _ => follower.apply(kept.store.as_ref()),
            };
            if let Err(error) = applied {
                failures.push((follower.task, error));
            }
        }
        for (task, error) in failures {
            self.fail(task, &error, now);
        }
        self.publish_progress();
    }

    /// Drops what is held back where it is most, until it is little enough.
    fn bound_held(&mut self) {
        let mut held: usize = self.followers.iter().map(Follower::held_bytes).sum();
        while held > HELD_BYTES {
            let Some(most) = self
                .followers
                .iter_mut()
                .max_by_key(|follower| follower.held_bytes())
            else {
                return;
            };
            held -= most.held_bytes();
            most.drop_held();
        }
    }

    fn publish_progress(&self) {
        let start = Progress {
            lag: Some(0),
            ..Progress::default()
        };
        let mut sums: BTreeMap<TaskId, Progress> = self.tasks.keys().map(|task| (*task, start)).collect();
        for follower in &self.followers {
            if let Some(sum) = sums.get_mut(&follower.task) {
                sum.applied += follower.applied();
                sum.lag = sum.lag.zip(follower.lag()).map(|(lag, more)| lag + more);
                sum.held_back += follower.held_back();
            }
        }
        for (task, followed) in &self.tasks {
            followed.slot.set_progress(sums.remove(task).unwrap_or_default());
        }
    }

    /// When the committed cuts are asked for next, if any.
    pub(super) fn next_learn(&self) -> Option<Instant> {
        (!self.tasks.is_empty()).then_some(self.next_learn)
    }

    /// Asks what is committed, when it is time to.
    pub(super) fn learn(&mut self, now: Instant) {
        if self.tasks.is_empty() || now < self.next_learn {
            return;
        }
        self.next_learn = now + LEARN_EVERY;
        let tasks: Vec<_> = self.tasks.keys().copied().collect();
        let cuts = match self.cuts(&tasks) {
            Ok(cuts) => cuts,
            Err(error) => {
                debug!("what is committed is not known at the moment: {error}");
                return;
            }
        };
        for (task, cut) in tasks.into_iter().zip(cuts) {
            if let Err(error) = self.learn_of(task, &cut.unwrap_or_default(), now) {
                self.fail(task, &error, now);
            }
        }
        self.publish_progress();
    }

    fn cuts(&self, tasks: &[TaskId]) -> Result<Vec<Option<Cut>>> {
        let inputs: Vec<_> = tasks
            .iter()
            .map(|task| self.blueprints.inputs_of(*task))
            .collect();
        let mut answer = self
            .admin
            .committed_offsets(&self.group, &inputs.concat(), ANSWER)?
            .into_iter();
        let cuts = inputs.iter().map(|inputs| {
            let found: Vec<_> = answer.by_ref().take(inputs.len()).flatten().collect();
            Cut::newest(found.iter().map(|offset| offset.metadata.as_str()))
        });
        Ok(cuts.collect())
    }

    fn learn_of(&mut self, task: TaskId, cut: &Cut, now: Instant) -> Result<()> {
        let Some(followed) = self.tasks.get_mut(&task) else {
            return Ok(());
        };
        let slot = Arc::clone(&followed.slot);
        let mut place = slot.store();
        let Some(kept) = &mut *place else {
            return Ok(());
        };
        let mut shards: Vec<_> = self
            .followers
            .iter_mut()
            .filter(|follower| follower.task == task)
            .collect();
        // By what was known before: of what has just been committed nothing can be here yet. So what is here is as old
        // as the answer before, which of a worker that stood still says nothing any more.
        let answered_at = followed.answered_at.replace(now);
        let as_of =
            answered_at.filter(|at| now < *at + BEHIND && shards.iter().all(|shard| shard.lag() == Some(0)));
        let up_to_date = as_of.is_some();
        if let Some(as_of) = as_of {
            kept.good_until = Some(as_of + self.standbys.facts(task).keeps);
            followed.up_to_date_at = now;
        }
        let fresh = up_to_date || (followed.fresh && now < followed.up_to_date_at + BEHIND);
        if fresh != followed.fresh {
            followed.fresh = fresh;
            kept.store.restoring(!fresh)?;
        }
        if kept.good_until.is_some_and(|until| until < now) {
            warn!(
                task = self.standbys.facts(task).name,
                "the standby has been out of date for too long to be of use, and is filled again"
            );
            kept.good_until = None;
            for shard in &mut shards {
                shard.begin_anew(kept.store.as_ref())?;
            }
        }
        for shard in shards {
            if let Some(cut) = cut.changelogs.get(shard.name) {
                shard.learn(*cut, kept.store.as_ref())?;
            }
        }
        if up_to_date && now >= followed.touched + TOUCH_EVERY {
            followed.touched = now;
            kept.store.apply(&Batch::default())?;
        }
        Ok(())
    }
}

/// Puts records where they belong.
struct Changelogs<'a> {
    followers: &'a mut [Follower],
    last: &'a mut LastFound,
}

impl Changelogs<'_> {
    fn find(&mut self, topic: &str, partition: i32) -> Option<&mut Follower> {
        let fits = |follower: &Follower| follower.at.partition == partition && *follower.at.topic == *topic;
        let place = self.last.find(self.followers, fits)?;
        self.followers.get_mut(place)
    }
}

impl RecordSink for Changelogs<'_> {
    fn record(&mut self, record: RecordRef<'_>) {
        if let Some(follower) = self.find(record.topic, record.partition) {
            follower.record(record);
        }
    }

    fn wants_headers(&self) -> bool {
        false
    }

    fn end_of_partition(&mut self, topic: &str, partition: i32, offset: i64) {
        if let Some(follower) = self.find(topic, partition) {
            follower.end(offset);
        }
    }

    fn out_of_range(&mut self, topic: &str, partition: i32) -> bool {
        if let Some(follower) = self.find(topic, partition)
            && follower.reading == Reading::Yes
        {
            follower.reading = Reading::OutOfRange;
        }
        true
    }
}
