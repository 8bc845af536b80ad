//! What a thread tells the rest of the process about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use super::task::Stage;

/// One task as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskStatus {
    /// `<sub-topology>/<partition>`.
    pub name: String,
    pub stage: Stage,
}

/// The tasks of one thread; written by the thread when they change.
#[derive(Debug, Clone, Default)]
pub(crate) struct ThreadStatus {
    tasks: Arc<Mutex<Vec<TaskStatus>>>,
    /// Records of changelogs that were read to restore tables.
    restored: Arc<AtomicU64>,
}

impl ThreadStatus {
    pub(crate) fn set(&self, tasks: Vec<TaskStatus>) {
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
    }

    pub(crate) fn get(&self) -> Vec<TaskStatus> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
}
