//! Agents: the functions that process records, what is declared about them, and how one instance runs.
//!
//! An instance asks its [inbox](instance::Inbox) for records and is polled by its task; what it writes
//! waits in the task's [outbox](outbox::Outbox) and in the shards of its tables until it is done with the
//! record. Not here: which record comes next, what follows a failure, commits (all in `cluster`).

pub(crate) mod context;
pub(crate) mod dead_letter;
pub(crate) mod def;
pub(crate) mod detached;
pub(crate) mod extract;
pub(crate) mod input;
pub(crate) mod instance;
pub(crate) mod outbox;
pub(crate) mod returned;
pub(crate) mod run;

pub use def::{AgentDef, Form, OnError, TopicUse, Verdict};
pub use extract::{Event, Key, Timestamp};
