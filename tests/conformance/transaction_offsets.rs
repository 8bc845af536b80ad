//! Offsets of groups that are committed in transactions, and who may commit them.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;

use crate::cluster::{Cluster, DEADLINE, eventually, next, unique};
use crate::transactions::{Transactional, code_of};

fn consumer(cluster: &Cluster, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = cluster.config();
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "200");
    config.set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().expect("a consumer can be made")
}

/// What is committed for partition 0. A consumer of committed records waits for open transactions.
fn committed(consumer: &BaseConsumer, topic: &str, within: Duration) -> Result<Offset, RDKafkaErrorCode> {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let found = consumer
        .committed_offsets(list, within)
        .map_err(|error| error.rdkafka_error_code().expect("the broker says why"))?;
    let element = found
        .find_partition(topic, 0)
        .expect("it answers for the partition");
    Ok(element.offset())
}

pub(crate) fn commits_and_aborts_offsets_with_the_transaction(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let consumer = consumer(cluster, &unique("group"), &[]);
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    let send = |offset| {
        producer.begin();
        producer
            .send_offset(&consumer, &topic, offset)
            .expect("it is staged");
    };
    send(3);
    producer.commit();
    assert_eq!(committed(&consumer, &topic, DEADLINE), Ok(Offset::Offset(3)));
    send(5);
    producer.abort();
    assert_eq!(committed(&consumer, &topic, DEADLINE), Ok(Offset::Offset(3)));
    producer.begin();
    producer.put(&topic, 0, "k", "v");
    producer.send_offset(&consumer, &topic, 7).expect("it is staged");
    producer.send_offset(&consumer, &topic, 8).expect("it is staged");
    producer.commit();
    assert_eq!(committed(&consumer, &topic, DEADLINE), Ok(Offset::Offset(8)));
}

pub(crate) fn waits_for_a_stable_offset(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let plain = cluster.producer(&[]);
    for n in 0..3 {
        cluster.put(&plain, &topic, "k", &n.to_string());
    }
    let group = unique("group");
    let waiting = consumer(cluster, &group, &[]);
    let hasty = consumer(cluster, &group, &[("isolation.level", "read_uncommitted")]);
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    producer.begin();
    producer.send_offset(&waiting, &topic, 2).expect("it is staged");
    assert_eq!(committed(&hasty, &topic, DEADLINE), Ok(Offset::Invalid));
    let refused = committed(&waiting, &topic, Duration::from_millis(300));
    assert!(refused.is_err(), "{refused:?}");
    // A member that starts has to wait as well, and goes on behind the transaction.
    let member = consumer(cluster, &group, &[]);
    member.subscribe(&[&topic]).expect("it subscribes");
    eventually("the member has its partition", || {
        let polled = member.poll(Duration::from_millis(50));
        assert!(polled.is_none(), "where to begin is not known yet: {polled:?}");
        let assigned = member.assignment().expect("there is an assignment");
        (assigned.count() == 1).then_some(())
    });
    assert!(member.poll(Duration::from_millis(300)).is_none());
    producer.commit();
    assert_eq!(next(&member).offset(), 2);
    assert_eq!(committed(&waiting, &topic, DEADLINE), Ok(Offset::Offset(2)));
}

/// Polls until the member has its partitions in a generation.
fn join(member: &BaseConsumer, topic: &str) {
    member.subscribe(&[topic]).expect("it subscribes");
    await_assignment(member, 2);
}

fn await_assignment(member: &BaseConsumer, count: usize) {
    eventually("the member gets its partitions", || {
        member.poll(Duration::from_millis(50));
        let assigned = member.assignment().expect("there is an assignment");
        (assigned.count() == count).then_some(())
    });
}

pub(crate) fn fences_by_the_generation(cluster: &Cluster) {
    let topic = cluster.topic(2, &[]);
    let group = unique("group");
    let first = consumer(cluster, &group, &[]);
    join(&first, &topic);
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    producer.begin();
    producer.send_offset(&first, &topic, 1).expect("it is the member");
    producer.commit();
    let stale = first.group_metadata().expect("it has a group");

    let second = consumer(cluster, &group, &[]);
    second.subscribe(&[&topic]).expect("it subscribes");
    eventually("two share", || {
        first.poll(Duration::from_millis(20));
        second.poll(Duration::from_millis(20));
        let count = |member: &BaseConsumer| member.assignment().map_or(0, |assigned| assigned.count());
        (count(&first) == 1 && count(&second) == 1).then_some(())
    });
    producer.begin();
    let refused = producer.send_offset_of(&stale, &topic, 2);
    let refused = refused.expect_err("the generation is over");
    assert_eq!(code_of(&refused), (RDKafkaErrorCode::IllegalGeneration, false));
    producer.abort();
    assert_eq!(committed(&first, &topic, DEADLINE), Ok(Offset::Offset(1)));
    producer.begin();
    producer.send_offset(&first, &topic, 3).expect("it is a member");
    producer.commit();
    assert_eq!(committed(&first, &topic, DEADLINE), Ok(Offset::Offset(3)));

    // Who has left is nobody.
    let left = first.group_metadata().expect("it has a group");
    first.unsubscribe();
    drop(first);
    await_assignment(&second, 2);
    producer.begin();
    let refused = producer.send_offset_of(&left, &topic, 4);
    let refused = refused.expect_err("it is no member");
    assert_eq!(code_of(&refused), (RDKafkaErrorCode::UnknownMemberId, false));
    producer.abort();
    assert_eq!(committed(&second, &topic, DEADLINE), Ok(Offset::Offset(3)));
}

pub(crate) fn fences_a_static_member_that_was_replaced(cluster: &Cluster) {
    let topic = cluster.topic(2, &[]);
    let group = unique("group");
    let settings = [("group.instance.id", "one")];
    let first = consumer(cluster, &group, &settings);
    join(&first, &topic);
    let producer = Transactional::new(cluster, &unique("tx"), &[]);
    producer.begin();
    producer.send_offset(&first, &topic, 1).expect("it is the member");
    producer.commit();
    let stale = first.group_metadata().expect("it has a group");
    let second = consumer(cluster, &group, &settings);
    join(&second, &topic);
    producer.begin();
    let refused = producer.send_offset_of(&stale, &topic, 2);
    let refused = refused.expect_err("another process has its instance id");
    assert_eq!(code_of(&refused), (RDKafkaErrorCode::FencedInstanceId, false));
    producer.abort();
    producer.begin();
    producer
        .send_offset(&second, &topic, 3)
        .expect("it is the member");
    producer.commit();
    assert_eq!(committed(&second, &topic, DEADLINE), Ok(Offset::Offset(3)));
}

pub(crate) fn forgets_offsets_of_a_producer_that_died(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let consumer = consumer(cluster, &unique("group"), &[]);
    let id = unique("tx");
    let first = Transactional::new(cluster, &id, &[]);
    first.begin();
    first.send_offset(&consumer, &topic, 1).expect("it is staged");
    first.commit();
    first.begin();
    first.send_offset(&consumer, &topic, 5).expect("it is staged");
    let second = Transactional::new(cluster, &id, &[]);
    assert_eq!(committed(&consumer, &topic, DEADLINE), Ok(Offset::Offset(1)));
    let refused = first.try_commit().expect_err("it is fenced");
    assert_eq!(code_of(&refused), (RDKafkaErrorCode::Fenced, true));
    second.begin();
    second.send_offset(&consumer, &topic, 2).expect("it is staged");
    second.commit();
    assert_eq!(committed(&consumer, &topic, DEADLINE), Ok(Offset::Offset(2)));
}
