//! Compaction. Apache Kafka compacts in its own time, so every case waits until it has happened.

use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, unique};
use crate::transactions::Transactional;

/// Settings with which both brokers compact within seconds.
const EAGER: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "100"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("delete.retention.ms", "0"),
];

/// Apache Kafka's cleaner runs every 15 seconds unless it is set otherwise.
const DEADLINE: Duration = Duration::from_secs(120);

/// Keys and values from the beginning, with their offsets.
fn contents(cluster: &Cluster, topic: &str) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let describe = |m: &rdkafka::message::OwnedMessage| {
        (
            m.offset(),
            m.key().map(text).unwrap_or_default(),
            m.payload().map(text),
        )
    };
    cluster.read_all(topic).iter().map(describe).collect()
}

/// Keeps appending (a segment is closed by the next append) until the records are as wanted.
fn until(
    cluster: &Cluster,
    producer: &FutureProducer,
    topic: &str,
    what: &str,
    is_done: impl Fn(&[(i64, String, Option<String>)]) -> bool,
) {
    let start = Instant::now();
    loop {
        cluster.put(producer, topic, "filler", "x");
        let found: Vec<_> = contents(cluster, topic)
            .into_iter()
            .filter(|(_, key, _)| key != "filler")
            .collect();
        if is_done(&found) {
            return;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}; there is {found:?}"
        );
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn compacts(cluster: &Cluster, codec: &str) {
    let topic = cluster.topic(1, EAGER);
    let producer = cluster.producer(&[("compression.type", codec), ("linger.ms", "20")]);
    let sends: Vec<_> = (0..60)
        .map(|n| {
            let (key, value) = (format!("k{}", n % 3), n.to_string());
            let record = FutureRecord::<[u8], [u8]>::to(&topic).partition(0);
            producer
                .send_result(record.key(key.as_bytes()).payload(value.as_bytes()))
                .expect("it is queued")
        })
        .collect();
    for send in sends {
        cluster
            .wait(send)
            .expect("the producer lives")
            .expect("it is taken");
    }
    let last = |n: i64| (n, format!("k{}", n % 3), Some(n.to_string()));
    let wanted = [last(57), last(58), last(59)];
    until(
        cluster,
        &producer,
        &topic,
        "each key once, at its offset",
        |found| found == wanted,
    );
}

pub(crate) fn keeps_the_last_of_every_key(cluster: &Cluster) {
    compacts(cluster, "none");
}

pub(crate) fn looks_into_compressed_batches(cluster: &Cluster) {
    for codec in ["gzip", "lz4", "snappy"] {
        compacts(cluster, codec);
    }
}

pub(crate) fn removes_what_was_aborted(cluster: &Cluster) {
    let topic = cluster.topic(1, EAGER);
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    for (key, value, is_kept) in [
        ("a", "1", true),
        ("a", "aborted", false),
        ("b", "1", true),
        ("b", "2", true),
        ("c", "aborted", false),
    ] {
        producer.begin();
        producer.put(&topic, 0, key, value);
        if is_kept {
            producer.commit();
        } else {
            producer.abort();
        }
    }
    // Even who reads everything finds no trace in the end, and `a` as it was committed.
    let plain = cluster.producer(&[]);
    let start = Instant::now();
    let wanted = [(0, "a", "1"), (6, "b", "2")];
    loop {
        cluster.put(&plain, &topic, "filler", "x");
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let found: Vec<(i64, String, String)> = cluster
            .read_all_as(&topic, "read_uncommitted")
            .iter()
            .map(|message| (message.offset(), text(message.key()), text(message.payload())))
            .filter(|(_, key, _)| key != "filler")
            .collect();
        if found == wanted.map(|(offset, key, value)| (offset, key.to_owned(), value.to_owned())) {
            break;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}; there is {found:?}"
        );
        std::thread::sleep(Duration::from_millis(300));
    }
    let committed = contents(cluster, &topic);
    let committed = committed.iter().filter(|(_, key, _)| key != "filler");
    assert_eq!(committed.map(|(offset, ..)| *offset).collect::<Vec<_>>(), [0, 6]);
}

pub(crate) fn spares_what_is_open(cluster: &Cluster) {
    let open = cluster.topic(1, EAGER);
    let settled = cluster.topic(1, EAGER);
    let plain = cluster.producer(&[]);
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    producer.begin();
    producer.put(&open, 0, "k", "old");
    for topic in [&open, &settled] {
        for n in 0..5 {
            cluster.put(&plain, topic, "k", &n.to_string());
        }
    }
    until(cluster, &plain, &settled, "one record", |found| found.len() == 1);
    cluster.put(&plain, &open, "filler", "x");
    let found = cluster.read_all_as(&open, "read_uncommitted");
    assert_eq!(found.len(), 7, "all of it may still be needed");
    producer.abort();
    until(cluster, &plain, &open, "one record", |found| found.len() == 1);
}

pub(crate) fn removes_tombstones(cluster: &Cluster) {
    let topic = cluster.topic(1, EAGER);
    let producer = cluster.producer(&[]);
    cluster.put(&producer, &topic, "gone", "v");
    cluster.put(&producer, &topic, "stays", "v");
    let tombstone = FutureRecord::<[u8], [u8]>::to(&topic)
        .partition(0)
        .key(b"gone".as_slice());
    cluster.send(&producer, tombstone).expect("it is taken");
    until(cluster, &producer, &topic, "only what stays", |found| {
        found == [(1, "stays".to_owned(), Some("v".to_owned()))]
    });
}

pub(crate) fn spares_what_is_young(cluster: &Cluster) {
    let mut settings = EAGER.to_vec();
    settings.push(("min.compaction.lag.ms", "3600000"));
    let spared = cluster.topic(1, &settings);
    let compacted = cluster.topic(1, EAGER);
    let producer = cluster.producer(&[]);
    for topic in [&spared, &compacted] {
        for n in 0..5 {
            cluster.put(&producer, topic, "k", &n.to_string());
        }
    }
    until(cluster, &producer, &spared, "never", |_| true);
    until(cluster, &producer, &compacted, "one record", |found| {
        found.len() == 1
    });
    let found = contents(cluster, &spared);
    assert_eq!(found.iter().filter(|(_, key, _)| key == "k").count(), 5);
}
