//! [`Admin`] over rdkafka.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use super::committed::in_order;
use super::context::Context;
use super::diagnostics::Diagnostics;
use super::lists::{list_of, named};
use super::native::{committed_in, topic_ids};
use super::{
    Admin, ClientSettings, CommitOffset, CreateOutcome, TopicDescription, TopicPartition, TopicSpec, config,
};
use crate::clock;
use crate::error::{Error, Result};

/// How often the cluster is asked whether a new topic has leaders yet.
const CREATION_STEP: Duration = Duration::from_millis(20);

/// Questions to the cluster.
pub(super) struct RdKafkaAdmin {
    settings: ClientSettings,
    diagnostics: Arc<Diagnostics>,
    client: AdminClient<Context>,
    /// A consumer a group, made when first asked: librdkafka finds a group's offsets for its members alone.
    groups: Mutex<HashMap<String, Arc<BaseConsumer<Context>>>>,
}

impl RdKafkaAdmin {
    pub(super) fn new(settings: &ClientSettings, diagnostics: &Arc<Diagnostics>) -> Result<Self> {
        let client = config::admin(settings)
            .create_with_context(Context::new(diagnostics))
            .map_err(config::refusal)?;
        Ok(Self {
            settings: settings.clone(),
            diagnostics: Arc::clone(diagnostics),
            client,
            groups: Mutex::default(),
        })
    }

    /// All topics: a question for one that does not exist could create it.
    fn metadata(&self, timeout: Duration) -> Result<Metadata> {
        let metadata = self.client.inner().fetch_metadata(None, timeout);
        let metadata =
            metadata.map_err(|error| self.failure("the topics were not listed", timeout, error))?;
        self.diagnostics.reached();
        Ok(metadata)
    }

    fn group(&self, group: &str) -> Result<Arc<BaseConsumer<Context>>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(consumer) = groups.get(group) {
            return Ok(Arc::clone(consumer));
        }
        let consumer = config::offsets(&self.settings, group)
            .create_with_context(Context::new(&self.diagnostics))
            .map_err(config::refusal)?;
        let consumer = Arc::new(consumer);
        groups.insert(group.to_owned(), Arc::clone(&consumer));
        Ok(consumer)
    }

    /// Waits until the leaders of all partitions of new topics are known, or the time is over: they are
    /// made either way, and a broker that has just made many may need longer to say where they are.
    fn await_leaders(&self, created: &[&TopicSpec], end: Instant) {
        loop {
            let remaining = end.saturating_duration_since(clock::now());
            if remaining.is_zero() {
                return;
            }
            let ready = self.metadata(remaining).is_ok_and(|metadata| {
                created.iter().all(|spec| {
                    metadata.topics().iter().any(|topic| {
                        topic.name() == spec.name
                            && topic.partitions().len() == spec.partitions as usize
                            && topic.partitions().iter().all(|partition| partition.leader() >= 0)
                    })
                })
            });
            if ready {
                return;
            }
            thread::sleep(CREATION_STEP);
        }
    }

    fn failure(&self, what: &str, timeout: Duration, error: KafkaError) -> Error {
        let bootstrap = self.diagnostics.bootstrap();
        let code = match &error {
            KafkaError::AdminOp(code) => Some(*code),
            error => error.rdkafka_error_code(),
        };
        let reason = match code {
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::WaitingForCoordinator
                | RDKafkaErrorCode::Resolve,
            ) => format!(
                "no answer from {bootstrap} within {timeout:?}: \
                 see that the broker runs and that the setting `broker` names its address"
            ),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ) => format!("{bootstrap} does not allow it: grant this client the permission"),
            _ => format!("{bootstrap} refused"),
        };
        Error::broker(format!("{what}: {reason}")).with_source(error)
    }
}

impl Admin for RdKafkaAdmin {
    fn topics(&self, names: Option<&[String]>, timeout: Duration) -> Result<Vec<TopicDescription>> {
        let metadata = self.metadata(timeout)?;
        let wanted = |name: &str| names.is_none_or(|names| names.iter().any(|wanted| wanted == name));
        let present = metadata.topics().iter().filter(|topic| {
            wanted(topic.name()) && topic.error().is_none() && !topic.partitions().is_empty()
        });
        Ok(present
            .map(|topic| TopicDescription {
                name: topic.name().to_owned(),
                partitions: u32::try_from(topic.partitions().len()).expect("partitions are an i32"),
            })
            .collect())
    }

    fn create_topics(&self, topics: &[TopicSpec], timeout: Duration) -> Result<Vec<CreateOutcome>> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let end = clock::now() + timeout;
        let new = topics.iter().map(|spec| {
            let replication = TopicReplication::Fixed(spec.replication.map_or(-1, i32::from));
            let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
            let topic = NewTopic::new(&spec.name, partitions, replication);
            spec.config
                .iter()
                .fold(topic, |topic, (name, value)| topic.set(name, value))
        });
        let new = new.collect::<Vec<_>>();
        let created = block_on(self.client.create_topics(&new, &options(timeout)))
            .map_err(|error| self.failure("the topics were not created", timeout, error))?;
        let outcome_of = |spec: &TopicSpec| {
            let found = created.iter().find_map(|result| match result {
                Ok(name) => (*name == spec.name).then_some(CreateOutcome::Created),
                Err((name, code)) => (*name == spec.name).then(|| match code {
                    RDKafkaErrorCode::TopicAlreadyExists => CreateOutcome::AlreadyExists,
                    code => CreateOutcome::Failed(code.to_string()),
                }),
            });
            found.unwrap_or_else(|| {
                CreateOutcome::Failed("the broker did not say what became of it".to_owned())
            })
        };
        let outcomes = topics.iter().map(outcome_of).collect::<Vec<_>>();
        let made = topics
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| **outcome == CreateOutcome::Created);
        let made = made.map(|(spec, _)| spec).collect::<Vec<_>>();
        if !made.is_empty() {
            self.await_leaders(&made, end);
        }
        Ok(outcomes)
    }

    fn topic_ids(&self, names: &[String], timeout: Duration) -> Result<Vec<Option<String>>> {
        // Each once, as librdkafka wants it.
        let asked = names
            .iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .cloned()
            .collect::<Vec<_>>();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let ids = topic_ids(self.client.inner(), &asked, timeout).map_err(|code| {
            let what = format!("the ids of {} were not read", asked.join(", "));
            self.failure(&what, timeout, KafkaError::AdminOp(code))
        })?;
        self.diagnostics.reached();
        Ok(names.iter().map(|name| ids.get(name).cloned()).collect())
    }

    fn topic_config(&self, topic: &str, timeout: Duration) -> Result<Vec<(String, String)>> {
        let what = format!("the settings of {topic} were not read");
        let resource = [ResourceSpecifier::Topic(topic)];
        let described = block_on(self.client.describe_configs(&resource, &options(timeout)))
            .map_err(|error| self.failure(&what, timeout, error))?;
        let mut config = Vec::new();
        for resource in described {
            let resource =
                resource.map_err(|code| self.failure(&what, timeout, KafkaError::AdminOp(code)))?;
            let set = resource
                .entries
                .into_iter()
                .filter_map(|entry| Some((entry.name, entry.value?)));
            config.extend(set);
        }
        Ok(config)
    }

    fn offset_range(&self, partitions: &[TopicPartition], timeout: Duration) -> Result<Vec<(i64, i64)>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        // By time, where −2 and −1 stand for the first and the last offset: one request a broker, not two
        // a partition.
        let consumer = self.group(&self.settings.group)?;
        let ask = |bound: Offset| {
            let mut list = list_of(partitions);
            let asked = list
                .set_all_offsets(bound)
                .and_then(|()| consumer.offsets_for_times(list, timeout));
            let list = asked.map_err(|error| {
                self.failure(
                    &format!("the offsets of {} were not read", named(partitions)),
                    timeout,
                    error,
                )
            })?;
            offsets_in(&list, partitions, "has no offset")
        };
        let (first, last) = (ask(Offset::Beginning)?, ask(Offset::End)?);
        Ok(first.into_iter().zip(last).collect())
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)], timeout: Duration) -> Result<()> {
        if before.is_empty() {
            return Ok(());
        }
        let places = named(before.iter().map(|(at, _)| at));
        let what = format!("the processed records of {places} were not deleted");
        let mut list = TopicPartitionList::with_capacity(before.len());
        for (at, offset) in before {
            let added = list.add_partition_offset(&at.topic, at.partition, Offset::Offset(*offset));
            added.expect("an offset of a record can be represented");
        }
        let deleted = block_on(self.client.delete_records(&list, &options(timeout)))
            .map_err(|error| self.failure(&what, timeout, error))?;
        for element in deleted.elements() {
            match element.error() {
                // Somebody has deleted more.
                Ok(()) | Err(KafkaError::OffsetFetch(RDKafkaErrorCode::OffsetOutOfRange)) => {}
                Err(error) => return Err(self.failure(&what, timeout, error)),
            }
        }
        Ok(())
    }

    fn committed_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<CommitOffset>>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let consumer = self.group(group)?;
        let list = consumer
            .committed_offsets(list_of(partitions), timeout)
            .map_err(|error| {
                self.failure(
                    &format!("the offsets of group {group} were not read"),
                    timeout,
                    error,
                )
            })?;
        in_order(partitions, &committed_in(&list)).map_err(|code| {
            let what = format!("the offsets of group {group} were not read");
            self.failure(&what, timeout, KafkaError::OffsetFetch(code))
        })
    }

    fn commit_offsets(&self, group: &str, offsets: &[CommitOffset]) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for offset in offsets {
            let mut element = list.add_partition(&offset.at.topic, offset.at.partition);
            let set = element.set_offset(Offset::Offset(offset.offset));
            set.expect("an offset of a record can be represented");
            element.set_metadata(&offset.metadata);
        }
        let places = || named(offsets.iter().map(|offset| &offset.at));
        // Nothing to commit is an error to librdkafka.
        if offsets.is_empty() {
            return Ok(());
        }
        let committed = self.group(group)?.commit(&list, CommitMode::Sync);
        committed.map_err(|error| {
            Error::broker(format!(
                "the offsets of {} were not stored for group `{group}`, which must have no members",
                places()
            ))
            .with_source(error)
        })
    }
}

/// The offsets of a filled list, in the order of `partitions`.
fn offsets_in(list: &TopicPartitionList, partitions: &[TopicPartition], problem: &str) -> Result<Vec<i64>> {
    let offsets = partitions.iter().map(|at| {
        let element = list.find_partition(&at.topic, at.partition);
        let element = element.ok_or_else(|| Error::broker(format!("{} {problem}", named([at]))))?;
        element
            .error()
            .map_err(|error| Error::broker(format!("{} {problem}", named([at]))).with_source(error))?;
        match element.offset() {
            Offset::Offset(offset) => Ok(offset),
            other => Err(Error::broker(format!("{} {problem}: {other:?}", named([at])))),
        }
    });
    offsets.collect()
}

fn options(timeout: Duration) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(timeout))
        .operation_timeout(Some(timeout))
}

/// Waits for a future of the admin client, which has a thread of its own. Unlike a runtime's, this may be
/// called on a thread that is inside one.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut task = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut task) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::config::tests::settings;

    /// The broker that does not answer is one that has no time to.
    #[test]
    fn the_leaders_of_new_topics_are_awaited_as_long_as_there_is_time_and_no_error_ends_that() {
        let nobody = "127.0.0.1:1";
        let diagnostics = Arc::new(Diagnostics::new(nobody));
        let admin = RdKafkaAdmin::new(&settings(nobody, "shop"), &diagnostics).expect("a client");
        let spec = TopicSpec {
            name: "orders".to_owned(),
            partitions: 1000,
            replication: None,
            config: Vec::new(),
        };
        for left in [0, 30] {
            let end = clock::now() + Duration::from_millis(left);
            admin.await_leaders(&[&spec], end);
            assert!(clock::now() >= end);
        }
    }
}
