//! Questions to the cluster, and the cluster itself.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{DeleteTopicsRequest, TopicName};
use tokio::sync::Notify;

use super::sending::{SOON, record, send};
use super::{Kept, World, at, offset, settings};
use crate::broker::api::text;
use crate::error::ErrorKind;
use crate::kafka::{
    Admin, Cluster, CreateOutcome, GroupMembership, Rebalance, StartOffset, TopicDescription, TopicSpec,
    TransactionOutcome, TransactionalProducer,
};
use crate::testing::clients::admin::VirtualAdmin;
use crate::testing::clients::cluster::VirtualCluster;
use crate::testing::clients::network::Process;

fn admin(world: &World) -> Arc<dyn Admin> {
    Arc::new(VirtualAdmin::new(&world.network, Process(0)))
}

fn spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions,
        replication: None,
        config: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
    }
}

#[test]
fn topics_are_created_once_and_described() {
    let world = World::new(1);
    let admin = admin(&world);
    let created = admin.create_topics(&[spec("log", 3)], SOON).expect("an answer");
    assert_eq!(created, [CreateOutcome::Created]);
    let specs = [spec("log", 3), spec("not a name", 1), spec("other", 1)];
    let outcomes = admin.create_topics(&specs, SOON).expect("an answer");
    assert_eq!(outcomes[0], CreateOutcome::AlreadyExists);
    assert!(matches!(outcomes[1], CreateOutcome::Failed(_)), "{outcomes:?}");
    assert_eq!(outcomes[2], CreateOutcome::Created);
    let names = ["log", "nowhere"].map(str::to_owned);
    let description = TopicDescription {
        name: "log".to_owned(),
        partitions: 3,
    };
    assert_eq!(
        admin.topics(Some(&names), SOON).expect("an answer"),
        [description]
    );
    assert_eq!(admin.topics(None, SOON).expect("an answer").len(), 2);
    let config = admin.topic_config("log", SOON).expect("an answer");
    let compact = ("cleanup.policy".to_owned(), "compact".to_owned());
    assert!(config.contains(&compact), "{config:?}");
    assert!(admin.topic_config("nowhere", SOON).is_err());
}

#[test]
fn a_topic_that_is_made_anew_has_another_id() {
    let world = World::new(1);
    let [_, topic] = ["a", "b"].map(|name| world.topic(name, 1));
    let admin = admin(&world);
    let names = ["b", "nowhere", "a", "b"].map(str::to_owned);
    let ids = admin.topic_ids(&names, SOON).expect("an answer");
    assert!(ids[0].is_some() && ids[2].is_some());
    assert_ne!(ids[0], ids[2]);
    assert_eq!((&ids[1], &ids[3]), (&None, &ids[0]));
    assert_eq!(admin.topic_ids(&[], SOON).expect("an answer"), []);
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text(&*topic))]);
    world.call(5, delete);
    assert_eq!(admin.topic_ids(&names[..1], SOON).expect("an answer"), [None]);
    admin.create_topics(&[spec("b", 1)], SOON).expect("an answer");
    let anew = admin.topic_ids(&names[..1], SOON).expect("an answer");
    assert!(anew[0].is_some() && anew[0] != ids[0]);
}

#[test]
fn offset_ranges_come_in_the_order_asked_for() {
    let world = World::new(1);
    let topic = world.topic("log", 3);
    world.fill(&at(&topic, 2), 0..7);
    world.fill(&at(&topic, 0), 0..1);
    let admin = admin(&world);
    let asked = [at(&topic, 2), at(&topic, 0), at(&topic, 1)];
    let ranges = admin.offset_range(&asked, SOON).expect("an answer");
    assert_eq!(ranges, [(0, 7), (0, 1), (0, 0)]);
    let error = admin
        .offset_range(&[at(&topic, 9)], SOON)
        .expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::Broker);
    assert!(error.to_string().contains("log[9]"), "{error}");
}

#[test]
fn offsets_of_a_group_without_members_are_committed_with_their_texts() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let admin = admin(&world);
    let committed = || {
        let places = [at(&topic, 0), at(&topic, 1)];
        admin
            .committed_offsets("nobody", &places, SOON)
            .expect("an answer")
    };
    assert_eq!(committed(), [None, None]);
    let first = offset(at(&topic, 1), 7, "1:2,3");
    admin
        .commit_offsets("nobody", std::slice::from_ref(&first))
        .expect("nobody is in the group");
    assert_eq!(committed(), [None, Some(first)]);
    let both = [offset(at(&topic, 0), 1, ""), offset(at(&topic, 1), 12, "")];
    admin
        .commit_offsets("nobody", &both)
        .expect("nobody is in the group");
    assert_eq!(committed(), both.map(Some));
    admin.commit_offsets("nobody", &[]).expect("nothing to do");
    let nowhere = offset(at(&topic, 9), 1, "");
    assert!(admin.commit_offsets("nobody", &[nowhere]).is_err());
}

#[test]
fn a_broker_that_cannot_be_reached_is_an_error_at_once() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let admin = admin(&world);
    let places = [at(&topic, 0)];
    let errors = || {
        [
            admin.topics(None, SOON).map(drop),
            admin.create_topics(&[spec("new", 1)], SOON).map(drop),
            admin.topic_ids(&["log".to_owned()], SOON).map(drop),
            admin.topic_config("log", SOON).map(drop),
            admin.offset_range(&places, SOON).map(drop),
            admin.committed_offsets("shop", &places, SOON).map(drop),
            admin.commit_offsets("shop", &[offset(at(&topic, 0), 1, "")]),
        ]
    };
    let start = world.now();
    for is_away in [true, false] {
        world.network.lock().set_away(is_away);
        world.network.lock().set_cut_off(Process(0), !is_away);
        for result in errors() {
            assert_eq!(result.expect_err("nobody answers").kind(), ErrorKind::Broker);
        }
    }
    world.network.lock().set_cut_off(Process(0), false);
    assert_eq!(world.now(), start);
    for result in errors() {
        result.expect("it is there again");
    }
}

fn membership(consumer: &dyn crate::kafka::GroupConsumer) -> GroupMembership {
    consumer.membership().expect("it is a member")
}

/// Lets a step end.
fn ended(world: &World, producer: &mut dyn TransactionalProducer) -> TransactionOutcome {
    loop {
        if let Some(outcome) = producer.outcome() {
            return outcome;
        }
        world.pass(Duration::from_millis(1));
    }
}

/// From a topic through a transaction to another topic, with clients of one cluster alone.
#[test]
fn the_clients_of_a_cluster_work_together() {
    let world = World::new(1);
    let cluster: Arc<dyn Cluster> = Arc::new(VirtualCluster {
        network: world.network.clone(),
        process: Process(0),
        settings: settings(),
    });
    let wake = || Arc::new(Notify::new());
    let admin = cluster.admin().expect("it is made");
    admin
        .create_topics(&[spec("input", 1), spec("output", 1)], SOON)
        .expect("an answer");
    let [input, output]: [Arc<str>; 2] = ["input", "output"].map(Arc::from);

    let mut producer = cluster.producer(wake()).expect("it is made");
    for number in 0..10 {
        send(&mut *producer, &input, 0, &number.to_string());
    }
    assert!(producer.flush(SOON));

    let mut consumer = cluster.group_consumer("0", wake()).expect("it is made");
    consumer.subscribe(&[Arc::clone(&input)]).expect("it subscribes");
    let mut sink = Kept::default();
    while sink.of(&input, 0).len() < 10 {
        world.pass(Duration::from_millis(1));
        consumer.poll(&mut sink, 100).expect("no error");
        if let Some(Rebalance::Assign(places)) = consumer.rebalance() {
            let starts: Vec<_> = places
                .into_iter()
                .map(|at| (at, StartOffset::Committed))
                .collect();
            consumer.assign(&starts).expect("it is taken on");
        }
    }

    let mut transactional = cluster
        .transactional_producer("shop-0", Duration::from_secs(60), wake())
        .expect("it is made");
    transactional.init();
    assert!(matches!(
        ended(&world, &mut *transactional),
        TransactionOutcome::Done
    ));
    transactional.begin().expect("it begins");
    for value in sink.values(&input, 0) {
        let outcome = transactional.send(record(&output, 0, value));
        assert!(matches!(outcome, crate::kafka::SendOutcome::Queued));
    }
    assert!(transactional.flush(SOON));
    let end = offset(at(&input, 0), 10, "read");
    let asked = [at(&input, 0)];
    let committed = |timeout| admin.committed_offsets("shop", &asked, timeout);
    transactional.commit(std::slice::from_ref(&end), membership(&*consumer));
    // Three latencies and a half: the offsets are staged, and the end is not asked for.
    world.pass(Duration::from_micros(1750));
    let error = committed(Duration::ZERO).expect_err("they are not stable");
    assert!(error.to_string().contains("transaction"), "{error}");
    assert_eq!(committed(SOON).expect("it waits"), [Some(end)]);
    assert!(matches!(
        ended(&world, &mut *transactional),
        TransactionOutcome::Done
    ));

    let mut reader = cluster.partition_reader(wake()).expect("it is made");
    reader
        .add(&[(at(&output, 0), StartOffset::Beginning)])
        .expect("it reads");
    let mut read = Kept::default();
    while read.end(&output, 0).is_none() {
        world.pass(Duration::from_millis(1));
        reader.poll(&mut read, 100).expect("no error");
    }
    assert_eq!(read.values(&output, 0), sink.values(&input, 0));
    consumer.close(SOON);
}
