//! A client that sends what it is told to, and record batches as a producer makes them.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, GroupId, InitProducerIdRequest,
    ProduceRequest, ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::{START_MS, World};
use crate::broker::api::{Request, Response, text};
use crate::kafka::TopicPartition;
use crate::testing::clients::network::{Call, Client, Net, NoAnswer};

/// Keeps the answers to what was sent.
#[derive(Default)]
pub(super) struct Hand(BTreeMap<Call, Result<Response, NoAnswer>>);

impl Client for Hand {
    fn answered(&mut self, call: Call, answer: Result<Response, NoAnswer>, _: &mut Net<'_>) {
        self.0.insert(call, answer);
    }

    fn alarm(&mut self, _: u64, _: &mut Net<'_>) {}
}

/// A producer of transactions.
pub(super) struct Transactions {
    name: &'static str,
    id: i64,
    epoch: i16,
    /// The next one of each partition.
    sequences: BTreeMap<TopicPartition, i32>,
}

impl World {
    /// Sends a request, past what breaks and is refused, and waits for the answer.
    pub(super) fn call(&self, version: i16, request: impl Into<Request>) -> Response {
        let request = request.into();
        let behaviour = self.network.lock().behaviour.clone();
        self.network.lock().behaviour.breaks = 0;
        self.network.lock().behaviour.refuses = 0;
        let call = self.hand.with(|_, net| net.call(0, version, request));
        self.network.lock().behaviour.breaks = behaviour.breaks;
        loop {
            if let Some(answer) = self.hand.with(|hand, _| hand.0.remove(&call)) {
                self.network.lock().behaviour.refuses = behaviour.refuses;
                return answer.expect("the broker is there");
            }
            let mut network = self.network.lock();
            let next = network.next_event().expect("the answer comes");
            network.run_until(next);
        }
    }

    /// Sends the values `from..to` to a partition, as one batch.
    pub(super) fn fill(&self, at: &TopicPartition, values: std::ops::Range<usize>) {
        let records: Vec<_> = values.map(|value| plain(&value.to_string())).collect();
        if !records.is_empty() {
            self.produce(at, None, &records);
        }
    }

    pub(super) fn produce(&self, at: &TopicPartition, transactional_id: Option<&str>, records: &[Record]) {
        let partition = PartitionProduceData::default()
            .with_index(at.partition)
            .with_records(Some(encode(records)));
        let topic = TopicProduceData::default()
            .with_name(TopicName(text(&*at.topic)))
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_transactional_id(transactional_id.map(|id| TransactionalId(text(id))))
            .with_topic_data(vec![topic]);
        let Response::Produce(response) = self.call(9, request) else {
            panic!("it answers what was asked");
        };
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }

    /// A new producer of a transactional id.
    pub(super) fn transactions(&self, name: &'static str) -> Transactions {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(name))))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let Response::InitProducerId(response) = self.call(4, request) else {
            panic!("it answers what was asked");
        };
        assert_eq!(response.error_code, 0);
        Transactions {
            name,
            id: response.producer_id.0,
            epoch: response.producer_epoch,
            sequences: BTreeMap::new(),
        }
    }

    /// Sends one record in the producer's transaction.
    pub(super) fn put(&self, who: &mut Transactions, at: &TopicPartition, value: &str) {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(TopicName(text(&*at.topic)))
            .with_partitions(vec![at.partition]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(who.name)))
            .with_v3_and_below_producer_id(ProducerId(who.id))
            .with_v3_and_below_producer_epoch(who.epoch)
            .with_v3_and_below_topics(vec![topic]);
        self.call(3, request);
        let sequence = who.sequences.entry(at.clone()).or_default();
        let record = Record {
            transactional: true,
            producer_id: who.id,
            producer_epoch: who.epoch,
            sequence: *sequence,
            ..plain(value)
        };
        *sequence += 1;
        self.produce(at, Some(who.name), &[record]);
    }

    /// Sends an offset of a group in the producer's transaction, as nobody's member.
    pub(super) fn put_offset(&self, who: &Transactions, group: &str, at: &TopicPartition, offset: i64) {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(TransactionalId(text(who.name)))
            .with_producer_id(ProducerId(who.id))
            .with_producer_epoch(who.epoch)
            .with_group_id(GroupId(text(group)));
        self.call(3, request);
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(at.partition)
            .with_committed_offset(offset);
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(TopicName(text(&*at.topic)))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(TransactionalId(text(who.name)))
            .with_producer_id(ProducerId(who.id))
            .with_producer_epoch(who.epoch)
            .with_group_id(GroupId(text(group)))
            .with_topics(vec![topic]);
        let Response::TxnOffsetCommit(response) = self.call(3, request) else {
            panic!("it answers what was asked");
        };
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
    }

    pub(super) fn end(&self, who: &Transactions, commits: bool) {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(who.name)))
            .with_producer_id(ProducerId(who.id))
            .with_producer_epoch(who.epoch)
            .with_committed(commits);
        let Response::EndTxn(response) = self.call(3, request) else {
            panic!("it answers what was asked");
        };
        assert_eq!(response.error_code, 0);
    }
}

/// A record of no transaction.
pub(super) fn plain(value: &str) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp: START_MS,
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: std::iter::empty::<(StrBytes, Option<Bytes>)>().collect(),
    }
}

pub(super) fn encode(records: &[Record]) -> Bytes {
    let mut placed = Vec::new();
    for (offset, record) in (0..).zip(records) {
        // The encoder breaks a batch where sequences do not follow one another.
        let sequence = match record.producer_id {
            -1 => i32::try_from(offset).expect("few") - 1,
            _ => record.sequence,
        };
        placed.push(Record {
            offset,
            sequence,
            ..record.clone()
        });
    }
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &placed, &options).expect("they can be encoded");
    bytes.freeze()
}
