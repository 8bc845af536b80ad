//! The only owner of rdkafka: consumer, producer and admin behind ports in our own types.
//!
//! The ports are called per batch, so that dynamic dispatch costs nothing a record, and nothing above
//! this module knows which implementation it has: Apache Kafka, the embedded broker (both through
//! rdkafka) or a test driver.
//!
//! Not here: what to subscribe to, when to commit, what a task is.

pub(crate) mod acknowledged;
pub(crate) mod cluster;

mod admin;
mod advice;
mod committed;
mod config;
mod consumer;
mod context;
mod diagnostics;
mod lists;
mod native;
mod producer;
mod reader;
mod transactions;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

/// What simulated clients complain of is judged as in production.
#[cfg(feature = "testing")]
pub(crate) use self::native::Complaint;
#[cfg(feature = "testing")]
pub(crate) use self::transactions::judge;
use crate::error::Result;
use crate::record::RecordRef;

/// A topic and a partition number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

/// An offset to be committed: that of the next record to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitOffset {
    pub at: TopicPartition,
    pub offset: i64,
    /// Free text kept beside the offset (4096 bytes on a broker with default settings).
    pub metadata: String,
}

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartOffset {
    /// At the group's committed offset, else as `auto.offset.reset` says (earliest).
    Committed,
    /// At the first record the broker still has.
    Beginning,
    /// At this offset.
    At(i64),
}

/// A change of the assignment that waits for an answer by [`GroupConsumer::assign`] or
/// [`GroupConsumer::unassign`]. The group waits with it, so the answer must come within the rebalance time-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rebalance {
    /// Partitions of subscribed topics to take on.
    Assign(Vec<TopicPartition>),
    /// Partitions to give back; work on them can still be committed.
    Revoke(Vec<TopicPartition>),
    /// Partitions that already belong to somebody else: nothing may be committed for them. Those that went
    /// along with subscribed ones may be among them.
    Lost(Vec<TopicPartition>),
}

/// How a commit of offsets ended.
#[derive(Debug)]
pub(crate) enum CommitOutcome {
    /// The broker has stored them all.
    Done,
    /// It did not, and trying again is right (coordinator moving, broker away, rebalance under way).
    Retry(String),
    /// This member is no longer of the group: the work behind these offsets belongs to others, and a
    /// [`Rebalance::Lost`] of everything follows or is there already.
    Fenced(String),
    /// It never will: the reader must change something.
    Failed(String),
}

/// Who a consumer is in its group at this moment: goes with the offsets of a transaction, so that the broker
/// refuses those of a generation that has passed. Made by one client and read by another of the same kind.
pub(crate) struct GroupMembership(pub(crate) Box<dyn std::any::Any + Send>);

/// How a step of a transaction ended.
#[derive(Debug)]
pub(crate) enum TransactionOutcome {
    /// It is done: the id is this producer's own, or everything is committed, or everything is aborted.
    Done,
    /// It cannot be committed, nothing of it will be seen, and the producer goes on after an abort.
    Abort(String),
    /// Another has the id, or the group has gone on without this member: nothing of the transaction will be
    /// seen. The producer is of no more use.
    Fenced(String),
    /// Whether it was committed is not known, since the broker did not answer in time, or what it did not answer may
    /// still arrive. The producer is of no more use, not even for an abort. Once another with the same id is
    /// initialised it is decided, and the committed offsets tell how.
    Unknown(String),
    /// It never will work: the reader must change something.
    Failed(String),
}

/// Where records go as they are read.
pub(crate) trait RecordSink {
    /// Takes one record; its bytes are gone when this returns.
    fn record(&mut self, record: RecordRef<'_>);

    /// Whether it looks at the headers of records; otherwise they have none. Asking librdkafka costs 1,200 instructions a
    /// record also where there are none, 7 % of what the whole process does for one of a keyed count.
    fn wants_headers(&self) -> bool {
        true
    }

    /// Whoever reads this partition stands at the end of it: every record below `offset` was given, or is no record
    /// (transaction markers and compaction leave gaps). To a [`PartitionReader`] no transaction below it is open; to a
    /// [`GroupConsumer`] the end is where the first open one begins.
    fn end_of_partition(&mut self, topic: &str, partition: i32, offset: i64) {
        let _ = (topic, partition, offset);
    }

    /// The offset at which this partition was to be read is not there: the log was truncated, or the topic
    /// made anew. Reading it has ended. True when the sink deals with that; otherwise the poll ends in an
    /// error that names the partition. Given by [`PartitionReader`] alone.
    fn out_of_range(&mut self, topic: &str, partition: i32) -> bool {
        let _ = (topic, partition);
        false
    }
}

/// A member of a consumer group. One thread owns it; no call blocks for longer than a few milliseconds
/// unless it says so.
///
/// Rebalances are *deferred*: [`poll`](Self::poll) only notes them. The owner asks with
/// [`rebalance`](Self::rebalance), drains and commits at its own pace while other partitions go on, and
/// then answers. Until it has, nothing new is fetched for any partition; so what can wait, waits for after
/// the answer.
pub(crate) trait GroupConsumer {
    /// Joins the group for these topics.
    fn subscribe(&mut self, topics: &[Arc<str>]) -> Result<()>;

    /// Gives what has arrived to `sink`, at most `max` records, without waiting. Returns how many; as many
    /// as `max` means that there may be more, of which no wake-up will tell. With a `max` of 0 what was fetched stays with
    /// the client, and rebalances behind it are not heard.
    ///
    /// Errors that the client itself keeps retrying (brokers down) are logged once a change, not returned. An
    /// error that is returned does not heal: this member is to be closed.
    fn poll(&mut self, sink: &mut dyn RecordSink, max: usize) -> Result<usize>;

    /// The rebalance that waits for an answer, if any. It may turn into a [`Rebalance::Lost`] of everything,
    /// partitions that went along included, while it waits.
    fn rebalance(&mut self) -> Option<Rebalance>;

    /// Answers an [`Rebalance::Assign`]: `partitions` are those of the event and any others that go along.
    /// An empty list is an answer too.
    fn assign(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()>;

    /// Answers a [`Rebalance::Revoke`] or [`Rebalance::Lost`]: `partitions` are those of the event and the
    /// ones that went along with them.
    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Stops fetching these partitions; what was already fetched may still come. Survives assignments.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Fetches them again.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Starts one commit of all these offsets in one request. Its outcome comes from
    /// [`commit_outcome`](Self::commit_outcome) after some [`poll`](Self::poll). One at a time.
    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<()>;

    /// How the commit that was started ended; `None` while it has not.
    fn commit_outcome(&mut self) -> Option<CommitOutcome>;

    /// Starts to ask what the group has committed for these partitions, with the metadata. Offsets that an open
    /// transaction may still change are waited for. The answer comes from [`committed`](Self::committed) after
    /// some [`poll`](Self::poll). One question at a time; another one replaces it.
    fn fetch_committed(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// The answer, one for each partition in the order of the question (`None` where nothing is committed);
    /// `None` while there is no answer. What keeps the client from an answer it tries again by itself.
    fn committed(&mut self) -> Option<Vec<Option<CommitOffset>>>;

    /// Reads these partitions, which are assigned, from other offsets on. What was fetched before is dropped: the
    /// next record of such a partition that a [`poll`](Self::poll) gives is from there.
    fn seek(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()>;

    /// Who this is in the group now.
    fn membership(&self) -> Option<GroupMembership>;

    /// Leaves the group (a static member does not) and closes, waiting for at most `deadline`. Partitions
    /// that are still assigned are given up without a commit.
    fn close(self: Box<Self>, deadline: Duration);
}

/// A record to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutgoingRecord<'a> {
    pub topic: &'a Arc<str>,
    /// `None` lets the client choose: murmur2 of the key, any partition for a null key.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Packed as [`crate::record::pack_header`] does.
    pub headers: &'a [u8],
    /// Milliseconds since the Unix epoch; `None` for now.
    pub timestamp: Option<i64>,
}

/// Keys and values of records that go the same way.
pub(crate) type KeyedValues<'a> = dyn Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + 'a;

/// What became of [`Producer::send`].
#[derive(Debug)]
pub(crate) enum SendOutcome {
    /// The client has it and will deliver it or report an error.
    Queued,
    /// The client's queue is full: poll and try again.
    Full,
    /// It can never be sent as it is (too large, no such topic or partition).
    Refused(String),
}

/// An idempotent producer, owned by one thread. While brokers are away it keeps what it has, however long.
///
/// Its wake-up tells of failures. That [`in_flight`](Self::in_flight) has reached zero nothing tells: who
/// waits for it looks every millisecond or so.
pub(crate) trait Producer {
    /// Queues a record without waiting; its bytes are copied.
    fn send(&mut self, record: OutgoingRecord<'_>) -> SendOutcome;

    /// Queues records for one partition without waiting, keys and values, up to the first that is not taken; gives how many
    /// were. Why that one was not, [`send`](Self::send) tells. If it never can be, some behind it may have been queued, so
    /// whoever goes on behind it sends them twice.
    fn send_many(&mut self, topic: &Arc<str>, partition: i32, records: &mut KeyedValues<'_>) -> usize;

    /// Serves delivery reports without waiting.
    fn poll(&mut self);

    /// Records queued and neither acknowledged nor failed.
    fn in_flight(&self) -> usize;

    /// The first delivery that failed for good since the last call. Nothing sent before it may be committed.
    fn take_failure(&mut self) -> Option<String>;

    /// Notes the acknowledgements of this topic's records from now on, for [`acknowledged`](Self::acknowledged).
    fn follow(&mut self, topic: &Arc<str>);

    /// The offset behind the last acknowledged record of a partition of a topic that is followed. `None` before the
    /// first, and when the broker did not say.
    fn acknowledged(&self, topic: &str, partition: i32) -> Option<i64>;

    /// Drops everything that is queued or in flight.
    fn purge(&mut self);

    /// Waits until everything is delivered, at most this long. True when it is.
    fn flush(&mut self, deadline: Duration) -> bool;
}

/// A producer whose records are seen together with the offsets they came from, or not at all.
///
/// Each step but [`begin`](Self::begin) is started by a call that returns at once, and ends with an
/// [`outcome`](Self::outcome), for which the wake-up is notified. One step at a time. Each ends within a deadline of
/// the implementation, whatever the brokers do.
pub(crate) trait TransactionalProducer: Producer {
    /// Starts to make the id this producer's own: an older one is fenced, and its open transaction ended.
    fn init(&mut self);

    /// Begins a transaction. Records are sent within one only.
    fn begin(&mut self) -> Result<()>;

    /// Starts to commit what was sent since [`begin`](Self::begin), together with these offsets of this member.
    /// The owner has waited for [`in_flight`](Producer::in_flight) to be zero.
    fn commit(&mut self, offsets: &[CommitOffset], member: GroupMembership);

    /// Starts to abort it, whatever is still in flight included.
    fn abort(&mut self);

    /// How the step that was started ended; `None` while it has not.
    fn outcome(&mut self) -> Option<TransactionOutcome>;

    /// Whether the producer is of no more use. What [`take_failure`](Producer::take_failure) tells otherwise is
    /// over when the transaction is aborted.
    fn is_broken(&self) -> bool;
}

/// A producer for sends from outside agents: shared by threads, every record acknowledged.
pub(crate) trait AcknowledgedProducer: Send + Sync {
    /// Sends one record; resolves with its partition and offset when the broker has it.
    fn send<'a>(&'a self, record: OutgoingRecord<'a>) -> DeliveryFuture<'a>;
}

/// The pending delivery of [`AcknowledgedProducer::send`].
pub(crate) type DeliveryFuture<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(i32, i64)>> + Send + 'a>>;

/// Reads partitions from a given offset, outside any group: changelogs.
pub(crate) trait PartitionReader {
    /// Reads these as well.
    fn add(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()>;

    /// No longer reads these.
    fn remove(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Gives what has arrived, at most about `max` records, without waiting, and every end of a partition
    /// that was reached. Returns how many records.
    fn poll(&mut self, sink: &mut dyn RecordSink, max: usize) -> Result<usize>;

    /// The offset behind the last record of a partition, as far as the reader has been told: for display, since it
    /// may be of a while ago, and open transactions may keep the reader before it. Asks nobody; `None` before anything
    /// is known.
    fn known_end(&self, at: &TopicPartition) -> Option<i64>;
}

/// What the broker says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicDescription {
    pub name: String,
    pub partitions: u32,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSpec {
    pub name: String,
    pub partitions: u32,
    /// `None` takes the broker's default.
    pub replication: Option<u16>,
    pub config: Vec<(String, String)>,
}

/// How the creation of one topic ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CreateOutcome {
    Created,
    AlreadyExists,
    Failed(String),
}

/// Questions to the cluster and the making of topics. Calls block up to `timeout` and end in
/// `ErrorKind::Broker` when the cluster did not answer: never call them on a worker thread that has tasks.
pub(crate) trait Admin: Send + Sync {
    /// These topics, or all; those that do not exist are left out.
    fn topics(&self, names: Option<&[String]>, timeout: Duration) -> Result<Vec<TopicDescription>>;

    /// Creates topics; one outcome each, in order. Those that are created have leaders when this returns, unless the
    /// time was over before.
    fn create_topics(&self, topics: &[TopicSpec], timeout: Duration) -> Result<Vec<CreateOutcome>>;

    /// What tells each topic from another one that had or will have its name; `None` where there is no such topic
    /// or the broker has no such thing.
    fn topic_ids(&self, names: &[String], timeout: Duration) -> Result<Vec<Option<String>>>;

    /// The settings of a topic, by name.
    fn topic_config(&self, topic: &str, timeout: Duration) -> Result<Vec<(String, String)>>;

    /// The first offset and the one after the last, of each partition.
    fn offset_range(&self, partitions: &[TopicPartition], timeout: Duration) -> Result<Vec<(i64, i64)>>;

    /// Deletes the records before these offsets; those that are gone already are no error.
    fn delete_records(&self, before: &[(TopicPartition, i64)], timeout: Duration) -> Result<()>;

    /// What the group has committed for these partitions, with its metadata; `None` where nothing.
    fn committed_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<CommitOffset>>>;

    /// The same without the metadata.
    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<i64>>> {
        let committed = self.committed_offsets(group, partitions, timeout)?;
        Ok(committed.into_iter().map(|found| Some(found?.offset)).collect())
    }

    /// Commits offsets for a group that has no members. Waits until the broker has stored them.
    fn commit_offsets(&self, group: &str, offsets: &[CommitOffset]) -> Result<()>;
}

/// How clients reach the cluster and who they are.
#[derive(Debug, Clone)]
pub(crate) struct ClientSettings {
    /// `host:port,…`
    pub bootstrap: String,
    /// The group, which is the program's id.
    pub group: String,
    pub client_id: String,
    /// `group.instance.id` for static membership.
    pub instance_id: Option<String>,
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub max_poll_interval: Duration,
    /// Raw librdkafka properties, applied last, to every client that knows them.
    pub raw: Vec<(String, String)>,
}

/// Makes clients of one cluster.
///
/// `wake` is notified whenever a client has something for its owner's next `poll`.
pub(crate) trait Cluster: Send + Sync {
    /// `member` is the name of the thread in its worker: threads are members of their own, and a lasting name is
    /// one member's alone, so this is added to it.
    fn group_consumer(&self, member: &str, wake: Arc<Notify>) -> Result<Box<dyn GroupConsumer>>;
    fn producer(&self, wake: Arc<Notify>) -> Result<Box<dyn Producer + Send>>;
    /// `id` is the `transactional.id`, which at most one live producer has.
    fn transactional_producer(
        &self,
        id: &str,
        timeout: Duration,
        wake: Arc<Notify>,
    ) -> Result<Box<dyn TransactionalProducer>>;
    fn acknowledged_producer(&self) -> Result<Arc<dyn AcknowledgedProducer>>;
    fn partition_reader(&self, wake: Arc<Notify>) -> Result<Box<dyn PartitionReader>>;
    fn admin(&self) -> Result<Arc<dyn Admin>>;

    /// How long an owner may sleep without a wake-up before it looks for itself: those of librdkafka are
    /// edge-triggered, this is the net below them.
    fn looks_every(&self) -> Duration {
        Duration::from_millis(100)
    }
}
