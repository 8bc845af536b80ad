//! What a test itself does with topics: straight with the broker, at once, whatever the network is like.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, GroupId, OffsetFetchRequest, ProduceRequest, TopicName};

use super::batches::{Batch, Origin, Parts};
use super::network::SharedNetwork;
use super::records::{Aborted, Batches, end_of};
use crate::broker::api::{Response, text};
use crate::broker::config::TopicConfig;
use crate::record::HeadersRef;

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const OFFSET_FETCH_VERSION: i16 = 7;

/// A record as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedRecord {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// Packed as [`crate::record::pack_header`] does.
    pub(crate) headers: Vec<u8>,
}

/// A record to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRecord<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// Packed as [`crate::record::pack_header`] does.
    pub(crate) headers: &'a [u8],
    pub(crate) timestamp: i64,
}

impl SharedNetwork {
    /// Creates a topic.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub(crate) fn create_topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) {
        let config = TopicConfig::new(settings.iter().copied()).expect("the settings of a topic");
        let mut network = self.lock();
        let now = network.now();
        let created = network.broker.topics.create(name, Some(partitions), config, now);
        created.unwrap_or_else(|refusal| panic!("topic {name}: {}", refusal.message));
    }

    /// How many partitions a topic has, if there is such a one.
    pub(crate) fn partitions(&self, topic: &str) -> Option<u32> {
        let network = self.lock();
        let topic = network.broker.topics.get(topic)?;
        u32::try_from(topic.partitions.len()).ok()
    }

    /// Writes a record to a partition and gives its offset.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub(crate) fn produce(&self, topic: &str, partition: i32, record: &NewRecord<'_>) -> i64 {
        let mut batch = Batch::new();
        batch.push(&Parts {
            key: record.key,
            value: record.value,
            headers: HeadersRef::new(record.headers),
            timestamp: record.timestamp,
        });
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch.seal(&Origin::NOBODY)));
        let data = TopicProduceData::default()
            .with_name(TopicName(text(topic)))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_topic_data(vec![data]);
        let answer = self.lock().demand(PRODUCE_VERSION, request);
        let Some(Response::Produce(response)) = answer else {
            unreachable!("the broker answers a record at once");
        };
        let answer = &response.responses[0].partition_responses[0];
        if let Some(error) = ResponseError::try_from_code(answer.error_code) {
            panic!("a record for {topic}[{partition}] was not written: {error}");
        }
        answer.base_offset
    }

    /// The records of a partition: all, or those that are committed.
    ///
    /// # Panics
    /// When there is no such partition.
    pub(crate) fn read(&self, topic: &str, partition: i32, committed_only: bool) -> Vec<LoggedRecord> {
        let mut found = Vec::new();
        let mut offset = self.log_range(topic, partition).0;
        while let Some((records, next)) = self.read_some(topic, partition, offset, committed_only) {
            found.extend(records);
            offset = next;
        }
        found
    }

    /// Some records, and the offset that follows them.
    fn read_some(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        committed_only: bool,
    ) -> Option<(Vec<LoggedRecord>, i64)> {
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(i32::MAX);
        let wanted = FetchTopic::default()
            .with_topic(TopicName(text(topic)))
            .with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_max_wait_ms(0)
            .with_max_bytes(i32::MAX)
            .with_isolation_level(i8::from(committed_only))
            .with_topics(vec![wanted]);
        let answer = self.lock().demand(FETCH_VERSION, request);
        let Some(Response::Fetch(response)) = answer else {
            unreachable!("a fetch that does not wait is answered at once");
        };
        let answer = &response.responses[0].partitions[0];
        let bytes = answer.records.clone()?;
        let next = end_of(&bytes)?;
        let aborted = answer.aborted_transactions.iter().flatten();
        let aborted = aborted.map(|transaction| Aborted {
            first_offset: transaction.first_offset,
            producer_id: transaction.producer_id.0,
        });
        let mut batches = Batches::new(bytes, offset, aborted);
        let (mut found, mut headers) = (Vec::new(), Vec::new());
        while let Some(record) = batches.next(topic, partition, &mut headers) {
            found.push(LoggedRecord {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.packed().to_vec(),
            });
        }
        Some((found, next))
    }

    /// The offset that the next record of a partition gets.
    ///
    /// # Panics
    /// When there is no such partition.
    pub(crate) fn end(&self, topic: &str, partition: i32) -> i64 {
        self.log_range(topic, partition).1
    }

    fn log_range(&self, topic: &str, partition: i32) -> (i64, i64) {
        let network = self.lock();
        let found = network.broker.topics.partition(topic, partition);
        let found = found.unwrap_or_else(|_| panic!("there is no {topic}[{partition}]"));
        (found.log.start(), found.log.end())
    }

    /// What a group has committed: offsets and their texts by topic and partition.
    pub(crate) fn committed(&self, group: &str) -> BTreeMap<(String, i32), (i64, String)> {
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(None);
        let answer = self.lock().demand(OFFSET_FETCH_VERSION, request);
        let Some(Response::OffsetFetch(response)) = answer else {
            unreachable!("the broker answers for offsets at once");
        };
        let mut committed = BTreeMap::new();
        for topic in response.topics {
            for partition in topic.partitions {
                let metadata = partition.metadata.unwrap_or_default().to_string();
                let at = (topic.name.to_string(), partition.partition_index);
                committed.insert(at, (partition.committed_offset, metadata));
            }
        }
        committed
    }
}
