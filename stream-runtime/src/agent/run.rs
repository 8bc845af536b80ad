//! The two shapes of an agent as one: a future that asks its inbox for records.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use super::extract::Incoming;
use super::instance::Inbox;
use crate::record::codec::{CodecError, Encoded};
use crate::record::topic::Topic;
use crate::stream::Stream;

/// What an agent's function comes to.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A running agent; it ends when its function does.
pub type AgentFuture = Pin<Box<dyn Future<Output = Outcome>>>;

/// What a new instance of an agent is given.
#[derive(Debug)]
pub struct AgentStart {
    pub(crate) inbox: Rc<Inbox>,
}

/// Runs an agent in stream form.
pub fn run_stream<T, F, Fut>(
    start: AgentStart,
    extract: fn(&Incoming<'_>) -> Result<T, CodecError>,
    agent: F,
) -> AgentFuture
where
    T: 'static,
    F: FnOnce(Stream<T>) -> Fut + 'static,
    Fut: Future<Output = Outcome> + 'static,
{
    Box::pin(agent(Stream::new(start.inbox, extract)))
}

/// Runs an agent in record form: `agent` once a record, `emit` with what it returned.
///
/// One allocation for the whole run: the function's future lives inside this one.
pub fn run_record<A, R, F, Fut>(
    start: AgentStart,
    extract: fn(&Incoming<'_>) -> Result<A, CodecError>,
    agent: F,
    emit: fn(R, &mut Emit<'_>) -> Outcome,
) -> AgentFuture
where
    A: 'static,
    R: 'static,
    F: Fn(A) -> Fut + 'static,
    Fut: Future<Output = R> + 'static,
{
    Box::pin(async move {
        let inbox = start.inbox;
        while let Some(arguments) = poll_fn(|_| inbox.poll_next(extract)).await {
            let returned = agent(arguments).await;
            emit(returned, &mut Emit { inbox: &inbox })?;
        }
        Ok(())
    })
}

/// Hands what an agent returned to its sinks.
#[derive(Debug)]
pub struct Emit<'a> {
    inbox: &'a Inbox,
}

impl Emit<'_> {
    /// Sends `value` to a topic as part of the record, with the key and the timestamp of the record that
    /// was processed.
    pub fn topic<K, V>(&mut self, sink: &'static Topic<K, V>, value: &V) {
        let task = self.inbox.task();
        let Some(name) = task.names.get(sink.def()).cloned() else {
            return task.fail(format!("topic `{}` is not part of this program", sink.def().name));
        };
        let mut outbox = task.outbox.borrow_mut();
        let mut staging = outbox.stage(name.clone());
        let mut encoded = Ok(Encoded::Null);
        staging.value(|bytes| {
            encoded = (sink.value.encode)(value, bytes);
            encoded == Ok(Encoded::Bytes)
        });
        if let Err(error) = encoded {
            staging.abandon();
            return task.fail(format!("a value for topic `{name}` does not encode: {error}"));
        }
        staging.timestamp(task.timestamp());
        task.with_open(|record| {
            staging.key(|bytes| {
                bytes.extend_from_slice(record.key.unwrap_or_default());
                record.key.is_some()
            });
        });
        match task.takes_record_of(&name, staging.bytes()) {
            true => staging.finish(),
            false => staging.abandon(),
        }
    }
}
