//! Fetching: partitions are read ahead of their owner, from where they begin or were sought to.
//!
//! Invariants: an answer counts only while its partition has not been given up, sought or held since the question; what the
//! owner gets of a partition is in the order of its offsets, once each; only committed records are read. Each partition is
//! in one request at a time. Not here: when partitions come and go ([`super::consumer`], [`super::reader`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::Notify;

use super::identity::COORDINATOR;
use super::network::{Call, Lane, Net, NoAnswer};
use super::offsets::{self, Committed};
use super::place::{Place, Source, Stage};
use super::records::{Aborted, Batches, end_of};
use crate::broker::api::{Response, text};
use crate::error::{Error, Result};
use crate::kafka::{RecordSink, StartOffset, TopicPartition};
use crate::record::HeadersRef;

/// How long the broker holds back a fetch that finds nothing. It is for partitions that are known to be read to their end.
/// Thirty times as long as librdkafka has it, so that time in which nothing comes passes in few steps.
const LONGEST_WAIT_MS: i32 = 15_000;
const FETCH_VERSION: i16 = 12;
const READ_COMMITTED: i8 = 1;

/// The connection for records.
const DATA: Lane = 0;

/// For whom is fetched: they differ in what an offset means that is not there, and in where an end is.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// A member of this group begins again at the beginning, and stands at the end where the first open transaction begins.
    Group(StrBytes),
    /// A reader is told, and waits for the fate of transactions.
    Reader,
}

/// Reads partitions ahead of an owner.
#[derive(Debug)]
pub(super) struct Fetcher {
    purpose: Purpose,
    places: BTreeMap<TopicPartition, Place>,
    /// Also of partitions that are not assigned.
    paused: BTreeSet<TopicPartition>,
    queue: VecDeque<Fetched>,
    queued_bytes: usize,
    questions: BTreeMap<Call, Question>,
    /// Nothing is fetched for now.
    is_held: bool,
    headers: Vec<u8>,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Question {
    about: About,
    asked: Vec<TopicPartition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Records,
    Committed,
    Beginnings,
}

/// What waits for the owner.
#[derive(Debug)]
struct Fetched {
    at: TopicPartition,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Records, and the offset behind them.
    Records(Batches, i64),
    End(i64),
    OutOfRange,
}

impl Fetcher {
    pub(super) fn new(purpose: Purpose, wake: Arc<Notify>) -> Self {
        Self {
            purpose,
            places: BTreeMap::new(),
            paused: BTreeSet::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            questions: BTreeMap::new(),
            is_held: false,
            headers: Vec::new(),
            wake,
        }
    }

    pub(super) fn reads(&self, at: &TopicPartition) -> bool {
        self.places.contains_key(at)
    }

    /// The partitions that are read.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.places.keys()
    }

    /// Reads these as well, or from other offsets on.
    pub(super) fn start(&mut self, partitions: &[(TopicPartition, StartOffset)], net: &mut Net<'_>) {
        for (at, start) in partitions {
            self.drop_fetched(at);
            let place = Place::new(text(&*at.topic), *start);
            self.places.insert(at.clone(), place);
        }
        self.fetch(net);
    }

    /// No longer reads these, nor remembers that they were paused.
    pub(super) fn stop(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            self.drop_fetched(at);
            self.places.remove(at);
            self.paused.remove(at);
        }
    }

    /// Fetches these no more. What was fetched before comes or is fetched again later, as chance decides.
    pub(super) fn pause(&mut self, partitions: &[TopicPartition], net: &mut Net<'_>) {
        for at in partitions {
            let is_new = self.paused.insert(at.clone());
            if is_new && self.places.contains_key(at) && net.random().one_in(2) {
                self.drop_fetched(at);
                if let Some(place) = self.places.get_mut(at) {
                    place.rewind();
                }
            }
        }
    }

    pub(super) fn resume(&mut self, partitions: &[TopicPartition], net: &mut Net<'_>) {
        for at in partitions {
            self.paused.remove(at);
        }
        self.fetch(net);
    }

    /// Fetches nothing until further notice, and forgets what was fetched ahead.
    pub(super) fn hold(&mut self) {
        if !self.is_held {
            self.is_held = true;
            self.queue.clear();
            self.queued_bytes = 0;
            self.places.values_mut().for_each(Place::rewind);
        }
    }

    pub(super) fn release(&mut self, net: &mut Net<'_>) {
        if self.is_held {
            self.is_held = false;
            self.fetch(net);
        }
    }

    fn drop_fetched(&mut self, at: &TopicPartition) {
        self.queue.retain(|fetched| fetched.at != *at);
        let sizes = self.queue.iter().map(Fetched::len);
        self.queued_bytes = sizes.sum();
    }

    /// When something that went wrong is tried again.
    pub(super) fn next_due(&self, now: Duration) -> Option<Duration> {
        let waiting = self.places.values().filter(|place| place.asked.is_none());
        let times = waiting.map(|place| place.again_at).filter(|at| *at > now);
        times.min().filter(|_| !self.is_held)
    }

    /// The high watermark of a partition, as of its last answer.
    pub(super) fn known_end(&self, at: &TopicPartition) -> Option<i64> {
        self.places.get(at)?.high
    }

    /// Gives what was fetched, at most `max` records.
    pub(super) fn give(&mut self, sink: &mut dyn RecordSink, max: usize, net: &mut Net<'_>) -> Result<usize> {
        let (mut given, mut failure) = (0, None);
        while given < max
            && let Some(Fetched { at, what }) = self.queue.front_mut()
        {
            let place = self
                .places
                .get_mut(at)
                .expect("what was fetched goes with its partition");
            match what {
                What::Records(batches, end) => {
                    while given < max
                        && let Some(mut record) = batches.next(&at.topic, at.partition, &mut self.headers)
                    {
                        place.given = record.offset + 1;
                        if !sink.wants_headers() {
                            record.headers = HeadersRef::default();
                        }
                        sink.record(record);
                        given += 1;
                    }
                    if given == max {
                        break;
                    }
                    place.given = *end;
                    self.queued_bytes -= batches.len();
                }
                What::End(offset) => {
                    let counts = match self.purpose {
                        Purpose::Group(_) => true,
                        Purpose::Reader => place.is_end(*offset),
                    };
                    if counts {
                        sink.end_of_partition(&at.topic, at.partition, *offset);
                    }
                }
                What::OutOfRange => {
                    if !sink.out_of_range(&at.topic, at.partition) {
                        failure.get_or_insert_with(|| out_of_range(at));
                    }
                }
            }
            self.queue.pop_front();
        }
        self.fetch(net);
        failure.map_or(Ok(given), Err)
    }

    /// Asks for whatever is to be known and not asked for yet.
    pub(super) fn fetch(&mut self, net: &mut Net<'_>) {
        if self.is_held {
            return;
        }
        self.find_starts(Source::Committed, net);
        self.find_starts(Source::Beginning, net);
        if self.queued_bytes >= net.behaviour().queue_bytes {
            return;
        }
        let now = net.now();
        let wanted = self.places.iter().filter(|(at, place)| {
            place.stage == Stage::Reading && place.may_ask(now) && !self.paused.contains(at)
        });
        let mut wanted: Vec<_> = wanted.map(|(at, _)| at.clone()).collect();
        if wanted.is_empty() {
            return;
        }
        // Whoever comes first gets most.
        let first = net.random().index(wanted.len());
        wanted.rotate_left(first);
        let request = self.request(&wanted, net);
        let call = net.call(DATA, FETCH_VERSION, request);
        self.ask(call, About::Records, wanted);
    }

    fn request(&self, wanted: &[TopicPartition], net: &mut Net<'_>) -> FetchRequest {
        let (least, most) = net.behaviour().fetch_bytes;
        let bytes = least + net.random().below(most.saturating_sub(least) + 1);
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut is_known = true;
        for at in wanted {
            let Some(place) = self.places.get(at) else {
                continue;
            };
            is_known &= place.is_known;
            let partition = FetchPartition::default()
                .with_partition(at.partition)
                .with_current_leader_epoch(-1)
                .with_fetch_offset(place.fetched)
                .with_partition_max_bytes(bytes);
            match topics.last_mut().filter(|topic| *topic.topic == place.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(
                    FetchTopic::default()
                        .with_topic(TopicName(place.topic.clone()))
                        .with_partitions(vec![partition]),
                ),
            }
        }
        FetchRequest::default()
            .with_max_wait_ms(if is_known { LONGEST_WAIT_MS } else { 0 })
            .with_min_bytes(1)
            .with_max_bytes(bytes)
            .with_isolation_level(READ_COMMITTED)
            .with_topics(topics)
    }

    /// Asks where partitions begin.
    fn find_starts(&mut self, source: Source, net: &mut Net<'_>) {
        let now = net.now();
        let unknown = self.places.iter();
        let unknown = unknown.filter(|(_, place)| place.stage == Stage::Asking(source) && place.may_ask(now));
        let unknown: Vec<_> = unknown.map(|(at, _)| at.clone()).collect();
        if unknown.is_empty() {
            return;
        }
        match (source, &self.purpose) {
            (Source::Committed, Purpose::Group(group)) => {
                let request = offsets::ask_committed(group, &unknown);
                let call = net.call(COORDINATOR, offsets::COMMITTED_VERSION, request);
                self.ask(call, About::Committed, unknown);
            }
            (Source::Committed, Purpose::Reader) | (Source::Beginning, _) => {
                let call = net.call(DATA, offsets::LIST_VERSION, offsets::ask_beginnings(&unknown));
                self.ask(call, About::Beginnings, unknown);
            }
        }
    }

    fn ask(&mut self, call: Call, about: About, asked: Vec<TopicPartition>) {
        for at in &asked {
            if let Some(place) = self.places.get_mut(at) {
                place.asked = Some(call);
            }
        }
        self.questions.insert(call, Question { about, asked });
    }

    /// Takes the answer to a question. False when it is none of ours.
    pub(super) fn answered(
        &mut self,
        call: Call,
        answer: &mut Result<Response, NoAnswer>,
        net: &mut Net<'_>,
    ) -> bool {
        let Some(Question { about, asked }) = self.questions.remove(&call) else {
            return false;
        };
        match (about, answer) {
            (About::Records, Ok(Response::Fetch(response))) => {
                let topics = response.responses.drain(..);
                let all = topics.flat_map(|topic| topic.partitions);
                for (at, data) in asked.iter().zip(all) {
                    self.take(call, at, data, net);
                }
            }
            (About::Committed, Ok(Response::OffsetFetch(response))) => {
                for (at, found) in asked.iter().zip(offsets::committed(response, &asked)) {
                    self.learn(call, at, net, |place| match found {
                        Committed::Offset(committed) => place.begin_at(committed.offset),
                        Committed::Nothing => place.stage = Stage::Asking(Source::Beginning),
                        Committed::Unstable => {}
                    });
                }
            }
            (About::Beginnings, Ok(Response::ListOffsets(response))) => {
                for (at, found) in asked.iter().zip(offsets::beginnings(response, &asked)) {
                    self.learn(call, at, net, |place| {
                        if let Some(offset) = found {
                            place.begin_at(offset);
                        }
                    });
                }
            }
            _ => {
                for at in &asked {
                    self.learn(call, at, net, |_| {});
                }
            }
        }
        self.fetch(net);
        true
    }

    /// Takes what an answer says of a partition, if it still counts. What stays as it was is asked again later.
    fn learn(&mut self, call: Call, at: &TopicPartition, net: &mut Net<'_>, take: impl FnOnce(&mut Place)) {
        let place = self.places.get_mut(at);
        if let Some(place) = place.filter(|place| place.asked == Some(call)) {
            place.asked = None;
            let before = place.stage;
            take(place);
            if place.stage == before {
                place.again_at = net.now() + net.back_off();
            }
        }
    }

    /// Takes what a fetch says of a partition, if it still counts.
    fn take(&mut self, call: Call, at: &TopicPartition, data: PartitionData, net: &mut Net<'_>) {
        let place = self.places.get_mut(at);
        let Some(place) = place.filter(|place| place.asked == Some(call)) else {
            return;
        };
        place.asked = None;
        let mut found = Vec::new();
        match ResponseError::try_from_code(data.error_code) {
            None => {
                place.is_known = true;
                place.high = Some(data.high_watermark);
                let bytes = data.records.unwrap_or_default();
                if let Some(end) = end_of(&bytes) {
                    let aborted = data.aborted_transactions.into_iter().flatten();
                    let aborted = aborted.map(|transaction| Aborted {
                        first_offset: transaction.first_offset,
                        producer_id: transaction.producer_id.0,
                    });
                    self.queued_bytes += bytes.len();
                    found.push(What::Records(Batches::new(bytes, place.fetched, aborted), end));
                    place.fetched = end;
                }
                if place.fetched == data.last_stable_offset && place.end != Some(place.fetched) {
                    place.end = Some(place.fetched);
                    found.push(What::End(place.fetched));
                }
            }
            Some(ResponseError::OffsetOutOfRange) => match self.purpose {
                Purpose::Group(_) => place.stage = Stage::Asking(Source::Beginning),
                Purpose::Reader => {
                    place.stage = Stage::OutOfRange;
                    found.push(What::OutOfRange);
                }
            },
            Some(_) => place.again_at = net.now() + net.back_off(),
        }
        if !found.is_empty() {
            let found = found.into_iter();
            self.queue
                .extend(found.map(|what| Fetched { at: at.clone(), what }));
            self.wake.notify_one();
        }
    }
}

impl Fetched {
    fn len(&self) -> usize {
        match &self.what {
            What::Records(batches, _) => batches.len(),
            What::End(_) | What::OutOfRange => 0,
        }
    }
}

fn out_of_range(at: &TopicPartition) -> Error {
    Error::state(format!(
        "{}[{}] no longer has the offset that the local state stands at, so it was truncated or made anew: the state \
         must be rebuilt from its beginning",
        at.topic, at.partition
    ))
}
