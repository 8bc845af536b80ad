//! Sending: part of the record inside an agent, acknowledged outside.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use crate::agent::context::{TaskContext, TopicNames, with_current};
use crate::error::{Error, Result};
use crate::kafka::{AcknowledgedProducer, OutgoingRecord};
use crate::record::Headers;
use crate::record::codec::{CodecOf, Encoded};
use crate::record::topic::Topic;

impl<K: 'static, V: 'static> Topic<K, V> {
    /// Sends a record to this topic.
    ///
    /// *Inside an agent* awaiting it stages the record: it is sent when the agent is done with the record it
    /// is at, and never when it fails. The key decides the partition as Java's client does (murmur2), the
    /// timestamp is that of the record being processed.
    ///
    /// *Outside* (`main`, a timer, a web page) awaiting it waits until the broker has the record;
    /// [`Sending::delivered`] does so too and gives its place.
    ///
    /// ```
    /// use stream_runtime::prelude::*;
    ///
    /// #[topic(internal)]
    /// static WORDS: Topic<String, String>;
    ///
    /// #[agent(topic = "lines")]
    /// async fn split(line: String) {
    ///     for word in line.split_whitespace().map(str::to_owned) {
    ///         WORDS.send(&word, &word).header("via", "split").await;
    ///     }
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Panics
    /// Outside agents, awaiting panics when no program runs, or when the record cannot be delivered; use
    /// [`Sending::delivered`] to handle that. Inside, a value that does not encode makes the record being
    /// processed fail, which its agent's error policy handles.
    pub fn send<'a>(&'a self, key: &'a K, value: &'a V) -> Sending<'a, K, V> {
        Sending {
            topic: self,
            key,
            value,
            headers: Headers::new(),
            partition: None,
            timestamp: None,
            delivery: None,
        }
    }
}

/// A record about to be sent; made by [`Topic::send`]. Nothing happens before it is awaited.
#[must_use = "a send does nothing unless it is awaited"]
pub struct Sending<'a, K: 'static, V: 'static> {
    topic: &'a Topic<K, V>,
    key: &'a K,
    value: &'a V,
    headers: Headers,
    partition: Option<u32>,
    timestamp: Option<i64>,
    delivery: Option<Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>>,
}

impl<K, V> fmt::Debug for Sending<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sending to {}", self.topic.def().name)
    }
}

/// Where a record was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The topic's name on the broker.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl<K, V> Sending<'_, K, V> {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Adds headers, those of an input record for instance.
    pub fn headers(mut self, headers: &Headers) -> Self {
        self.headers.append(headers);
        self
    }

    /// Sends to this partition, whatever the key.
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the event time, in milliseconds since the Unix epoch.
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Waits until the broker has the record, and gives its place. For use outside agents.
    ///
    /// # Errors
    /// Inside an agent, where the record is only sent once the agent is done; when no program runs in this
    /// process, or several (which of them would it be?); when a part does not encode; when the broker
    /// refuses the record or did not answer within `delivery.timeout.ms`.
    pub async fn delivered(self) -> Result<Delivery> {
        if with_current(|_| ()).is_some() {
            return Err(Error::usage(format!(
                "a send to `{}` inside an agent goes with the record being processed, so it cannot be waited \
                 for: await it without `.delivered()`",
                self.topic.def().name
            )));
        }
        self.encode_outside()?.deliver().await
    }

    /// Everything the delivery needs, so that its future holds nothing of the user's types.
    fn encode_outside(&self) -> Result<Outside> {
        let program = running_program()?;
        let topic = program
            .names
            .get(self.topic.def())
            .ok_or_else(|| self.unknown())?
            .clone();
        let place = self.place(&program.names).map_err(Error::usage)?;
        Ok(Outside {
            program,
            topic,
            key: encode_alone(&self.topic.key, self.key, "key")?,
            value: encode_alone(&self.topic.value, self.value, "value")?,
            headers: self.headers.clone(),
            partition: place,
            timestamp: self.timestamp,
        })
    }

    /// The partition that was asked for, if it and the timestamp are such as the broker takes.
    fn place(&self, names: &TopicNames) -> Result<Option<i32>, String> {
        let def = self.topic.def();
        if let Some(timestamp) = self.timestamp.filter(|timestamp| *timestamp < 0) {
            return Err(format!(
                "a record for topic `{}` has the timestamp {timestamp}: milliseconds since 1970 are not negative",
                def.name
            ));
        }
        let missing = |partition: u32| format!("topic `{}` has no partition {partition}", def.name);
        match self.partition {
            None => Ok(None),
            Some(partition) if !names.has_partition(def, partition) => Err(missing(partition)),
            Some(partition) => i32::try_from(partition).map(Some).map_err(|_| missing(partition)),
        }
    }

    fn unknown(&self) -> Error {
        Error::usage(format!(
            "topic `{}` is not part of this program",
            self.topic.def().name
        ))
    }

    /// Makes the send part of the record that the current task has open.
    fn stage(&self, task: &TaskContext) {
        let def = self.topic.def();
        let Some(name) = task
            .names
            .get(def)
            .cloned()
            .or_else(|| task.detached.then(|| def.name.into()))
        else {
            return task.fail(self.unknown().to_string());
        };
        let place = match self.place(&task.names) {
            Ok(place) => place,
            Err(reason) => return task.fail(reason),
        };
        let mut outbox = task.outbox.borrow_mut();
        let mut staging = outbox.stage(name);
        let mut failure = None;
        staging.key(|bytes| encode_into(&self.topic.key, self.key, bytes, "key", &mut failure));
        staging.value(|bytes| encode_into(&self.topic.value, self.value, bytes, "value", &mut failure));
        staging
            .headers(self.headers.packed())
            .partition(place)
            .timestamp(self.timestamp.or_else(|| task.timestamp()));
        match failure {
            None if task.takes_record_of(def.name, staging.bytes()) => staging.finish(),
            None => staging.abandon(),
            Some(failure) => {
                staging.abandon();
                task.fail(format!(
                    "a record for topic `{}` does not encode: {failure}",
                    def.name
                ));
            }
        }
    }
}

/// A send from outside agents, encoded.
struct Outside {
    program: Arc<RunningProgram>,
    topic: Arc<str>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Headers,
    partition: Option<i32>,
    timestamp: Option<i64>,
}

impl Outside {
    async fn deliver(self) -> Result<Delivery> {
        let (partition, offset) = self
            .program
            .producer
            .send(OutgoingRecord {
                topic: &self.topic,
                partition: self.partition,
                key: self.key.as_deref(),
                value: self.value.as_deref(),
                headers: self.headers.packed(),
                timestamp: self.timestamp,
            })
            .await?;
        Ok(Delivery {
            topic: self.topic.to_string(),
            partition,
            offset,
        })
    }
}

fn encode_into<T>(
    codec: &CodecOf<T>,
    part: &T,
    bytes: &mut Vec<u8>,
    what: &str,
    failure: &mut Option<String>,
) -> bool {
    match (codec.encode)(part, bytes) {
        Ok(encoded) => encoded == Encoded::Bytes,
        Err(error) => {
            failure.get_or_insert(format!("the {what}: {error}"));
            false
        }
    }
}

fn encode_alone<T>(codec: &CodecOf<T>, part: &T, what: &str) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match (codec.encode)(part, &mut bytes) {
        Ok(Encoded::Bytes) => Ok(Some(bytes)),
        Ok(Encoded::Null) => Ok(None),
        Err(error) => Err(Error::codec(format!("the {what} does not encode: {error}"))),
    }
}

impl<K, V> Future for Sending<'_, K, V> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.delivery.is_none() {
            if with_current(|task| this.stage(task)).is_some() {
                return Poll::Ready(());
            }
            let outside = this.encode_outside();
            this.delivery = Some(Box::pin(async move { outside?.deliver().await }));
        }
        let Some(delivery) = &mut this.delivery else {
            return Poll::Pending;
        };
        match delivery.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(_)) => Poll::Ready(()),
            Poll::Ready(Err(error)) => panic!(
                "a record for topic `{}` was not sent: {error}",
                this.topic.def().name
            ),
        }
    }
}

/// A program that runs in this process, for sends from outside its agents.
pub(crate) struct RunningProgram {
    pub id: String,
    pub names: Arc<TopicNames>,
    pub producer: Arc<dyn AcknowledgedProducer>,
}

static RUNNING: RwLock<Vec<Arc<RunningProgram>>> = RwLock::new(Vec::new());

/// Keeps a program known until dropped.
pub(crate) struct ProgramGuard(Arc<RunningProgram>);

impl ProgramGuard {
    pub(crate) fn new(program: RunningProgram) -> Self {
        let program = Arc::new(program);
        let mut running = RUNNING.write().unwrap_or_else(PoisonError::into_inner);
        running.push(Arc::clone(&program));
        Self(program)
    }
}

impl Drop for ProgramGuard {
    fn drop(&mut self) {
        let mut running = RUNNING.write().unwrap_or_else(PoisonError::into_inner);
        running.retain(|program| !Arc::ptr_eq(program, &self.0));
    }
}

/// Whether any program runs in this process.
pub(crate) fn any_program_runs() -> bool {
    !RUNNING.read().unwrap_or_else(PoisonError::into_inner).is_empty()
}

fn running_program() -> Result<Arc<RunningProgram>> {
    let running = RUNNING.read().unwrap_or_else(PoisonError::into_inner);
    match running.as_slice() {
        [program] => Ok(Arc::clone(program)),
        [] => Err(Error::usage(
            "nothing can be sent: no program runs in this process",
        )),
        several => {
            let ids: Vec<_> = several.iter().map(|program| program.id.as_str()).collect();
            Err(Error::usage(format!(
                "several programs run in this process ({}), so a send outside an agent has no one to go \
                 through: send from an agent",
                ids.join(", ")
            )))
        }
    }
}
