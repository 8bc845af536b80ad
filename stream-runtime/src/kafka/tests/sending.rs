//! Producers.

use std::sync::Arc;
use std::time::Duration;

use super::{Kept, SOON, Setting, at, send, until, wake};
use crate::kafka::{OutgoingRecord, RecordSink, SendOutcome, StartOffset};
use crate::record::{HeadersRef, RecordRef, pack_header, partitioner};

/// Everything a record has, as text.
#[derive(Default)]
struct Described(Vec<String>);

impl RecordSink for Described {
    fn record(&mut self, record: RecordRef<'_>) {
        let headers = record.headers.iter().collect::<Vec<_>>();
        let RecordRef {
            offset,
            timestamp,
            key,
            value,
            ..
        } = record;
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        self.0.push(format!(
            "{offset} {timestamp} {:?} {:?} {headers:?}",
            text(key),
            text(value)
        ));
    }
}

#[test]
fn a_record_arrives_as_it_was_sent() {
    let Some(setting) = Setting::new("arrives") else {
        return;
    };
    let topic = setting.topic("log", 1, &[]);
    let mut headers = Vec::new();
    pack_header(&mut headers, "trace", Some(b"7"));
    pack_header(&mut headers, "nothing", None);
    pack_header(&mut headers, "trace", Some(b""));
    let plain = OutgoingRecord {
        topic: &topic,
        partition: Some(0),
        key: None,
        value: None,
        headers: &[],
        timestamp: Some(1_700_000_000_000),
    };
    let mut producer = setting.cluster.producer(wake()).expect("a producer");
    for record in [
        plain,
        OutgoingRecord {
            key: Some(b""),
            value: Some(b""),
            ..plain
        },
        OutgoingRecord {
            key: Some(b"key"),
            value: Some(b"value"),
            headers: &headers,
            ..plain
        },
    ] {
        assert!(matches!(producer.send(record), SendOutcome::Queued));
    }
    assert!(producer.in_flight() > 0);
    assert!(producer.flush(SOON));
    assert_eq!(producer.in_flight(), 0);

    let mut reader = setting.cluster.partition_reader(wake()).expect("a reader");
    reader
        .add(&[(at(&topic, 0), StartOffset::Beginning)])
        .expect("it reads");
    let mut sink = Described::default();
    until("three records arrive", || {
        reader.poll(&mut sink, 100).expect("no error");
        sink.0.len() == 3
    });
    let pairs = HeadersRef::new(&headers).iter().collect::<Vec<_>>();
    assert_eq!(
        sink.0,
        [
            "0 1700000000000 None None []".to_owned(),
            "1 1700000000000 Some(\"\") Some(\"\") []".to_owned(),
            format!("2 1700000000000 Some(\"key\") Some(\"value\") {pairs:?}"),
        ]
    );
}

#[test]
fn an_acknowledged_record_tells_where_it_is_and_goes_where_murmur2_says() {
    let Some(setting) = Setting::new("acknowledged") else {
        return;
    };
    let topic = setting.topic("log", 5, &[]);
    let producer = setting.cluster.acknowledged_producer().expect("a producer");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let record = |key: &'static str| OutgoingRecord {
        topic: &topic,
        partition: None,
        key: Some(key.as_bytes()),
        value: Some(b"value"),
        headers: &[],
        timestamp: None,
    };
    for key in ["red", "green", "blue", "colour"] {
        let (partition, _) = runtime
            .block_on(producer.send(record(key)))
            .expect("it is delivered");
        assert_eq!(
            partition as u32,
            partitioner::partition_of(key.as_bytes(), 5),
            "{key}"
        );
    }
    let (_, first) = runtime
        .block_on(producer.send(record("red")))
        .expect("it is delivered");
    let (_, second) = runtime
        .block_on(producer.send(record("red")))
        .expect("it is delivered");
    assert_eq!(second, first + 1);
}

#[test]
fn what_can_never_be_sent_is_refused() {
    let Some(setting) = Setting::new("refused") else {
        return;
    };
    let topic = setting.topic("log", 1, &[]);
    setting.fill(&topic, 0, 1);
    let mut producer = setting.cluster.producer(wake()).expect("a producer");
    // A first record, so that the client knows the topic.
    send(&mut *producer, &topic, 0, "known");
    assert!(producer.flush(SOON));
    let large = vec![0; 2_000_000];
    let record = OutgoingRecord {
        topic: &topic,
        partition: Some(0),
        key: None,
        value: Some(&large),
        headers: &[],
        timestamp: None,
    };
    let SendOutcome::Refused(reason) = producer.send(record) else {
        panic!("too large a record must be refused");
    };
    assert!(reason.contains("2000000 bytes"), "{reason}");
    let SendOutcome::Refused(reason) = producer.send(OutgoingRecord {
        partition: Some(9),
        value: None,
        ..record
    }) else {
        panic!("an unknown partition must be refused");
    };
    assert!(reason.contains(&format!("{topic}[9]")), "{reason}");
    let bad: Arc<str> = Arc::from("nul\0name");
    assert!(matches!(
        producer.send(OutgoingRecord {
            topic: &bad,
            ..record
        }),
        SendOutcome::Refused(_)
    ));
    assert_eq!(producer.take_failure(), None);
}

#[test]
fn a_topic_that_does_not_exist_fails_the_delivery_and_wakes() {
    let Some(setting) = Setting::new("nowhere") else {
        return;
    };
    let wake = wake();
    let mut producer = setting.cluster.producer(Arc::clone(&wake)).expect("a producer");
    let topic: Arc<str> = Arc::from(format!("{}-nowhere", setting.name));
    send(&mut *producer, &topic, 0, "lost");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut failure = None;
    let end = std::time::Instant::now() + Duration::from_secs(45);
    while failure.is_none() && std::time::Instant::now() < end {
        runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(45), wake.notified()).await })
            .expect("a failure wakes");
        producer.poll();
        failure = producer.take_failure();
    }
    let failure = failure.expect("the delivery fails");
    assert!(failure.contains(&*topic), "{failure}");
}

#[test]
fn purging_takes_back_what_is_queued_and_the_producer_goes_on() {
    let Some(setting) = Setting::new("purged") else {
        return;
    };
    let topic = setting.topic("log", 1, &[]);
    let mut producer = setting.cluster.producer(wake()).expect("a producer");
    send(&mut *producer, &topic, 0, "first");
    assert!(producer.flush(SOON));
    for round in 0..20 {
        for _ in 0..500 {
            send(&mut *producer, &topic, 0, "maybe");
        }
        // In the queue at first, on the wire later.
        std::thread::sleep(Duration::from_millis(round));
        producer.purge();
        until("nothing is left in flight", || {
            producer.poll();
            producer.in_flight() == 0
        });
    }
    assert_eq!(producer.take_failure(), None);
    send(&mut *producer, &topic, 0, "last");
    assert!(producer.flush(SOON));
    assert_eq!(producer.take_failure(), None);

    let mut reader = setting.cluster.partition_reader(wake()).expect("a reader");
    reader
        .add(&[(at(&topic, 0), StartOffset::Beginning)])
        .expect("it reads");
    let mut sink = Kept::default();
    until("the end is reached", || {
        reader.poll(&mut sink, 10_000).expect("no error");
        sink.end(&topic, 0).is_some()
    });
    let values = sink.values(&topic, 0);
    assert_eq!(values.first(), Some(&"first"));
    assert_eq!(values.last(), Some(&"last"));
    assert_eq!(values.iter().filter(|value| **value == "last").count(), 1);
}
