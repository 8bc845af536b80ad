//! The stores of this worker's standbys, and which tasks its threads run: what both sides agree on.
//!
//! A store is in one hand at a time. A thread that takes a task on *takes* the store of its standby, if there is one; no
//! answer of a broker is ever waited for. When the task goes, its store is *given back* and followed on if this worker is
//! chosen. A task that a thread runs is never stood by for here, so no store is opened twice.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{info, warn};

use crate::clock;
use crate::cluster::plan::TaskId;
use crate::error::Result;
use crate::store::Store;

/// The standbys of a worker, as its threads see them.
#[derive(Clone)]
pub(crate) struct Standbys {
    shared: Arc<Shared>,
}

struct Shared {
    /// Every task with tables.
    tasks: BTreeMap<TaskId, TaskFacts>,
    held: Mutex<BTreeMap<TaskId, Holding>>,
    taken: AtomicU64,
    /// Notified when `held` changes.
    changed: Arc<Notify>,
}

/// What has to be known of a task to judge its store.
#[derive(Debug, Clone)]
pub(super) struct TaskFacts {
    /// `<sub-topology>/<partition>`.
    pub name: String,
    /// How many shards its store has.
    pub tables: usize,
    /// A store that has not been up to date for longer may hold keys whose tombstones are gone from the changelog.
    pub keeps: Duration,
}

#[derive(Debug, Clone)]
enum Holding {
    /// A thread of this worker runs it, the one that took it last.
    Active(Taken),
    Standby(Arc<Slot>),
}

/// One taking of a task by a thread. A thread may learn late that its task went to another thread of the worker: what it
/// gives back then is no longer the task's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken(u64);

/// Where the store of a standby lies, unless a thread has taken it.
#[derive(Debug)]
pub(super) struct Slot {
    store: Mutex<Option<Kept>>,
    progress: Mutex<Progress>,
}

/// How far a standby has come, all its changelogs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub applied: i64,
    /// `None` while it is not known what is committed.
    pub lag: Option<i64>,
    pub held_back: usize,
}

/// The store of a standby.
#[derive(Debug)]
pub(super) struct Kept {
    pub store: Box<dyn Store>,
    /// Until when it is good for if it does not come up to date before; a store that is filled from nothing has no
    /// such time.
    pub good_until: Option<Instant>,
}

/// A task that a worker stands by for, and how far it has come: offsets of its tables' changelogs, summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StandbyTask {
    /// `<sub-topology>/<partition>`.
    pub name: String,
    /// How many offsets are in its store.
    pub applied: u64,
    /// How many are committed, as far as is known, and not in its store yet; `None` when nothing is known.
    pub lag: Option<u64>,
    /// How many records were read and wait until they are committed.
    pub held_back: u64,
}

impl fmt::Debug for Standbys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Standbys").field(&*self.held()).finish()
    }
}

impl Standbys {
    pub(super) fn new(tasks: BTreeMap<TaskId, TaskFacts>, changed: Arc<Notify>) -> Self {
        Self {
            shared: Arc::new(Shared {
                tasks,
                held: Mutex::default(),
                taken: AtomicU64::new(0),
                changed,
            }),
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<TaskId, Holding>> {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn facts(&self, task: TaskId) -> &TaskFacts {
        &self.shared.tasks[&task]
    }

    /// Every task with tables.
    pub(super) fn tasks(&self) -> &BTreeMap<TaskId, TaskFacts> {
        &self.shared.tasks
    }

    fn number(&self, sub_topology: &str, partition: i32) -> Option<TaskId> {
        let name = format!("{sub_topology}/{partition}");
        let mut tasks = self.shared.tasks.iter();
        tasks.find(|(_, facts)| facts.name == name).map(|(task, _)| *task)
    }

    /// A thread takes this task on: from now on nobody stands by for it here. Gives the store of the standby there was.
    ///
    /// Waits for a store that is being opened or written to at this moment, and for nothing else.
    pub(crate) fn take(&self, sub_topology: &str, partition: i32) -> (Taken, Option<Box<dyn Store>>) {
        let taken = Taken(self.shared.taken.fetch_add(1, Ordering::Relaxed));
        let task = self.number(sub_topology, partition);
        let store = task.and_then(|task| self.store_for(task, taken));
        (taken, store)
    }

    fn store_for(&self, task: TaskId, taken: Taken) -> Option<Box<dyn Store>> {
        let before = self.held().insert(task, Holding::Active(taken));
        self.shared.changed.notify_one();
        let Some(Holding::Standby(slot)) = before else {
            return None;
        };
        let lag = slot.progress().lag;
        let kept = slot.store().take()?;
        let facts = self.facts(task);
        if kept.good_until.is_some_and(|until| until < clock::now()) {
            warn!(
                task = facts.name,
                "the standby has been out of date for too long to be of use: the tables are restored from their beginning"
            );
            for table in 0..facts.tables {
                if let Err(error) = kept.store.clear(table) {
                    warn!(task = facts.name, "the store of the standby is not used: {error}");
                    return None;
                }
            }
        }
        info!(task = facts.name, lag, "the standby takes over");
        Some(kept.store)
    }

    /// The task is no longer here. Its store, if it is as it was after the last commit, becomes that of a standby
    /// until it is known whether this worker is chosen. When another thread has taken the task meanwhile, it is closed.
    pub(crate) fn give_back(
        &self,
        sub_topology: &str,
        partition: i32,
        taken: Taken,
        store: Option<Box<dyn Store>>,
    ) {
        let Some(task) = self.number(sub_topology, partition) else {
            return;
        };
        let mut held = self.held();
        if !matches!(held.get(&task), Some(Holding::Active(by)) if *by == taken) {
            return;
        }
        match store {
            Some(store) => {
                let good_until = Some(clock::now() + self.facts(task).keeps);
                let slot = Slot::new(Some(Kept { store, good_until }));
                held.insert(task, Holding::Standby(slot));
            }
            None => drop(held.remove(&task)),
        }
        drop(held);
        self.shared.changed.notify_one();
    }

    /// Makes a place for the standby of a task and opens its store there. `None` when there is one, or a thread runs
    /// the task.
    pub(super) fn open(
        &self,
        task: TaskId,
        open: impl FnOnce() -> Result<Box<dyn Store>>,
    ) -> Result<Option<Arc<Slot>>> {
        let slot = Slot::new(None);
        // Locked before others can see it: a thread that takes the task meanwhile waits for the store.
        let mut place = slot.store();
        {
            let mut held = self.held();
            if held.contains_key(&task) {
                return Ok(None);
            }
            held.insert(task, Holding::Standby(Arc::clone(&slot)));
        }
        let opened = open();
        let facts = self.facts(task);
        match opened {
            Ok(store) => {
                let empty = (0..facts.tables).all(|table| store.changelog_offset(table).is_none());
                let good_until = (!empty).then(|| clock::now() + facts.keeps);
                *place = Some(Kept { store, good_until });
                drop(place);
                Ok(Some(slot))
            }
            Err(error) => {
                drop(place);
                self.remove(task, &slot);
                Err(error)
            }
        }
    }

    /// Closes the store of a standby, unless a thread has taken it.
    pub(super) fn close(&self, task: TaskId, slot: &Arc<Slot>) {
        // Closed before its place is free, or it could be opened a second time.
        let mut place = slot.store();
        drop(place.take());
        drop(place);
        self.remove(task, slot);
    }

    fn remove(&self, task: TaskId, slot: &Arc<Slot>) {
        let mut held = self.held();
        if let Some(Holding::Standby(found)) = held.get(&task)
            && Arc::ptr_eq(found, slot)
        {
            held.remove(&task);
        }
    }

    /// The tasks that threads of this worker run.
    pub(super) fn active(&self) -> Vec<TaskId> {
        let held = self.held();
        let active = held
            .iter()
            .filter(|(_, holding)| matches!(holding, Holding::Active(_)));
        active.map(|(task, _)| *task).collect()
    }

    /// The standbys.
    pub(super) fn slots(&self) -> BTreeMap<TaskId, Arc<Slot>> {
        let held = self.held();
        let slots = held.iter().filter_map(|(task, holding)| match holding {
            Holding::Active(_) => None,
            Holding::Standby(slot) => Some((*task, Arc::clone(slot))),
        });
        slots.collect()
    }

    /// What this worker stands by for, in the order of the tasks.
    pub(crate) fn status(&self) -> Vec<StandbyTask> {
        let slots = self.slots();
        let status = slots.iter().map(|(task, slot)| {
            let progress = slot.progress();
            StandbyTask {
                name: self.facts(*task).name.clone(),
                applied: progress.applied.unsigned_abs(),
                lag: progress.lag.map(i64::unsigned_abs),
                held_back: progress.held_back as u64,
            }
        });
        status.collect()
    }
}

impl Slot {
    pub(super) fn new(kept: Option<Kept>) -> Arc<Self> {
        Arc::new(Self {
            store: Mutex::new(kept),
            progress: Mutex::default(),
        })
    }

    /// The store, if no thread has taken it.
    pub(super) fn store(&self) -> MutexGuard<'_, Option<Kept>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_progress(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::store::{Batch, MemoryStore};

    const TASK: TaskId = TaskId {
        sub_topology: 0,
        partition: 1,
    };

    fn standbys(keeps: Duration) -> Standbys {
        let facts = TaskFacts {
            name: "votes/1".to_owned(),
            tables: 1,
            keeps,
        };
        Standbys::new(BTreeMap::from([(TASK, facts)]), Arc::default())
    }

    /// A store that stands at this offset.
    fn store(offset: i64) -> Box<dyn Store> {
        let store = MemoryStore::new(1);
        let mut batch = Batch::default();
        batch.set_changelog_offset(0, offset);
        store.apply(&batch).expect("applies");
        Box::new(store)
    }

    fn offset(store: Option<Box<dyn Store>>) -> Option<i64> {
        store.expect("a store").changelog_offset(0)
    }

    #[test]
    fn a_store_goes_from_the_standby_to_the_thread_and_back() {
        let standbys = standbys(Duration::from_secs(60));
        let slot = standbys
            .open(TASK, || Ok(store(7)))
            .expect("opens")
            .expect("it is free");
        assert!(
            standbys
                .open(TASK, || panic!("open already"))
                .expect("no error")
                .is_none()
        );
        let (taken, store_of_standby) = standbys.take("votes", 1);
        assert_eq!(offset(store_of_standby), Some(7));
        assert!(slot.store().is_none());
        assert_eq!((standbys.active(), standbys.slots().len()), (vec![TASK], 0));
        assert!(
            standbys
                .open(TASK, || panic!("it runs here"))
                .expect("no error")
                .is_none()
        );
        standbys.close(TASK, &slot);
        assert_eq!(
            standbys.active(),
            [TASK],
            "an old place says nothing about the task"
        );
        standbys.give_back("votes", 1, taken, Some(store(9)));
        assert_eq!((standbys.active(), standbys.slots().len()), (Vec::new(), 1));
        let (taken, given_back) = standbys.take("votes", 1);
        assert_eq!(offset(given_back), Some(9));
        standbys.give_back("votes", 1, taken, None);
        assert_eq!((standbys.active(), standbys.slots().len()), (Vec::new(), 0));
        assert!(standbys.take("votes", 1).1.is_none());
        assert!(standbys.take("other", 1).1.is_none(), "it has no tables");
    }

    #[test]
    fn a_thread_that_hears_late_of_its_loss_takes_nothing_from_the_one_that_runs_the_task_now() {
        let standbys = standbys(Duration::from_secs(60));
        let (late, _) = standbys.take("votes", 1);
        let (now, none) = standbys.take("votes", 1);
        assert!(none.is_none());
        standbys.give_back("votes", 1, late, Some(store(7)));
        assert_eq!((standbys.active(), standbys.slots().len()), (vec![TASK], 0));
        standbys.give_back("votes", 1, late, None);
        assert_eq!(standbys.active(), [TASK]);
        standbys.give_back("votes", 1, now, Some(store(9)));
        assert_eq!(offset(standbys.take("votes", 1).1), Some(9));
    }

    #[test]
    fn a_thread_waits_for_a_store_that_is_being_opened() {
        let standbys = standbys(Duration::from_secs(60));
        let taker = standbys.clone();
        let (opening, opened) = std::sync::mpsc::channel();
        let taking = std::thread::spawn(move || {
            opened.recv().expect("it is being opened");
            offset(taker.take("votes", 1).1)
        });
        let open = || {
            opening.send(()).expect("it is waited for");
            while standbys.active().is_empty() {
                std::thread::yield_now();
            }
            Ok(store(5))
        };
        standbys.open(TASK, open).expect("opens");
        assert_eq!(taking.join().expect("no panic"), Some(5));
        assert_eq!(standbys.active(), [TASK]);
    }

    #[test]
    fn a_store_that_does_not_open_leaves_its_place_free() {
        let standbys = standbys(Duration::from_secs(60));
        let failed = standbys.open(TASK, || Err(Error::state("locked")));
        assert!(failed.is_err());
        assert!(standbys.open(TASK, || Ok(store(1))).expect("opens").is_some());
    }

    #[test]
    fn a_store_that_was_out_of_date_for_too_long_is_emptied() {
        let standbys = standbys(Duration::ZERO);
        let (taken, _) = standbys.take("votes", 1);
        standbys.give_back("votes", 1, taken, Some(store(9)));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(offset(standbys.take("votes", 1).1), None);
    }
}
