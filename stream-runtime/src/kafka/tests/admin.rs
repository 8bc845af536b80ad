//! Questions to the cluster.

use std::time::{Duration, Instant};

use super::{SOON, Setting, at, offset, settings};
use crate::error::ErrorKind;
use crate::kafka::cluster::RdKafkaCluster;
use crate::kafka::{CreateOutcome, TopicDescription, TopicSpec};

#[test]
fn topics_are_created_once_and_described() {
    let Some(setting) = Setting::new("created") else {
        return;
    };
    let topic = setting.topic("log", 3, &[("cleanup.policy", "compact")]);
    let admin = setting.cluster.admin().expect("an admin client");
    let spec = |name: &str, partitions: u32| TopicSpec {
        name: name.to_owned(),
        partitions,
        replication: None,
        config: Vec::new(),
    };
    let outcomes = admin
        .create_topics(
            &[
                spec(&topic, 3),
                spec("not a name", 1),
                spec(&format!("{topic}-b"), 1),
            ],
            SOON,
        )
        .expect("the broker answers");
    assert_eq!(outcomes[0], CreateOutcome::AlreadyExists);
    assert!(matches!(outcomes[1], CreateOutcome::Failed(_)), "{outcomes:?}");
    assert_eq!(outcomes[2], CreateOutcome::Created);

    let found = admin
        .topics(Some(&[topic.to_string(), "nowhere".to_owned()]), SOON)
        .expect("an answer");
    assert_eq!(
        found,
        [TopicDescription {
            name: topic.to_string(),
            partitions: 3
        }]
    );
    assert!(admin.topics(None, SOON).expect("an answer").len() > 1);
    let config = admin.topic_config(&topic, SOON).expect("an answer");
    assert!(
        config.contains(&("cleanup.policy".to_owned(), "compact".to_owned())),
        "{config:?}"
    );
}

#[test]
fn offset_ranges_come_in_the_order_asked_for() {
    let Some(setting) = Setting::new("ranges") else {
        return;
    };
    let topic = setting.topic("log", 3, &[]);
    setting.fill(&topic, 2, 7);
    setting.fill(&topic, 0, 1);
    let admin = setting.cluster.admin().expect("an admin client");
    let ranges = admin
        .offset_range(&[at(&topic, 2), at(&topic, 0), at(&topic, 1)], SOON)
        .expect("an answer");
    assert_eq!(ranges, [(0, 7), (0, 1), (0, 0)]);
    let committed = admin
        .committed(&setting.name, &[at(&topic, 0)], SOON)
        .expect("an answer");
    assert_eq!(committed, [None]);
}

#[test]
fn a_cluster_that_is_not_there_is_named_within_the_time() {
    let cluster = RdKafkaCluster::connect(settings("127.0.0.1:1", "nobody")).expect("settings are right");
    let admin = cluster.admin().expect("an admin client");
    let start = Instant::now();
    let error = admin
        .topics(None, Duration::from_millis(700))
        .expect_err("nobody answers");
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(error.kind(), ErrorKind::Broker);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn offsets_of_a_group_without_members_are_committed_with_their_texts() {
    let Some(setting) = Setting::new("memberless") else {
        return;
    };
    let topic = setting.topic("log", 2, &[]);
    let admin = setting.cluster.admin().expect("an admin client");
    let group = format!("{}-nobody", setting.name);
    let committed = || {
        let places = [at(&topic, 0), at(&topic, 1)];
        let found = admin.committed_offsets(&group, &places, SOON);
        found.expect("the broker answers")
    };
    assert_eq!(committed(), [None, None]);
    let first = offset(at(&topic, 1), 7, "1:2,3");
    admin
        .commit_offsets(&group, std::slice::from_ref(&first))
        .expect("nobody is in the group");
    assert_eq!(committed(), [None, Some(first)]);
    let both = [offset(at(&topic, 0), 1, ""), offset(at(&topic, 1), 12, "")];
    admin
        .commit_offsets(&group, &both)
        .expect("nobody is in the group");
    assert_eq!(committed(), both.map(Some));
}
