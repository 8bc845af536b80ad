//! Wakes a thread for one of its tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use tokio::sync::Notify;

/// What an agent's waker does: it marks the task and rouses the thread. A thread polls an agent that waits
/// only when its task is marked.
#[derive(Debug)]
pub(crate) struct TaskWaker {
    woken: AtomicBool,
    thread: Arc<Notify>,
}

impl TaskWaker {
    pub(crate) fn new(thread: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicBool::new(false),
            thread,
        })
    }

    /// Whether the task was woken since the last call.
    pub(crate) fn take(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.notify_one();
    }
}
