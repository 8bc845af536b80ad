//! Topics: created, listed, described, changed, deleted.

use rdkafka::admin::{
    AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode;

use crate::cluster::{Cluster, DEADLINE, eventually, unique};

fn new<'a>(name: &'a str, partitions: i32) -> NewTopic<'a> {
    NewTopic::new(name, partitions, TopicReplication::Fixed(1))
}

fn client(cluster: &Cluster) -> BaseConsumer {
    cluster.config().create().expect("a client can be made")
}

pub(crate) fn creates_and_lists(cluster: &Cluster) {
    let name = cluster.topic(3, &[]);
    let metadata = client(cluster)
        .fetch_metadata(None, DEADLINE)
        .expect("the broker answers");
    assert_eq!(metadata.brokers().len(), 1);
    let topic = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == name)
        .expect("it is listed");
    let mut ids: Vec<i32> = topic
        .partitions()
        .iter()
        .map(|partition| partition.id())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2]);
    assert!(
        topic
            .partitions()
            .iter()
            .all(|partition| partition.leader() == metadata.brokers()[0].id())
    );
}

pub(crate) fn refuses_an_existing_name(cluster: &Cluster) {
    let name = cluster.topic(1, &[]);
    let refused = cluster.try_create(&new(&name, 1), &AdminOptions::new());
    assert_eq!(refused, Err(RDKafkaErrorCode::TopicAlreadyExists));
}

pub(crate) fn refuses_bad_names_and_numbers(cluster: &Cluster) {
    let long = "x".repeat(250);
    for name in ["with space", "with/slash", ".", "..", &long] {
        let refused = cluster.try_create(&new(name, 1), &AdminOptions::new());
        assert_eq!(refused, Err(RDKafkaErrorCode::InvalidTopic), "{name}");
    }
    let name = unique("topic.dot");
    assert_eq!(cluster.try_create(&new(&name, 1), &AdminOptions::new()), Ok(()));
    let alike = name.replace('.', "_");
    let refused = cluster.try_create(&new(&alike, 1), &AdminOptions::new());
    assert_eq!(refused, Err(RDKafkaErrorCode::InvalidTopic), "{alike}");
    let refused = cluster.try_create(
        &NewTopic::new(&unique("topic"), 1, TopicReplication::Fixed(2)),
        &AdminOptions::new(),
    );
    assert_eq!(refused, Err(RDKafkaErrorCode::InvalidReplicationFactor));
    let defaults = unique("topic");
    let created = cluster.try_create(
        &NewTopic::new(&defaults, -1, TopicReplication::Fixed(-1)),
        &AdminOptions::new(),
    );
    assert_eq!(created, Ok(()));
    cluster.wait_for_topic(&defaults, 1);
}

pub(crate) fn only_validates(cluster: &Cluster) {
    let name = unique("topic");
    let options = AdminOptions::new().validate_only(true);
    assert_eq!(cluster.try_create(&new(&name, 1), &options), Ok(()));
    // Had it been created, this would say that it exists.
    assert_eq!(cluster.try_create(&new(&name, 1), &AdminOptions::new()), Ok(()));
}

pub(crate) fn refuses_unknown_settings(cluster: &Cluster) {
    for (key, value) in [
        ("no.such.setting", "1"),
        ("retention.ms", "soon"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "wash"),
        ("min.cleanable.dirty.ratio", "2"),
        ("message.timestamp.type", "Sometimes"),
        ("segment.ms", "0"),
    ] {
        let name = unique("topic");
        let refused = cluster.try_create(&new(&name, 1).set(key, value), &AdminOptions::new());
        assert_eq!(refused, Err(RDKafkaErrorCode::InvalidConfig), "{key}={value}");
    }
}

pub(crate) fn knows_no_unknown_topic(cluster: &Cluster) {
    let code = |name: &str| {
        let metadata = client(cluster)
            .fetch_metadata(Some(name), DEADLINE)
            .expect("the broker answers");
        let topic = metadata.topics().first().expect("it answers for the topic");
        topic.error().map(RDKafkaErrorCode::from)
    };
    assert_eq!(
        code(&unique("never")),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition)
    );
    assert_eq!(code("not a name"), Some(RDKafkaErrorCode::InvalidTopic));
}

pub(crate) fn deletes(cluster: &Cluster) {
    let name = cluster.topic(1, &[]);
    let admin = cluster.admin();
    let deleted = cluster
        .wait(admin.delete_topics(&[&name], &AdminOptions::new()))
        .expect("an answer");
    assert_eq!(deleted, [Ok(name.clone())]);
    eventually("the topic is gone", || {
        let metadata = client(cluster).fetch_metadata(None, DEADLINE).ok()?;
        metadata
            .topics()
            .iter()
            .all(|topic| topic.name() != name)
            .then_some(())
    });
    let again = cluster
        .wait(admin.delete_topics(&[&name], &AdminOptions::new()))
        .expect("an answer");
    assert_eq!(again, [Err((name, RDKafkaErrorCode::UnknownTopicOrPartition))]);
}

pub(crate) fn adds_partitions(cluster: &Cluster) {
    let name = cluster.topic(1, &[]);
    let admin = cluster.admin();
    let grow = |count| {
        let request = [NewPartitions::new(&name, count)];
        cluster
            .wait(admin.create_partitions(&request, &AdminOptions::new()))
            .expect("an answer")
    };
    assert_eq!(grow(4), [Ok(name.clone())]);
    cluster.wait_for_topic(&name, 4);
    assert_eq!(
        grow(2),
        [Err((name.clone(), RDKafkaErrorCode::InvalidPartitions))]
    );
    assert_eq!(
        grow(4),
        [Err((name.clone(), RDKafkaErrorCode::InvalidPartitions))]
    );
}

/// The value of a setting and whether it was set for the topic.
fn describe(cluster: &Cluster, topic: &str, setting: &str) -> (Option<String>, bool) {
    let resource = [ResourceSpecifier::Topic(topic)];
    let admin = cluster.admin();
    let results = cluster
        .wait(admin.describe_configs(&resource, &AdminOptions::new()))
        .expect("the broker answers");
    let described = results
        .into_iter()
        .next()
        .expect("one resource, one result")
        .expect("it is described");
    let entry = described.get(setting).expect("the setting is described");
    (entry.value.clone(), entry.source == ConfigSource::DynamicTopic)
}

pub(crate) fn describes_settings(cluster: &Cluster) {
    let name = cluster.topic(
        1,
        &[("cleanup.policy", "compact"), ("delete.retention.ms", "1234")],
    );
    eventually("the settings are known", || {
        (describe(cluster, &name, "cleanup.policy").0.as_deref() == Some("compact")).then_some(())
    });
    assert_eq!(
        describe(cluster, &name, "cleanup.policy"),
        (Some("compact".to_owned()), true)
    );
    assert_eq!(
        describe(cluster, &name, "delete.retention.ms"),
        (Some("1234".to_owned()), true)
    );
    for (setting, default) in [
        ("retention.ms", "604800000"),
        ("retention.bytes", "-1"),
        ("min.compaction.lag.ms", "0"),
        ("max.message.bytes", "1048588"),
        ("message.timestamp.type", "CreateTime"),
        ("min.cleanable.dirty.ratio", "0.5"),
        ("segment.bytes", "1073741824"),
        ("segment.ms", "604800000"),
        ("compression.type", "producer"),
    ] {
        assert_eq!(
            describe(cluster, &name, setting),
            (Some(default.to_owned()), false),
            "{setting}"
        );
    }
    // rdkafka loses the error of a resource, so what counts is that nothing is described.
    let never = unique("never");
    let resource = [ResourceSpecifier::Topic(&never)];
    let admin = cluster.admin();
    let results = cluster
        .wait(admin.describe_configs(&resource, &AdminOptions::new()))
        .expect("an answer");
    assert!(
        results
            .iter()
            .flatten()
            .all(|described| described.entries.is_empty())
    );
}

pub(crate) fn alters_settings(cluster: &Cluster) {
    let name = cluster.topic(1, &[("retention.ms", "1000000")]);
    let admin = cluster.admin();
    let alter = |key, value| {
        let change = [AlterConfig::new(ResourceSpecifier::Topic(&name)).set(key, value)];
        let results = cluster
            .wait(admin.alter_configs(&change, &AdminOptions::new()))
            .expect("an answer");
        results
            .into_iter()
            .next()
            .expect("one resource, one result")
            .map(drop)
            .map_err(|(_, code)| code)
    };
    assert_eq!(alter("max.message.bytes", "2000000"), Ok(()));
    eventually("the change is known", || {
        (describe(cluster, &name, "max.message.bytes").0.as_deref() == Some("2000000")).then_some(())
    });
    // What is not named goes back to its default.
    assert_eq!(
        describe(cluster, &name, "retention.ms"),
        (Some("604800000".to_owned()), false)
    );
    // rdkafka loses the error of a resource, so what counts is that nothing changed.
    alter("max.message.bytes", "many").ok();
    let kept = describe(cluster, &name, "max.message.bytes").0;
    assert_eq!(kept.as_deref(), Some("2000000"));
}
