//! A broker with a program on it, and clients that look at both from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use stream_runtime::embedded::{Broker, BrokerOptions, NewTopic};
use stream_runtime::{AgentDef, App, Running};

use super::{DEADLINE, eventually, wait_until};

/// A broker of its own for one test, and the id of the program on it.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) broker: Broker,
    pub(crate) id: String,
}

/// A record to be produced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Input {
    partition: Option<i32>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    timestamp: Option<i64>,
}

/// A record of this value, without a key.
pub(crate) fn input(value: impl AsRef<[u8]>) -> Input {
    Input {
        value: Some(value.as_ref().to_vec()),
        ..Input::default()
    }
}

impl Input {
    pub(crate) fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    pub(crate) fn tombstone(mut self) -> Self {
        self.value = None;
        self
    }

    pub(crate) fn to(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    pub(crate) fn at(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }
}

/// A record as it lies on the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) timestamp: i64,
}

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    pub(crate) fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Bench {
    /// A broker with these topics, `(name, partitions)`.
    pub(crate) fn new(topics: &[(&str, u32)]) -> Self {
        let topics = topics
            .iter()
            .map(|(name, partitions)| NewTopic::new(*name, *partitions))
            .collect();
        Self::with(BrokerOptions {
            topics,
            ..BrokerOptions::default()
        })
    }

    pub(crate) fn with(options: BrokerOptions) -> Self {
        static PROGRAMS: AtomicU64 = AtomicU64::new(0);
        Self {
            broker: Broker::start(options).expect("a broker starts"),
            id: format!("program-{}", PROGRAMS.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// The program with these agents; it commits often and gives up soon.
    pub(crate) fn app(&self, agents: impl IntoIterator<Item = &'static AgentDef>) -> App {
        program(&self.id, &self.broker.bootstrap(), agents)
    }

    /// A worker of it.
    #[track_caller]
    pub(crate) fn start(&self, agents: impl IntoIterator<Item = &'static AgentDef>) -> Running {
        self.app(agents).start().expect("the program starts")
    }

    pub(crate) fn create(&self, topic: NewTopic) {
        self.broker.create_topic(topic).expect("the topic is new");
    }

    /// The name on the broker of an internal topic of the program.
    pub(crate) fn internal(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    pub(crate) fn changelog(&self, table: &str) -> String {
        format!("{}-{table}-changelog", self.id)
    }

    /// Appends records and waits until they are there.
    #[track_caller]
    pub(crate) fn produce(&self, topic: &str, records: impl IntoIterator<Item = Input>) {
        produce(&self.broker.bootstrap(), topic, records);
    }

    /// Everything in a topic, partition by partition.
    #[track_caller]
    pub(crate) fn read(&self, topic: &str) -> Vec<Output> {
        let consumer = self.reader();
        let mut unread: BTreeSet<_> = (0..partitions_of(&consumer, topic)).collect();
        let mut list = TopicPartitionList::new();
        for partition in &unread {
            list.add_partition_offset(topic, *partition, Offset::Beginning)
                .expect("an offset that can be");
        }
        consumer.assign(&list).expect("partitions are assigned");
        let mut outputs = Vec::new();
        eventually("the end of the topic is reached", || {
            while let Some(polled) = consumer.poll(Duration::from_millis(10)) {
                match polled {
                    Ok(message) => outputs.push(output(&message)),
                    Err(KafkaError::PartitionEOF(partition)) => drop(unread.remove(&partition)),
                    Err(error) => panic!("{topic} cannot be read: {error}"),
                }
            }
            unread.is_empty().then_some(())
        });
        outputs.sort_by_key(|output| (output.partition, output.offset));
        outputs
    }

    /// The values in a topic as text, partition by partition.
    #[track_caller]
    pub(crate) fn texts(&self, topic: &str) -> Vec<String> {
        self.read(topic).iter().map(Output::text).collect()
    }

    /// Waits until this many records were ever appended to a topic, and reads it.
    #[track_caller]
    pub(crate) fn read_when(&self, topic: &str, records: i64) -> Vec<Output> {
        self.wait_for_records(topic, records);
        self.read(topic)
    }

    #[track_caller]
    pub(crate) fn wait_for_records(&self, topic: &str, records: i64) {
        wait_until(&format!("{records} records in {topic}"), || {
            self.end(topic) >= records
        });
    }

    /// How many records were ever appended to a topic.
    pub(crate) fn end(&self, topic: &str) -> i64 {
        let consumer = self.reader();
        let ends = (0..partitions_of(&consumer, topic)).map(|partition| {
            let watermarks = consumer.fetch_watermarks(topic, partition, DEADLINE);
            watermarks.expect("the broker answers").1
        });
        ends.sum()
    }

    /// How many records of a topic were deleted.
    pub(crate) fn deleted(&self, topic: &str) -> i64 {
        let consumer = self.reader();
        let starts = (0..partitions_of(&consumer, topic)).map(|partition| {
            let watermarks = consumer.fetch_watermarks(topic, partition, DEADLINE);
            watermarks.expect("the broker answers").0
        });
        starts.sum()
    }

    /// What the program has committed for a partition.
    pub(crate) fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        let (offset, _) = self.committed_with(topic, partition)?;
        Some(offset)
    }

    /// What the program has committed for a partition, and the text beside it.
    pub(crate) fn committed_with(&self, topic: &str, partition: i32) -> Option<(i64, String)> {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", &self.id)
            .create()
            .expect("a client can be made");
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let committed = consumer
            .committed_offsets(list, DEADLINE)
            .expect("the broker answers");
        let found = committed.find_partition(topic, partition)?;
        match found.offset() {
            Offset::Offset(offset) => Some((offset, found.metadata().to_owned())),
            _ => None,
        }
    }

    #[track_caller]
    pub(crate) fn wait_for_commit(&self, topic: &str, partition: i32, offset: i64) {
        wait_until(&format!("{topic}/{partition} is committed to {offset}"), || {
            self.committed(topic, partition) == Some(offset)
        });
    }

    /// Makes a transactional id somebody else's: who has it is fenced, and its transaction aborted.
    #[track_caller]
    pub(crate) fn take_transactions(&self, id: &str) {
        let thief: BaseProducer = self
            .config()
            .set("transactional.id", id)
            .create()
            .expect("a client can be made");
        thief.init_transactions(DEADLINE).expect("the broker answers");
    }

    /// The topics on the broker and their partitions.
    pub(crate) fn topics(&self) -> BTreeMap<String, usize> {
        let metadata = self.reader().fetch_metadata(None, DEADLINE);
        let metadata = metadata.expect("the broker answers");
        let topics = metadata.topics().iter();
        topics
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect()
    }

    /// One setting of a topic.
    pub(crate) fn topic_setting(&self, topic: &str, name: &str) -> Option<String> {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("a client can be made");
        let described =
            block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()));
        let resource = described
            .expect("the broker answers")
            .remove(0)
            .expect("the topic is there");
        resource.get(name)?.value.clone()
    }

    /// Removes the records before these offsets.
    #[track_caller]
    pub(crate) fn delete_records(&self, before: &TopicPartitionList) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("a client can be made");
        let deleted =
            block_on(admin.delete_records(before, &AdminOptions::new())).expect("the broker answers");
        for element in deleted.elements() {
            element.error().expect("the records are removed");
        }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.broker.bootstrap());
        config
    }

    fn reader(&self) -> BaseConsumer {
        self.config()
            .set("group.id", format!("{}-reader", self.id))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .expect("a client can be made")
    }
}

/// A program that commits often and gives up soon.
pub(crate) fn program(id: &str, bootstrap: &str, agents: impl IntoIterator<Item = &'static AgentDef>) -> App {
    App::new(id)
        .agents(agents)
        .broker(format!("kafka://{bootstrap}"))
        .set("commit_interval", "50ms")
        .set("startup_timeout", "60s")
}

/// Appends records and waits until they are there.
#[track_caller]
pub(crate) fn produce(bootstrap: &str, topic: &str, records: impl IntoIterator<Item = Input>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("partitioner", "murmur2_random")
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .create()
        .expect("a client can be made");
    for record in records {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header {
                key,
                value: value.as_ref(),
            });
        }
        let mut outgoing = BaseRecord::<[u8], [u8]>::to(topic).headers(headers);
        outgoing.partition = record.partition;
        outgoing.key = record.key.as_deref();
        outgoing.payload = record.value.as_deref();
        outgoing.timestamp = record.timestamp;
        producer
            .send(outgoing)
            .map_err(|(error, _)| error)
            .expect("the record is queued");
    }
    producer.flush(DEADLINE).expect("the records are delivered");
}

fn partitions_of(consumer: &BaseConsumer, topic: &str) -> i32 {
    eventually(&format!("topic {topic} is there"), || {
        let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).ok()?;
        let found = metadata.topics().first()?;
        let there = found.error().is_none() && !found.partitions().is_empty();
        there.then(|| i32::try_from(found.partitions().len()).expect("few partitions"))
    })
}

fn output(message: &impl Message) -> Output {
    let headers = message.headers().map(|headers| {
        let owned = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
        headers.iter().map(owned).collect()
    });
    Output {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built")
        .block_on(future)
}
