//! [`Admin`] straight with the broker: its calls block, and nobody else would make time pass.
//!
//! An answer takes no time. Only offsets that an open transaction may still change are waited for. A broker that cannot be
//! reached is told at once, since nothing would bring it back meanwhile.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DescribeConfigsRequest, ListOffsetsRequest, MetadataRequest,
    MetadataResponse, TopicName,
};

use super::membership::Member;
use super::network::{Process, SharedNetwork};
use super::offsets::{self, COMMIT_VERSION, COMMITTED_VERSION, Committed, LIST_VERSION, by_topic};
use crate::broker::api::{Request, Response, text};
use crate::error::{Error, Result};
use crate::kafka::{Admin, CommitOffset, CreateOutcome, TopicDescription, TopicPartition, TopicSpec};
use crate::testing::effects;

const METADATA_VERSION: i16 = 12;
const CREATE_VERSION: i16 = 4;
const DESCRIBE_VERSION: i16 = 4;
const DELETE_VERSION: i16 = 2;

/// The `timestamp` that asks for the first offset, and that for the one behind the last.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// Settings of a topic.
const TOPIC: i8 = 2;
const COMMITTED_ONLY: i8 = 1;

/// Questions to the cluster.
pub(crate) struct VirtualAdmin {
    network: SharedNetwork,
    process: Process,
}

impl VirtualAdmin {
    pub(crate) fn new(network: &SharedNetwork, process: Process) -> Self {
        Self {
            network: network.clone(),
            process,
        }
    }

    fn ask(&self, what: &str, version: i16, request: impl Into<Request>) -> Result<Response> {
        let answer = self.network.lock().ask(self.process, version, request);
        answer.ok_or_else(|| Error::broker(format!("{what}: no answer from the simulated broker")))
    }

    fn metadata(&self) -> Result<MetadataResponse> {
        let what = "the topics were not listed";
        match self.ask(
            what,
            METADATA_VERSION,
            MetadataRequest::default().with_topics(None),
        )? {
            Response::Metadata(response) => Ok(response),
            other => Err(unexpected(what, &other)),
        }
    }

    fn offsets(&self, partitions: &[TopicPartition], bound: i64) -> Result<Vec<i64>> {
        let what = "the offsets were not read";
        let wanted = partitions.iter().map(|at| {
            let partition = ListOffsetsPartition::default()
                .with_partition_index(at.partition)
                .with_current_leader_epoch(-1)
                .with_timestamp(bound);
            (at, partition)
        });
        let topics = by_topic(wanted).map(|(name, partitions)| {
            ListOffsetsTopic::default()
                .with_name(name)
                .with_partitions(partitions)
        });
        let request = ListOffsetsRequest::default()
            .with_isolation_level(COMMITTED_ONLY)
            .with_topics(topics.collect());
        let response = match self.ask(what, LIST_VERSION, request)? {
            Response::ListOffsets(response) => response,
            other => return Err(unexpected(what, &other)),
        };
        let found = offsets::beginnings(&response, partitions).into_iter();
        let found = found.zip(partitions).map(|(offset, at)| {
            offset.ok_or_else(|| Error::broker(format!("{}[{}] has no offset", at.topic, at.partition)))
        });
        found.collect()
    }

    /// What is committed, or nothing where a transaction may still change it.
    fn stable(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Option<Vec<Option<CommitOffset>>>> {
        let what = format!("the offsets of group {group} were not read");
        let request = offsets::ask_committed(&text(group), partitions);
        let response = match self.ask(&what, COMMITTED_VERSION, request)? {
            Response::OffsetFetch(response) => response,
            other => return Err(unexpected(&what, &other)),
        };
        let found = offsets::committed(&response, partitions).into_iter();
        let found = found.map(|committed| match committed {
            Committed::Nothing => Some(None),
            Committed::Offset(offset) => Some(Some(offset)),
            Committed::Unstable => None,
        });
        Ok(found.collect())
    }
}

impl Admin for VirtualAdmin {
    fn topics(&self, names: Option<&[String]>, _: Duration) -> Result<Vec<TopicDescription>> {
        let mut found = Vec::new();
        for topic in self.metadata()?.topics {
            let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
            if names.is_none_or(|names| names.contains(&name)) {
                let partitions = u32::try_from(topic.partitions.len()).expect("partitions are an i32");
                found.push(TopicDescription { name, partitions });
            }
        }
        Ok(found)
    }

    fn create_topics(&self, topics: &[TopicSpec], _: Duration) -> Result<Vec<CreateOutcome>> {
        let what = "the topics were not created";
        let new = topics.iter().map(|spec| {
            let configs = spec.config.iter().map(|(name, value)| {
                CreatableTopicConfig::default()
                    .with_name(text(name.as_str()))
                    .with_value(Some(text(value.as_str())))
            });
            let replication = spec
                .replication
                .map_or(-1, |count| i16::try_from(count).unwrap_or(i16::MAX));
            CreatableTopic::default()
                .with_name(TopicName(text(spec.name.as_str())))
                .with_num_partitions(i32::try_from(spec.partitions).unwrap_or(i32::MAX))
                .with_replication_factor(replication)
                .with_configs(configs.collect())
        });
        let request = CreateTopicsRequest::default().with_topics(new.collect());
        let response = match self.ask(what, CREATE_VERSION, request)? {
            Response::CreateTopics(response) => response,
            other => return Err(unexpected(what, &other)),
        };
        let outcomes =
            response
                .topics
                .into_iter()
                .map(|topic| match ResponseError::try_from_code(topic.error_code) {
                    None => CreateOutcome::Created,
                    Some(ResponseError::TopicAlreadyExists) => CreateOutcome::AlreadyExists,
                    Some(error) => {
                        let message = topic.error_message.unwrap_or_default();
                        CreateOutcome::Failed(format!("{error}: {message}"))
                    }
                });
        Ok(outcomes.collect())
    }

    fn topic_ids(&self, names: &[String], _: Duration) -> Result<Vec<Option<String>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let topics = self.metadata()?.topics;
        let id_of = |name: &String| {
            let found = topics
                .iter()
                .find(|topic| topic.name.as_ref().is_some_and(|found| found.as_str() == name));
            Some(found?.topic_id.to_string())
        };
        Ok(names.iter().map(id_of).collect())
    }

    fn topic_config(&self, topic: &str, _: Duration) -> Result<Vec<(String, String)>> {
        let what = format!("the settings of {topic} were not read");
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let response = match self.ask(&what, DESCRIBE_VERSION, request)? {
            Response::DescribeConfigs(response) => response,
            other => return Err(unexpected(&what, &other)),
        };
        let mut config = Vec::new();
        for result in response.results {
            if let Some(error) = ResponseError::try_from_code(result.error_code) {
                return Err(Error::broker(what).with_source(error));
            }
            let set = result.configs.into_iter();
            let set = set.filter_map(|setting| Some((setting.name.to_string(), setting.value?.to_string())));
            config.extend(set);
        }
        Ok(config)
    }

    /// As with librdkafka, which asks as one who reads committed records, the end is where the first open transaction
    /// begins.
    fn offset_range(&self, partitions: &[TopicPartition], _: Duration) -> Result<Vec<(i64, i64)>> {
        let first = self.offsets(partitions, EARLIEST)?;
        let last = self.offsets(partitions, LATEST)?;
        Ok(first.into_iter().zip(last).collect())
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)], timeout: Duration) -> Result<()> {
        let what = "the processed records were not deleted";
        let wanted = before.iter().map(|(at, offset)| {
            let partition = DeleteRecordsPartition::default()
                .with_partition_index(at.partition)
                .with_offset(*offset);
            (at, partition)
        });
        let topics = by_topic(wanted).map(|(name, partitions)| {
            DeleteRecordsTopic::default()
                .with_name(name)
                .with_partitions(partitions)
        });
        let request = DeleteRecordsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
        match self.ask(what, DELETE_VERSION, request)? {
            Response::DeleteRecords(_) => {
                effects::count("records purged");
                Ok(())
            }
            other => Err(unexpected(what, &other)),
        }
    }

    fn committed_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<CommitOffset>>> {
        let end = self.network.lock().elapsed() + timeout;
        let mut answer = Ok(None);
        self.network.pass_until(end, || {
            answer = self.stable(group, partitions);
            !matches!(answer, Ok(None))
        });
        answer?.ok_or_else(|| {
            Error::broker(format!(
                "the offsets of group {group} were not read: an open transaction may still change them"
            ))
        })
    }

    fn commit_offsets(&self, group: &str, offsets: &[CommitOffset]) -> Result<()> {
        // Nothing to commit is nothing to ask for.
        if offsets.is_empty() {
            return Ok(());
        }
        let what = format!("offsets were not stored for group `{group}`, which must have no members");
        let nobody = Member {
            group: group.to_owned(),
            member_id: String::new(),
            generation: -1,
            instance_id: None,
        };
        let response = match self.ask(&what, COMMIT_VERSION, offsets::commit(&nobody, offsets))? {
            Response::OffsetCommit(response) => response,
            other => return Err(unexpected(&what, &other)),
        };
        match offsets::refusal(&response) {
            None => Ok(()),
            Some((at, error)) => {
                let place = format!("{}[{}]", at.topic, at.partition);
                Err(Error::broker(format!("{what}: {place}")).with_source(error))
            }
        }
    }
}

/// The broker answers one request with another's answer, which it never does.
fn unexpected(what: &str, response: &Response) -> Error {
    Error::broker(format!("{what}: the broker answered {:?}", response.key()))
}
