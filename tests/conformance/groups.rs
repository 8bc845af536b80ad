//! Consumer groups: who gets what, who takes over, who is refused.

use rdkafka::admin::AdminOptions;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::{Cluster, DEADLINE, eventually, unique};

const MEMBER: &str = "STREAM_CONFORMANCE_MEMBER";

fn config(bootstrap: &str, group: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", group);
    config
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500");
    config
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false");
    config.set_log_level(RDKafkaLogLevel::Emerg);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

/// A member on a thread of its own, which polls until it is stopped.
struct Member {
    consumer: Arc<BaseConsumer>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Option<RDKafkaErrorCode>>>,
}

impl Member {
    fn start(cluster: &Cluster, group: &str, topic: &str, settings: &[(&str, &str)]) -> Self {
        let consumer: BaseConsumer = config(cluster.bootstrap(), group, settings)
            .create()
            .expect("a consumer can be made");
        consumer.subscribe(&[topic]).expect("it subscribes");
        let (consumer, stop) = (Arc::new(consumer), Arc::new(AtomicBool::new(false)));
        let (polled, stopped) = (Arc::clone(&consumer), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let polled = polled.poll(Duration::from_millis(50));
                if let Some(Err(KafkaError::MessageConsumptionFatal(code))) = polled {
                    return Some(code);
                }
            }
            None
        });
        Self {
            consumer,
            stop,
            thread: Some(thread),
        }
    }

    fn partitions(&self) -> BTreeSet<i32> {
        let assigned = self.consumer.assignment().expect("there is an assignment");
        assigned
            .elements()
            .iter()
            .map(|element| element.partition())
            .collect()
    }

    /// Stops polling and says what ended the member, if anything did.
    fn stop(&mut self) -> Option<RDKafkaErrorCode> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .and_then(|thread| thread.join().expect("the member does not panic"))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
    }
}

fn await_partitions(member: &Member, wanted: &[i32]) {
    let wanted: BTreeSet<i32> = wanted.iter().copied().collect();
    eventually("the member gets its partitions", || {
        (member.partitions() == wanted).then_some(())
    });
}

fn is_shared(one: &Member, other: &Member) -> bool {
    let (one, other) = (one.partitions(), other.partitions());
    one.len() == 2 && other.len() == 2 && one.is_disjoint(&other)
}

fn shares(cluster: &Cluster, strategy: &str) {
    let topic = cluster.topic(4, &[]);
    let group = unique("group");
    let settings = [("partition.assignment.strategy", strategy)];
    let first = Member::start(cluster, &group, &topic, &settings);
    await_partitions(&first, &[0, 1, 2, 3]);
    let second = Member::start(cluster, &group, &topic, &settings);
    eventually("two share", || is_shared(&first, &second).then_some(()));
    drop(first);
    await_partitions(&second, &[0, 1, 2, 3]);
}

pub(crate) fn shares_by_range(cluster: &Cluster) {
    shares(cluster, "range");
}

pub(crate) fn shares_cooperatively(cluster: &Cluster) {
    shares(cluster, "cooperative-sticky");
}

/// Whether this process was started as a member that will be killed.
pub(crate) fn is_member_process() -> bool {
    std::env::var_os(MEMBER).is_some()
}

/// Is a member until it is killed.
pub(crate) fn run_member_process() -> ! {
    let said = std::env::var(MEMBER).expect("it was asked for before");
    let mut words = said.split(' ');
    let mut word = || words.next().expect("address, group and topic");
    let (bootstrap, group, topic) = (word(), word(), word());
    let consumer: BaseConsumer = config(bootstrap, group, &[])
        .create()
        .expect("a consumer can be made");
    consumer.subscribe(&[topic]).expect("it subscribes");
    loop {
        // Whatever comes: it is here to hold partitions.
        drop(consumer.poll(Duration::from_millis(100)));
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(crate) fn takes_over_from_a_killed_member(cluster: &Cluster) {
    let topic = cluster.topic(4, &[]);
    let group = unique("group");
    let first = Member::start(cluster, &group, &topic, &[]);
    await_partitions(&first, &[0, 1, 2, 3]);
    let child = Command::new(std::env::current_exe().expect("this program has a path"))
        .env(MEMBER, format!("{} {group} {topic}", cluster.bootstrap()))
        .stdin(Stdio::null())
        .spawn()
        .expect("a second process starts");
    let mut child = Process(child);
    eventually("the other process has its share", || {
        (first.partitions().len() == 2).then_some(())
    });
    // No goodbye: its session has to end.
    child.0.kill().expect("it can be killed");
    await_partitions(&first, &[0, 1, 2, 3]);
}

pub(crate) fn keeps_a_static_member(cluster: &Cluster) {
    let topic = cluster.topic(4, &[]);
    let group = unique("group");
    let first = Member::start(cluster, &group, &topic, &[("group.instance.id", "one")]);
    await_partitions(&first, &[0, 1, 2, 3]);
    let second = Member::start(cluster, &group, &topic, &[("group.instance.id", "two")]);
    eventually("two share", || is_shared(&first, &second).then_some(()));
    let (of_first, of_second) = (first.partitions(), second.partitions());
    // It goes without leaving, and comes back with what it had, while the other one keeps its own.
    drop(second);
    let second = Member::start(cluster, &group, &topic, &[("group.instance.id", "two")]);
    await_partitions(&second, &of_second.into_iter().collect::<Vec<_>>());
    assert_eq!(first.partitions(), of_first);
}

pub(crate) fn fences_a_second_static_member(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    let settings = [("group.instance.id", "one")];
    let mut first = Member::start(cluster, &group, &topic, &settings);
    await_partitions(&first, &[0]);
    let second = Member::start(cluster, &group, &topic, &settings);
    await_partitions(&second, &[0]);
    eventually("the first one is fenced", || {
        first
            .thread
            .as_ref()
            .is_none_or(JoinHandle::is_finished)
            .then_some(())
    });
    assert_eq!(first.stop(), Some(RDKafkaErrorCode::FencedInstanceId));
    let fatal = first.consumer.client().fatal_error().map(|(code, _)| code);
    assert_eq!(fatal, Some(RDKafkaErrorCode::FencedInstanceId));
}

/// State, protocol and number of members of a group, as an administrator sees them.
fn describe(cluster: &Cluster, group: &str) -> Option<(String, String, usize)> {
    let client: BaseConsumer = cluster.config().create().expect("a client can be made");
    let list = client.fetch_group_list(Some(group), DEADLINE).ok()?;
    let found = list.groups().iter().find(|found| found.name() == group)?;
    Some((
        found.state().to_owned(),
        found.protocol().to_owned(),
        found.members().len(),
    ))
}

pub(crate) fn lists_and_describes(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    let settings = [
        ("client.id", "someone"),
        ("partition.assignment.strategy", "range"),
    ];
    let member = Member::start(cluster, &group, &topic, &settings);
    await_partitions(&member, &[0]);
    eventually("the group is stable", || {
        (describe(cluster, &group)? == ("Stable".to_owned(), "range".to_owned(), 1)).then_some(())
    });
    let client: BaseConsumer = cluster.config().create().expect("a client can be made");
    let all = client
        .fetch_group_list(None, DEADLINE)
        .expect("the broker answers");
    let found = all
        .groups()
        .iter()
        .find(|found| found.name() == group)
        .expect("it is listed");
    assert_eq!(found.protocol_type(), "consumer");
    assert_eq!(found.members()[0].client_id(), "someone");
    assert!(
        found.members()[0].client_host().contains("127.0.0.1"),
        "{}",
        found.members()[0].client_host()
    );
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(0))
        .expect("an offset that can be");
    member
        .consumer
        .commit(&offsets, CommitMode::Sync)
        .expect("it is kept");
    drop(member);
    eventually("the group is empty", || {
        let (state, _, members) = describe(cluster, &group)?;
        (state == "Empty" && members == 0).then_some(())
    });
}

pub(crate) fn deletes_an_empty_group(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    let member = Member::start(cluster, &group, &topic, &[]);
    await_partitions(&member, &[0]);
    let admin = cluster.admin();
    let delete = |name: &str| {
        let results = cluster
            .wait(admin.delete_groups(&[name], &AdminOptions::new()))
            .expect("an answer");
        results
            .into_iter()
            .next()
            .expect("one group, one result")
            .map(drop)
            .map_err(|(_, code)| code)
    };
    assert_eq!(delete(&group), Err(RDKafkaErrorCode::NonEmptyGroup));
    drop(member);
    eventually("the group can be deleted", || delete(&group).ok());
    assert_eq!(delete(&group), Err(RDKafkaErrorCode::GroupIdNotFound));
}

pub(crate) fn refuses_a_commit_of_a_stranger(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    let member = Member::start(cluster, &group, &topic, &[]);
    await_partitions(&member, &[0]);
    let stranger: BaseConsumer = config(cluster.bootstrap(), &group, &[])
        .create()
        .expect("a consumer can be made");
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(1))
        .expect("an offset that can be");
    let refused = stranger.commit(&offsets, CommitMode::Sync);
    let code = refused.err().and_then(|error| error.rdkafka_error_code());
    assert_eq!(code, Some(RDKafkaErrorCode::UnknownMemberId));
    member
        .consumer
        .commit(&offsets, CommitMode::Sync)
        .expect("the member's own is kept");
}

pub(crate) fn refuses_a_session_that_is_too_long(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let settings = [
        ("session.timeout.ms", "3000000"),
        ("max.poll.interval.ms", "4000000"),
        ("heartbeat.interval.ms", "3000"),
    ];
    let consumer: BaseConsumer = config(cluster.bootstrap(), &unique("group"), &settings)
        .create()
        .expect("a consumer can be made");
    consumer.subscribe(&[&topic]).expect("it subscribes");
    let code = eventually("the session is refused", || {
        match consumer.poll(Duration::from_millis(100))? {
            Err(error) => error.rdkafka_error_code(),
            Ok(message) => panic!("a record at {}", message.offset()),
        }
    });
    assert_eq!(code, RDKafkaErrorCode::InvalidSessionTimeout);
}
