//! How many partitions there are of the topics of a group, which its leader has to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::assignor::Subscription;
use super::identity::COORDINATOR;
use super::network::{Call, Net};
use crate::broker::api::text;

const METADATA_VERSION: i16 = 4;

/// How often the leader looks whether there are more, and how often while a topic is not there.
const COUNT_EVERY: Duration = Duration::from_secs(300);
const COUNT_MISSING_EVERY: Duration = Duration::from_secs(1);

/// What the leader knows since it has last assigned partitions.
#[derive(Debug)]
pub(super) struct Census {
    topics: BTreeSet<Arc<str>>,
    counts: BTreeMap<Arc<str>, i32>,
    /// The question under way.
    call: Option<Call>,
    at: Duration,
}

impl Census {
    pub(super) fn new(
        members: &BTreeMap<StrBytes, Subscription>,
        response: &MetadataResponse,
        now: Duration,
    ) -> Self {
        let mut census = Self {
            topics: topics_of(members),
            counts: counts(response),
            call: None,
            at: now,
        };
        census.rest(now);
        census
    }

    /// When it is counted again.
    pub(super) fn next(&self) -> Option<Duration> {
        self.call.is_none().then_some(self.at)
    }

    pub(super) fn begin(&mut self, net: &mut Net<'_>) {
        self.call = Some(count(&self.topics, net));
    }

    pub(super) fn is_asked(&self, call: Call) -> bool {
        self.call == Some(call)
    }

    /// Takes the answer, if there is one. True when it is not as it was.
    pub(super) fn answered(&mut self, response: Option<&MetadataResponse>, now: Duration) -> bool {
        self.call = None;
        self.rest(now);
        response.is_some_and(|response| counts(response) != self.counts)
    }

    fn rest(&mut self, now: Duration) {
        let is_missing = self.counts.len() < self.topics.len();
        self.at = now
            + if is_missing {
                COUNT_MISSING_EVERY
            } else {
                COUNT_EVERY
            };
    }
}

/// Asks how many partitions there are of the topics of these members.
pub(super) fn ask(members: &BTreeMap<StrBytes, Subscription>, net: &mut Net<'_>) -> Call {
    count(&topics_of(members), net)
}

/// How many partitions each topic has that is there.
pub(super) fn counts(response: &MetadataResponse) -> BTreeMap<Arc<str>, i32> {
    let there = response.topics.iter().filter(|topic| topic.error_code == 0);
    let count = there.map(|topic| {
        let name = topic.name.as_ref().map_or("", |name| name.as_str());
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        (Arc::from(name), partitions)
    });
    count.collect()
}

fn topics_of(members: &BTreeMap<StrBytes, Subscription>) -> BTreeSet<Arc<str>> {
    let topics = members.values().flat_map(|member| &member.topics);
    topics.cloned().collect()
}

fn count(topics: &BTreeSet<Arc<str>>, net: &mut Net<'_>) -> Call {
    let topics = topics.iter().map(|name| {
        let name = TopicName(text(&**name));
        MetadataRequestTopic::default().with_name(Some(name))
    });
    let request = MetadataRequest::default().with_topics(Some(topics.collect()));
    net.call(COORDINATOR, METADATA_VERSION, request)
}
