//! Offsets that groups commit.

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::{Cluster, DEADLINE, eventually, next, unique};

fn consumer(cluster: &Cluster, group: &str) -> BaseConsumer {
    let mut config = cluster.config();
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    config.create().expect("a consumer can be made")
}

fn list(topic: &str, partition: i32, offset: Offset, metadata: &str) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, offset)
        .expect("an offset that can be");
    list.set_partition_offset(topic, partition, offset)
        .expect("it is in the list");
    if let Some(mut element) = list.find_partition(topic, partition) {
        element.set_metadata(metadata);
    }
    list
}

fn committed(consumer: &BaseConsumer, topic: &str, partition: i32) -> (Offset, String) {
    let asked = list(topic, partition, Offset::Invalid, "");
    let found = consumer
        .committed_offsets(asked, DEADLINE)
        .expect("the broker answers");
    let element = found
        .find_partition(topic, partition)
        .expect("it answers for the partition");
    (element.offset(), element.metadata().to_owned())
}

pub(crate) fn keeps_offset_and_metadata(cluster: &Cluster) {
    let topic = cluster.topic(2, &[]);
    let group = unique("group");
    let first = consumer(cluster, &group);
    first
        .commit(
            &list(&topic, 1, Offset::Offset(7), "what I know"),
            CommitMode::Sync,
        )
        .expect("it is kept");
    let second = consumer(cluster, &group);
    assert_eq!(
        committed(&second, &topic, 1),
        (Offset::Offset(7), "what I know".to_owned())
    );
    second
        .commit(&list(&topic, 1, Offset::Offset(3), ""), CommitMode::Sync)
        .expect("it is kept");
    assert_eq!(committed(&first, &topic, 1), (Offset::Offset(3), String::new()));
}

pub(crate) fn knows_what_was_never_committed(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let nobody = consumer(cluster, &unique("group"));
    assert_eq!(committed(&nobody, &topic, 0), (Offset::Invalid, String::new()));
}

pub(crate) fn forgets_with_the_topic(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let consumer = consumer(cluster, &unique("group"));
    consumer
        .commit(&list(&topic, 0, Offset::Offset(5), ""), CommitMode::Sync)
        .expect("it is kept");
    let admin = cluster.admin();
    cluster
        .wait(admin.delete_topics(&[&topic], &AdminOptions::new()))
        .expect("an answer")[0]
        .as_ref()
        .expect("it is deleted");
    eventually("the offset is forgotten", || {
        (committed(&consumer, &topic, 0).0 == Offset::Invalid).then_some(())
    });
}

pub(crate) fn refuses_long_metadata(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let consumer = consumer(cluster, &unique("group"));
    let fits = list(&topic, 0, Offset::Offset(1), &"x".repeat(4096));
    consumer.commit(&fits, CommitMode::Sync).expect("it is kept");
    let refused = consumer.commit(
        &list(&topic, 0, Offset::Offset(2), &"x".repeat(4097)),
        CommitMode::Sync,
    );
    let code = refused.err().and_then(|error| error.rdkafka_error_code());
    assert_eq!(code, Some(RDKafkaErrorCode::OffsetMetadataTooLarge));
    assert_eq!(committed(&consumer, &topic, 0).0, Offset::Offset(1));
}

pub(crate) fn goes_on_where_the_group_was(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[]);
    for n in 0..6 {
        cluster.put(&producer, &topic, "k", &n.to_string());
    }
    let group = unique("group");
    let first = consumer(cluster, &group);
    first.subscribe(&[&topic]).expect("it subscribes");
    for offset in 0..3 {
        let message = next(&first);
        assert_eq!(message.offset(), offset);
    }
    first
        .commit(&list(&topic, 0, Offset::Offset(3), ""), CommitMode::Sync)
        .expect("it is kept");
    drop(first);
    let second = consumer(cluster, &group);
    second.subscribe(&[&topic]).expect("it subscribes");
    assert_eq!(next(&second).offset(), 3);
}
