//! The task that is being polled, as tables and sends find it.
//!
//! A thread owns its tasks and polls one at a time; while it does, that task is the thread's current one.
//! Nothing here is shared between threads.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::input::InputBuffer;
use super::outbox::Outbox;
use crate::record::RecordRef;
use crate::record::topic::TopicDef;
use crate::table::{AnyShard, TableDef};

/// What the agents of one task share.
#[derive(Debug)]
pub(crate) struct TaskContext {
    /// `<sub-topology>/<partition>`.
    pub name: String,
    /// The task's partitions, one a topic.
    pub inputs: Vec<RefCell<InputBuffer>>,
    /// The task's shards, one a table.
    pub shards: RefCell<Vec<Rc<dyn AnyShard>>>,
    pub outbox: RefCell<Outbox>,
    /// The names of the program's topics on the broker.
    pub names: Arc<TopicNames>,
    /// The input whose head is the open record.
    pub open: Cell<Option<usize>>,
    /// Why the open record cannot be done, noted by a call that cannot return it.
    pub failure: RefCell<Option<String>>,
    /// The store could not be read: the record is not to blame, and no other one would fare better.
    pub store_failure: RefCell<Option<String>>,
    /// The size of the largest record the producer takes.
    pub max_record_bytes: usize,
    /// Not a task: an agent called as a plain function, in a test.
    pub detached: bool,
}

impl TaskContext {
    /// The open record.
    pub(crate) fn with_open<R>(&self, read: impl FnOnce(RecordRef<'_>) -> R) -> Option<R> {
        let input = self.inputs.get(self.open.get()?)?.borrow();
        input.head().map(read)
    }

    /// The event time of what is being written now.
    pub(crate) fn timestamp(&self) -> Option<i64> {
        // Records of old producers have none, which clients show as −1.
        self.with_open(|record| record.timestamp)
            .filter(|timestamp| *timestamp >= 0)
    }

    /// Makes the open record fail when its agent is done with it.
    pub(crate) fn fail(&self, reason: String) {
        self.failure.borrow_mut().get_or_insert(reason);
    }

    /// Whether a record of this size can be sent; if not, the open record fails.
    pub(crate) fn takes_record_of(&self, topic: &str, bytes: usize) -> bool {
        let takes = bytes <= self.max_record_bytes;
        if !takes {
            self.fail(format!(
                "a record of {bytes} bytes for topic `{topic}` is larger than the {} bytes that producers send: \
                 send less, or raise `message.max.bytes` here (`--set message.max.bytes=…`) and \
                 `max.message.bytes` of the topic",
                self.max_record_bytes
            ));
        }
        takes
    }

    /// The shard of a table, if the task has one.
    pub(crate) fn shard(&self, table: &'static TableDef) -> Option<Rc<dyn AnyShard>> {
        self.shards
            .borrow()
            .iter()
            .find(|shard| std::ptr::eq(shard.def(), table))
            .cloned()
    }
}

/// Declared topics, their names on the broker and how many partitions they have there.
#[derive(Debug)]
pub(crate) struct TopicNames {
    app: Arc<str>,
    names: Vec<(&'static str, Arc<str>, u32)>,
}

impl TopicNames {
    /// Those of the program `app`. `names`: declared name, name on the broker, partitions.
    pub(crate) fn new(app: Arc<str>, names: Vec<(&'static str, Arc<str>, u32)>) -> Self {
        Self { app, names }
    }

    /// The program's id.
    pub(crate) fn app(&self) -> &str {
        &self.app
    }

    /// The name on the broker; programs have few topics, so a walk is quicker than a hash.
    pub(crate) fn get(&self, def: &TopicDef) -> Option<&Arc<str>> {
        self.entry(def).map(|(_, name, _)| name)
    }

    /// Whether the topic has this partition; unknown topics have all.
    pub(crate) fn has_partition(&self, def: &TopicDef, partition: u32) -> bool {
        self.entry(def).is_none_or(|(_, _, count)| partition < *count)
    }

    fn entry(&self, def: &TopicDef) -> Option<&(&'static str, Arc<str>, u32)> {
        self.names
            .iter()
            .find(|(declared, ..)| std::ptr::eq(*declared, def.name) || *declared == def.name)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<TaskContext>>> = const { RefCell::new(None) };
}

/// Makes a task the current one until dropped.
pub(crate) struct Entered {
    before: Option<Rc<TaskContext>>,
}

impl Entered {
    pub(crate) fn new(task: &Rc<TaskContext>) -> Self {
        Self {
            before: CURRENT.replace(Some(Rc::clone(task))),
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// Calls `read` with the current task, if there is one.
pub(crate) fn with_current<R>(read: impl FnOnce(&TaskContext) -> R) -> Option<R> {
    CURRENT.with_borrow(|current| current.as_deref().map(read))
}
