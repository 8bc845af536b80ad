//! Transactions on a time that the tests set: time-outs, epochs that run out, who is woken, what is kept.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteTopicsRequest, TopicName, delete_records_request,
};
use std::time::Duration;

use super::fixture::{Driver, Producer, Sent, fetch};
use crate::broker::api::{Request, Response, text};
use crate::broker::log::Reads;
use crate::broker::state::{Answer, Token};

type Pair<'a> = (Option<&'a str>, Option<&'a str>);

const ONE: &[Pair<'_>] = &[(Some("k"), Some("v"))];
const COMMIT: bool = true;
const ABORT: bool = false;
const EAGER: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "1000"),
    ("delete.retention.ms", "5000"),
    ("min.cleanable.dirty.ratio", "0.01"),
];

fn driver(settings: &[(&str, &str)]) -> Driver {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", settings);
    driver
}

/// One transaction with one record in `t`.
fn write(driver: &mut Driver, who: &mut Producer, records: &[Pair<'_>], commit: bool) {
    driver.add(who, "t");
    assert_eq!(driver.put(who, "t", records), 0);
    assert_eq!(driver.end(who, commit), 0);
}

fn plain(driver: &mut Driver, records: &[Pair<'_>]) {
    let timestamp = driver.now().wall_ms;
    let sent = Sent {
        timestamp,
        ..Sent::new(records)
    };
    assert_eq!(driver.produce("t", sent.encode()).0, 0);
}

fn committed(request: Request) -> Request {
    let Request::Fetch(request) = request else {
        panic!("a fetch")
    };
    Request::Fetch(request.with_isolation_level(1))
}

/// What is committed from an offset on.
fn read(driver: &mut Driver, from: i64) -> PartitionData {
    let Request::Fetch(request) = committed(fetch("t", from)) else {
        panic!("a fetch")
    };
    let (_, answer) = driver.send(11, Request::Fetch(request.with_max_wait_ms(0)));
    let Answer::Ready(Response::Fetch(mut response)) = answer else {
        panic!("{answer:?}")
    };
    response.responses.remove(0).partitions.remove(0)
}

/// The aborted transactions that a reader from an offset is told of.
fn aborted(driver: &mut Driver, from: i64) -> Vec<(i64, i64)> {
    let listed = read(driver, from).aborted_transactions.unwrap_or_default();
    let pair = |aborted: &kafka_protocol::messages::fetch_response::AbortedTransaction| {
        (aborted.producer_id.0, aborted.first_offset)
    };
    listed.iter().map(pair).collect()
}

/// The first offsets of the batches, markers too.
fn bases(driver: &Driver) -> Vec<i64> {
    let log = &driver.state.topics.partition("t", 0).expect("a topic").log;
    log.batches().iter().map(|batch| batch.base_offset).collect()
}

fn woken(late: &[(Token, Response)]) -> Vec<Token> {
    late.iter().map(|(token, _)| *token).collect()
}

#[test]
fn a_fetch_of_committed_records_wakes_when_they_are() {
    let mut driver = driver(&[]);
    let mut one = driver.init("one", 60_000);
    let mut two = driver.init("two", 60_000);
    let (waiting, answer) = driver.send(11, committed(fetch("t", 0)));
    assert!(matches!(answer, Answer::Later), "{answer:?}");
    driver.add(&one, "t");
    driver.add(&two, "t");
    assert_eq!(driver.put(&mut one, "t", ONE), 0);
    assert_eq!(driver.put(&mut two, "t", ONE), 0);
    plain(&mut driver, ONE);
    assert_eq!(woken(&driver.completions()), [], "nothing that it may read");
    // Who begins behind what is stable waits as well.
    let (behind, answer) = driver.send(11, committed(fetch("t", 2)));
    assert!(matches!(answer, Answer::Later), "{answer:?}");
    assert_eq!(driver.end(&one, COMMIT), 0);
    assert_eq!(woken(&driver.completions()), [waiting]);
    assert_eq!(driver.end(&two, ABORT), 0);
    assert_eq!(woken(&driver.completions()), [behind]);
    assert_eq!(driver.pass(Duration::from_secs(1)).len(), 0);
}

#[test]
fn a_transaction_ends_with_its_time() {
    let mut driver = driver(&[]);
    let mut producer = driver.init("id", 1000);
    write(&mut driver, &mut producer, ONE, COMMIT);
    driver.pass(Duration::from_millis(600));
    driver.add(&producer, "t");
    assert_eq!(driver.put(&mut producer, "t", ONE), 0);
    driver.pass(Duration::from_millis(600));
    // Adding more does not make it younger.
    driver.add(&producer, "t");
    let (waiting, _) = driver.send(11, committed(fetch("t", 2)));
    driver.pass(Duration::from_millis(399));
    assert_eq!(
        read(&mut driver, 2).last_stable_offset,
        2,
        "the first one's time is not its own"
    );
    assert_eq!(woken(&driver.pass(Duration::from_millis(1))), [waiting]);
    assert_eq!(read(&mut driver, 2).last_stable_offset, 4);
    assert_eq!(aborted(&mut driver, 2), [(producer.id, 2)]);
    assert_eq!(
        driver.end(&producer, COMMIT),
        ResponseError::ProducerFenced.code()
    );
    // It may come back itself. Whoever comes next has all of its time.
    let (code, returned) = driver.try_init("id", 1000, Some(&producer));
    assert_eq!((code, returned.id, returned.epoch), (0, producer.id, 1));
    let mut next = driver.init("id", 1000);
    assert_eq!((next.id, next.epoch), (producer.id, 2));
    driver.pass(Duration::from_secs(10));
    driver.add(&next, "t");
    assert_eq!(driver.put(&mut next, "t", ONE), 0);
    driver.pass(Duration::from_millis(999));
    assert_eq!(driver.end(&next, COMMIT), 0);
    driver.pass(Duration::from_secs(10));
    assert_eq!(bases(&driver), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_fenced_producer_is_refused_where_it_wrote() {
    let mut driver = driver(&[]);
    let mut old = driver.init("id", 60_000);
    driver.add(&old, "t");
    assert_eq!(driver.put(&mut old, "t", ONE), 0);
    // It goes on in the epoch of the abort, as librdkafka does after an error.
    let (code, mut new) = driver.try_init("id", 60_000, Some(&old));
    assert_eq!((code, new.id, new.epoch), (0, old.id, 1));
    // Even outside of transactions, and in sequence.
    let outside = Sent {
        producer: (old.id, old.epoch, 1),
        ..Sent::new(ONE)
    };
    let fenced = ResponseError::InvalidProducerEpoch.code();
    assert_eq!(driver.produce("t", outside.encode()), (fenced, -1));
    // The new one counts from 0 again, which is not the batch that was numbered so before.
    write(&mut driver, &mut new, ONE, COMMIT);
    assert_eq!(bases(&driver), [0, 1, 2, 3]);
}

#[test]
fn a_reader_is_told_what_it_is_given() {
    let mut driver = driver(&[]);
    let mut producer = driver.init("id", 60_000);
    for _ in 0..3 {
        write(&mut driver, &mut producer, ONE, ABORT);
    }
    let log = &driver.state.topics.partition("t", 0).expect("a topic").log;
    let firsts = |from, most| {
        let slice = log.read(from, most, true, Reads::Committed).expect("in range");
        let told = slice.aborted.expect("it asked").into_iter();
        told.map(|aborted| aborted.first).collect::<Vec<_>>()
    };
    assert_eq!(firsts(0, 1), [0], "one batch");
    assert_eq!(firsts(1, 1), [0], "its marker");
    assert_eq!(firsts(2, 1), [2]);
    assert_eq!(firsts(0, 300), [0, 2]);
    assert_eq!(firsts(0, 1000), [0, 2, 4]);
    assert_eq!(firsts(6, 1000), [0; 0]);
}

#[test]
fn a_producer_whose_epochs_are_used_up_gets_a_new_id() {
    let mut driver = driver(&[]);
    let first = driver.init("id", 60_000);
    let mut last = first;
    for epoch in 1..i16::MAX {
        last = driver.init("id", 60_000);
        assert_eq!((last.id, last.epoch), (first.id, epoch));
    }
    // The last epoch may write, and be fenced.
    driver.add(&last, "t");
    assert_eq!(driver.put(&mut last, "t", ONE), 0);
    let renewed = driver.init("id", 60_000);
    assert_ne!(renewed.id, first.id);
    assert_eq!(renewed.epoch, 0);
    assert_eq!(aborted(&mut driver, 0), [(first.id, 0)]);
    assert_eq!(
        driver.put(&mut last, "t", ONE),
        ResponseError::InvalidProducerIdMapping.code()
    );
}

#[test]
fn a_producer_that_returns_in_its_last_epoch_gets_the_new_id_again() {
    let mut driver = driver(&[]);
    let mut last = driver.init("id", 60_000);
    while last.epoch < i16::MAX - 1 {
        last = driver.init("id", 60_000);
    }
    let (code, renewed) = driver.try_init("id", 60_000, Some(&last));
    assert_eq!((code, renewed.epoch), (0, 0));
    assert_ne!(renewed.id, last.id);
    let (code, again) = driver.try_init("id", 60_000, Some(&last));
    assert_eq!((code, again.id, again.epoch), (0, renewed.id, 0));
    driver.init("id", 60_000);
    let (code, _) = driver.try_init("id", 60_000, Some(&last));
    assert_eq!(code, ResponseError::ProducerFenced.code());
}

#[test]
fn an_open_transaction_is_not_compacted() {
    let mut driver = driver(EAGER);
    let mut producer = driver.init("id", 600_000);
    plain(&mut driver, &[(Some("a"), Some("1"))]);
    driver.add(&producer, "t");
    assert_eq!(driver.put(&mut producer, "t", &[(Some("a"), Some("2"))]), 0);
    plain(&mut driver, &[(Some("a"), Some("3"))]);
    plain(&mut driver, &[(Some("a"), Some("4"))]);
    driver.pass(Duration::from_secs(10));
    assert_eq!(bases(&driver), [0, 1, 2, 3]);
    assert_eq!(driver.end(&producer, ABORT), 0);
    plain(&mut driver, &[(Some("z"), Some("1"))]);
    driver.pass(Duration::from_secs(2));
    assert_eq!(bases(&driver), [3, 4, 5]);
}

#[test]
fn an_aborted_record_replaces_nothing() {
    let mut driver = driver(EAGER);
    let mut producer = driver.init("id", 600_000);
    write(&mut driver, &mut producer, &[(Some("a"), Some("1"))], COMMIT);
    write(&mut driver, &mut producer, &[(Some("a"), Some("2"))], ABORT);
    plain(&mut driver, &[(Some("z"), Some("1"))]);
    driver.pass(Duration::from_secs(2));
    // Both markers are still there: one has its record, the other waits.
    assert_eq!(bases(&driver), [0, 1, 3, 4]);
    assert_eq!(aborted(&mut driver, 0), [], "there is nothing to leave out");
    let log = &driver.state.topics.partition("t", 0).expect("a topic").log;
    assert_eq!(log.isolation().aborted_in(0, i64::MAX), []);
    driver.pass(Duration::from_secs(5));
    assert_eq!(bases(&driver), [0, 1, 4], "the marker's time is over");
    // The record is replaced; then the marker has its time too.
    plain(&mut driver, &[(Some("a"), Some("3"))]);
    plain(&mut driver, &[(Some("z"), Some("2"))]);
    driver.pass(Duration::from_secs(2));
    plain(&mut driver, &[(Some("z"), Some("3"))]);
    driver.pass(Duration::from_secs(2));
    assert_eq!(bases(&driver), [1, 5, 6, 7]);
    driver.pass(Duration::from_secs(5));
    assert_eq!(bases(&driver), [5, 6, 7]);
}

#[test]
fn an_aborted_transaction_is_told_as_long_as_it_has_records() {
    let mut driver = driver(EAGER);
    let mut producer = driver.init("id", 600_000);
    driver.add(&producer, "t");
    assert_eq!(driver.put(&mut producer, "t", ONE), 0);
    driver.pass(Duration::from_secs(2));
    assert_eq!(driver.put(&mut producer, "t", ONE), 0);
    assert_eq!(driver.end(&producer, ABORT), 0);
    driver.pass(Duration::from_millis(500));
    // The first record lies in a closed segment and goes; the second does not.
    assert_eq!(bases(&driver), [1, 2]);
    assert_eq!(aborted(&mut driver, 0), [(producer.id, 0)]);
    assert_eq!(aborted(&mut driver, 1), [(producer.id, 0)]);
}

#[test]
fn retention_forgets_aborted_transactions() {
    let mut driver = driver(&[("retention.ms", "400000")]);
    let mut producer = driver.init("id", 600_000);
    write(&mut driver, &mut producer, ONE, ABORT);
    driver.pass(Duration::from_secs(200));
    write(&mut driver, &mut producer, ONE, ABORT);
    assert_eq!(aborted(&mut driver, 0), [(producer.id, 0), (producer.id, 2)]);
    driver.pass(Duration::from_secs(450));
    assert_eq!(bases(&driver), [2, 3]);
    assert_eq!(aborted(&mut driver, 2), [(producer.id, 2)]);
    let log = &driver.state.topics.partition("t", 0).expect("a topic").log;
    assert_eq!(log.isolation().aborted_in(0, i64::MAX).len(), 1);
}

#[test]
fn deleted_records_of_an_open_transaction_hold_nobody_back() {
    let mut driver = driver(&[]);
    let mut producer = driver.init("id", 60_000);
    driver.add(&producer, "t");
    assert_eq!(driver.put(&mut producer, "t", ONE), 0);
    plain(&mut driver, ONE);
    let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(2);
    let topic = delete_records_request::DeleteRecordsTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![partition]);
    driver.send(
        1,
        Request::DeleteRecords(DeleteRecordsRequest::default().with_topics(vec![topic])),
    );
    assert_eq!(read(&mut driver, 2).last_stable_offset, 2);
    plain(&mut driver, ONE);
    assert_eq!(read(&mut driver, 2).last_stable_offset, 2);
    assert_eq!(driver.end(&producer, ABORT), 0);
    let data = read(&mut driver, 2);
    assert_eq!((data.last_stable_offset, data.high_watermark), (4, 4));
}

#[test]
fn a_topic_that_was_deleted_needs_no_marker() {
    let mut driver = driver(&[]);
    driver.topic("other", &[]);
    let mut producer = driver.init("id", 60_000);
    driver.add(&producer, "t");
    driver.add(&producer, "other");
    assert_eq!(driver.put(&mut producer, "t", ONE), 0);
    let request = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("other"))]);
    driver.send(1, Request::DeleteTopics(request));
    assert_eq!(driver.end(&producer, COMMIT), 0);
    assert_eq!(bases(&driver), [0, 1]);
}

#[test]
fn the_last_marker_is_stamped_like_any_record() {
    let mut driver = driver(&[("message.timestamp.type", "LogAppendTime")]);
    let mut producer = driver.init("id", 60_000);
    write(&mut driver, &mut producer, ONE, COMMIT);
    let log = &driver.state.topics.partition("t", 0).expect("a topic").log;
    let marker = log.batches().back().expect("a marker");
    assert!(marker.has_append_time());
    assert_eq!(marker.len(), 78);
    assert_eq!(marker.max_timestamp, driver.now().wall_ms);
}

#[test]
fn a_batch_that_is_damaged_opens_nothing() {
    let mut driver = driver(&[]);
    let producer = driver.init("one", 60_000);
    driver.add(&producer, "t");
    let corrupt = ResponseError::CorruptMessage.code();
    assert_eq!(
        driver.produce_in("one", "t", Bytes::from_static(&[2; 80])),
        corrupt
    );
    assert_eq!(read(&mut driver, 0).last_stable_offset, 0);
    plain(&mut driver, ONE);
    assert_eq!(read(&mut driver, 0).last_stable_offset, 1);
}
