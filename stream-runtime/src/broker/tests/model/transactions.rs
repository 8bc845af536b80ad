//! Transactions against the model of [`super::transaction`]: several ids and their earlier lives, interleaved.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, GroupId, InitProducerIdRequest,
    OffsetFetchRequest, ProduceRequest, ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, OffsetCommitRequest, delete_records_request, offset_commit_request,
};
use proptest::prelude::*;
use std::time::Duration;

use super::batches::{Record, Sent};
use super::cases;
use super::reader::{self, ALL};
use super::transaction::{COMPACTED, Id, Model, TOPICS};
use crate::broker::api::{Request, Response, text};
use crate::broker::state::Answer;
use crate::broker::tests::fixture::Driver;

const IDS: [(&str, i32); 3] = [("x", 5_000), ("y", 20_000), ("z", 60_000)];

/// Which life of a producer speaks: the newest, or so many before.
type Back = i16;

#[derive(Debug, Clone)]
enum Step {
    Init(usize),
    /// InitProducerId of one that has an epoch.
    Return(usize, Back),
    /// So many records, with or without the topic being added before.
    Write(usize, Back, usize, usize, bool),
    Plain(usize, usize),
    Stage(usize, Back, bool),
    CommitOffset,
    End(usize, Back, bool),
    DeleteBefore(usize, usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..IDS.len();
    let topic = 0..TOPICS.len();
    let back = prop_oneof![6 => Just(0_i16), 1 => 1..3_i16];
    let added = proptest::bool::weighted(0.9);
    prop_oneof![
        1 => id.clone().prop_map(Step::Init),
        1 => (id.clone(), back.clone()).prop_map(|(who, back)| Step::Return(who, back)),
        9 => (id.clone(), back.clone(), topic.clone(), 1..3_usize, added)
            .prop_map(|(who, back, topic, records, added)| Step::Write(who, back, topic, records, added)),
        2 => (topic, 1..3_usize).prop_map(|(topic, records)| Step::Plain(topic, records)),
        2 => (id.clone(), back.clone(), added).prop_map(|(who, back, added)| Step::Stage(who, back, added)),
        1 => Just(Step::CommitOffset),
        5 => (id, back, any::<bool>()).prop_map(|(who, back, commit)| Step::End(who, back, commit)),
        1 => (0..TOPICS.len(), any::<usize>()).prop_map(|(topic, at)| Step::DeleteBefore(topic, at)),
        3 => prop_oneof![Just(10_u64), Just(1_100), Just(4_999), Just(6_000)].prop_map(Step::Pass),
    ]
}

struct World {
    driver: Driver,
    model: Model,
    values: i64,
    steps: usize,
}

impl World {
    fn new() -> Self {
        let mut driver = Driver::new(Duration::ZERO);
        driver.topic("a", &[]);
        driver.topic("b", &[]);
        let eager = [
            ("cleanup.policy", "compact,delete"),
            ("segment.ms", "1000"),
            ("delete.retention.ms", "3000"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ];
        driver.topic(TOPICS[COMPACTED], &eager);
        let ids = IDS.map(|(name, timeout_ms)| {
            let timeout = Duration::from_millis(u64::from(timeout_ms.unsigned_abs()));
            let (code, id, epoch) = init(&mut driver, name, timeout_ms, (-1, -1));
            assert_eq!(code, 0);
            Id::new(name, timeout, id, epoch)
        });
        Self {
            driver,
            model: Model::new(ids.into()),
            values: 0,
            steps: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        let now = self.driver.now().elapsed;
        match *step {
            Step::Init(who) => self.init(who, None),
            Step::Return(who, back) => self.init(who, Some(self.epoch(who, back))),
            Step::Write(who, back, topic, records, added) => {
                let epoch = self.epoch(who, back);
                if added {
                    let code = self.add_topic(who, epoch, topic);
                    let expected = self.model.add_topic(who, epoch, topic, now);
                    assert_eq!(code, code_of(&expected), "AddPartitionsToTxn");
                }
                self.write(who, epoch, topic, records);
            }
            Step::Plain(topic, records) => {
                let records = self.records(records);
                let (code, offset) = self.driver.produce(TOPICS[topic], Sent::plain(&records).encode());
                assert_eq!((code, offset), (0, self.model.appended(None, topic, &records)));
            }
            Step::Stage(who, back, added) => {
                let epoch = self.epoch(who, back);
                if added {
                    let code = self.add_group(who, epoch);
                    let expected = self.model.add_group(who, epoch, now);
                    assert_eq!(code, code_of(&expected), "AddOffsetsToTxn");
                }
                self.values += 1;
                let code = self.stage(who, epoch, self.values);
                let expected = self.model.stage(who, epoch, self.values);
                assert_eq!(code, code_of(&expected), "TxnOffsetCommit");
            }
            Step::CommitOffset => {
                self.values += 1;
                self.commit_offset(self.values);
                self.model.commit_offset(self.values);
            }
            Step::End(who, back, commit) => {
                let epoch = self.epoch(who, back);
                let code = self.end(who, epoch, commit);
                let expected = self.model.end(who, epoch, commit);
                assert_eq!(code, code_of(&expected), "EndTxn");
            }
            Step::DeleteBefore(topic, at) => self.delete_before(topic, at),
            Step::Pass(ms) => {
                self.driver.pass(Duration::from_millis(ms));
                self.model.passed(self.driver.now().elapsed);
            }
        }
        self.steps += 1;
        self.check();
    }

    fn epoch(&self, who: usize, back: Back) -> i16 {
        (self.model.ids[who].epoch - back).max(0)
    }

    fn init(&mut self, who: usize, returning: Option<i16>) {
        let id = &self.model.ids[who];
        let (name, producer_id) = (id.name, id.producer_id);
        let producer = returning.map_or((-1, -1), |epoch| (producer_id, epoch));
        let timeout_ms = i32::try_from(id.timeout.as_millis()).expect("seconds");
        let (code, id, epoch) = init(&mut self.driver, name, timeout_ms, producer);
        match self.model.init(who, returning) {
            Ok(expected) => assert_eq!((code, id, epoch), (0, producer_id, expected), "InitProducerId"),
            Err(error) => assert_eq!(code, error.code(), "InitProducerId"),
        }
    }

    fn records(&mut self, count: usize) -> Vec<Record> {
        let timestamp = self.driver.now().wall_ms;
        let record = |_| {
            self.values += 1;
            Record {
                key: Some(format!("k{}", self.values % 3)),
                value: Some(self.values.to_string()),
                timestamp,
            }
        };
        (0..count).map(record).collect()
    }

    fn write(&mut self, who: usize, epoch: i16, topic: usize, count: usize) {
        let records = self.records(count);
        let sent = Sent {
            producer: (
                self.model.ids[who].producer_id,
                epoch,
                *self.model.sequence(who, epoch, topic),
            ),
            is_transactional: true,
            ..Sent::plain(&records)
        };
        let partition = PartitionProduceData::default().with_records(Some(sent.encode()));
        let data = TopicProduceData::default()
            .with_name(TopicName(text(TOPICS[topic])))
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_transactional_id(Some(self.name(who)))
            .with_topic_data(vec![data]);
        let Response::Produce(response) = self.ask(9, Request::Produce(request)) else {
            panic!("no answer to Produce");
        };
        let partition = &response.responses[0].partition_responses[0];
        let expected = self.model.may_write(who, epoch, topic);
        assert_eq!(partition.error_code, code_of(&expected), "Produce");
        if expected.is_ok() {
            let offset = self.model.appended(Some(who), topic, &records);
            assert_eq!(partition.base_offset, offset);
            *self.model.sequence(who, epoch, topic) += i32::try_from(count).expect("few");
        }
    }

    fn delete_before(&mut self, topic: usize, at: usize) {
        let log = &mut self.model.logs[topic];
        let width = usize::try_from(log.end - log.start + 1).expect("the end is behind the start");
        log.start += i64::try_from(at % width).expect("small");
        let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(log.start);
        let topic = delete_records_request::DeleteRecordsTopic::default()
            .with_name(TopicName(text(TOPICS[topic])))
            .with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
        self.ask(2, Request::DeleteRecords(request));
    }

    fn check(&mut self) {
        // Small bites, so that an aborted transaction begins in one answer and ends in another.
        let bite = [1, 160, ALL][self.steps % 3];
        for (topic, name) in TOPICS.iter().enumerate() {
            let found = reader::read_all(&mut self.driver, name, bite);
            let log = &self.model.logs[topic];
            assert_eq!(
                (found.start, found.stable, found.end),
                (log.start, log.stable(), log.end),
                "start, stable end and end of `{name}`"
            );
            let seen = reader::read_committed(&mut self.driver, name, bite);
            let expected: Vec<(i64, Record)> = log
                .committed()
                .map(|written| (written.offset, written.record.clone()))
                .collect();
            if topic != COMPACTED {
                assert_eq!(seen, expected, "committed records of `{name}`");
                let written = log.written.iter().filter(|written| written.offset >= log.start);
                let all = written.map(|written| (written.offset, written.record.clone()));
                assert!(found.records().cloned().eq(all), "all records of `{name}`");
                continue;
            }
            assert!(
                seen.iter().all(|seen| expected.contains(seen)),
                "{seen:?} of `{name}` are committed"
            );
            for (at, last) in expected.iter().enumerate() {
                let is_last = expected[at + 1..]
                    .iter()
                    .all(|(_, other)| other.key != last.1.key);
                assert!(
                    !is_last || seen.contains(last),
                    "{last:?} is the last of its key in `{name}`"
                );
            }
        }
        let committed = self.model.offset().unwrap_or(-1);
        assert_eq!(self.offset(false), (0, committed), "the group's offset");
        let stable = match self.model.is_offset_unstable() {
            true => (ResponseError::UnstableOffsetCommit.code(), -1),
            false => (0, committed),
        };
        assert_eq!(self.offset(true), stable, "the group's stable offset");
    }

    /// Nothing is open for ever, and everybody can go on.
    fn settle(&mut self) {
        self.take(&Step::Pass(60_000));
        for log in &self.model.logs {
            assert_eq!(log.stable(), log.end, "a transaction is still open");
        }
        assert!(!self.model.is_offset_unstable(), "offsets are still staged");
        for who in 0..IDS.len() {
            self.take(&Step::Init(who));
            self.take(&Step::Write(who, 0, COMPACTED, 2, true));
            self.take(&Step::Stage(who, 0, true));
            self.take(&Step::End(who, 0, true));
        }
    }

    fn name(&self, who: usize) -> TransactionalId {
        TransactionalId(text(self.model.ids[who].name))
    }

    fn ask(&mut self, version: i16, request: Request) -> Response {
        match self.driver.send(version, request).1 {
            Answer::Ready(response) => response,
            other => panic!("no answer at once: {other:?}"),
        }
    }

    fn add_topic(&mut self, who: usize, epoch: i16, topic: usize) -> i16 {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(TopicName(text(TOPICS[topic])))
            .with_partitions(vec![0]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.name(who))
            .with_v3_and_below_producer_id(ProducerId(self.model.ids[who].producer_id))
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(vec![topic]);
        match self.ask(3, Request::AddPartitionsToTxn(request)) {
            Response::AddPartitionsToTxn(response) => {
                response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
            }
            other => panic!("no answer to AddPartitionsToTxn: {other:?}"),
        }
    }

    fn add_group(&mut self, who: usize, epoch: i16) -> i16 {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(self.name(who))
            .with_producer_id(ProducerId(self.model.ids[who].producer_id))
            .with_producer_epoch(epoch)
            .with_group_id(GroupId(text("g")));
        match self.ask(3, Request::AddOffsetsToTxn(request)) {
            Response::AddOffsetsToTxn(response) => response.error_code,
            other => panic!("no answer to AddOffsetsToTxn: {other:?}"),
        }
    }

    fn stage(&mut self, who: usize, epoch: i16, offset: i64) -> i16 {
        let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(TopicName(text("a")))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(self.name(who))
            .with_group_id(GroupId(text("g")))
            .with_producer_id(ProducerId(self.model.ids[who].producer_id))
            .with_producer_epoch(epoch)
            .with_generation_id(-1)
            .with_topics(vec![topic]);
        match self.ask(3, Request::TxnOffsetCommit(request)) {
            Response::TxnOffsetCommit(response) => response.topics[0].partitions[0].error_code,
            other => panic!("no answer to TxnOffsetCommit: {other:?}"),
        }
    }

    fn end(&mut self, who: usize, epoch: i16, commit: bool) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.name(who))
            .with_producer_id(ProducerId(self.model.ids[who].producer_id))
            .with_producer_epoch(epoch)
            .with_committed(commit);
        match self.ask(3, Request::EndTxn(request)) {
            Response::EndTxn(response) => response.error_code,
            other => panic!("no answer to EndTxn: {other:?}"),
        }
    }

    fn commit_offset(&mut self, offset: i64) {
        let partition =
            offset_commit_request::OffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(TopicName(text("a")))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        match self.ask(8, Request::OffsetCommit(request)) {
            Response::OffsetCommit(response) => assert_eq!(response.topics[0].partitions[0].error_code, 0),
            other => panic!("no answer to OffsetCommit: {other:?}"),
        }
    }

    fn offset(&mut self, stable: bool) -> (i16, i64) {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(TopicName(text("a")))
            .with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_require_stable(stable)
            .with_topics(Some(vec![topic]));
        match self.ask(7, Request::OffsetFetch(request)) {
            Response::OffsetFetch(response) => {
                let partition = &response.topics[0].partitions[0];
                (partition.error_code, partition.committed_offset)
            }
            other => panic!("no answer to OffsetFetch: {other:?}"),
        }
    }
}

/// InitProducerId: the error's code, the producer's id and epoch.
fn init(driver: &mut Driver, name: &str, timeout_ms: i32, producer: (i64, i16)) -> (i16, i64, i16) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(name))))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(producer.0))
        .with_producer_epoch(producer.1);
    match driver.send(4, Request::InitProducerId(request)).1 {
        Answer::Ready(Response::InitProducerId(response)) => (
            response.error_code,
            response.producer_id.0,
            response.producer_epoch,
        ),
        other => panic!("no answer to InitProducerId: {other:?}"),
    }
}

fn code_of<T>(expected: &Result<T, ResponseError>) -> i16 {
    expected.as_ref().err().map_or(0, ResponseError::code)
}

proptest! {
    #![proptest_config(cases(160))]

    #[test]
    fn who_reads_committed_records_sees_those_of_committed_transactions(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        run(&steps);
    }
}

fn run(steps: &[Step]) {
    let mut world = World::new();
    for step in steps {
        world.take(step);
    }
    world.settle();
}

#[test]
fn an_open_transaction_is_not_read_from_the_middle_of_a_batch() {
    // The log begins inside the batch, and so does what is stable.
    run(&[Step::Write(0, 0, 0, 2, true), Step::DeleteBefore(0, 1)]);
}
