//! Produce and Fetch: damaged batches, idempotent producers, long polls.

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use std::time::Duration;

use super::fixture::{Driver, Sent, fetch, fetched};
use crate::broker::api::{Request, Response};
use crate::broker::state::Answer;

fn driver() -> Driver {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", &[]);
    driver
}

const ONE: &[(Option<&str>, Option<&str>)] = &[(Some("k"), Some("v"))];

#[test]
fn damaged_batches_are_refused() {
    let mut driver = driver();
    let good = Sent::new(ONE).encode();
    let changed = |at: usize, to: u8| {
        let mut bytes = BytesMut::from(&good[..]);
        bytes[at] = to;
        bytes.freeze()
    };
    let corrupt = ResponseError::CorruptMessage.code();
    let invalid = ResponseError::InvalidRecord.code();
    assert_eq!(driver.produce("t", Bytes::new()), (corrupt, -1));
    assert_eq!(driver.produce("t", good.slice(..40)), (corrupt, -1));
    assert_eq!(driver.produce("t", good.slice(..good.len() - 1)), (corrupt, -1));
    assert_eq!(driver.produce("t", changed(good.len() - 1, 99)), (corrupt, -1));
    assert_eq!(driver.produce("t", changed(16, 1)), (invalid, -1));
    assert_eq!(driver.produce("t", changed(8, 0xff)), (corrupt, -1));
    let mut twice = BytesMut::from(&good[..]);
    twice.extend_from_slice(&good);
    assert_eq!(driver.produce("t", twice.freeze()), (invalid, -1));
    // What the checksum does not cover is the broker's.
    assert_eq!(driver.produce("t", changed(3, 7)), (0, 0));
    assert_eq!(driver.produce("t", good), (0, 1));
    let control = Sent {
        attributes: 1 << 5,
        ..Sent::new(ONE)
    };
    assert_eq!(driver.produce("t", control.encode()), (invalid, -1));
}

#[test]
fn an_idempotent_batch_that_comes_again_gets_its_first_offset() {
    let mut driver = driver();
    let batch = |epoch, sequence| {
        Sent {
            producer: (7, epoch, sequence),
            ..Sent::new(ONE)
        }
        .encode()
    };
    let out_of_order = ResponseError::OutOfOrderSequenceNumber.code();
    for sequence in 0..6 {
        assert_eq!(driver.produce("t", batch(0, sequence)), (0, i64::from(sequence)));
    }
    assert_eq!(driver.produce("t", batch(0, 5)), (0, 5));
    assert_eq!(driver.produce("t", batch(0, 1)), (0, 1));
    assert_eq!(
        driver.produce("t", batch(0, 0)),
        (out_of_order, -1),
        "older than the last five"
    );
    assert_eq!(driver.produce("t", batch(0, 8)), (out_of_order, -1));
    assert_eq!(
        driver.produce("t", batch(1, 3)),
        (out_of_order, -1),
        "an epoch begins at 0"
    );
    assert_eq!(driver.produce("t", batch(1, 0)), (0, 6));
    assert_eq!(
        driver.produce("t", batch(0, 6)),
        (ResponseError::InvalidProducerEpoch.code(), -1)
    );
    assert_eq!(driver.contents("t").len(), 7);
}

#[test]
fn sequences_wrap() {
    let mut driver = driver();
    let two = [ONE[0], ONE[0]];
    let batch = |sequence| {
        Sent {
            producer: (7, 0, sequence),
            ..Sent::new(&two)
        }
        .encode()
    };
    assert_eq!(
        driver.produce("t", batch(i32::MAX)),
        (0, 0),
        "an unknown producer may begin anywhere"
    );
    assert_eq!(driver.produce("t", batch(1)), (0, 2), "the last one was 0");
}

#[test]
fn a_fetch_waits_for_records_or_for_its_time() {
    let mut driver = driver();
    let (token, answer) = driver.send(11, fetch("t", 0));
    assert!(matches!(answer, Answer::Later), "{answer:?}");
    assert_eq!(driver.pass(Duration::from_millis(499)).len(), 0);
    let late = driver.pass(Duration::from_millis(1));
    assert!(matches!(&late[..], [(t, Response::Fetch(r))] if *t == token && fetched(r) == (0, Bytes::new())));

    let (token, _) = driver.send(11, fetch("t", 0));
    assert_eq!(driver.produce("t", Sent::new(ONE).encode()), (0, 0));
    let woken = driver.completions();
    assert!(matches!(&woken[..], [(t, Response::Fetch(r))] if *t == token && !fetched(r).1.is_empty()));
    assert_eq!(
        driver.pass(Duration::from_secs(1)).len(),
        0,
        "it is answered once"
    );
}

#[test]
fn a_fetch_out_of_range_is_answered_at_once() {
    let mut driver = driver();
    for offset in [-1, 1] {
        let (_, answer) = driver.send(11, fetch("t", offset));
        let Answer::Ready(Response::Fetch(response)) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(fetched(&response).0, ResponseError::OffsetOutOfRange.code());
    }
    let (_, answer) = driver.send(11, fetch("unknown", 0));
    let Answer::Ready(Response::Fetch(response)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        fetched(&response).0,
        ResponseError::UnknownTopicOrPartition.code()
    );
}

#[test]
fn deleting_a_topic_ends_the_fetches_that_wait_for_it() {
    let mut driver = driver();
    let (token, _) = driver.send(11, fetch("t", 0));
    let name = kafka_protocol::messages::TopicName(crate::broker::api::text("t"));
    let request = kafka_protocol::messages::DeleteTopicsRequest::default().with_topic_names(vec![name]);
    driver.send(1, Request::DeleteTopics(request));
    let woken = driver.completions();
    let code = ResponseError::UnknownTopicOrPartition.code();
    assert!(matches!(&woken[..], [(t, Response::Fetch(r))] if *t == token && fetched(r).0 == code));
}

#[test]
fn a_fetch_does_not_wait_for_more_than_it_may_get() {
    let mut driver = driver();
    let Request::Fetch(request) = fetch("t", 0) else {
        panic!("a fetch")
    };
    let (token, answer) = driver.send(
        11,
        Request::Fetch(request.with_min_bytes(1000).with_max_bytes(100)),
    );
    assert!(matches!(answer, Answer::Later), "{answer:?}");
    driver.produce("t", Sent::new(ONE).encode());
    assert_eq!(driver.completions().len(), 0, "one is less than it may get");
    driver.produce("t", Sent::new(ONE).encode());
    driver.produce("t", Sent::new(ONE).encode());
    let woken = driver.completions();
    assert!(
        matches!(&woken[..], [(t, Response::Fetch(_))] if *t == token),
        "{woken:?}"
    );
}
