//! Offsets: the beginning, the end, a time, and what is out of range.

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::FutureRecord;
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::{Cluster, DEADLINE, next, now_ms};

pub(crate) fn finds_beginning_and_end(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    assert_eq!(cluster.watermarks(&topic), (0, 0));
    let producer = cluster.producer(&[]);
    for n in 0..3 {
        assert_eq!(cluster.put(&producer, &topic, "k", &n.to_string()), n);
    }
    assert_eq!(cluster.watermarks(&topic), (0, 3));
    let tail = cluster.reader(&topic, 0, Offset::OffsetTail(1), &[]);
    assert_eq!(next(&tail).offset(), 2);
}

/// Where a time is in partition 0.
fn at(cluster: &Cluster, topic: &str, time: i64) -> Offset {
    let client: BaseConsumer = cluster.config().create().expect("a client can be made");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(time))
        .expect("an offset that can be");
    let found = client
        .offsets_for_times(list, DEADLINE)
        .expect("the broker answers");
    found
        .find_partition(topic, 0)
        .expect("it answers for the partition")
        .offset()
}

fn finds_times(cluster: &Cluster, settings: &[(&str, &str)]) {
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(settings);
    let base = now_ms() - 100_000;
    // Times need not grow with offsets.
    let times = [base, base + 1000, base + 500, base + 2000];
    let sends: Vec<_> = times
        .iter()
        .map(|time| {
            let record = FutureRecord::<[u8], [u8]>::to(&topic)
                .partition(0)
                .key(b"k".as_slice());
            producer
                .send_result(record.timestamp(*time))
                .expect("it is queued")
        })
        .collect();
    for send in sends {
        cluster
            .wait(send)
            .expect("the producer lives")
            .expect("it is taken");
    }
    assert_eq!(at(cluster, &topic, base - 1), Offset::Offset(0));
    assert_eq!(at(cluster, &topic, base), Offset::Offset(0));
    assert_eq!(at(cluster, &topic, base + 1), Offset::Offset(1));
    assert_eq!(at(cluster, &topic, base + 1000), Offset::Offset(1));
    assert_eq!(at(cluster, &topic, base + 1001), Offset::Offset(3));
    assert_eq!(at(cluster, &topic, base + 2001), Offset::End);
}

pub(crate) fn finds_a_time(cluster: &Cluster) {
    finds_times(cluster, &[]);
}

pub(crate) fn finds_a_time_inside_a_compressed_batch(cluster: &Cluster) {
    for codec in ["gzip", "lz4", "snappy"] {
        finds_times(cluster, &[("compression.type", codec), ("linger.ms", "200")]);
    }
}

pub(crate) fn starts_anew_when_out_of_range(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[]);
    cluster.put(&producer, &topic, "k", "v");
    let consumer = cluster.reader(
        &topic,
        0,
        Offset::Offset(1000),
        &[("auto.offset.reset", "earliest")],
    );
    assert_eq!(next(&consumer).offset(), 0);
}

pub(crate) fn deletes_records(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[]);
    for n in 0..10 {
        cluster.put(&producer, &topic, "k", &n.to_string());
    }
    let admin = cluster.admin();
    let delete = |before: Offset| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, before)
            .expect("an offset that can be");
        let result = cluster
            .wait(admin.delete_records(&list, &AdminOptions::new()))
            .expect("an answer");
        let element = result
            .find_partition(&topic, 0)
            .expect("it answers for the partition");
        element.error().map(|()| element.offset())
    };
    assert_eq!(delete(Offset::Offset(4)).ok(), Some(Offset::Offset(4)));
    assert_eq!(cluster.watermarks(&topic), (4, 10));
    let first = cluster.reader(&topic, 0, Offset::Beginning, &[]);
    assert_eq!(next(&first).offset(), 4);
    let before = cluster.reader(&topic, 0, Offset::Offset(1), &[("auto.offset.reset", "earliest")]);
    assert_eq!(next(&before).offset(), 4);
    assert!(delete(Offset::Offset(11)).is_err(), "behind the end");
    assert_eq!(delete(Offset::End).ok(), Some(Offset::Offset(10)));
    assert_eq!(cluster.watermarks(&topic), (10, 10));
    assert_eq!(cluster.put(&producer, &topic, "k", "v"), 10);
}
