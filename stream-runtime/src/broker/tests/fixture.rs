//! A state with a time of its own, and record batches as a client would make them.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FetchRequest, FetchResponse, InitProducerIdRequest,
    ProduceRequest, ProducerId, TopicName, TransactionalId, fetch_request,
};
use std::time::Duration;

use crate::broker::COMPACTION_INTERVAL;
use crate::broker::api::{Request, Response, text};
use crate::broker::config::TopicConfig;
use crate::broker::state::{Answer, Caller, Identity, Now, State, Token};

/// When the tests begin.
pub(super) const START_MS: i64 = 1_700_000_000_000;

/// A state and its time.
pub(super) struct Driver {
    pub(super) state: State,
    elapsed: Duration,
    tokens: u64,
}

impl Driver {
    pub(super) fn new(initial_rebalance_delay: Duration) -> Self {
        let identity = Identity {
            host: text("127.0.0.1"),
            port: 9092,
            auto_create_topics: false,
            initial_rebalance_delay,
            compaction_interval: COMPACTION_INTERVAL,
        };
        let now = Now {
            elapsed: Duration::ZERO,
            wall_ms: START_MS,
        };
        Self {
            state: State::new(identity, now),
            elapsed: Duration::ZERO,
            tokens: 0,
        }
    }

    pub(super) fn now(&self) -> Now {
        let passed = i64::try_from(self.elapsed.as_millis()).unwrap_or(i64::MAX);
        Now {
            elapsed: self.elapsed,
            wall_ms: START_MS + passed,
        }
    }

    /// Lets time pass, with everything that is due on the way, and gives what was completed.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<(Token, Response)> {
        let end = self.elapsed + time;
        while let Some(next) = self.state.next_deadline().filter(|next| *next <= end) {
            self.elapsed = self.elapsed.max(next);
            let now = self.now();
            self.state.advance(now);
        }
        self.elapsed = end;
        self.completions()
    }

    pub(super) fn completions(&mut self) -> Vec<(Token, Response)> {
        self.state
            .take_completions()
            .into_iter()
            .map(|late| (late.token, late.response))
            .collect()
    }

    /// Sends a request; its token and its answer.
    pub(super) fn send(&mut self, version: i16, request: Request) -> (Token, Answer) {
        self.tokens += 1;
        let token = Token(self.tokens);
        let caller = Caller {
            token,
            client_id: text("test"),
            host: text("127.0.0.1"),
            version,
        };
        let now = self.now();
        (token, self.state.handle(now, &caller, request))
    }

    pub(super) fn topic(&mut self, name: &str, settings: &[(&str, &str)]) {
        let config = TopicConfig::new(settings.iter().copied()).expect("known settings");
        let now = self.now();
        self.state
            .topics
            .create(name, Some(1), config, now)
            .expect("a new topic");
    }

    /// Produces to partition 0; the error's code and the offset.
    pub(super) fn produce(&mut self, topic: &str, records: Bytes) -> (i16, i64) {
        self.produce_as(None, topic, records)
    }

    /// The same for a transactional id; the error's code.
    pub(super) fn produce_in(&mut self, transactional_id: &str, topic: &str, records: Bytes) -> i16 {
        let id = TransactionalId(text(transactional_id));
        self.produce_as(Some(id), topic, records).0
    }

    fn produce_as(
        &mut self,
        transactional_id: Option<TransactionalId>,
        topic: &str,
        records: Bytes,
    ) -> (i16, i64) {
        let partition = PartitionProduceData::default().with_records(Some(records));
        let topic = TopicProduceData::default()
            .with_name(TopicName(text(topic)))
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_transactional_id(transactional_id)
            .with_topic_data(vec![topic]);
        match self.send(9, Request::Produce(request)).1 {
            Answer::Ready(Response::Produce(response)) => {
                let partition = &response.responses[0].partition_responses[0];
                (partition.error_code, partition.base_offset)
            }
            other => panic!("no answer to Produce: {other:?}"),
        }
    }

    /// A new producer of a transactional id.
    pub(super) fn init(&mut self, name: &'static str, timeout_ms: i32) -> Producer {
        let (code, producer) = self.try_init(name, timeout_ms, None);
        assert_eq!(code, 0);
        producer
    }

    /// InitProducerId, also as one that was there before; the error's code.
    pub(super) fn try_init(
        &mut self,
        name: &'static str,
        timeout_ms: i32,
        returning: Option<&Producer>,
    ) -> (i16, Producer) {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(name))))
            .with_transaction_timeout_ms(timeout_ms)
            .with_producer_id(ProducerId(returning.map_or(-1, |producer| producer.id)))
            .with_producer_epoch(returning.map_or(-1, |producer| producer.epoch));
        match self.send(4, Request::InitProducerId(request)).1 {
            Answer::Ready(Response::InitProducerId(response)) => {
                let producer = Producer {
                    name,
                    id: response.producer_id.0,
                    epoch: response.producer_epoch,
                    sequence: 0,
                };
                (response.error_code, producer)
            }
            other => panic!("no answer to InitProducerId: {other:?}"),
        }
    }

    /// Adds partition 0 of a topic to the producer's transaction.
    pub(super) fn add(&mut self, who: &Producer, topic: &str) {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![0]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(who.name)))
            .with_v3_and_below_producer_id(ProducerId(who.id))
            .with_v3_and_below_producer_epoch(who.epoch)
            .with_v3_and_below_topics(vec![topic]);
        match self.send(0, Request::AddPartitionsToTxn(request)).1 {
            Answer::Ready(Response::AddPartitionsToTxn(response)) => {
                let topic = &response.results_by_topic_v3_and_below[0];
                assert_eq!(topic.results_by_partition[0].partition_error_code, 0);
            }
            other => panic!("no answer to AddPartitionsToTxn: {other:?}"),
        }
    }

    /// Produces in the producer's transaction; the error's code.
    pub(super) fn put(
        &mut self,
        who: &mut Producer,
        topic: &str,
        records: &[(Option<&str>, Option<&str>)],
    ) -> i16 {
        let sent = Sent {
            timestamp: self.now().wall_ms,
            producer: (who.id, who.epoch, who.sequence),
            attributes: 1 << 4,
            ..Sent::new(records)
        };
        who.sequence += i32::try_from(records.len()).expect("few");
        self.produce_in(who.name, topic, sent.encode())
    }

    /// Commits or aborts; the error's code.
    pub(super) fn end(&mut self, who: &Producer, commit: bool) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(who.name)))
            .with_producer_id(ProducerId(who.id))
            .with_producer_epoch(who.epoch)
            .with_committed(commit);
        match self.send(2, Request::EndTxn(request)).1 {
            Answer::Ready(Response::EndTxn(response)) => response.error_code,
            other => panic!("no answer to EndTxn: {other:?}"),
        }
    }

    /// The offsets, keys and values of partition 0.
    pub(super) fn contents(&self, topic: &str) -> Vec<(i64, String)> {
        let log = &self.state.topics.partition(topic, 0).expect("a topic").log;
        let records = log
            .batches()
            .iter()
            .filter_map(crate::broker::records::decode)
            .flatten();
        records
            .map(|record| {
                let key = record.key.unwrap_or_default();
                (record.offset, String::from_utf8_lossy(&key).into_owned())
            })
            .collect()
    }
}

/// A producer of transactions and what it sent so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Producer {
    pub(super) name: &'static str,
    pub(super) id: i64,
    pub(super) epoch: i16,
    sequence: i32,
}

/// A fetch of partition 0 that waits up to half a second for a byte.
pub(super) fn fetch(topic: &str, offset: i64) -> Request {
    let partition = fetch_request::FetchPartition::default()
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = fetch_request::FetchTopic::default()
        .with_topic(TopicName(text(topic)))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    Request::Fetch(request)
}

/// The error's code and the records of the only partition.
pub(super) fn fetched(response: &FetchResponse) -> (i16, Bytes) {
    let partition = &response.responses[0].partitions[0];
    (
        partition.error_code,
        partition.records.clone().unwrap_or_default(),
    )
}

/// A batch as a producer makes it.
#[derive(Clone)]
pub(super) struct Sent<'a> {
    pub(super) records: &'a [(Option<&'a str>, Option<&'a str>)],
    pub(super) timestamp: i64,
    pub(super) producer: (i64, i16, i32),
    pub(super) attributes: i16,
}

impl<'a> Sent<'a> {
    pub(super) fn new(records: &'a [(Option<&'a str>, Option<&'a str>)]) -> Self {
        Self {
            records,
            timestamp: START_MS,
            producer: (-1, -1, -1),
            attributes: 0,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut payload = BytesMut::new();
        for (delta, (key, value)) in (0..).zip(self.records) {
            let mut record = BytesMut::new();
            record.put_i8(0);
            varint(&mut record, 0);
            varint(&mut record, delta);
            for part in [key, value] {
                match part {
                    Some(part) => {
                        varint(&mut record, i64::try_from(part.len()).expect("short"));
                        record.put_slice(part.as_bytes());
                    }
                    None => varint(&mut record, -1),
                }
            }
            varint(&mut record, 0);
            varint(&mut payload, i64::try_from(record.len()).expect("short"));
            payload.put_slice(&record);
        }
        self.wrap(&payload)
    }

    /// The batch around records that are packed already.
    pub(super) fn wrap(&self, payload: &[u8]) -> Bytes {
        let count = i32::try_from(self.records.len()).expect("few");
        let mut checked = BytesMut::new();
        checked.put_i16(self.attributes);
        checked.put_i32(count - 1);
        checked.put_i64(self.timestamp);
        checked.put_i64(self.timestamp);
        checked.put_i64(self.producer.0);
        checked.put_i16(self.producer.1);
        checked.put_i32(self.producer.2);
        checked.put_i32(count);
        checked.put_slice(payload);
        let mut whole = BytesMut::new();
        whole.put_i64(0);
        whole.put_i32(i32::try_from(checked.len() + 9).expect("short"));
        whole.put_i32(-1);
        whole.put_i8(2);
        whole.put_u32(crc32c::crc32c(&checked));
        whole.put_slice(&checked);
        whole.freeze()
    }
}

pub(super) fn varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    out.put_u8(u8::try_from(rest).expect("seven bits"));
}
