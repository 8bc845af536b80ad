//! Transactions through librdkafka: what their readers see, and when.
//!
//! Apache Kafka answers a commit before its markers are written, so the cases wait until nothing is open.

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;

use crate::cluster::{Cluster, DEADLINE, eventually, next, unique};

/// A transactional producer. It polls on a thread of its own, which `abort_transaction` relies on.
pub(crate) struct Transactional(ThreadedProducer<DefaultProducerContext>);

impl Transactional {
    pub(crate) fn new(cluster: &Cluster, id: &str, settings: &[(&str, &str)]) -> Self {
        let mut config = cluster.config();
        config.set("transactional.id", id).set("linger.ms", "0");
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let producer: ThreadedProducer<_> = config.create().expect("a producer can be made");
        producer.init_transactions(DEADLINE).expect("it gets its id");
        Self(producer)
    }

    pub(crate) fn begin(&self) {
        self.0.begin_transaction().expect("no other one is open");
    }

    /// Sends and waits until the broker has it.
    pub(crate) fn put(&self, topic: &str, partition: i32, key: &str, value: &str) {
        let record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
        self.0
            .send(record)
            .map_err(|(error, _)| error)
            .expect("it is queued");
        self.0.flush(DEADLINE).expect("it is sent");
    }

    pub(crate) fn send_offset(
        &self,
        consumer: &BaseConsumer,
        topic: &str,
        offset: i64,
    ) -> Result<(), KafkaError> {
        let group = consumer.group_metadata().expect("it has a group");
        self.send_offset_of(&group, topic, offset)
    }

    /// Commits an offset of partition 0 with the transaction, on behalf of a member.
    pub(crate) fn send_offset_of(
        &self,
        member: &ConsumerGroupMetadata,
        topic: &str,
        offset: i64,
    ) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(offset))
            .expect("an offset that can be");
        self.0.send_offsets_to_transaction(&list, member, DEADLINE)
    }

    pub(crate) fn commit(&self) {
        self.try_commit().expect("it is committed");
    }

    pub(crate) fn try_commit(&self) -> Result<(), KafkaError> {
        self.0.commit_transaction(DEADLINE)
    }

    pub(crate) fn abort(&self) {
        self.0.abort_transaction(DEADLINE).expect("it is aborted");
    }
}

/// The code of a transaction's error, and whether the producer is done for.
pub(crate) fn code_of(error: &KafkaError) -> (RDKafkaErrorCode, bool) {
    match error {
        KafkaError::Transaction(error) => (error.code(), error.is_fatal()),
        other => panic!("not an error of a transaction: {other}"),
    }
}

/// Waits until no transaction is open in a partition; its end.
fn settled(cluster: &Cluster, topic: &str, partition: i32) -> i64 {
    eventually("no transaction is open", || {
        let (_, stable) = cluster.watermarks_of(topic, partition, "read_committed");
        let (_, end) = cluster.watermarks_of(topic, partition, "read_uncommitted");
        (stable == end).then_some(end)
    })
}

fn reader(cluster: &Cluster, topic: &str, partition: i32, isolation: &str) -> BaseConsumer {
    let settings = [
        ("isolation.level", isolation),
        ("enable.partition.eof", "true"),
        // A fetch is about one batch, so that every answer has aborted transactions of its own.
        ("fetch.message.max.bytes", "100"),
    ];
    cluster.reader(topic, partition, Offset::Beginning, &settings)
}

/// The values up to the end that the reader is told of, and its position there.
fn read_to_end(reader: &BaseConsumer, topic: &str, partition: i32) -> (Vec<String>, i64) {
    let mut values = Vec::new();
    eventually("the end is reached", || {
        match reader.poll(Duration::from_millis(100))? {
            Ok(message) => {
                let value = message.payload().unwrap_or_default();
                values.push(String::from_utf8_lossy(value).into_owned());
                None
            }
            Err(KafkaError::PartitionEOF(_)) => Some(()),
            Err(error) => panic!("a record cannot be read: {error}"),
        }
    });
    let position = reader.position().expect("there is a position");
    let at = position.find_partition(topic, partition).expect("it is assigned");
    (values, at.offset().to_raw().unwrap_or(-1))
}

fn values(cluster: &Cluster, topic: &str, partition: i32, isolation: &str) -> Vec<String> {
    read_to_end(&reader(cluster, topic, partition, isolation), topic, partition).0
}

fn committed(cluster: &Cluster, topic: &str) -> Vec<String> {
    settled(cluster, topic, 0);
    values(cluster, topic, 0, "read_committed")
}

pub(crate) fn shows_what_is_committed_and_hides_what_is_aborted(cluster: &Cluster) {
    for settings in [&[][..], &[("message.timestamp.type", "LogAppendTime")]] {
        let topic = cluster.topic(1, settings);
        let producer = Transactional::new(cluster, &unique("tx"), &[("compression.type", "gzip")]);
        for (value, is_kept) in [("a", true), ("b", false), ("c", false), ("d", true)] {
            producer.begin();
            producer.put(&topic, 0, "k", value);
            producer.put(&topic, 0, "k", &format!("{value}2"));
            if is_kept {
                producer.commit();
            } else {
                producer.abort();
            }
        }
        assert_eq!(settled(cluster, &topic, 0), 12);
        assert_eq!(committed(cluster, &topic), ["a", "a2", "d", "d2"]);
        let all = ["a", "a2", "b", "b2", "c", "c2", "d", "d2"];
        assert_eq!(values(cluster, &topic, 0, "read_uncommitted"), all);
    }
}

pub(crate) fn holds_readers_back_until_the_marker(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let plain = cluster.producer(&[]);
    cluster.put(&plain, &topic, "k", "before");
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    producer.begin();
    producer.put(&topic, 0, "k", "inside");
    cluster.put(&plain, &topic, "k", "behind");
    let reader = reader(cluster, &topic, 0, "read_committed");
    assert_eq!(read_to_end(&reader, &topic, 0), (vec!["before".to_owned()], 1));
    let all = values(cluster, &topic, 0, "read_uncommitted");
    assert_eq!(all, ["before", "inside", "behind"]);
    assert_eq!(cluster.watermarks_of(&topic, 0, "read_committed"), (0, 1));
    assert_eq!(cluster.watermarks_of(&topic, 0, "read_uncommitted"), (0, 3));
    producer.commit();
    let mut seen = Vec::new();
    eventually("the rest comes", || {
        seen.extend(read_to_end(&reader, &topic, 0).0);
        (seen == ["inside", "behind"]).then_some(())
    });
}

pub(crate) fn ends_behind_the_marker(cluster: &Cluster) {
    for is_kept in [true, false] {
        let topic = cluster.topic(1, &[]);
        let producer = Transactional::new(cluster, &unique("tx"), &[]);
        producer.begin();
        producer.put(&topic, 0, "k", "v");
        if is_kept {
            producer.commit();
        } else {
            producer.abort();
        }
        assert_eq!(settled(cluster, &topic, 0), 2);
        let (read, position) = read_to_end(&reader(cluster, &topic, 0, "read_committed"), &topic, 0);
        assert_eq!(read.len(), usize::from(is_kept));
        assert_eq!(position, 2, "behind the marker, whatever was read");
        let plain = cluster.producer(&[]);
        assert_eq!(cluster.put(&plain, &topic, "k", "next"), 2);
    }
}

pub(crate) fn fences_the_last_producer(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let id = unique("tx");
    let zombie = Transactional::new(cluster, &id, &[]);
    zombie.begin();
    zombie.put(&topic, 0, "k", "zombie");
    let new = Transactional::new(cluster, &id, &[]);
    assert_eq!(
        committed(cluster, &topic),
        [""; 0],
        "aborted when the new one came"
    );
    new.begin();
    new.put(&topic, 0, "k", "new");
    let refused = zombie.try_commit().expect_err("it is fenced");
    assert_eq!(code_of(&refused), (RDKafkaErrorCode::Fenced, true));
    new.commit();
    assert_eq!(committed(cluster, &topic), ["new"]);
}

pub(crate) fn goes_on_after_a_producer_that_died(cluster: &Cluster) {
    let topic = cluster.topic(2, &[]);
    let id = unique("tx");
    let first = Transactional::new(cluster, &id, &[]);
    first.begin();
    first.put(&topic, 0, "k", "committed");
    first.commit();
    first.begin();
    first.put(&topic, 0, "k", "lost");
    first.put(&topic, 1, "k", "lost");
    // It neither commits nor aborts.
    drop(first);
    let second = Transactional::new(cluster, &id, &[]);
    second.begin();
    second.put(&topic, 0, "k", "again");
    second.commit();
    assert_eq!(committed(cluster, &topic), ["committed", "again"]);
    settled(cluster, &topic, 1);
    assert_eq!(values(cluster, &topic, 1, "read_committed"), [""; 0]);
}

pub(crate) fn aborts_a_transaction_that_is_open_too_long(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    // Long enough to send a record, however busy the machine is.
    let producer = Transactional::new(cluster, &unique("tx"), &[("transaction.timeout.ms", "6000")]);
    producer.begin();
    producer.put(&topic, 0, "k", "late");
    assert_eq!(settled(cluster, &topic, 0), 2);
    assert_eq!(committed(cluster, &topic), [""; 0]);
    let refused = producer.try_commit().expect_err("it is fenced");
    assert_eq!(code_of(&refused), (RDKafkaErrorCode::Fenced, true));
}

pub(crate) fn spans_several_partitions(cluster: &Cluster) {
    let topic = cluster.topic(3, &[]);
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    let seen = || -> Vec<Vec<String>> {
        let read = |partition| values(cluster, &topic, partition, "read_committed");
        (0..3).map(read).collect()
    };
    for (value, is_kept) in [("kept", true), ("dropped", false)] {
        producer.begin();
        for partition in 0..3 {
            producer.put(&topic, partition, "k", value);
        }
        let so_far = if is_kept { vec![] } else { vec!["kept".to_owned()] };
        assert_eq!(seen(), vec![so_far; 3]);
        if is_kept {
            producer.commit();
        } else {
            producer.abort();
        }
        for partition in 0..3 {
            settled(cluster, &topic, partition);
        }
        assert_eq!(seen(), vec![vec!["kept".to_owned()]; 3]);
    }
}

pub(crate) fn interleaves_transactions_in_a_partition(cluster: &Cluster) {
    for a_first in [true, false] {
        let topic = cluster.topic(1, &[]);
        let a = Transactional::new(cluster, &unique("tx"), &[]);
        let b = Transactional::new(cluster, &unique("tx"), &[]);
        a.begin();
        b.begin();
        a.put(&topic, 0, "k", "a1");
        b.put(&topic, 0, "k", "b1");
        a.put(&topic, 0, "k", "a2");
        b.put(&topic, 0, "k", "b2");
        if a_first {
            a.abort();
            let stable = || cluster.watermarks_of(&topic, 0, "read_committed").1;
            eventually("only b is open", || (stable() == 1).then_some(()));
            b.commit();
        } else {
            b.commit();
            assert_eq!(values(cluster, &topic, 0, "read_committed"), [""; 0]);
            a.abort();
        }
        assert_eq!(committed(cluster, &topic), ["b1", "b2"]);
        assert_eq!(settled(cluster, &topic, 0), 6);
    }
}

pub(crate) fn does_without_records(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    for _ in 0..2 {
        producer.begin();
        producer.commit();
        producer.begin();
        producer.abort();
    }
    assert_eq!(cluster.watermarks_of(&topic, 0, "read_uncommitted"), (0, 0));
    producer.begin();
    producer.put(&topic, 0, "k", "v");
    producer.commit();
    assert_eq!(committed(cluster, &topic), ["v"]);
}

pub(crate) fn tells_many_transactions_apart(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producers = [(); 3].map(|()| Transactional::new(cluster, &unique("tx"), &[]));
    let mut wanted = Vec::new();
    for round in 0..12 {
        for (n, producer) in producers.iter().enumerate() {
            producer.begin();
            producer.put(&topic, 0, "k", &format!("{round}-{n}"));
        }
        for (n, producer) in producers.iter().enumerate() {
            if (round + n) % 3 == 0 {
                producer.abort();
            } else {
                wanted.push(format!("{round}-{n}"));
                producer.commit();
            }
        }
    }
    assert_eq!(settled(cluster, &topic, 0), 72);
    assert_eq!(committed(cluster, &topic), wanted);
    // The same from anywhere inside.
    for from in [1, 20, 41] {
        let settings = [("enable.partition.eof", "true")];
        let reader = cluster.reader(&topic, 0, Offset::Offset(from), &settings);
        let (read, _) = read_to_end(&reader, &topic, 0);
        assert_eq!(read, wanted[wanted.len() - read.len()..], "from {from}");
    }
}

pub(crate) fn deletes_records_of_transactions(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    for (value, is_kept) in [("a", false), ("b", true), ("c", false), ("d", true)] {
        producer.begin();
        producer.put(&topic, 0, "k", value);
        if is_kept {
            producer.commit();
        } else {
            producer.abort();
        }
    }
    assert_eq!(settled(cluster, &topic, 0), 8);
    for (before, wanted) in [(1, &["b", "d"][..]), (3, &["d"]), (5, &["d"]), (7, &[])] {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Offset(before))
            .expect("an offset that can be");
        let deleted = cluster.wait(cluster.admin().delete_records(&list, &AdminOptions::new()));
        deleted.expect("they are deleted");
        assert_eq!(committed(cluster, &topic), wanted, "from {before}");
    }
}

pub(crate) fn wakes_a_reader_of_what_is_committed(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    // A fetch that would wait longer than the case: it is answered because there is something.
    let settings = [
        ("fetch.wait.max.ms", "300000"),
        ("socket.timeout.ms", "300000"),
        ("fetch.min.bytes", "1"),
    ];
    let reader = cluster.reader(&topic, 0, Offset::Beginning, &settings);
    for value in ["a", "b"] {
        producer.begin();
        producer.put(&topic, 0, "k", value);
        assert!(
            reader.poll(Duration::from_millis(300)).is_none(),
            "not committed yet"
        );
        producer.commit();
        assert_eq!(next(&reader).payload(), Some(value.as_bytes()));
    }
}
