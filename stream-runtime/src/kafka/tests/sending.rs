//! Producers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Kept, SOON, Setting, at, send, settings, until, wake};
use crate::kafka::diagnostics::Diagnostics;
use crate::kafka::producer::RdKafkaProducer;
use crate::kafka::{
    ClientSettings, OutgoingRecord, Producer as _, Rebalance, RecordSink, SendOutcome, StartOffset,
};
use crate::record::{HeadersRef, RecordRef, pack_header, partitioner};

/// Everything a record has, as text.
struct Described {
    records: Vec<String>,
    wants_headers: bool,
}

impl Described {
    fn new(wants_headers: bool) -> Self {
        Self {
            records: Vec::new(),
            wants_headers,
        }
    }
}

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
        self.records.push(format!(
            "{offset} {timestamp} {:?} {:?} {headers:?}",
            text(key),
            text(value)
        ));
    }

    fn wants_headers(&self) -> bool {
        self.wants_headers
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
    let mut sink = Described::new(true);
    until("three records arrive", || {
        reader.poll(&mut sink, 100).expect("no error");
        sink.records.len() == 3
    });
    let pairs = HeadersRef::new(&headers).iter().collect::<Vec<_>>();
    let plain = [
        "0 1700000000000 None None []".to_owned(),
        "1 1700000000000 Some(\"\") Some(\"\") []".to_owned(),
    ];
    let with_headers = format!("2 1700000000000 Some(\"key\") Some(\"value\") {pairs:?}");
    assert_eq!(sink.records[..2], plain);
    assert_eq!(sink.records[2], with_headers);

    let mut member = setting.cluster.group_consumer("0", wake()).expect("a consumer");
    member.subscribe(&[Arc::clone(&topic)]).expect("it subscribes");
    for wants_headers in [false, true] {
        let mut sink = Described::new(wants_headers);
        until("three records arrive", || {
            member.poll(&mut sink, 100).expect("no error");
            if let Some(Rebalance::Assign(_)) = member.rebalance() {
                let start = (at(&topic, 0), StartOffset::Beginning);
                member.assign(&[start]).expect("it is taken on");
            }
            sink.records.len() == 3
        });
        let third = match wants_headers {
            true => with_headers.as_str(),
            false => "2 1700000000000 Some(\"key\") Some(\"value\") []",
        };
        assert_eq!(sink.records[..2], plain);
        assert_eq!(sink.records[2], third);
        member
            .seek(&[(at(&topic, 0), StartOffset::Beginning)])
            .expect("it goes back");
    }
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
fn many_records_are_sent_at_once_as_they_would_be_one_by_one() {
    let Some(setting) = Setting::new("many") else {
        return;
    };
    let topic = setting.topic("log", 2, &[]);
    let mut producer = setting.cluster.producer(wake()).expect("a producer");
    producer.follow(&topic);
    let keys: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    let value = |key: &str| (!key.ends_with('7')).then(|| format!("the value of {key}"));
    let values: Vec<_> = keys.iter().map(|key| value(key)).collect();
    let mut records = keys
        .iter()
        .zip(&values)
        .map(|(key, value)| (key.as_bytes(), value.as_deref().map(str::as_bytes)));
    assert_eq!(producer.send_many(&topic, 1, &mut records), 1000);
    assert!(producer.flush(SOON));
    assert_eq!(producer.take_failure(), None);
    assert_eq!(producer.acknowledged(&topic, 1), Some(1000));

    let mut reader = setting.cluster.partition_reader(wake()).expect("a reader");
    reader
        .add(&[(at(&topic, 1), StartOffset::Beginning)])
        .expect("it reads");
    let mut sink = Described::new(false);
    until("all records arrive", || {
        reader.poll(&mut sink, 1000).expect("no error");
        sink.records.len() == 1000
    });
    for (number, (key, record)) in keys.iter().zip(&sink.records).enumerate() {
        let value = value(key);
        assert!(record.starts_with(&format!("{number} ")), "{record}");
        assert!(
            record.ends_with(&format!(" {:?} {value:?} []", Some(key))),
            "{record}"
        );
    }
}

#[test]
fn of_many_records_those_before_the_first_that_is_not_taken_are_sent() {
    let Some(setting) = Setting::new("some") else {
        return;
    };
    let topic = setting.topic("log", 1, &[]);
    let raw = ("queue.buffering.max.messages", "300");
    let mut settings = setting.settings.clone();
    settings.raw.push((raw.0.to_owned(), raw.1.to_owned()));
    let mut producer = Setting::of(settings)
        .cluster
        .producer(wake())
        .expect("a producer");
    producer.follow(&topic);
    let record = |value| OutgoingRecord {
        topic: &topic,
        partition: Some(0),
        key: Some(b"key"),
        value: Some(value),
        headers: &[],
        timestamp: None,
    };
    let large = vec![0; 2_000_000];
    let mut with_a_large_one = (0..200).map(|number| {
        (
            &b"key"[..],
            Some(if number == 150 { &large } else { &b"small"[..] }),
        )
    });
    assert_eq!(producer.send_many(&topic, 0, &mut with_a_large_one), 150);
    let SendOutcome::Refused(reason) = producer.send(record(&large)) else {
        panic!("it is too large");
    };
    assert!(reason.contains("message.max.bytes"), "{reason}");
    assert!(producer.flush(SOON));
    // Those behind it came along.
    assert_eq!(producer.acknowledged(&topic, 0), Some(199));

    let mut many = std::iter::repeat_n((&b"key"[..], Some(&b"small"[..])), 1000);
    assert_eq!(
        producer.send_many(&topic, 0, &mut many),
        300,
        "the queue holds no more"
    );
    assert!(matches!(producer.send(record(b"small")), SendOutcome::Full));
    assert!(producer.flush(SOON));
    assert_eq!(producer.acknowledged(&topic, 0), Some(499));
    assert_eq!(producer.take_failure(), None);

    let mut one = std::iter::once((&b"key"[..], None));
    assert_eq!(
        producer.send_many(&topic, 9, &mut one),
        0,
        "there is one partition"
    );
    let nowhere = Arc::from("no\0name");
    let mut one = std::iter::once((&b"key"[..], None));
    assert_eq!(producer.send_many(&nowhere, 0, &mut one), 0);
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
    let end = Instant::now() + Duration::from_secs(45);
    while failure.is_none() && Instant::now() < end {
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

#[test]
fn acknowledgements_of_followed_topics_tell_where_their_partitions_end() {
    let Some(setting) = Setting::new("followed") else {
        return;
    };
    let [log, other] = ["log", "other"].map(|name| setting.topic(name, 3, &[]));
    let mut producer = setting.cluster.producer(wake()).expect("a producer");
    producer.follow(&log);
    assert_eq!(producer.acknowledged(&log, 1), None, "nothing was sent");
    for round in 1..=3 {
        for number in 0..1000 {
            send(&mut *producer, &log, 1, &number.to_string());
            send(&mut *producer, &other, 1, &number.to_string());
        }
        send(&mut *producer, &log, 2, "one");
        assert!(producer.flush(SOON));
        assert_eq!(producer.acknowledged(&log, 1), Some(1000 * round));
        assert_eq!(producer.acknowledged(&log, 2), Some(round));
        assert_eq!(producer.acknowledged(&log, 0), None);
        assert_eq!(producer.acknowledged(&other, 1), None, "nobody follows it");
    }
    // What is taken back was not acknowledged, and what was stays so.
    send(&mut *producer, &log, 2, "taken back");
    producer.purge();
    until("nothing is left in flight", || {
        producer.poll();
        producer.in_flight() == 0
    });
    let end = producer.acknowledged(&log, 2).expect("it is known");
    let admin = setting.cluster.admin().expect("an admin client");
    let [(_, last)] = admin.offset_range(&[at(&log, 2)], SOON).expect("an answer")[..] else {
        panic!("one range");
    };
    assert!(end == 3 && (3..=4).contains(&last), "{end} of {last}");

    // Somebody else writes in between: the offsets are the broker's.
    setting.fill(&log, 1, 7);
    send(&mut *producer, &log, 1, "last");
    assert!(producer.flush(SOON));
    assert_eq!(producer.acknowledged(&log, 1), Some(3008));
    assert_eq!(producer.take_failure(), None);
}

/// What reports of successes cost: `cargo test --release -- --ignored --nocapture cost_of_reports`.
#[test]
#[ignore = "a measurement"]
fn cost_of_reports() {
    let Some(setting) = Setting::new("cost") else {
        return;
    };
    let topic = setting.topic("log", 4, &[]);
    let count = 2_000_000;
    for round in 0..3 {
        for (what, only_errors, followed) in [
            ("failures", "true", false),
            ("everything", "false", false),
            ("everything, followed", "false", true),
        ] {
            let raw = ("delivery.report.only.error".to_owned(), only_errors.to_owned());
            let settings = ClientSettings {
                raw: vec![raw],
                ..settings(&setting.bootstrap, &setting.name)
            };
            let diagnostics = Arc::new(Diagnostics::new(setting.bootstrap.as_str()));
            let mut producer = RdKafkaProducer::new(&settings, &diagnostics, wake()).expect("a producer");
            if followed {
                producer.follow(&topic);
            }
            send(&mut producer, &topic, 0, "first");
            assert!(producer.flush(SOON));
            let (start, cpu) = (Instant::now(), own_cpu());
            for number in 0..count {
                send(
                    &mut producer,
                    &topic,
                    number % 4,
                    "a value of some thirty bytes, say",
                );
                if number % 1000 == 0 {
                    producer.poll();
                }
            }
            assert!(producer.flush(SOON));
            let (seconds, cpu) = (start.elapsed().as_secs_f64(), own_cpu() - cpu);
            println!(
                "{round}: reports of {what}: {:.0} records/s, {:.0} ns of processor time a record",
                f64::from(count) / seconds,
                cpu * 1e9 / f64::from(count)
            );
        }
    }
}

/// Seconds of processor time of this process.
fn own_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().expect("a name").split_whitespace();
    let ticks = fields
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / 100.0
}
