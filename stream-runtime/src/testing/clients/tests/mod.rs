//! Clients over the simulated network: what the ports promise, on virtual time.
//!
//! Owners here turn only when they are woken, and now and then besides, when nothing may have come: so that every
//! wake-up that is missing fails a test.

mod administering;
mod expulsion;
mod faults;
mod group;
mod hand;
mod networking;
mod positions;
mod reading;
mod sending;
mod sending_faults;
mod transacting;
mod transacting_faults;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use kafka_protocol::messages::{GroupId, OffsetFetchRequest};
use tokio::sync::Notify;

use self::hand::Hand;
use super::consumer::VirtualConsumer;
use super::network::{Network, Port, Process, SharedNetwork};
use crate::broker::api::{Response, text};
use crate::broker::config::TopicConfig;
use crate::kafka::{
    ClientSettings, CommitOffset, CommitOutcome, GroupConsumer, Rebalance, RecordSink, StartOffset,
    TopicPartition,
};
use crate::record::RecordRef;

/// When the tests begin.
const START_MS: i64 = 1_700_000_000_000;
/// Nothing takes as long in virtual time.
const LONG: Duration = Duration::from_secs(300);

/// A network with a client that does by hand what tests need.
struct World {
    network: SharedNetwork,
    hand: Port<Hand>,
}

/// Somebody who owns a client and turns when it is woken.
trait Owner {
    fn wake(&self) -> &Notify;

    /// When it wants to turn in any case.
    fn due(&self) -> Option<Duration>;

    fn turn(&mut self, now: Duration, is_woken: bool);
}

impl World {
    fn new(seed: u64) -> Self {
        let network = SharedNetwork::new(Network::new(seed, START_MS));
        let hand = network.connect(Process(1000), "hand", Hand::default());
        Self { network, hand }
    }

    fn now(&self) -> Duration {
        self.network.lock().elapsed()
    }

    fn topic(&self, name: &str, partitions: u32) -> Arc<str> {
        self.topic_with(name, partitions, &[])
    }

    fn topic_with(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) -> Arc<str> {
        let config = TopicConfig::new(settings.iter().copied()).expect("known settings");
        let mut network = self.network.lock();
        let now = network.now();
        let topics = &mut network.broker.topics;
        topics
            .create(name, Some(partitions), config, now)
            .expect("a new topic");
        Arc::from(name)
    }

    /// Lets time pass in which nobody turns.
    fn pass(&self, time: Duration) {
        let mut network = self.network.lock();
        let end = network.elapsed() + time;
        network.run_until(end);
    }

    /// Lets owners turn until `done`, and panics with `what` when it never is.
    #[track_caller]
    fn until<O: Owner>(&self, what: &str, owners: &mut [O], mut done: impl FnMut(&[O]) -> bool) {
        let end = self.now() + LONG;
        loop {
            let now = self.now();
            for owner in owners.iter_mut() {
                let is_woken = is_woken(owner.wake());
                if is_woken || owner.due().is_some_and(|due| due <= now) {
                    owner.turn(now, is_woken);
                }
            }
            if done(owners) {
                return;
            }
            let next = self.network.lock().next_event();
            let next = owners.iter().filter_map(Owner::due).chain(next).min();
            let next = next.unwrap_or(end).max(now);
            assert!(next < end, "{what}");
            self.network.lock().run_until(next);
        }
    }

    /// Lets owners turn for some time.
    fn turn_for<O: Owner>(&self, time: Duration, owners: &mut [O]) {
        let end = self.now() + time;
        self.until("time passes", owners, |_| self.now() >= end);
    }
}

fn is_woken(wake: &Notify) -> bool {
    let notified = pin!(wake.notified());
    notified.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn settings() -> ClientSettings {
    ClientSettings {
        bootstrap: "virtual".to_owned(),
        group: "shop".to_owned(),
        client_id: "shop-0".to_owned(),
        instance_id: None,
        session_timeout: Duration::from_secs(10),
        heartbeat_interval: Duration::from_millis(500),
        max_poll_interval: Duration::from_secs(60),
        raw: Vec::new(),
    }
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

/// Keeps what it is given.
#[derive(Default)]
struct Kept {
    /// Offset and value, by place.
    records: BTreeMap<TopicPartition, Vec<(i64, String)>>,
    ends: BTreeMap<TopicPartition, i64>,
    out_of_range: Vec<TopicPartition>,
    takes_out_of_range: bool,
}

impl Kept {
    fn of(&self, topic: &Arc<str>, partition: i32) -> &[(i64, String)] {
        self.records.get(&at(topic, partition)).map_or(&[], Vec::as_slice)
    }

    fn offsets(&self, topic: &Arc<str>, partition: i32) -> Vec<i64> {
        let records = self.of(topic, partition).iter();
        records.map(|(offset, _)| *offset).collect()
    }

    fn values(&self, topic: &Arc<str>, partition: i32) -> Vec<&str> {
        let records = self.of(topic, partition).iter();
        records.map(|(_, value)| value.as_str()).collect()
    }

    fn end(&self, topic: &Arc<str>, partition: i32) -> Option<i64> {
        self.ends.get(&at(topic, partition)).copied()
    }

    fn count(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }
}

impl RecordSink for Kept {
    fn record(&mut self, record: RecordRef<'_>) {
        let value = String::from_utf8_lossy(record.value.unwrap_or(b"<null>")).into_owned();
        let place = at(&Arc::from(record.topic), record.partition);
        self.records
            .entry(place)
            .or_default()
            .push((record.offset, value));
    }

    fn end_of_partition(&mut self, topic: &str, partition: i32, offset: i64) {
        self.ends.insert(at(&Arc::from(topic), partition), offset);
    }

    fn out_of_range(&mut self, topic: &str, partition: i32) -> bool {
        self.out_of_range.push(at(&Arc::from(topic), partition));
        self.takes_out_of_range
    }
}

/// A member that takes its time to answer rebalances, and takes a companion along with each lead.
struct Member {
    consumer: Box<dyn GroupConsumer>,
    wake: Arc<Notify>,
    sink: Kept,
    /// Lead and companion.
    pairs: Vec<(Arc<str>, Arc<str>)>,
    assigned: BTreeSet<TopicPartition>,
    /// Where partitions begin that it is assigned.
    start: StartOffset,
    /// What it commits for what it gives back.
    gives_back: Option<i64>,
    lost: Vec<Vec<TopicPartition>>,
    patience: Duration,
    /// How many records it takes at once.
    max: usize,
    /// The rebalance that waits, and when it is answered.
    waiting: Option<(Rebalance, Duration)>,
    committing: Option<Vec<TopicPartition>>,
    outcome: Option<CommitOutcome>,
    answer: Option<Vec<Option<CommitOffset>>>,
    error: Option<String>,
    tick: Duration,
    next_tick: Duration,
}

impl Member {
    fn new(
        world: &World,
        process: u32,
        settings: &ClientSettings,
        pairs: &[(&Arc<str>, &Arc<str>)],
        patience: Duration,
    ) -> Self {
        let wake = Arc::new(Notify::new());
        let mut consumer =
            VirtualConsumer::boxed(&world.network, Process(process), settings, "0", Arc::clone(&wake));
        let leads = pairs.iter().map(|(lead, _)| Arc::clone(lead)).collect::<Vec<_>>();
        consumer.subscribe(&leads).expect("it subscribes");
        let pairs = pairs.iter();
        Self {
            consumer,
            wake,
            sink: Kept::default(),
            pairs: pairs
                .map(|(lead, other)| (Arc::clone(lead), Arc::clone(other)))
                .collect(),
            assigned: BTreeSet::new(),
            start: StartOffset::Committed,
            gives_back: None,
            lost: Vec::new(),
            patience,
            max: 1000,
            waiting: None,
            committing: None,
            outcome: None,
            answer: None,
            error: None,
            tick: settings.max_poll_interval / 3,
            next_tick: world.now(),
        }
    }

    /// A member that answers at once.
    fn quick(world: &World, process: u32, topics: &[&Arc<str>]) -> Self {
        let pairs: Vec<_> = topics.iter().map(|topic| (*topic, *topic)).collect();
        Self::new(world, process, &settings(), &pairs, Duration::ZERO)
    }

    fn with_companions(&self, leads: &[TopicPartition]) -> Vec<TopicPartition> {
        let mut all = Vec::new();
        for place in leads {
            let pair = self.pairs.iter().find(|(lead, _)| *lead == place.topic);
            let (_, other) = pair.expect("a lead topic");
            if *other != place.topic {
                all.push(at(other, place.partition));
            }
            all.push(place.clone());
        }
        all
    }

    fn answer(&mut self, rebalance: Rebalance) {
        match rebalance {
            Rebalance::Assign(leads) => {
                let all = self.with_companions(&leads);
                let starts: Vec<_> = all.iter().map(|at| (at.clone(), self.start)).collect();
                self.consumer.assign(&starts).expect("they are taken on");
                self.assigned.extend(all);
            }
            Rebalance::Revoke(leads) => {
                let all = self.with_companions(&leads);
                match self.gives_back {
                    Some(position) => {
                        let offsets = all.iter().map(|at| offset(at.clone(), position, "given back"));
                        let offsets: Vec<_> = offsets.collect();
                        self.consumer.commit(&offsets).expect("it starts");
                        self.committing = Some(all);
                    }
                    None => self.give_up(&all),
                }
            }
            Rebalance::Lost(lost) => {
                self.lost.push(lost);
                self.committing = None;
                let all: Vec<_> = self.assigned.iter().cloned().collect();
                self.give_up(&all);
            }
        }
    }

    fn give_up(&mut self, all: &[TopicPartition]) {
        self.consumer.unassign(all).expect("they are given up");
        for at in all {
            self.assigned.remove(at);
        }
    }

    fn holds_whole_pairs(&self) -> bool {
        self.pairs.iter().all(|(lead, other)| {
            (0..100).all(|partition| {
                self.assigned.contains(&at(lead, partition)) == self.assigned.contains(&at(other, partition))
            })
        })
    }
}

impl Owner for Member {
    fn wake(&self) -> &Notify {
        &self.wake
    }

    fn due(&self) -> Option<Duration> {
        let answer_at = self.waiting.as_ref().map(|(_, at)| *at);
        let answer_at = answer_at.filter(|_| self.committing.is_none() && self.patience < LONG);
        answer_at.into_iter().chain([self.next_tick]).min()
    }

    fn turn(&mut self, now: Duration, is_woken: bool) {
        self.next_tick = now + self.tick;
        // What follows from an answer of its own it finds by itself.
        let mut may_find = is_woken;
        let told = |is_news: bool, what: &str| assert!(is_woken || !is_news, "no wake-up for {what}");
        loop {
            match self.consumer.poll(&mut self.sink, self.max) {
                Ok(records) => {
                    told(records > 0, "records");
                    if records < self.max {
                        break;
                    }
                }
                Err(error) => {
                    told(self.error.is_none(), "an error");
                    self.error = Some(error.to_string());
                    return;
                }
            }
        }
        if let Some(outcome) = self.consumer.commit_outcome() {
            told(true, "the outcome of a commit");
            self.outcome = Some(outcome);
        }
        if let Some(answer) = self.consumer.committed() {
            told(true, "what is committed");
            self.answer = Some(answer);
        }
        loop {
            let rebalance = self.consumer.rebalance();
            if self.waiting.as_ref().map(|(waiting, _)| waiting) != rebalance.as_ref() {
                assert!(may_find, "no wake-up for a rebalance");
                let patience = match rebalance {
                    Some(Rebalance::Lost(_)) => Duration::ZERO,
                    _ => self.patience,
                };
                self.waiting = rebalance.map(|rebalance| (rebalance, now + patience));
                if matches!(self.waiting, Some((Rebalance::Lost(_), _))) {
                    self.committing = None;
                }
            }
            if let Some(all) = &self.committing {
                match self.outcome.take() {
                    None => return,
                    Some(CommitOutcome::Done) => {
                        let all = all.clone();
                        self.committing = None;
                        self.waiting = None;
                        self.give_up(&all);
                    }
                    Some(CommitOutcome::Failed(reason)) => panic!("{reason}"),
                    // Tried again, or lost.
                    Some(CommitOutcome::Retry(_) | CommitOutcome::Fenced(_)) => self.committing = None,
                }
                continue;
            }
            match self.waiting.take() {
                Some((rebalance, due)) if due <= now => {
                    self.answer(rebalance);
                    may_find = true;
                }
                other => {
                    self.waiting = other;
                    return;
                }
            }
            if self.committing.is_some() {
                // Until it is answered it is the same.
                self.waiting = self.consumer.rebalance().map(|rebalance| (rebalance, now));
            }
        }
    }
}

/// What tests look at beside records.
impl SharedNetwork {
    /// The offset that the next record of a partition gets.
    ///
    /// # Panics
    /// When there is no such partition.
    pub(crate) fn end(&self, topic: &str, partition: i32) -> i64 {
        self.log_range(topic, partition).1
    }

    /// What a group has committed: offsets and their texts by topic and partition.
    pub(crate) fn committed(&self, group: &str) -> BTreeMap<(String, i32), (i64, String)> {
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(None);
        let answer = self.lock().demand(7, request);
        let Some(Response::OffsetFetch(response)) = answer else {
            unreachable!("the broker answers for offsets at once");
        };
        let mut committed = BTreeMap::new();
        for topic in response.topics {
            for partition in topic.partitions {
                let metadata = partition.metadata.unwrap_or_default().to_string();
                let at = (topic.name.to_string(), partition.partition_index);
                committed.insert(at, (partition.committed_offset, metadata));
            }
        }
        committed
    }
}
