//! A broker under test, seen through a client that is not the framework's.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::process::{DEADLINE, Process, colors, eventually};

/// A record's key and value, as text.
pub(crate) type Pair = (String, String);

/// What a group has committed of a partition, and where the partition ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) committed: i64,
    pub(crate) end: i64,
}

/// A broker and, if it is ours alone, its process.
pub(crate) struct Cluster {
    bootstrap: String,
    runtime: tokio::runtime::Runtime,
    #[expect(dead_code, reason = "it serves as long as it lives")]
    broker: Option<Process>,
}

impl Cluster {
    /// The embedded broker, as a process of its own with the topics of `colors`.
    pub(crate) fn embedded() -> Self {
        Self::embedded_in(&mut colors())
    }

    /// The embedded broker, as a process of its own with the topics of this program.
    pub(crate) fn embedded_in(program: &mut Command) -> Self {
        let mut broker = Process::start("the embedded broker", program.args(["broker", "--port", "0"]));
        let line = broker.wait_for_log("the embedded broker listens on ");
        let bootstrap = line
            .split("listens on ")
            .nth(1)
            .and_then(|rest| rest.split(';').next())
            .unwrap_or_else(|| panic!("no address in `{line}`"));
        Self {
            broker: Some(broker),
            ..Self::kafka(bootstrap)
        }
    }

    /// A broker that is there.
    pub(crate) fn kafka(bootstrap: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        Self {
            bootstrap: bootstrap.to_owned(),
            runtime,
            broker: None,
        }
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// As a setting.
    pub(crate) fn address(&self) -> String {
        format!("kafka://{}", self.bootstrap)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("topic.metadata.refresh.interval.ms", "1000")
            // The end of a partition is then the end, whatever transaction is open.
            .set("isolation.level", "read_uncommitted")
            .set_log_level(RDKafkaLogLevel::Emerg);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client can be made")
    }

    fn client(&self) -> BaseConsumer {
        self.config().create().expect("a client can be made")
    }

    /// The topics and their partition counts.
    pub(crate) fn topics(&self) -> BTreeMap<String, usize> {
        let metadata = self
            .client()
            .fetch_metadata(None, DEADLINE)
            .expect("the broker answers");
        let topics = metadata.topics().iter();
        topics
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect()
    }

    /// Deletes topics, if they are there.
    pub(crate) fn delete(&self, topics: &[&str]) {
        eventually("topics are deleted", || {
            let deleted = self
                .runtime
                .block_on(self.admin().delete_topics(topics, &AdminOptions::new()));
            deleted.expect("the broker answers");
            let left = self.topics();
            topics
                .iter()
                .all(|topic| !left.contains_key(*topic))
                .then_some(())
        });
    }

    /// Makes an empty topic, whatever was there before.
    pub(crate) fn topic(&self, name: &str, partitions: i32) {
        self.delete(&[name]);
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        eventually("the topic is created", || {
            let created = self
                .runtime
                .block_on(self.admin().create_topics([&topic], &AdminOptions::new()));
            match &created.expect("the broker answers")[0] {
                // The old one may still be on its way out.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, error)) => panic!("topic `{name}`: {error}"),
            }
            let metadata = self.client().fetch_metadata(Some(name), DEADLINE).ok()?;
            let topic = metadata.topics().first()?;
            let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
            let count = usize::try_from(partitions).expect("not negative");
            (topic.partitions().len() == count && led).then_some(())
        });
    }

    /// Forgets groups and their offsets.
    pub(crate) fn delete_group(&self, group: &str) {
        let deleted = self
            .runtime
            .block_on(self.admin().delete_groups(&[group], &AdminOptions::new()));
        deleted.expect("the broker answers");
    }

    /// The effective settings of a topic.
    pub(crate) fn topic_config(&self, topic: &str) -> BTreeMap<String, Option<String>> {
        let resource = rdkafka::admin::ResourceSpecifier::Topic(topic);
        let described = self
            .runtime
            .block_on(self.admin().describe_configs([&resource], &AdminOptions::new()))
            .expect("the broker answers")
            .remove(0)
            .unwrap_or_else(|error| panic!("topic `{topic}`: {error}"));
        let entries = described.entries.into_iter();
        entries.map(|entry| (entry.name, entry.value)).collect()
    }

    /// Sends values without keys over the partitions in turn, waiting until the broker has them. A broker that
    /// is away is waited for.
    pub(crate) fn send(&self, topic: &str, values: impl IntoIterator<Item = impl AsRef<str>>) {
        let partitions = i32::try_from(self.topics()[topic]).expect("few partitions");
        self.send_to(topic, partitions, values);
    }

    /// As [`send`](Self::send) to a topic of a known number of partitions.
    pub(crate) fn send_to(
        &self,
        topic: &str,
        partitions: i32,
        values: impl IntoIterator<Item = impl AsRef<str>>,
    ) {
        let mut config = self.config();
        config
            .set("linger.ms", "5")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "0");
        let producer: BaseProducer = config.create().expect("a producer can be made");
        for (value, partition) in values.into_iter().zip((0..partitions).cycle()) {
            let record = BaseRecord::<(), str>::to(topic)
                .partition(partition)
                .payload(value.as_ref());
            producer
                .send(record)
                .map_err(|(error, _)| error)
                .expect("the queue has room");
            producer.poll(Duration::ZERO);
        }
        producer.flush(DEADLINE).expect("the broker takes everything");
    }

    /// Everything in a topic that is committed, partition by partition. Transactions that are open are waited for.
    pub(crate) fn read(&self, topic: &str) -> Vec<Pair> {
        let consumer = self.reader();
        let mut list = TopicPartitionList::new();
        let partitions = i32::try_from(self.topics()[topic]).expect("few partitions");
        for partition in 0..partitions {
            eventually("no transaction is open", || {
                let ends = [&self.client(), &consumer].map(|client| {
                    let range = client.fetch_watermarks(topic, partition, DEADLINE);
                    range.expect("the broker answers").1
                });
                (ends[0] == ends[1]).then_some(())
            });
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .expect("an offset that can be");
        }
        consumer.assign(&list).expect("partitions are assigned");
        let mut unread: BTreeSet<_> = (0..partitions).collect();
        let mut pairs: BTreeMap<i32, Vec<Pair>> = BTreeMap::new();
        let start = Instant::now();
        while !unread.is_empty() {
            match consumer.poll(Duration::from_millis(20)) {
                Some(Ok(record)) => {
                    let text = |bytes: Option<&[u8]>| {
                        String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
                    };
                    let pair = (text(record.key()), text(record.payload()));
                    pairs.entry(record.partition()).or_default().push(pair);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(unread.remove(&partition)),
                Some(Err(error)) => panic!("`{topic}` cannot be read: {error}"),
                None => assert!(start.elapsed() < DEADLINE, "the end of `{topic}` is not reached"),
            }
        }
        pairs.into_values().flatten().collect()
    }

    /// Of committed records, and of where they end: markers of transactions are no records, so an offset never says.
    fn reader(&self) -> BaseConsumer {
        let mut config = self.config();
        config
            .set("group.id", unique("reader"))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed");
        config.create().expect("a consumer can be made")
    }

    /// Whether there may be a record that is committed, or can still be, from here to there.
    fn has_record(&self, topic: &str, partition: i32, from: i64, to: i64) -> bool {
        let reader = self.reader();
        let wait = Duration::from_secs(10);
        let stable = reader.fetch_watermarks(topic, partition, wait);
        if stable.map_or(true, |(_, stable)| stable < to) {
            return true;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(from))
            .expect("an offset that can be");
        reader.assign(&list).expect("a partition is assigned");
        !matches!(reader.poll(wait), Some(Err(KafkaError::PartitionEOF(_))))
    }

    /// How far a group has come in each partition of these topics; `None` while that cannot be told.
    pub(crate) fn progress(&self, group: &str, inputs: &[&str]) -> Option<BTreeMap<(String, i32), Progress>> {
        let wait = Duration::from_secs(10);
        let mut config = self.config();
        config.set("group.id", group).set("enable.auto.commit", "false");
        let client: BaseConsumer = config.create().expect("a client can be made");
        let metadata = client.fetch_metadata(None, wait).ok()?;
        let mut list = TopicPartitionList::new();
        for input in inputs {
            let topic = metadata.topics().iter().find(|topic| topic.name() == *input)?;
            for partition in topic.partitions() {
                list.add_partition(input, partition.id());
            }
        }
        // Before the ends: an output is on the broker before its input is committed.
        let committed = client.committed_offsets(list, wait).ok()?;
        let elements = committed.elements();
        let progress = elements.iter().map(|element| {
            let (topic, partition) = (element.topic(), element.partition());
            let (first, end) = client.fetch_watermarks(topic, partition, wait).ok()?;
            let committed = match element.offset() {
                Offset::Offset(at) => at,
                _ => first,
            };
            Some(((topic.to_owned(), partition), Progress { committed, end }))
        });
        progress.collect()
    }

    /// The partitions in which there is something left for the group; `None` while that cannot be told.
    pub(crate) fn left(&self, group: &str, inputs: &[&str]) -> Option<BTreeMap<(String, i32), Progress>> {
        let mut left = self.progress(group, inputs)?;
        left.retain(|(topic, partition), at| {
            at.committed < at.end && self.has_record(topic, *partition, at.committed, at.end)
        });
        Some(left)
    }

    /// Waits until the group has committed everything in its input topics, the first ones first.
    pub(crate) fn wait_until_done(&self, group: &str, inputs: &[&str]) {
        eventually(&format!("group `{group}` has processed everything"), || {
            self.left(group, inputs)?.is_empty().then_some(())
        });
    }
}

/// A name that was never used.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{:x}-{now:x}-{count}", std::process::id())
}
