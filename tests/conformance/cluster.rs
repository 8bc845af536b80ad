//! What the cases have in common: an address, clients for it, and waiting with a deadline.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long anything may take before a case fails. Nothing is proven by it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A broker under test.
#[derive(Debug)]
pub(crate) struct Cluster {
    name: &'static str,
    bootstrap: String,
    runtime: tokio::runtime::Runtime,
}

impl Cluster {
    pub(crate) fn new(name: &'static str, bootstrap: String) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be built");
        Self {
            name,
            bootstrap,
            runtime,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client can be made")
    }

    /// Creates topics and gives the result of the only one.
    pub(crate) fn try_create(
        &self,
        topic: &NewTopic<'_>,
        options: &AdminOptions,
    ) -> Result<(), RDKafkaErrorCode> {
        let results = self
            .wait(self.admin().create_topics([topic], options))
            .expect("the broker answers");
        let result = results.into_iter().next().expect("one topic, one result");
        result.map(drop).map_err(|(_, code)| code)
    }

    /// Creates a topic of a random name.
    pub(crate) fn topic(&self, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = unique("topic");
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        self.try_create(&topic, &AdminOptions::new())
            .expect("the topic is created");
        self.wait_for_topic(&name, usize::try_from(partitions).expect("not negative"));
        name
    }

    /// Waits until every client would see the topic with so many partitions.
    pub(crate) fn wait_for_topic(&self, name: &str, partitions: usize) {
        let client: BaseConsumer = self.config().create().expect("a client can be made");
        eventually("the topic is in the metadata", || {
            let metadata = client.fetch_metadata(Some(name), DEADLINE).ok()?;
            let topic = metadata.topics().first()?;
            let has_leaders = topic.partitions().iter().all(|partition| partition.leader() >= 0);
            (topic.error().is_none() && topic.partitions().len() == partitions && has_leaders).then_some(())
        });
    }

    pub(crate) fn producer(&self, settings: &[(&str, &str)]) -> FutureProducer {
        let mut config = self.config();
        config.set("message.timeout.ms", "60000").set("linger.ms", "0");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config.create().expect("a producer can be made")
    }

    /// Sends a record and waits for its offset.
    pub(crate) fn send(
        &self,
        producer: &FutureProducer,
        record: FutureRecord<'_, [u8], [u8]>,
    ) -> Result<i64, KafkaError> {
        let sent = self.wait(producer.send(record, DEADLINE));
        sent.map(|delivery| delivery.offset).map_err(|(error, _)| error)
    }

    /// Sends `key`/`value` to partition 0.
    pub(crate) fn put(&self, producer: &FutureProducer, topic: &str, key: &str, value: &str) -> i64 {
        let record = FutureRecord::to(topic)
            .partition(0)
            .key(key.as_bytes())
            .payload(value.as_bytes());
        self.send(producer, record).expect("the record is taken")
    }

    /// A consumer without a group that reads this partition from this offset.
    pub(crate) fn reader(
        &self,
        topic: &str,
        partition: i32,
        from: Offset,
        settings: &[(&str, &str)],
    ) -> BaseConsumer {
        let mut config = self.config();
        config
            .set("group.id", unique("reader"))
            .set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "false");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let consumer: BaseConsumer = config.create().expect("a consumer can be made");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, from)
            .expect("an offset that can be");
        consumer.assign(&list).expect("the partition is assigned");
        consumer
    }

    /// Everything in a partition, from its beginning to its present end.
    pub(crate) fn read_all(&self, topic: &str) -> Vec<OwnedMessage> {
        self.read_all_as(topic, "read_committed")
    }

    /// The same with another `isolation.level`.
    pub(crate) fn read_all_as(&self, topic: &str, isolation: &str) -> Vec<OwnedMessage> {
        let settings = [("isolation.level", isolation)];
        let consumer = self.reader(topic, 0, Offset::Beginning, &settings);
        let (_, end) = consumer
            .fetch_watermarks(topic, 0, DEADLINE)
            .expect("the broker answers");
        let mut messages = Vec::new();
        eventually("the end of the partition is reached", || {
            while let Some(message) = consumer.poll(Duration::from_millis(50)) {
                messages.push(message.expect("a record can be read").detach());
            }
            let position = consumer.position().expect("there is a position");
            let at = position.find_partition(topic, 0).map(|element| element.offset());
            (at == Some(Offset::Offset(end)) || (end == 0)).then_some(())
        });
        messages
    }

    /// The first and the next offset of partition 0.
    pub(crate) fn watermarks(&self, topic: &str) -> (i64, i64) {
        self.watermarks_of(topic, 0, "read_committed")
    }

    /// The first and the next offset of a partition, as `isolation.level` lets a consumer see them.
    pub(crate) fn watermarks_of(&self, topic: &str, partition: i32, isolation: &str) -> (i64, i64) {
        let mut config = self.config();
        config.set("isolation.level", isolation);
        let client: BaseConsumer = config.create().expect("a client can be made");
        client
            .fetch_watermarks(topic, partition, DEADLINE)
            .expect("the broker answers")
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

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).expect("this millennium")
}

/// Tries until there is something, or panics with `what` at the deadline.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The next record of a consumer.
pub(crate) fn next(consumer: &BaseConsumer) -> OwnedMessage {
    eventually("a record comes", || {
        let polled = consumer.poll(Duration::from_millis(100))?;
        Some(polled.expect("a record can be read").detach())
    })
}
