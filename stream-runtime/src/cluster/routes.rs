//! Which buffer a record goes to, and which partitions are paused because theirs is full.

use std::rc::Rc;
use std::sync::Arc;

use crate::agent::context::TaskContext;
use crate::error::Result;
use crate::kafka::{GroupConsumer, RecordSink, TopicPartition};
use crate::record::RecordRef;

/// A partition whose buffer holds more than this is paused until half of it is processed. librdkafka
/// prefetches on its own beside it.
const BUFFER_BYTES: usize = 8 << 20;
/// The same for its records.
const BUFFER_RECORDS: usize = 50_000;

/// The buffers of a thread's tasks.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    routes: Vec<Route>,
    /// Records come in runs of one partition, so the last one is tried first.
    last: usize,
}

#[derive(Debug)]
struct Route {
    topic: Arc<str>,
    partition: i32,
    task: Rc<TaskContext>,
    input: usize,
    paused: bool,
}

impl Routes {
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
        self.last = 0;
    }

    /// Pauses and resumes partitions as their buffers fill and empty.
    pub(crate) fn regulate(&mut self, consumer: &mut dyn GroupConsumer) -> Result<()> {
        let mut pause = Vec::new();
        let mut resume = Vec::new();
        for route in &mut self.routes {
            let buffer = route.task.inputs[route.input].borrow();
            let (bytes, records) = (buffer.pending_bytes(), buffer.len());
            let list = match route.paused {
                false if bytes > BUFFER_BYTES || records > BUFFER_RECORDS => &mut pause,
                true if bytes < BUFFER_BYTES / 2 && records < BUFFER_RECORDS / 2 => &mut resume,
                _ => continue,
            };
            route.paused = !route.paused;
            list.push(TopicPartition {
                topic: Arc::clone(&route.topic),
                partition: route.partition,
            });
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
        let fits = |route: &Route| route.partition == record.partition && *route.topic == *record.topic;
        if !self.routes.get(self.last).is_some_and(fits) {
            match self.routes.iter().position(fits) {
                Some(found) => self.last = found,
                // Fetched before its partition was given back.
                None => return,
            }
        }
        let route = &self.routes[self.last];
        route.task.inputs[route.input].borrow_mut().push(record);
    }
}
