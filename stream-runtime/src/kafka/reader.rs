//! [`PartitionReader`] over rdkafka: a consumer that is assigned partitions and never joins its group.
//!
//! Invariant: an end is given only behind the high watermark. librdkafka reports one at the last stable offset, below
//! which nothing is open; what a transaction that is open there has written is part of what is to be read, too, if
//! it commits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

use super::context::Context;
use super::diagnostics::Diagnostics;
use super::lists::{list_from, list_of, named, starts_of};
use super::native::{Event, EventQueue};
use super::{ClientSettings, PartitionReader, RecordSink, StartOffset, TopicPartition, config};
use crate::error::{Error, Result};

/// Reads changelogs.
pub(super) struct RdKafkaPartitionReader {
    queue: EventQueue<BaseConsumer<Context>>,
    reading: HashSet<TopicPartition>,
    ends: Ends,
    diagnostics: Arc<Diagnostics>,
}

impl RdKafkaPartitionReader {
    pub(super) fn new(
        settings: &ClientSettings,
        diagnostics: &Arc<Diagnostics>,
        wake: Arc<Notify>,
    ) -> Result<Self> {
        let consumer: BaseConsumer<Context> = config::partition_reader(settings)
            .create_with_context(Context::new(diagnostics))
            .map_err(config::refusal)?;
        let mut queue = EventQueue::of_consumer(consumer)
            .ok_or_else(|| Error::config("a reader needs the group's id: set the program's id"))?;
        queue.notify(wake);
        Ok(Self {
            queue,
            reading: HashSet::new(),
            ends: Ends::default(),
            diagnostics: Arc::clone(diagnostics),
        })
    }

    fn consumer(&self) -> &BaseConsumer<Context> {
        self.queue.client()
    }
}

impl PartitionReader for RdKafkaPartitionReader {
    fn add(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        let places = || partitions.iter().map(|(at, _)| at);
        if let Some((at, _)) = partitions
            .iter()
            .find(|(_, start)| *start == StartOffset::Committed)
        {
            let place = named([at]);
            return Err(Error::usage(format!(
                "{place} is read outside the group, from no committed offset"
            )));
        }
        self.consumer()
            .incremental_assign(&list_from(starts_of(partitions)))
            .map_err(|error| {
                Error::broker(format!("{} cannot be read", named(places()))).with_source(error)
            })?;
        self.reading.extend(places().cloned());
        Ok(())
    }

    fn remove(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let known = partitions
            .iter()
            .filter(|at| self.reading.contains(at))
            .collect::<Vec<_>>();
        self.consumer()
            .incremental_unassign(&list_of(known.iter().copied()))
            .map_err(|error| {
                Error::broker(format!("{} cannot be given up", named(known))).with_source(error)
            })?;
        for at in partitions {
            self.reading.remove(at);
            self.ends.forget(at);
        }
        Ok(())
    }

    fn poll(&mut self, sink: &mut dyn RecordSink, max: usize) -> Result<usize> {
        self.queue.set_headers_wanted(sink.wants_headers());
        let (mut records, mut failure) = (0, None);
        while records < max {
            let (diagnostics, mut reached) = (&self.diagnostics, None);
            let more = self.queue.next(|event| match event {
                Event::Record(record) => {
                    sink.record(record);
                    records += 1;
                }
                Event::EndOfPartition {
                    topic,
                    partition,
                    offset,
                } => {
                    reached = Some((Arc::from(topic), partition, offset));
                    diagnostics.reached();
                }
                Event::Error {
                    error,
                    fatal,
                    text,
                    at,
                } => match (verdict(error, fatal, text, at), at) {
                    (Some(Verdict::OutOfRange(found)), Some((topic, partition))) => {
                        if !sink.out_of_range(topic, partition) {
                            failure.get_or_insert(found);
                        }
                    }
                    (Some(Verdict::OutOfRange(found) | Verdict::Hopeless(found)), _) => {
                        failure.get_or_insert(found);
                    }
                    (None, _) => diagnostics.error(error, text),
                },
                Event::Log {
                    level,
                    facility,
                    text,
                } => diagnostics.log(level, facility, text),
                // A reader has no group to be rebalanced in, and sends and commits nothing.
                Event::Rebalance { .. }
                | Event::Commit { .. }
                | Event::Delivered { .. }
                | Event::DeliveryFailed { .. }
                | Event::Other => {}
            });
            if let Some((topic, partition, offset)) = reached {
                let at = TopicPartition { topic, partition };
                let high = self.queue.high_watermark(&at.topic, partition);
                if self.ends.is_end(&at, offset, high.unwrap_or(offset)) {
                    sink.end_of_partition(&at.topic, partition, offset);
                }
            }
            if !more {
                break;
            }
        }
        if records > 0 {
            self.diagnostics.reached();
        }
        failure.map_or(Ok(records), Err)
    }

    fn known_end(&self, at: &TopicPartition) -> Option<i64> {
        self.queue.high_watermark(&at.topic, at.partition)
    }
}

/// Partitions whose reader waits at the last stable offset, and the high watermark that it waits for. It is the one
/// that was first seen, since a log that is being written would always be a little ahead.
#[derive(Default)]
struct Ends(HashMap<TopicPartition, i64>);

impl Ends {
    /// Whether a reader that has everything stable below `offset` has reached the end.
    fn is_end(&mut self, at: &TopicPartition, offset: i64, high: i64) -> bool {
        let target = self.0.get(at).copied().unwrap_or(high);
        if offset < target {
            self.0.insert(at.clone(), target);
            return false;
        }
        self.0.remove(at);
        true
    }

    fn forget(&mut self, at: &TopicPartition) {
        self.0.remove(at);
    }
}

enum Verdict {
    /// The offset to start at is not there (any more).
    OutOfRange(Error),
    /// Nothing that heals alone.
    Hopeless(Error),
}

fn verdict(code: RDKafkaErrorCode, fatal: bool, text: &str, at: Option<(&str, i32)>) -> Option<Verdict> {
    let place = at.map_or_else(
        || "a changelog".to_owned(),
        |(topic, partition)| format!("{topic}[{partition}]"),
    );
    match code {
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
            Some(Verdict::OutOfRange(Error::state(format!(
                "{place} no longer has the offset that the local state stands at, so it was truncated or made \
                 anew ({text}): the state must be rebuilt from its beginning"
            ))))
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => Some(Verdict::Hopeless(Error::broker(format!(
            "{place}: {text}: grant this client READ on the topic"
        )))),
        _ if fatal => Some(Verdict::Hopeless(Error::broker(format!("{place}: {text}")))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_below_the_high_watermark_is_held_back_until_the_reader_is_there() {
        let at = TopicPartition {
            topic: Arc::from("log"),
            partition: 0,
        };
        let mut ends = Ends::default();
        assert!(ends.is_end(&at, 5, 5));
        assert!(!ends.is_end(&at, 5, 7), "a transaction is open");
        assert!(
            !ends.is_end(&at, 6, 9),
            "another one is, below the first watermark"
        );
        assert!(ends.is_end(&at, 8, 20), "what came since is of no account");
        assert!(!ends.is_end(&at, 10, 20));
        ends.forget(&at);
        assert!(ends.is_end(&at, 10, 10), "read anew");
    }
}
