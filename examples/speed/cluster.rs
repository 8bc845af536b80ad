//! Apache Kafka for the runs: started if need be, with topics, records, and a look at what came out.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::BaseProducer;
use rdkafka::{Offset, TopicPartitionList};

use crate::by_hand::{self, PATIENCE};
use crate::job::{Payment, Total};
use crate::{Outcome, arguments};

/// A broker, and the process of it if it was started here.
pub(crate) struct Cluster {
    pub address: String,
    started: Option<Child>,
}

impl Cluster {
    /// The one at `--broker`, or a fresh one.
    pub(crate) fn reach() -> Outcome<Self> {
        if let Some(address) = arguments::text("--broker") {
            let cluster = Self {
                address,
                started: None,
            };
            let client: BaseConsumer = cluster.client().create()?;
            client
                .fetch_metadata(None, Duration::from_secs(10))
                .map_err(|error| format!("no answer from {}: {error}", cluster.address))?;
            return Ok(cluster);
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut started = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/run"))
            .args(["--port", &port.to_string(), "--steady"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let lines = BufReader::new(started.stdout.take().ok_or("no output")?).lines();
        for line in lines {
            if line?.contains("listens") {
                return Ok(Self {
                    address: format!("127.0.0.1:{port}"),
                    started: Some(started),
                });
            }
        }
        Err("Apache Kafka did not start: `tests/kafka/run` says why".into())
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.address)
            .set("fetch.queue.backoff.ms", "5");
        config
    }

    /// Makes topics, as empty ones if they are there.
    pub(crate) fn recreate(&self, topics: &[(&str, i32)]) -> Outcome {
        let names: Vec<_> = topics.iter().map(|(name, _)| *name).collect();
        self.delete(&names)?;
        let new: Vec<_> = topics
            .iter()
            .map(|(name, partitions)| NewTopic::new(name, *partitions, TopicReplication::Fixed(1)))
            .collect();
        let created = wait(self.admin()?.create_topics(&new, &AdminOptions::new()))?;
        for result in created? {
            result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
        }
        let mut all = TopicPartitionList::new();
        for (topic, partitions) in topics {
            all.add_partition_range(topic, 0, partitions - 1);
        }
        self.wait_for_leaders(all)
    }

    /// The broker takes its time until it leads those of a thousand partitions, and nobody is to be measured meanwhile.
    fn wait_for_leaders(&self, mut partitions: TopicPartitionList) -> Outcome {
        let consumer: BaseConsumer = self.client().create()?;
        let begun = Instant::now();
        loop {
            // Asked for the offsets of a time, it is the leaders who answer.
            partitions.set_all_offsets(Offset::Offset(0))?;
            let found = consumer.offsets_for_times(partitions.clone(), Duration::from_secs(10));
            let found = found.and_then(|found| found.elements().iter().try_for_each(|found| found.error()));
            match found {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Deletes those that are there.
    pub(crate) fn delete(&self, topics: &[&str]) -> Outcome {
        // Those that are not there are not deleted, which is as good.
        let _ = wait(self.admin()?.delete_topics(topics, &AdminOptions::new()))??;
        for topic in topics {
            while self.partitions(topic)? > 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    fn admin(&self) -> Outcome<AdminClient<DefaultClientContext>> {
        Ok(self.client().create()?)
    }

    fn partitions(&self, topic: &str) -> Outcome<usize> {
        let consumer: BaseConsumer = self.client().create()?;
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
        let topics = metadata.topics().iter();
        Ok(topics
            .filter(|topic| topic.error().is_none())
            .map(|topic| topic.partitions().len())
            .sum())
    }

    /// A producer with the partitioner that everybody has.
    pub(crate) fn producer(&self, linger: &str) -> Outcome<BaseProducer> {
        let mut config = self.client();
        config
            .set("partitioner", "murmur2_random")
            .set("linger.ms", linger);
        Ok(config.create()?)
    }

    /// Reads all partitions of a topic from its beginning.
    pub(crate) fn reader(&self, topic: &str, partitions: i32, from: Offset) -> Outcome<BaseConsumer> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "speed-reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .create()?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            assignment.add_partition_offset(topic, partition, from)?;
        }
        consumer.assign(&assignment)?;
        Ok(consumer)
    }

    /// Fills the input, and gives what each user must come to: how many payments, and their sum.
    pub(crate) fn feed(
        &self,
        payments: impl Iterator<Item = Payment>,
    ) -> Outcome<HashMap<String, (u64, u64)>> {
        let producer = self.producer("50")?;
        let mut expected: HashMap<String, (u64, u64)> = HashMap::new();
        for payment in payments {
            let value = serde_json::to_vec(&payment)?;
            by_hand::send(&producer, "speed-input", payment.user.as_bytes(), &value)?;
            let total = expected.entry(payment.user).or_default();
            total.0 += 1;
            total.1 += payment.amount;
        }
        by_hand::delivered(&producer);
        Ok(expected)
    }

    /// Every record of the input has its output: for each user the counts go up by one, in order, and the last sum is
    /// right.
    pub(crate) fn check_totals(&self, partitions: i32, expected: &HashMap<String, (u64, u64)>) -> Outcome {
        let reader = self.reader("speed-output", partitions, Offset::Beginning)?;
        let wanted: u64 = expected.values().map(|(count, _)| count).sum();
        let mut found: HashMap<String, (u64, u64)> = HashMap::with_capacity(expected.len());
        each(&reader, wanted, |key, value| {
            let total: Total = serde_json::from_slice(value)?;
            let seen = found.entry(total.user.clone()).or_default();
            let is_next = total.count == seen.0 + 1 && total.sum >= seen.1 && key == total.user.as_bytes();
            if !is_next {
                return Err(format!("{total:?} follows {seen:?}").into());
            }
            *seen = (total.count, total.sum);
            Ok(())
        })?;
        match found == *expected {
            true => Ok(()),
            false => Err("the totals are not those of the input".into()),
        }
    }

    /// As many records came out as went in, with the same bytes in them.
    pub(crate) fn check_copies(&self, partitions: i32, expected: &HashMap<String, (u64, u64)>) -> Outcome {
        let reader = self.reader("speed-output", partitions, Offset::Beginning)?;
        let wanted: u64 = expected.values().map(|(count, _)| count).sum();
        let mut found: HashMap<String, (u64, u64)> = HashMap::with_capacity(expected.len());
        each(&reader, wanted, |_, value| {
            let payment: Payment = serde_json::from_slice(value)?;
            let seen = found.entry(payment.user).or_default();
            *seen = (seen.0 + 1, seen.1 + payment.amount);
            Ok(())
        })?;
        match found == *expected {
            true => Ok(()),
            false => Err("the copies are not those of the input".into()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut started) = self.started.take() {
            // The script ends the broker and removes its data when it is asked to.
            let _ = Command::new("kill").arg(started.id().to_string()).status();
            let _ = started.wait();
        }
    }
}

/// Reads so many records, and sees that no other follows.
fn each(reader: &BaseConsumer, wanted: u64, mut look: impl FnMut(&[u8], &[u8]) -> Outcome) -> Outcome {
    let (mut found, mut last) = (0, Instant::now());
    // Transactions end with markers, so no offset of a record tells the end.
    while found < wanted || last.elapsed() < Duration::from_millis(500) {
        let Some(message) = reader.poll(Duration::from_millis(100)) else {
            if last.elapsed() > Duration::from_secs(30) {
                return Err(format!("{found} records came out, not {wanted}").into());
            }
            continue;
        };
        let message = message?;
        look(
            message.key().unwrap_or_default(),
            message.payload().unwrap_or_default(),
        )?;
        (found, last) = (found + 1, Instant::now());
    }
    match found == wanted {
        true => Ok(()),
        false => Err(format!("{found} records came out, not {wanted}").into()),
    }
}

fn wait<F: Future>(future: F) -> Outcome<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}
