//! What a thread tells the rest of the process about itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::pulse::{FailureCounts, Pulse};
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

/// The tasks of one thread; written by the thread when they change.
#[derive(Debug, Clone, Default)]
pub(crate) struct ThreadStatus {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    tasks: Mutex<Vec<TaskStatus>>,
    /// How agents fared on tasks that are gone.
    gone: Mutex<Failures>,
    turns: AtomicU64,
    committing: AtomicBool,
    ended: AtomicBool,
}

impl ThreadStatus {
    pub(crate) fn set(&self, tasks: Vec<TaskStatus>) {
        let mut known = self.tasks();
        let stays = |pulse: &Arc<Pulse>| tasks.iter().any(|task| Arc::ptr_eq(&task.pulse, pulse));
        let gone = known.iter().filter(|task| !stays(&task.pulse));
        let mut counted = self.shared.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.for_each(|task| add(&mut counted, &task.pulse));
        *known = tasks;
    }

    pub(crate) fn get(&self) -> Vec<TaskStatus> {
        self.tasks().clone()
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<TaskStatus>> {
        self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why tasks have stopped.
    pub(crate) fn stopped(&self) -> Vec<String> {
        self.get()
            .into_iter()
            .filter_map(|task| match task.stage {
                Stage::Stopped(reason) => Some(reason),
                Stage::Restoring | Stage::Running => None,
            })
            .collect()
    }

    /// The thread has made a turn.
    pub(super) fn beat(&self, committing: bool) {
        self.shared.turns.fetch_add(1, Ordering::Relaxed);
        self.shared.committing.store(committing, Ordering::Relaxed);
    }

    /// Marks the thread as ended when dropped.
    pub(super) fn until_its_end(&self) -> UntilItsEnd {
        UntilItsEnd(self.clone())
    }

    /// How it looks now; `None` when it has ended. Tasks that restore or have stopped are nobody's concern here.
    pub(crate) fn look(&self, name: &str) -> Option<ThreadLook> {
        if self.shared.ended.load(Ordering::Acquire) {
            return None;
        }
        let tasks = self.get();
        let running = tasks.into_iter().filter(|task| task.stage == Stage::Running);
        Some(ThreadLook {
            name: name.to_owned(),
            turns: self.shared.turns.load(Ordering::Relaxed),
            committing: self.shared.committing.load(Ordering::Relaxed),
            tasks: running.map(|task| task.pulse.look(task.name)).collect(),
        })
    }

    /// How agents fared on this thread since it started.
    pub(crate) fn failures(&self) -> Failures {
        // Not to count a task twice that goes at this moment.
        let tasks = self.tasks();
        let mut all = self
            .shared
            .gone
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        tasks.iter().for_each(|task| add(&mut all, &task.pulse));
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
        status.set(vec![first.clone(), second.clone()]);
        first.pulse.counts(0).skipped.add();
        second.pulse.counts(0).skipped.add();
        assert_eq!(status.failures()["ship"].skipped, 2);
        status.set(vec![second.clone()]);
        second.pulse.counts(0).skipped.add();
        assert_eq!(status.failures()["ship"].skipped, 3);
        status.set(Vec::new());
        assert_eq!(status.failures()["ship"].skipped, 3);
    }
}
