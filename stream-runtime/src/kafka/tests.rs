//! The ports against a real broker: the one at `STREAM_TEST_KAFKA`, as `tests/run` starts it.
//!
//! Every test makes its own topics and groups, so that they run side by side and again on a used broker.

mod admin;
mod group;
mod outage;
mod positions;
mod reading;
mod sending;
mod transactions;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::cluster::RdKafkaCluster;
use super::config::tests::settings;
use super::{
    ClientSettings, Cluster, CommitOffset, CommitOutcome, CreateOutcome, OutgoingRecord, Producer,
    RecordSink, SendOutcome, TopicPartition, TopicSpec,
};
use crate::clock;
use crate::record::RecordRef;

const SOON: Duration = Duration::from_secs(30);

/// Where the tests' broker is. Without one the test is left out, which CI does not allow.
fn bootstrap() -> Option<String> {
    if let Ok(address) = std::env::var("STREAM_TEST_KAFKA") {
        return Some(address);
    }
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(
        !ci,
        "STREAM_TEST_KAFKA is not set: `tests/run` starts a broker and sets it"
    );
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    // Past the harness, which shows nothing of a test that passes.
    let _ = writeln!(
        std::io::stderr(),
        "LEFT OUT, for want of STREAM_TEST_KAFKA: {test}"
    );
    None
}

/// A cluster and names of one's own.
struct Setting {
    cluster: Arc<dyn Cluster>,
    bootstrap: String,
    name: String,
    settings: ClientSettings,
}

impl Setting {
    fn new(name: &str) -> Option<Self> {
        Some(Self::at(&bootstrap()?, name))
    }

    fn at(bootstrap: &str, name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{number}", clock::wall_millis());
        Self::of(settings(bootstrap, &name))
    }

    fn of(settings: ClientSettings) -> Self {
        Self {
            cluster: RdKafkaCluster::connect(settings.clone()).expect("settings are right"),
            bootstrap: settings.bootstrap.clone(),
            name: settings.group.clone(),
            settings,
        }
    }

    /// The same under the newer group protocol.
    fn newer(&self) -> Self {
        let mut settings = self.settings.clone();
        let newer = ("group.protocol".to_owned(), "consumer".to_owned());
        settings.raw.push(newer);
        Self::of(settings)
    }

    /// The same with members that are put out of the group quickly when they do not poll.
    fn impatient(&self) -> Self {
        Self::of(ClientSettings {
            session_timeout: Duration::from_millis(1500),
            heartbeat_interval: Duration::from_millis(200),
            max_poll_interval: Duration::from_millis(1500),
            ..self.settings.clone()
        })
    }

    /// The same with a lasting name for its members.
    fn named(&self, instance: &str) -> Self {
        Self::of(ClientSettings {
            instance_id: Some(instance.to_owned()),
            ..self.settings.clone()
        })
    }

    /// A topic of one's own.
    fn topic(&self, suffix: &str, partitions: u32, config: &[(&str, &str)]) -> Arc<str> {
        let name = format!("{}-{suffix}", self.name);
        let spec = TopicSpec {
            name: name.clone(),
            partitions,
            replication: None,
            config: config
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let admin = self.cluster.admin().expect("an admin client");
        let outcomes = admin.create_topics(&[spec], SOON).expect("the broker answers");
        assert_eq!(outcomes, [CreateOutcome::Created]);
        Arc::from(name)
    }

    /// Sends `count` records with the values `0..count` to a partition.
    fn fill(&self, topic: &Arc<str>, partition: i32, count: usize) {
        let mut producer = self.cluster.producer(wake()).expect("a producer");
        for number in 0..count {
            send(&mut *producer, topic, partition, &number.to_string());
        }
        assert!(producer.flush(SOON));
        assert_eq!(producer.take_failure(), None);
    }
}

fn wake() -> Arc<Notify> {
    Arc::new(Notify::new())
}

fn at(topic: &Arc<str>, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: Arc::clone(topic),
        partition,
    }
}

fn offset(at: TopicPartition, offset: i64, metadata: &str) -> CommitOffset {
    CommitOffset {
        at,
        offset,
        metadata: metadata.to_owned(),
    }
}

fn send(producer: &mut dyn Producer, topic: &Arc<str>, partition: i32, value: &str) {
    let record = OutgoingRecord {
        topic,
        partition: Some(partition),
        key: Some(b"key"),
        value: Some(value.as_bytes()),
        headers: &[],
        timestamp: None,
    };
    loop {
        match producer.send(record) {
            SendOutcome::Queued => return,
            SendOutcome::Full => {
                producer.poll();
                std::thread::sleep(Duration::from_millis(1));
            }
            SendOutcome::Refused(reason) => panic!("{reason}"),
        }
    }
}

/// Keeps what it is given.
#[derive(Default)]
struct Kept {
    /// Offset and value, by place.
    records: BTreeMap<(String, i32), Vec<(i64, String)>>,
    ends: BTreeMap<(String, i32), i64>,
    out_of_range: Vec<(String, i32)>,
    takes_out_of_range: bool,
}

impl Kept {
    fn of(&self, topic: &str, partition: i32) -> &[(i64, String)] {
        self.records
            .get(&(topic.to_owned(), partition))
            .map_or(&[], Vec::as_slice)
    }

    fn values(&self, topic: &str, partition: i32) -> Vec<&str> {
        self.of(topic, partition)
            .iter()
            .map(|(_, value)| value.as_str())
            .collect()
    }

    fn end(&self, topic: &str, partition: i32) -> Option<i64> {
        self.ends.get(&(topic.to_owned(), partition)).copied()
    }

    fn count(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }
}

impl RecordSink for Kept {
    fn record(&mut self, record: RecordRef<'_>) {
        let value = String::from_utf8_lossy(record.value.unwrap_or(b"<null>")).into_owned();
        let place = (record.topic.to_owned(), record.partition);
        self.records
            .entry(place)
            .or_default()
            .push((record.offset, value));
    }

    fn end_of_partition(&mut self, topic: &str, partition: i32, offset: i64) {
        self.ends.insert((topic.to_owned(), partition), offset);
    }

    fn out_of_range(&mut self, topic: &str, partition: i32) -> bool {
        self.out_of_range.push((topic.to_owned(), partition));
        self.takes_out_of_range
    }
}

/// Turns until `done`, and panics with `what` when it never is.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Commits and waits for the outcome.
fn commit(consumer: &mut dyn super::GroupConsumer, offsets: &[CommitOffset]) -> CommitOutcome {
    consumer.commit(offsets).expect("the commit starts");
    let mut sink = Kept::default();
    let mut outcome = None;
    until("a commit ends", || {
        consumer.poll(&mut sink, 100).expect("no error");
        outcome = consumer.commit_outcome();
        outcome.is_some()
    });
    outcome.expect("it has ended")
}
