//! What a thread tells the rest of the process about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::progress::RestoreProgress;
pub(crate) use super::task::Stage;

/// One task as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskStatus {
    /// `<sub-topology>/<partition>`.
    pub name: String,
    pub stage: Stage,
}

/// The tasks of one thread and the shards they wait for; written by the thread when they change, and a few times a second
/// while it restores.
#[derive(Debug, Clone, Default)]
pub(crate) struct ThreadStatus {
    said: Arc<Mutex<Said>>,
    /// Records of changelogs that were read to restore tables.
    restored: Arc<AtomicU64>,
}

/// Said at once, so that whoever sees no shard of a task any more sees what became of the task.
#[derive(Debug, Default)]
struct Said {
    tasks: Vec<TaskStatus>,
    restoring: Vec<RestoreProgress>,
}

impl ThreadStatus {
    pub(crate) fn set(&self, tasks: Vec<TaskStatus>, restoring: Vec<RestoreProgress>) {
        *self.said() = Said { tasks, restoring };
    }

    pub(crate) fn get(&self) -> Vec<TaskStatus> {
        self.said().tasks.clone()
    }

    pub(crate) fn restoring(&self) -> Vec<RestoreProgress> {
        self.said().restoring.clone()
    }

    pub(crate) fn add_restored(&self, records: usize) {
        self.restored.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// How many records of changelogs were read to restore tables.
    pub(crate) fn restored(&self) -> u64 {
        self.restored.load(Ordering::Relaxed)
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

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
