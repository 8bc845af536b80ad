//! The topics and their partitions: which there are, and what may be appended.
//!
//! There is one broker, so it leads every partition and there is nothing to replicate.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use std::collections::BTreeMap;
use uuid::Uuid;

use super::batch::Batch;
use super::config::TopicConfig;
use super::log::{Grown, Log};
use super::marker::Outcome;
use super::producers::{ProducerEpoch, Producers, Verdict};
use super::records;
use super::state::{Now, Token};

/// Partitions of a topic that was created without a number.
const DEFAULT_PARTITIONS: u32 = 1;
/// More than this in one topic is taken for a mistake.
const MOST_PARTITIONS: u32 = 10_000;

/// Why something about a topic was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: ResponseError,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// All topics by name.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    by_name: BTreeMap<String, Topic>,
    created: u64,
}

/// One topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) config: TopicConfig,
    pub(crate) partitions: Vec<Partition>,
}

/// One partition: its log, its producers, and who waits for records.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) log: Log,
    pub(crate) producers: Producers,
    pub(crate) waiting: Vec<Token>,
}

/// Where a batch was put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// The time of the append, if the topic is set to it; else -1.
    pub(crate) append_time: i64,
    /// Nothing for a duplicate.
    pub(crate) grown: Grown,
}

impl Topics {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.by_name.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.by_name.values_mut()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.by_name.get_mut(name)
    }

    pub(crate) fn by_id(&self, id: Uuid) -> Option<(&str, &Topic)> {
        self.iter().find(|(_, topic)| topic.id == id)
    }

    /// The partition, if there is such a one.
    pub(crate) fn partition(&self, name: &str, index: i32) -> Result<&Partition, ResponseError> {
        let topic = self.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let index = usize::try_from(index).map_err(|_| ResponseError::UnknownTopicOrPartition)?;
        topic
            .partitions
            .get(index)
            .ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// The partition, to change it, and its topic's settings.
    pub(crate) fn partition_mut(
        &mut self,
        name: &str,
        index: i32,
    ) -> Result<(&mut Partition, &TopicConfig), ResponseError> {
        let topic = self.get_mut(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let index = usize::try_from(index).map_err(|_| ResponseError::UnknownTopicOrPartition)?;
        let partition = topic
            .partitions
            .get_mut(index)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        Ok((partition, &topic.config))
    }

    /// Whether a topic of this name could be created now.
    ///
    /// # Errors
    ///
    /// The name is taken or not allowed, or the number of partitions is.
    pub(crate) fn check_new(&self, name: &str, partitions: Option<u32>) -> Result<u32, Refusal> {
        check_name(name).map_err(|why| Refusal::new(ResponseError::InvalidTopicException, why))?;
        if self.by_name.contains_key(name) {
            let message = format!("Topic '{name}' already exists.");
            return Err(Refusal::new(ResponseError::TopicAlreadyExists, message));
        }
        let alike = |other: &&String| other.replace('.', "_") == name.replace('.', "_");
        if let Some(other) = self.by_name.keys().find(alike) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(Refusal::new(ResponseError::InvalidTopicException, message));
        }
        match partitions.unwrap_or(DEFAULT_PARTITIONS) {
            0 => Err(Refusal::new(
                ResponseError::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            )),
            count if count > MOST_PARTITIONS => Err(Refusal::new(
                ResponseError::InvalidPartitions,
                format!("{count} partitions are more than the {MOST_PARTITIONS} that this broker keeps."),
            )),
            count => Ok(count),
        }
    }

    /// Creates a topic.
    ///
    /// # Errors
    ///
    /// As for [`Topics::check_new`].
    pub(crate) fn create(
        &mut self,
        name: &str,
        partitions: Option<u32>,
        config: TopicConfig,
        now: Now,
    ) -> Result<(), Refusal> {
        let count = self.check_new(name, partitions)?;
        self.created += 1;
        let id = Uuid::from_u64_pair(now.wall_ms.unsigned_abs(), self.created);
        let partitions = (0..count).map(|_| Partition::default()).collect();
        self.by_name.insert(
            name.to_owned(),
            Topic {
                id,
                config,
                partitions,
            },
        );
        Ok(())
    }

    /// Removes a topic with all its records.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Topic> {
        self.by_name.remove(name)
    }
}

impl Partition {
    /// Whether the batch begins a transaction here, and the coordinator has to be asked.
    pub(crate) fn begins_transaction(&self, batch: &Batch) -> bool {
        let goes_on =
            self.log.isolation().is_open(batch.producer_id) && self.producers.is_current(batch.producer());
        batch.is_transactional() && !goes_on
    }

    /// Appends what a producer sent.
    ///
    /// # Errors
    ///
    /// The batch is out of sequence, or not what the topic takes.
    pub(crate) fn append(
        &mut self,
        mut batch: Batch,
        config: &TopicConfig,
        now: Now,
    ) -> Result<Appended, ResponseError> {
        check_batch(&batch, config, now)?;
        match self.producers.check(&batch)? {
            Verdict::Duplicate {
                base_offset,
                timestamp,
            } => {
                let append_time = if config.append_time { timestamp } else { -1 };
                return Ok(Appended {
                    base_offset,
                    append_time,
                    grown: Grown::default(),
                });
            }
            Verdict::Append => {}
        }
        if !batch.is_transactional() && self.log.isolation().is_open(batch.producer_id) {
            return Err(ResponseError::InvalidTxnState);
        }
        if config.append_time {
            batch.stamp(now.wall_ms);
        }
        let base_offset = self.log.end();
        self.producers.appended(&batch, base_offset);
        let grown = self.log.append(batch, now.wall_ms, config);
        let append_time = if config.append_time { now.wall_ms } else { -1 };
        Ok(Appended {
            base_offset,
            append_time,
            grown,
        })
    }

    /// Ends a producer's transaction.
    pub(crate) fn mark(
        &mut self,
        outcome: Outcome,
        producer: ProducerEpoch,
        config: &TopicConfig,
        now: Now,
    ) -> Grown {
        let mut batch = Batch::marker(outcome, producer, now.wall_ms);
        if config.append_time {
            batch.stamp(now.wall_ms);
        }
        self.producers.marked(producer);
        self.log.append(batch, now.wall_ms, config)
    }
}

/// Reads what a producer sent for one partition.
///
/// # Errors
///
/// It is damaged, or too large.
pub(crate) fn receive(bytes: Bytes, config: &TopicConfig) -> Result<Batch, ResponseError> {
    if bytes.len() > config.max_message_bytes {
        return Err(ResponseError::MessageTooLarge);
    }
    Batch::parse(bytes)
}

fn check_batch(batch: &Batch, config: &TopicConfig, now: Now) -> Result<(), ResponseError> {
    if !config.append_time {
        let ahead = batch.max_timestamp.saturating_sub(now.wall_ms);
        let behind = now.wall_ms.saturating_sub(batch.base_timestamp);
        if ahead > config.timestamp_after_max_ms || behind > config.timestamp_before_max_ms {
            return Err(ResponseError::InvalidTimestamp);
        }
    }
    if config.compact
        && let Some(records) = records::decode(batch)
        && records.iter().any(|record| record.key.is_none())
    {
        return Err(ResponseError::InvalidRecord);
    }
    Ok(())
}

/// Whether a topic may have this name.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the topic name must not be empty".to_owned());
    }
    if matches!(name, "." | "..") {
        return Err(format!("'{name}' is no topic name"));
    }
    if name.len() > 249 {
        return Err(format!(
            "the length of '{name}' is longer than the max allowed length 249"
        ));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(allowed) {
        return Err(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}
