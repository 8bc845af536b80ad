//! The task of a test: agents that are called as plain functions find their tables and sends here.
//!
//! One a thread, with no partitions, and no program around it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::context::{TaskContext, TopicNames};

thread_local! {
    static DETACHED: Rc<TaskContext> = Rc::new(TaskContext {
        name: "(a test)".to_owned(),
        inputs: Vec::new(),
        shards: RefCell::default(),
        outbox: RefCell::default(),
        names: Arc::new(TopicNames::new("(a test)".into(), Vec::new())),
        open: Cell::new(None),
        failure: RefCell::new(None),
        store_failure: RefCell::new(None),
        max_record_bytes: usize::MAX,
        detached: true,
    });
}

/// This thread's.
pub(crate) fn detached() -> Rc<TaskContext> {
    DETACHED.with(Rc::clone)
}

/// Runs `call` with a context in which agents can be called as functions.
pub(crate) fn with_detached<R>(call: impl FnOnce(&TaskContext) -> R) -> R {
    DETACHED.with(|task| call(task))
}
