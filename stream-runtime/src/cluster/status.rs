//! What a thread tells the rest of the process about itself.

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
}

impl ThreadStatus {
    pub(crate) fn set(&self, tasks: Vec<TaskStatus>) {
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
    }

    pub(crate) fn get(&self) -> Vec<TaskStatus> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
