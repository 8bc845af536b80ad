//! One running instance of an agent on one task.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::context::TaskContext;
use super::run::{AgentFuture, AgentStart};
use super::{AgentDef, extract::Incoming};
use crate::record::codec::CodecError;

/// Where an agent stands with the record it is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// Between two records: it asked for the next one, or has not begun.
    Idle,
    /// There is one to take.
    Offered,
    /// It works on it.
    Taken,
    /// The offered one did not decode.
    Undecodable,
    /// There will be no more.
    Closed,
}

/// The mailbox between a task and one instance of an agent.
#[derive(Debug)]
pub(crate) struct Inbox {
    slot: Cell<Slot>,
    undecodable: RefCell<Option<CodecError>>,
    task: Rc<TaskContext>,
}

impl Inbox {
    /// The task that feeds it.
    pub(crate) fn task(&self) -> &TaskContext {
        &self.task
    }

    /// The next record, decoded. Asking for it says that the one before is done.
    pub(crate) fn poll_next<T>(
        &self,
        extract: impl FnOnce(&Incoming<'_>) -> Result<T, CodecError>,
    ) -> Poll<Option<T>> {
        match self.slot.get() {
            Slot::Closed => Poll::Ready(None),
            Slot::Idle | Slot::Undecodable => Poll::Pending,
            Slot::Taken => {
                self.slot.set(Slot::Idle);
                Poll::Pending
            }
            Slot::Offered => match self.task.with_open(|record| extract(&Incoming { record })) {
                Some(Ok(value)) => {
                    self.slot.set(Slot::Taken);
                    Poll::Ready(Some(value))
                }
                Some(Err(error)) => {
                    self.undecodable.replace(Some(error));
                    self.slot.set(Slot::Undecodable);
                    Poll::Pending
                }
                None => Poll::Pending,
            },
        }
    }
}

/// Why a record was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its bytes are not what the agent takes; trying again is of no use.
    Undecodable(String),
    /// The agent returned an error.
    Error(String),
    /// The agent panicked.
    Panic(String),
    /// The agent ended while its partition is held.
    Ended,
}

impl Failure {
    /// Whether the same record could succeed another time.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(self, Self::Undecodable(_))
    }

    /// What happened, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Undecodable(_) => "decode",
            Self::Error(_) | Self::Ended => "error",
            Self::Panic(_) => "panic",
        }
    }

    /// What was said about it.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Undecodable(message) | Self::Error(message) | Self::Panic(message) => message.clone(),
            Self::Ended => self.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable(error) => write!(f, "the record does not decode: {error}"),
            Self::Error(error) => write!(f, "the agent failed: {error}"),
            Self::Panic(message) => write!(f, "the agent panicked: {message}"),
            Self::Ended => f.write_str("the agent returned although its partition is still assigned"),
        }
    }
}

/// What polling an instance came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// It is done with the record it was offered.
    Done,
    /// It works on it and waits for something.
    Waiting,
    /// It failed on it.
    Failed(Failure),
}

/// One running instance of an agent.
pub(crate) struct Instance {
    pub def: &'static AgentDef,
    inbox: Rc<Inbox>,
    /// `None` after it failed, until the next record is offered.
    future: Option<AgentFuture>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({}, {:?})", self.def.name, self.inbox.slot.get())
    }
}

impl Instance {
    pub(crate) fn new(def: &'static AgentDef, task: &Rc<TaskContext>) -> Self {
        Self {
            def,
            inbox: Rc::new(Inbox {
                slot: Cell::new(Slot::Idle),
                undecodable: RefCell::new(None),
                task: Rc::clone(task),
            }),
            future: None,
        }
    }

    /// Offers the task's open record.
    pub(crate) fn offer(&self) {
        self.inbox.slot.set(Slot::Offered);
    }

    /// Drops the running function, with whatever it holds of the open record.
    pub(crate) fn abort(&mut self) {
        self.drop_future();
        self.inbox.slot.set(Slot::Idle);
    }

    /// Lets a stream-form function end: its stream is over. Returns whether it has ended by itself.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) -> bool {
        self.inbox.slot.set(Slot::Closed);
        let Some(future) = &mut self.future else {
            return true;
        };
        let ended = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx).is_ready())).unwrap_or(true);
        self.drop_future();
        ended
    }

    /// What the function holds may panic when it is dropped; it is over either way.
    fn drop_future(&mut self) {
        let future = self.future.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }

    /// Lets the agent work on the record it was offered. The task must be the current one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let inbox = &self.inbox;
        let def = self.def;
        let future = self.future.get_or_insert_with(|| {
            (def.start)(AgentStart {
                inbox: Rc::clone(inbox),
            })
        });
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let failure = match polled {
            Ok(Poll::Pending) => match self.inbox.slot.get() {
                Slot::Idle | Slot::Closed => return self.finish(),
                Slot::Offered | Slot::Taken => return Polled::Waiting,
                Slot::Undecodable => {
                    // The function never saw the record: it goes on with the next one.
                    self.inbox.slot.set(Slot::Idle);
                    let error = self.inbox.undecodable.take();
                    let message = error.map(|error| error.to_string()).unwrap_or_default();
                    return Polled::Failed(Failure::Undecodable(message));
                }
            },
            Ok(Poll::Ready(Ok(()))) => Failure::Ended,
            Ok(Poll::Ready(Err(error))) => Failure::Error(chain(error.as_ref())),
            Err(panic) => Failure::Panic(panic_message(panic.as_ref())),
        };
        self.abort();
        Polled::Failed(failure)
    }

    /// Done, unless a call that could not say so itself has failed.
    fn finish(&mut self) -> Polled {
        match self.inbox.task.failure.take() {
            None => Polled::Done,
            Some(reason) => {
                self.abort();
                Polled::Failed(Failure::Error(reason))
            }
        }
    }
}

/// The error and what caused it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_message = cause.to_string();
        if !message.contains(&cause_message) {
            message = format!("{message}: {cause_message}");
        }
        source = cause.source();
    }
    message
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned())
}
