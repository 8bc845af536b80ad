//! Input for a program in development: standard input and made-up records.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tracing::warn;

use super::launch::Connection;
use crate::error::{Error, Result};
use crate::kafka::{OutgoingRecord, Producer, SendOutcome};
use crate::record::topic::{Ownership, TopicDef};

/// Where a program's development input goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Feed {
    pub stdin: Option<&'static TopicDef>,
    pub demo: Option<Demo>,
}

/// Made-up records.
#[derive(Debug, Clone)]
pub(crate) struct Demo {
    pub topic: &'static TopicDef,
    pub interval: Duration,
    pub make: fn(u64) -> String,
}

/// Input that is being fed.
#[derive(Debug)]
pub(super) struct Fed {
    end: Option<oneshot::Receiver<Result<()>>>,
}

impl Fed {
    /// Waits until all input is on the broker; for ever where input does not end.
    pub(super) async fn end(self) -> Result<()> {
        match self.end {
            None => std::future::pending().await,
            Some(end) => end
                .await
                .unwrap_or_else(|_| Err(Error::state("the reader of standard input has ended early"))),
        }
    }
}

/// Starts what applies: `demo` if it is asked for; on the embedded broker standard input, and on a terminal
/// the demo as well until somebody types.
pub(super) fn start(feed: &Feed, connection: &Connection, demo: bool) -> Result<Fed> {
    let typed = Arc::new(AtomicBool::new(false));
    let development = connection.embedded.is_some() && !demo;
    if let Some(made_up) = &feed.demo
        && (demo || (development && std::io::stdin().is_terminal()))
    {
        let topic = on_broker(made_up.topic)?;
        let (made_up, typed) = (made_up.clone(), Arc::clone(&typed));
        let producer = producer(connection)?;
        spawn("demo", move || send_made_up(producer, &topic, &made_up, &typed))?;
    }
    let Some(topic) = feed.stdin.filter(|_| development) else {
        return Ok(Fed { end: None });
    };
    let topic = on_broker(topic)?;
    let producer = producer(connection)?;
    let (send_end, end) = oneshot::channel();
    spawn("stdin", move || {
        let fed = send_lines(producer, &topic, std::io::stdin().lock(), &typed);
        let _ = send_end.send(fed);
    })?;
    Ok(Fed { end: Some(end) })
}

/// Lines of text go to topics that others write to as well.
fn on_broker(def: &TopicDef) -> Result<Arc<str>> {
    match def.ownership {
        Ownership::External => Ok(def.name.into()),
        Ownership::Internal => Err(Error::topology(format!(
            "input is fed to topic `{}`, which is internal: feed an external topic",
            def.name
        ))),
    }
}

fn producer(connection: &Connection) -> Result<Box<dyn Producer + Send>> {
    connection.cluster.producer(Arc::new(Notify::new()))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned
        .map(|_| ())
        .map_err(|error| Error::state(format!("thread {name} cannot start")).with_source(error))
}

/// Sends each line until the input ends and everything is delivered.
pub(crate) fn send_lines(
    mut producer: Box<dyn Producer + Send>,
    topic: &Arc<str>,
    input: impl BufRead,
    typed: &AtomicBool,
) -> Result<()> {
    for (number, line) in (1_u64..).zip(input.lines()) {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                // The lines before it were taken.
                deliver(producer.as_mut())?;
                let problem = format!("line {number} of standard input cannot be read as text");
                return Err(Error::usage(problem).with_source(error));
            }
        };
        typed.store(true, Ordering::Release);
        send(producer.as_mut(), topic, None, line.as_bytes())?;
    }
    deliver(producer.as_mut())
}

/// Queues a record of this key and value, waiting while the producer is full.
pub(crate) fn send(
    producer: &mut dyn Producer,
    topic: &Arc<str>,
    key: Option<&[u8]>,
    value: &[u8],
) -> Result<()> {
    let record = OutgoingRecord {
        topic,
        partition: None,
        key,
        value: Some(value),
        headers: &[],
        timestamp: None,
    };
    queue(producer, record)
}

/// Queues a record, waiting while the producer is full.
pub(crate) fn queue(producer: &mut dyn Producer, record: OutgoingRecord<'_>) -> Result<()> {
    loop {
        match producer.send(record) {
            SendOutcome::Queued => return Ok(()),
            SendOutcome::Refused(reason) => {
                return Err(Error::broker(format!(
                    "a record for topic `{}` was refused: {reason}",
                    record.topic
                )));
            }
            SendOutcome::Full => {
                producer.poll();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Waits until everything queued is on the broker.
pub(crate) fn deliver(producer: &mut dyn Producer) -> Result<()> {
    while !producer.flush(Duration::from_secs(10)) {
        warn!("waiting for the broker to take {} records", producer.in_flight());
    }
    match producer.take_failure() {
        None => Ok(()),
        Some(reason) => Err(Error::broker(format!("a record was not delivered: {reason}"))),
    }
}

fn send_made_up(mut producer: Box<dyn Producer + Send>, topic: &Arc<str>, demo: &Demo, typed: &AtomicBool) {
    for number in 0.. {
        if typed.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = send(producer.as_mut(), topic, None, (demo.make)(number).as_bytes()) {
            warn!("the demo has ended: {error}");
            return;
        }
        producer.poll();
        std::thread::sleep(demo.interval);
    }
}
