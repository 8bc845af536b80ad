//! Records: what is produced is what is fetched, and what cannot be taken is refused.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, Timestamp};
use rdkafka::producer::FutureRecord;
use rdkafka::{Offset, consumer::Consumer};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, eventually, next, now_ms};

fn record<'a>(topic: &'a str, key: &'a str, value: &'a [u8]) -> FutureRecord<'a, [u8], [u8]> {
    FutureRecord::to(topic)
        .partition(0)
        .key(key.as_bytes())
        .payload(value)
}

fn code(result: Result<i64, KafkaError>) -> Option<RDKafkaErrorCode> {
    result.err().and_then(|error| error.rdkafka_error_code())
}

pub(crate) fn keeps_all_of_a_record(cluster: &Cluster) {
    let topic = cluster.topic(2, &[]);
    let producer = cluster.producer(&[]);
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "a",
            value: Some("1"),
        })
        .insert(Header {
            key: "a",
            value: Some("2"),
        })
        .insert(Header {
            key: "none",
            value: None::<&str>,
        });
    let time = now_ms() - 5000;
    let full = record(&topic, "key", b"value").timestamp(time).headers(headers);
    assert_eq!(cluster.send(&producer, full).ok(), Some(0));
    let tombstone = FutureRecord::<[u8], [u8]>::to(&topic)
        .partition(0)
        .key(b"key".as_slice());
    assert_eq!(cluster.send(&producer, tombstone).ok(), Some(1));
    let empty = FutureRecord::<[u8], [u8]>::to(&topic)
        .partition(0)
        .payload(b"".as_slice());
    assert_eq!(cluster.send(&producer, empty).ok(), Some(2));

    let read = cluster.read_all(&topic);
    let seen: Vec<_> = read.iter().map(|m| (m.offset(), m.key(), m.payload())).collect();
    assert_eq!(seen[0], (0, Some(b"key".as_slice()), Some(b"value".as_slice())));
    assert_eq!(seen[1], (1, Some(b"key".as_slice()), None));
    assert_eq!(seen[2].1, None);
    assert_eq!(seen[2].2.unwrap_or_default(), b"");
    assert_eq!(read[0].timestamp(), Timestamp::CreateTime(time));
    let headers = read[0].headers().expect("there are headers");
    let seen: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
    assert_eq!(
        seen,
        [("a", Some(b"1".as_slice())), ("a", Some(b"2")), ("none", None)]
    );
}

pub(crate) fn compresses_with_every_codec(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let value = "the same again and again ".repeat(200);
    let mut tried = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let mut config = cluster.config();
        config
            .set("compression.type", codec)
            .set("message.timeout.ms", "60000");
        // A build of librdkafka need not have them all.
        let Ok(producer) = config.create() else { continue };
        cluster
            .send(&producer, record(&topic, codec, value.as_bytes()))
            .expect("it is taken");
        tried.push(codec);
    }
    assert!(
        tried.contains(&"none") && tried.contains(&"gzip") && tried.contains(&"lz4"),
        "{tried:?}"
    );
    let read = cluster.read_all(&topic);
    let keys: Vec<_> = read.iter().map(|m| m.key().unwrap_or_default()).collect();
    assert_eq!(
        keys,
        tried.iter().map(|codec| codec.as_bytes()).collect::<Vec<_>>()
    );
    assert!(read.iter().all(|m| m.payload() == Some(value.as_bytes())));
}

pub(crate) fn keeps_order_with_idempotence(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[("enable.idempotence", "true"), ("batch.num.messages", "7")]);
    let values: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let sends: Vec<_> = values
        .iter()
        .map(|value| {
            producer
                .send_result(record(&topic, "k", value.as_bytes()))
                .expect("it is queued")
        })
        .collect();
    for (offset, send) in (0..).zip(sends) {
        let delivery = cluster
            .wait(send)
            .expect("the producer lives")
            .expect("it is taken");
        assert_eq!(delivery.offset, offset);
    }
    let read = cluster.read_all(&topic);
    let seen: Vec<_> = read.iter().map(|m| m.payload().unwrap_or_default()).collect();
    assert_eq!(seen, values.iter().map(String::as_bytes).collect::<Vec<_>>());
}

pub(crate) fn takes_a_large_record(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let value = vec![b'x'; 990_000];
    let producer = cluster.producer(&[]);
    cluster
        .send(&producer, record(&topic, "k", &value))
        .expect("it is taken");
    cluster
        .send(&producer, record(&topic, "k", &value))
        .expect("it is taken");
    let read = cluster.read_all(&topic);
    assert!(read.len() == 2 && read.iter().all(|m| m.payload() == Some(value.as_slice())));
}

pub(crate) fn refuses_a_record_that_is_too_large(cluster: &Cluster) {
    let topic = cluster.topic(1, &[("max.message.bytes", "10000")]);
    let producer = cluster.producer(&[]);
    let refused = cluster.send(&producer, record(&topic, "k", &[b'x'; 20_000]));
    assert_eq!(code(refused), Some(RDKafkaErrorCode::MessageSizeTooLarge));
    cluster
        .send(&producer, record(&topic, "k", &[b'x'; 9_000]))
        .expect("it is taken");
}

pub(crate) fn refuses_a_null_key_in_a_compacted_topic(cluster: &Cluster) {
    let topic = cluster.topic(1, &[("cleanup.policy", "compact")]);
    let without_key = || {
        FutureRecord::<[u8], [u8]>::to(&topic)
            .partition(0)
            .payload(b"v".as_slice())
    };
    for codec in ["none", "gzip", "lz4"] {
        let producer = cluster.producer(&[("compression.type", codec)]);
        let refused = cluster.send(&producer, without_key());
        assert_eq!(code(refused), Some(RDKafkaErrorCode::InvalidRecord), "{codec}");
    }
    assert_eq!(cluster.watermarks(&topic), (0, 0));
}

pub(crate) fn refuses_a_time_far_ahead(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[]);
    let ahead = now_ms() + 2 * 3600 * 1000;
    let refused = cluster.send(&producer, record(&topic, "k", b"v").timestamp(ahead));
    assert_eq!(code(refused), Some(RDKafkaErrorCode::InvalidTimestamp));
    cluster
        .send(&producer, record(&topic, "k", b"v").timestamp(1000))
        .expect("the past is allowed");
}

pub(crate) fn stamps_the_time_of_the_append(cluster: &Cluster) {
    let topic = cluster.topic(1, &[("message.timestamp.type", "LogAppendTime")]);
    for codec in ["none", "gzip"] {
        let producer = cluster.producer(&[("compression.type", codec)]);
        cluster
            .send(&producer, record(&topic, "k", b"v").timestamp(1000))
            .expect("it is taken");
    }
    let read = cluster.read_all(&topic);
    assert_eq!(read.len(), 2);
    for message in read {
        let Timestamp::LogAppendTime(time) = message.timestamp() else {
            panic!("not the time of the append: {:?}", message.timestamp());
        };
        assert!(time > 1_500_000_000_000, "{time}");
    }
}

pub(crate) fn does_without_acknowledgement(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[("acks", "0")]);
    for _ in 0..10 {
        let record = record(&topic, "k", b"v");
        cluster
            .wait(producer.send(record, Duration::from_secs(10)))
            .expect("it is sent");
    }
    eventually("all have come", || {
        (cluster.watermarks(&topic) == (0, 10)).then_some(())
    });
}

pub(crate) fn wakes_a_waiting_fetch(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[]);
    cluster.put(&producer, &topic, "k", "first");
    // A fetch that would wait for five minutes if nothing woke it.
    let settings = [
        ("fetch.wait.max.ms", "300000"),
        ("socket.timeout.ms", "300000"),
        ("session.timeout.ms", "45000"),
    ];
    let consumer = cluster.reader(&topic, 0, Offset::Beginning, &settings);
    assert_eq!(next(&consumer).payload(), Some(b"first".as_slice()));
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        assert!(consumer.poll(Duration::from_millis(100)).is_none());
    }
    cluster.put(&producer, &topic, "k", "second");
    assert_eq!(next(&consumer).payload(), Some(b"second".as_slice()));
    assert_eq!(consumer.assignment().expect("there is one").count(), 1);
}

pub(crate) fn limits_a_fetch_but_not_below_one_batch(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[]);
    for _ in 0..5 {
        cluster
            .send(&producer, record(&topic, "k", &[b'x'; 50_000]))
            .expect("it is taken");
    }
    let settings = [
        ("fetch.message.max.bytes", "1000"),
        ("fetch.max.bytes", "1000"),
        ("message.max.bytes", "1000"),
    ];
    let consumer = cluster.reader(&topic, 0, Offset::Beginning, &settings);
    for offset in 0..5 {
        assert_eq!(next(&consumer).offset(), offset);
    }
}
