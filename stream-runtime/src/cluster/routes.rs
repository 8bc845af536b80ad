//! Which buffer a record goes to, and which partitions are paused because theirs is full.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tracing::warn;

use super::last_found::LastFound;
use crate::agent::context::TaskContext;
use crate::agent::input::InputBuffer;
use crate::error::Result;
use crate::kafka::{GroupConsumer, RecordSink, StartOffset, TopicPartition};
use crate::record::RecordRef;

/// A partition whose buffer holds more than this is paused until half of it is processed. librdkafka
/// prefetches on its own beside it.
const BUFFER_BYTES: usize = 8 << 20;
/// The same for its records.
const BUFFER_RECORDS: usize = 50_000;
/// A partition that has so much needs nothing for the next turn.
const ENOUGH_BYTES: usize = 1 << 20;
/// The same for its records.
const ENOUGH_RECORDS: usize = 2_000;

/// The buffers of a thread's tasks.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: Vec<Route>,
    last: LastFound,
    wants_headers: bool,
}

#[derive(Debug)]
struct Route {
    topic: Arc<str>,
    partition: i32,
    task: Rc<TaskContext>,
    input: usize,
    paused: bool,
}

impl Route {
    fn at(&self) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
        }
    }
}

impl Routes {
    pub(crate) fn new(wants_headers: bool) -> Self {
        Self {
            routes: Vec::new(),
            last: LastFound::default(),
            wants_headers,
        }
    }

    pub(crate) fn add(&mut self, task: &Rc<TaskContext>) {
        for (input, buffer) in task.inputs.iter().enumerate() {
            let buffer = buffer.borrow();
            self.routes.push(Route {
                topic: Arc::clone(&buffer.topic),
                partition: buffer.partition,
                task: Rc::clone(task),
                input,
                paused: false,
            });
        }
    }

    pub(crate) fn remove(&mut self, task: &Rc<TaskContext>) {
        self.routes.retain(|route| !Rc::ptr_eq(&route.task, task));
    }

    /// The buffer of a partition; none when what was fetched comes after its partition was given back.
    fn find(&mut self, topic: &str, partition: i32) -> Option<&RefCell<InputBuffer>> {
        let fits = |route: &Route| route.partition == partition && *route.topic == *topic;
        let route = &self.routes[self.last.find(&self.routes, fits)?];
        Some(&route.task.inputs[route.input])
    }

    /// Whether some partition would have nothing to do soon. Where all have enough, records are better left with the
    /// client: once a partition is paused, it drops what it has fetched ahead of it, megabytes, and fetches them again.
    pub(crate) fn are_hungry(&self) -> bool {
        self.routes.is_empty()
            || self.routes.iter().any(|route| {
                let buffer = route.task.inputs[route.input].borrow();
                buffer.len() < ENOUGH_RECORDS && buffer.pending_bytes() < ENOUGH_BYTES
            })
    }

    /// Pauses and resumes partitions as their buffers fill and empty, and sends the client back where it reads from
    /// before what is committed.
    pub(crate) fn regulate(&mut self, consumer: &mut dyn GroupConsumer) -> Result<()> {
        let mut pause = Vec::new();
        let mut resume = Vec::new();
        let mut back = Vec::new();
        for route in &mut self.routes {
            let mut buffer = route.task.inputs[route.input].borrow_mut();
            if let Some(committed) = buffer.take_astray() {
                let at = route.at();
                warn!(partition = %at, committed, "the client reads from before what is committed: it is sent back");
                back.push((at, StartOffset::At(committed)));
            }
            let (bytes, records) = (buffer.pending_bytes(), buffer.len());
            let list = match route.paused {
                false if bytes > BUFFER_BYTES || records > BUFFER_RECORDS => &mut pause,
                true if bytes < BUFFER_BYTES / 2 && records < BUFFER_RECORDS / 2 => &mut resume,
                _ => continue,
            };
            route.paused = !route.paused;
            list.push(route.at());
        }
        if !back.is_empty() {
            consumer.seek(&back)?;
        }
        if !pause.is_empty() {
            consumer.pause(&pause)?;
        }
        if !resume.is_empty() {
            consumer.resume(&resume)?;
        }
        Ok(())
    }
}

impl RecordSink for Routes {
    fn record(&mut self, record: RecordRef<'_>) {
        if let Some(buffer) = self.find(record.topic, record.partition) {
            buffer.borrow_mut().push(record);
        }
    }

    fn wants_headers(&self) -> bool {
        self.wants_headers
    }

    fn end_of_partition(&mut self, topic: &str, partition: i32, offset: i64) {
        if let Some(buffer) = self.find(topic, partition) {
            buffer.borrow_mut().reached(offset);
        }
    }
}

#[cfg(test)]
mod tests;
