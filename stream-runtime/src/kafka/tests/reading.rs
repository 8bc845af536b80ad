//! The reader of changelogs.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::{Kept, SOON, Setting, at, send, until, wake};
use crate::error::ErrorKind;
use crate::kafka::StartOffset;

fn transactional(setting: &Setting) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &setting.bootstrap)
        .set("transactional.id", &setting.name)
        .create()
        .expect("a producer");
    producer.init_transactions(SOON).expect("the coordinator answers");
    producer
}

#[test]
fn the_end_behind_a_transaction_marker_is_the_offset_after_the_marker() {
    let Some(setting) = Setting::new("markers") else {
        return;
    };
    let topic = setting.topic("log", 2, &[]);
    let producer = transactional(&setting);
    let send = |value: &str| {
        let record = BaseRecord::to(&topic).partition(0).key("key").payload(value);
        producer.send(record).expect("queued");
    };
    producer.begin_transaction().expect("it begins");
    send("kept");
    producer.commit_transaction(SOON).expect("it commits");
    producer.begin_transaction().expect("it begins");
    send("dropped");
    producer.flush(SOON).expect("delivered");
    producer.abort_transaction(SOON).expect("it aborts");

    let mut reader = setting.cluster.partition_reader(wake()).expect("a reader");
    let places = [at(&topic, 0), at(&topic, 1)];
    assert_eq!(reader.known_end(&places[0]), None, "nothing was fetched yet");
    reader
        .add(&places.clone().map(|at| (at, StartOffset::Beginning)))
        .expect("it reads");
    let mut sink = Kept::default();
    until("both ends are reached", || {
        reader.poll(&mut sink, 100).expect("no error");
        sink.ends.len() == 2
    });
    assert_eq!(sink.values(&topic, 0), ["kept"]);
    // Two records and two markers.
    assert_eq!(sink.end(&topic, 0), Some(4));
    assert_eq!(sink.end(&topic, 1), Some(0));
    assert_eq!(places.clone().map(|at| reader.known_end(&at)), [Some(4), Some(0)]);
    let admin = setting.cluster.admin().expect("an admin client");
    assert_eq!(
        admin.offset_range(&places, SOON).expect("an answer"),
        [(0, 4), (0, 0)]
    );
}

#[test]
fn the_end_of_a_compacted_log_counts_what_compaction_removed() {
    let Some(setting) = Setting::new("compacted") else {
        return;
    };
    let topic = setting.topic(
        "log",
        1,
        &[
            ("cleanup.policy", "compact"),
            ("segment.ms", "100"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("max.compaction.lag.ms", "100"),
            ("delete.retention.ms", "0"),
        ],
    );
    let mut producer = setting.cluster.producer(wake()).expect("a producer");
    let mut sent = 0;
    // Segments roll when something is appended to them; what is read shrinks once one was cleaned.
    until("compaction removes records", || {
        for _ in 0..10 {
            send(&mut *producer, &topic, 0, &sent.to_string());
            sent += 1;
        }
        assert!(producer.flush(SOON));
        std::thread::sleep(Duration::from_millis(300));
        let mut reader = setting.cluster.partition_reader(wake()).expect("a reader");
        reader
            .add(&[(at(&topic, 0), StartOffset::Beginning)])
            .expect("it reads");
        let mut sink = Kept::default();
        until("the end is reached", || {
            reader.poll(&mut sink, 1000).expect("no error");
            sink.end(&topic, 0).is_some()
        });
        assert_eq!(sink.end(&topic, 0), Some(sent));
        sink.count() < sent as usize
    });
}

#[test]
fn an_end_is_told_again_after_more_records_and_partitions_come_and_go() {
    let Some(setting) = Setting::new("follows") else {
        return;
    };
    let topic = setting.topic("log", 2, &[]);
    setting.fill(&topic, 0, 3);
    setting.fill(&topic, 1, 2);
    let mut reader = setting.cluster.partition_reader(wake()).expect("a reader");
    let mut sink = Kept::default();
    reader
        .add(&[(at(&topic, 0), StartOffset::At(1))])
        .expect("it reads");
    until("the first end is reached", || {
        reader.poll(&mut sink, 100).expect("no error");
        sink.end(&topic, 0) == Some(3)
    });
    reader
        .add(&[(at(&topic, 1), StartOffset::Beginning)])
        .expect("it reads more");
    setting.fill(&topic, 0, 2);
    until("both ends are reached", || {
        reader.poll(&mut sink, 100).expect("no error");
        sink.end(&topic, 0) == Some(5) && sink.end(&topic, 1) == Some(2)
    });
    assert_eq!(sink.values(&topic, 0), ["1", "2", "0", "1"]);
    reader.remove(&[at(&topic, 0)]).expect("it stops");
    setting.fill(&topic, 0, 1);
    setting.fill(&topic, 1, 1);
    until("the rest goes on", || {
        reader.poll(&mut sink, 100).expect("no error");
        sink.end(&topic, 1) == Some(3)
    });
    assert_eq!(sink.of(&topic, 0).len(), 4);
}

#[test]
fn an_offset_that_is_not_there_is_the_sinks_or_an_error() {
    let Some(setting) = Setting::new("range") else {
        return;
    };
    let topic = setting.topic("log", 2, &[]);
    setting.fill(&topic, 1, 2);
    let mut reader = setting.cluster.partition_reader(wake()).expect("a reader");
    reader
        .add(&[
            (at(&topic, 0), StartOffset::At(17)),
            (at(&topic, 1), StartOffset::Beginning),
        ])
        .expect("it reads");
    let mut sink = Kept {
        takes_out_of_range: true,
        ..Kept::default()
    };
    until("the gap is seen, the other partition is read", || {
        reader.poll(&mut sink, 100).expect("the sink deals with it");
        !sink.out_of_range.is_empty() && sink.end(&topic, 1).is_some()
    });
    assert_eq!(sink.out_of_range, [(topic.to_string(), 0)]);

    // From the beginning it can be read after all.
    reader.remove(&[at(&topic, 0)]).expect("it stops");
    reader
        .add(&[(at(&topic, 0), StartOffset::Beginning)])
        .expect("it reads");
    until("the empty partition's end is reached", || {
        reader.poll(&mut sink, 100).expect("no error");
        sink.end(&topic, 0) == Some(0)
    });

    let mut sink = Kept::default();
    let mut error = None;
    reader.remove(&[at(&topic, 0)]).expect("it stops");
    reader
        .add(&[(at(&topic, 0), StartOffset::At(17))])
        .expect("it reads");
    until("the poll ends in an error", || {
        error = reader.poll(&mut sink, 100).err();
        error.is_some()
    });
    let error = error.expect("it has come");
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.to_string().contains(&format!("{topic}[0]")), "{error}");
}

#[test]
fn an_end_waits_for_the_fate_of_an_open_transaction() {
    let Some(setting) = Setting::new("open") else {
        return;
    };
    let topic = setting.topic("log", 1, &[]);
    let producer = transactional(&setting);
    let mut expected = Vec::new();
    let mut next = 0;
    for commits in [true, false] {
        setting.fill(&topic, 0, 2);
        expected.extend(["0", "1"]);
        producer.begin_transaction().expect("it begins");
        let record = BaseRecord::to(&topic).partition(0).key("key").payload("fateful");
        producer.send(record).expect("queued");
        producer.flush(SOON).expect("delivered");

        let mut reader = setting.cluster.partition_reader(wake()).expect("a reader");
        reader
            .add(&[(at(&topic, 0), StartOffset::Beginning)])
            .expect("it reads");
        let mut sink = Kept::default();
        until("what is stable is read", || {
            reader.poll(&mut sink, 100).expect("no error");
            sink.values(&topic, 0) == expected
        });
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            reader.poll(&mut sink, 100).expect("no error");
            assert_eq!(sink.end(&topic, 0), None, "a transaction is open");
        }
        if commits {
            producer.commit_transaction(SOON).expect("it commits");
            expected.push("fateful");
        } else {
            producer.abort_transaction(SOON).expect("it aborts");
        }
        // Two records, the one of the transaction, and its marker.
        next += 4;
        until("the end is reached", || {
            reader.poll(&mut sink, 100).expect("no error");
            sink.end(&topic, 0).is_some()
        });
        assert_eq!(sink.end(&topic, 0), Some(next));
        assert_eq!(sink.values(&topic, 0), expected);
    }
}
