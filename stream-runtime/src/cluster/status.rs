//! What a thread tells the rest of the process about itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::progress::RestoreProgress;
use super::pulse::{Committing, FailureCounts, Pulse};
pub(crate) use super::task::Stage;
use super::watchdog::ThreadLook;

/// One task as others see it.
#[derive(Debug, Clone)]
pub(crate) struct TaskStatus {
    /// `<sub-topology>/<partition>`.
    pub name: String,
    pub stage: Stage,
    /// What it shows between two changes of its status.
    pub pulse: Arc<Pulse>,
}

/// How agents fared, by their names.
pub(crate) type Failures = BTreeMap<&'static str, FailureCounts>;

/// The tasks of one thread and the shards they wait for; written by the thread when they change, and a few times a second
/// while it restores.
#[derive(Debug, Clone, Default)]
pub(crate) struct ThreadStatus {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    said: Mutex<Said>,
    /// Records of changelogs that were read to restore tables.
    restored: AtomicU64,
    /// How agents fared on tasks that are gone.
    gone: Mutex<Failures>,
    turns: AtomicU64,
    commits: AtomicU64,
    committing: AtomicU8,
    ended: AtomicBool,
}

/// Said at once, so that whoever sees no shard of a task any more sees what became of the task.
#[derive(Debug, Default)]
struct Said {
    tasks: Vec<TaskStatus>,
    restoring: Vec<RestoreProgress>,
}

impl ThreadStatus {
    pub(crate) fn set(&self, tasks: Vec<TaskStatus>, restoring: Vec<RestoreProgress>) {
        let mut said = self.said();
        let stays = |pulse: &Arc<Pulse>| tasks.iter().any(|task| Arc::ptr_eq(&task.pulse, pulse));
        let gone = said.tasks.iter().filter(|task| !stays(&task.pulse));
        let mut counted = self.shared.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.for_each(|task| add(&mut counted, &task.pulse));
        *said = Said { tasks, restoring };
    }

    pub(crate) fn get(&self) -> Vec<TaskStatus> {
        self.said().tasks.clone()
    }

    pub(crate) fn restoring(&self) -> Vec<RestoreProgress> {
        self.said().restoring.clone()
    }

    pub(crate) fn add_restored(&self, records: usize) {
        self.shared.restored.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// How many records of changelogs were read to restore tables.
    pub(crate) fn restored(&self) -> u64 {
        self.shared.restored.load(Ordering::Relaxed)
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.shared.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why tasks have stopped.
    pub(crate) fn stopped(&self) -> Vec<String> {
        self.get()
            .into_iter()
            .filter_map(|task| match task.stage {
                Stage::Stopped(reason) => Some(reason),
                Stage::Asking | Stage::Restoring | Stage::Running => None,
            })
            .collect()
    }

    /// The thread has made a turn; `commits` have ended so far.
    pub(super) fn beat(&self, committing: Committing, commits: u64) {
        self.shared.turns.fetch_add(1, Ordering::Relaxed);
        self.shared.commits.store(commits, Ordering::Relaxed);
        self.shared.committing.store(committing as u8, Ordering::Relaxed);
    }

    fn committing(&self) -> Committing {
        Committing::from_u8(self.shared.committing.load(Ordering::Relaxed))
    }

    /// Whether a commit was under way at the end of the last turn.
    #[cfg(feature = "testing")]
    pub(crate) fn is_committing(&self) -> bool {
        self.committing() != Committing::Nothing
    }

    /// Marks the thread as ended when dropped.
    pub(super) fn until_its_end(&self) -> UntilItsEnd {
        UntilItsEnd(self.clone())
    }

    /// Whether the thread does nothing any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// How it looks now; `None` when it has ended. Tasks that restore or have stopped are nobody's concern here.
    pub(crate) fn look(&self, name: &str) -> Option<ThreadLook> {
        if self.has_ended() {
            return None;
        }
        let tasks = self.get();
        let running = tasks.into_iter().filter(|task| task.stage == Stage::Running);
        Some(ThreadLook {
            name: name.to_owned(),
            turns: self.shared.turns.load(Ordering::Relaxed),
            commits: self.shared.commits.load(Ordering::Relaxed),
            committing: self.committing(),
            tasks: running.map(|task| task.pulse.look(task.name)).collect(),
        })
    }

    /// How agents fared on this thread since it started.
    pub(crate) fn failures(&self) -> Failures {
        // Not to count a task twice that goes at this moment.
        let said = self.said();
        let mut all = self
            .shared
            .gone
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        said.tasks.iter().for_each(|task| add(&mut all, &task.pulse));
        all
    }
}

/// Marks a thread as ended when dropped.
#[derive(Debug)]
pub(super) struct UntilItsEnd(ThreadStatus);

impl Drop for UntilItsEnd {
    fn drop(&mut self) {
        self.0.shared.ended.store(true, Ordering::Release);
    }
}

fn add(all: &mut Failures, pulse: &Pulse) {
    for (agent, counts) in pulse.failures() {
        *all.entry(agent).or_default() += counts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_outlive_their_tasks() {
        let status = ThreadStatus::default();
        let task = |name: &str| TaskStatus {
            name: name.to_owned(),
            stage: Stage::Running,
            pulse: Pulse::new(0, &[], ["ship"].into_iter()),
        };
        let (first, second) = (task("a/0"), task("a/1"));
        status.set(vec![first.clone(), second.clone()], Vec::new());
        first.pulse.counts(0).skipped.add();
        second.pulse.counts(0).skipped.add();
        assert_eq!(status.failures()["ship"].skipped, 2);
        status.set(vec![second.clone()], Vec::new());
        second.pulse.counts(0).skipped.add();
        assert_eq!(status.failures()["ship"].skipped, 3);
        status.set(Vec::new(), Vec::new());
        assert_eq!(status.failures()["ship"].skipped, 3);
    }
}
