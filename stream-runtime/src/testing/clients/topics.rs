//! What a test itself does with topics: straight with the broker, at once, whatever the network is like.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, ProduceRequest, TopicName};

use super::batches::{Batch, Origin, Parts};
use super::network::SharedNetwork;
use super::records::{Aborted, Batches, end_of};
use crate::broker::api::{Response, text};
use crate::record::HeadersRef;

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;

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
    /// The names of all topics.
    pub(crate) fn topic_names(&self) -> Vec<String> {
        let network = self.lock();
        network
            .broker
            .topics
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect()
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
    #[track_caller]
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

    pub(super) fn log_range(&self, topic: &str, partition: i32) -> (i64, i64) {
        let network = self.lock();
        let found = network.broker.topics.partition(topic, partition);
        let found = found.unwrap_or_else(|_| panic!("there is no {topic}[{partition}]"));
        (found.log.start(), found.log.end())
    }

    /// Whether there are records behind the beginning of an open transaction, which readers of committed records wait for.
    pub(crate) fn hides_records(&self) -> bool {
        let network = self.lock();
        let mut partitions = network
            .broker
            .topics
            .iter()
            .flat_map(|(_, topic)| &topic.partitions);
        partitions.any(|partition| partition.log.stable_end() < partition.log.end())
    }
}
