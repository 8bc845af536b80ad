//! Members and readers while connections break, brokers are away, and processes are cut off, frozen and killed.
//!
//! Whatever happens: what a member is given of a partition begins where the group has committed and has no gap, what is
//! committed never goes back, and in the end everything was read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use tokio::sync::Notify;

use super::reading::Reading;
use super::{World, at, is_woken, offset, settings};
use crate::kafka::{
    ClientSettings, CommitOutcome, GroupConsumer, Rebalance, RecordSink, StartOffset, TopicPartition,
};
use crate::record::RecordRef;
use crate::testing::clients::consumer::VirtualConsumer;
use crate::testing::clients::network::Process;
use crate::testing::random::Random;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Where a worker stands in its partitions: at the next offset, once something has come.
#[derive(Default)]
struct Positions {
    next: BTreeMap<TopicPartition, Option<i64>>,
    /// The first record of each stretch.
    begun: Vec<(TopicPartition, i64)>,
}

impl RecordSink for Positions {
    fn record(&mut self, record: RecordRef<'_>) {
        let place = at(&Arc::from(record.topic), record.partition);
        let next = self.next.get_mut(&place).expect("only of what it has");
        match next {
            Some(next) => assert_eq!(*next, record.offset, "{place:?}: in order, without a gap"),
            None => self.begun.push((place, record.offset)),
        }
        *next = Some(record.offset + 1);
    }
}

/// A worker that commits where it stands now and then, and before it gives back anything.
struct Worker {
    process: Process,
    consumer: Box<dyn GroupConsumer>,
    wake: Arc<Notify>,
    positions: Positions,
    /// What was committed when it took on a partition.
    floors: BTreeMap<TopicPartition, i64>,
    random: Random,
    waiting: Option<Rebalance>,
    /// When it answers what waits.
    answers_at: Duration,
    is_committing: bool,
    /// What was given back was committed.
    is_settled: bool,
    commits_at: Duration,
    /// When it looks in any case.
    turns_at: Duration,
    frozen_until: Option<Duration>,
    /// A commit was refused, so that a loss is to be told by then.
    loses_by: Option<Duration>,
}

impl Worker {
    fn new(world: &World, process: u32, topics: &[Arc<str>], instance: Option<String>) -> Self {
        let wake = Arc::new(Notify::new());
        let settings = ClientSettings {
            session_timeout: 6 * SECOND,
            max_poll_interval: 8 * SECOND,
            instance_id: instance,
            ..settings()
        };
        let process = Process(process);
        let mut consumer = VirtualConsumer::boxed(&world.network, process, &settings, "0", Arc::clone(&wake));
        consumer.subscribe(topics).expect("it subscribes");
        let random = world.network.lock().random.split();
        Self {
            process,
            consumer,
            wake,
            positions: Positions::default(),
            floors: BTreeMap::new(),
            random,
            waiting: None,
            answers_at: Duration::ZERO,
            is_committing: false,
            is_settled: false,
            commits_at: world.now() + SECOND,
            turns_at: world.now(),
            frozen_until: None,
            loses_by: None,
        }
    }

    /// When it does something by itself.
    fn due(&self) -> Duration {
        if let Some(until) = self.frozen_until {
            return until;
        }
        let commits_at = Some(self.commits_at).filter(|_| !self.is_committing);
        let answers_at = self.waiting.as_ref().map(|_| self.answers_at);
        let answers_at = answers_at.filter(|_| !self.is_committing || self.is_lost());
        commits_at
            .into_iter()
            .chain(answers_at)
            .min()
            .map_or(self.turns_at, |due| due.min(self.turns_at))
    }

    fn is_lost(&self) -> bool {
        matches!(self.waiting, Some(Rebalance::Lost(_)))
    }

    fn turn(&mut self, now: Duration, is_woken: bool) {
        self.turns_at = now + SECOND;
        loop {
            let max = 1 + self.random.index(50);
            let polled = self.consumer.poll(&mut self.positions, max);
            let given = polled.expect("nothing that does not heal");
            assert!(is_woken || given == 0, "no wake-up for records");
            if given < max {
                break;
            }
        }
        match self.consumer.commit_outcome() {
            None => {}
            Some(CommitOutcome::Done) => {
                self.is_committing = false;
                self.is_settled = true;
                self.commits_at = now + SECOND;
            }
            Some(CommitOutcome::Retry(_)) => {
                self.is_committing = false;
                self.commits_at = now + 50 * MILLI;
            }
            Some(CommitOutcome::Fenced(_)) => {
                self.is_committing = false;
                self.commits_at = now + 50 * MILLI;
                let holds = !self.positions.next.is_empty();
                self.loses_by = self.loses_by.or_else(|| holds.then_some(now + 10 * SECOND));
            }
            Some(CommitOutcome::Failed(reason)) => panic!("{reason}"),
        }
        let rebalance = self.consumer.rebalance();
        if rebalance != self.waiting {
            assert!(is_woken, "no wake-up for a rebalance");
            let longest = if self.random.one_in(5) {
                5 * SECOND
            } else {
                20 * MILLI
            };
            self.answers_at = now + self.random.between(Duration::ZERO, longest);
            self.is_settled = false;
            self.waiting = rebalance;
        }
        assert!(
            self.loses_by.is_none_or(|by| self.is_lost() || now < by),
            "a commit was refused, and nothing is lost"
        );
        if now >= self.answers_at {
            self.answer(now);
        }
        if !self.is_committing && now >= self.commits_at {
            self.commit();
        }
    }

    fn answer(&mut self, now: Duration) {
        match self.waiting.clone() {
            Some(Rebalance::Assign(places)) => {
                let starts: Vec<_> = places
                    .iter()
                    .map(|at| (at.clone(), StartOffset::Committed))
                    .collect();
                self.consumer.assign(&starts).expect("they are taken on");
                self.positions
                    .next
                    .extend(places.into_iter().map(|at| (at, None)));
            }
            Some(Rebalance::Revoke(_)) if !self.is_settled => {
                if !self.is_committing {
                    self.commits_at = now;
                }
                return;
            }
            Some(Rebalance::Revoke(places)) => self.give_up(&places),
            Some(Rebalance::Lost(_)) => {
                self.loses_by = None;
                let all: Vec<_> = self.positions.next.keys().cloned().collect();
                self.give_up(&all);
            }
            None => return,
        }
        // What follows at once is answered the next time.
        self.waiting = self.consumer.rebalance();
        self.answers_at = now + MILLI;
        self.is_settled = false;
    }

    fn give_up(&mut self, places: &[TopicPartition]) {
        self.consumer.unassign(places).expect("they are given up");
        for at in places {
            self.positions.next.remove(at);
        }
    }

    fn commit(&mut self) {
        if self.is_lost() {
            self.commits_at += SECOND;
            return;
        }
        let stands = self.positions.next.iter();
        let offsets = stands.filter_map(|(at, next)| Some(offset(at.clone(), (*next)?, "")));
        let offsets: Vec<_> = offsets.collect();
        self.consumer.commit(&offsets).expect("it starts");
        self.is_committing = true;
    }
}

/// Everything, and what was seen of it.
struct Run {
    world: World,
    random: Random,
    places: Vec<TopicPartition>,
    workers: Vec<Worker>,
    sent: BTreeMap<TopicPartition, usize>,
    committed: BTreeMap<TopicPartition, i64>,
    /// What was committed at any time.
    history: BTreeMap<TopicPartition, Vec<i64>>,
    processes: u32,
    is_static: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let world = World::new(seed);
        let mut random = world.network.lock().random.split();
        {
            let behaviour = &mut world.network.lock().behaviour;
            behaviour.latency = (200 * MILLI / 1000, *random.pick(&[1, 5, 100]) * MILLI);
            behaviour.breaks = *random.pick(&[0, 10, 50, 300]);
            behaviour.refuses = *random.pick(&[0, 3, 20]);
            behaviour.fetch_bytes = (1, *random.pick(&[100, 1000, 1 << 20]));
            behaviour.queue_bytes = *random.pick(&[500, 1 << 20]);
        }
        let topics = [world.topic("one", 3), world.topic("two", 2)];
        let places: Vec<_> = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
            .map(|(topic, partition): (usize, i32)| at(&topics[topic], partition))
            .into();
        let mut run = Self {
            is_static: random.one_in(3),
            world,
            random,
            sent: places.iter().map(|at| (at.clone(), 0)).collect(),
            committed: places.iter().map(|at| (at.clone(), 0)).collect(),
            history: places.iter().map(|at| (at.clone(), vec![0])).collect(),
            places,
            workers: Vec::new(),
            processes: 0,
        };
        for _ in 0..3 {
            run.start(None);
        }
        run
    }

    fn start(&mut self, process: Option<u32>) {
        let process = process.unwrap_or_else(|| {
            self.processes += 1;
            self.processes
        });
        let topics: Vec<_> = ["one", "two"].map(Arc::from).into();
        let instance = self.is_static.then(|| format!("worker-{process}"));
        self.workers
            .push(Worker::new(&self.world, process, &topics, instance));
    }

    /// Lets everybody do what they do until then.
    fn until(&mut self, end: Duration) {
        loop {
            let now = self.world.now();
            for worker in &mut self.workers {
                if let Some(until) = worker.frozen_until {
                    if now < until {
                        continue;
                    }
                    worker.frozen_until = None;
                    self.world.network.lock().set_frozen(worker.process, false);
                    let mut network = self.world.network.lock();
                    network.run_until(now);
                }
                let is_woken = is_woken(&worker.wake);
                if is_woken || worker.due() <= now {
                    worker.turn(now, is_woken);
                }
                for (place, offset) in worker.positions.begun.drain(..) {
                    let floor = worker.floors[&place];
                    let is_right = offset >= floor && self.history[&place].contains(&offset);
                    assert!(is_right, "{place:?} was begun at {offset}, not {floor}");
                }
                let held = &worker.positions.next;
                worker.floors.retain(|place, _| held.contains_key(place));
                for place in held.keys() {
                    let floor = self.committed[place];
                    worker.floors.entry(place.clone()).or_insert(floor);
                }
            }
            if now >= end {
                return;
            }
            let next = self.world.network.lock().next_event();
            let dues = self.workers.iter().map(Worker::due);
            let next = dues.chain(next).chain([end]).min().unwrap_or(end);
            self.world.network.lock().run_until(next.max(now));
            self.check();
        }
    }

    /// What is committed never goes back.
    fn check(&mut self) {
        let network = self.world.network.lock();
        let Some(group) = network.broker.groups.get(&StrBytes::from_static_str("shop")) else {
            return;
        };
        for (place, before) in &mut self.committed {
            let found = group.offsets.get(&place.topic, place.partition);
            let now = found.map_or(0, |found| found.offset);
            assert!(now >= *before, "{place:?} went back from {before} to {now}");
            if now > *before {
                *before = now;
                self.history.entry(place.clone()).or_default().push(now);
            }
        }
    }

    fn send(&mut self) {
        for place in self.places.clone() {
            let from = self.sent[&place];
            let to = from + self.random.index(30);
            self.world.fill(&place, from..to);
            self.sent.insert(place, to);
        }
    }

    fn happen(&mut self) {
        let time = self.random.between(10 * MILLI, 10 * SECOND);
        let end = self.world.now() + time;
        let victim = self.random.index(self.workers.len());
        let process = self.workers[victim].process;
        match self.random.below(8) {
            0 => {
                self.world.network.lock().set_away(true);
                self.until(end);
                self.world.network.lock().set_away(false);
            }
            1 => {
                self.world.network.lock().set_cut_off(process, true);
                self.until(end);
                self.world.network.lock().set_cut_off(process, false);
            }
            2 => {
                self.world.network.lock().set_frozen(process, true);
                self.workers[victim].frozen_until = Some(end);
                self.until(end);
            }
            3 => {
                self.world.network.lock().kill(process);
                drop(self.workers.remove(victim));
                let back = self.is_static.then_some(process.0);
                self.start(back);
            }
            4 => {
                self.workers.remove(victim).consumer.close(SECOND);
                self.start(None);
            }
            5 if self.workers.len() < 5 => self.start(None),
            6 if self.workers.len() > 1 => self.workers.remove(victim).consumer.close(SECOND),
            _ => self.until(end),
        }
    }

    /// Whether each partition is somebody's.
    fn is_held(&self) -> bool {
        let held = self
            .workers
            .iter()
            .flat_map(|worker| worker.positions.next.keys());
        held.count() == self.places.len()
    }

    fn is_read(&self) -> bool {
        let places = self.places.iter();
        let mut done = places.map(|at| self.sent[at] as i64 == self.committed[at]);
        done.all(|done| done)
    }
}

#[test]
fn members_read_everything_in_order_whatever_breaks() {
    for seed in 0..80 {
        let mut run = Run::new(seed);
        for _ in 0..8 {
            run.send();
            let now = run.world.now();
            let pause = run.random.between(Duration::ZERO, 3 * SECOND);
            run.until(now + pause);
            run.happen();
        }
        run.world.network.lock().behaviour.breaks = 0;
        run.world.network.lock().behaviour.refuses = 0;
        run.send();
        if run.is_static {
            // One that was replaced while it was to give something back may have left partitions to nobody.
            run.start(None);
        }
        let begins = run.world.now();
        while !(run.is_read() && run.is_held()) {
            let now = run.world.now();
            assert!(now < begins + 60 * SECOND, "seed {seed}: it does not end");
            run.until(now + SECOND);
        }
    }
}

#[test]
fn a_run_is_repeated_by_its_seed() {
    let trace = || {
        let mut run = Run::new(3);
        run.world.network.lock().keep_trace();
        run.world.network.lock().behaviour.breaks = 50;
        for _ in 0..12 {
            run.send();
            let now = run.world.now();
            run.until(now + SECOND);
            run.happen();
        }
        let network = run.world.network.lock();
        network.trace().to_vec()
    };
    let first = trace();
    assert!(first.len() > 300, "{}", first.len());
    assert_eq!(first, trace());
}

#[test]
fn a_reader_reads_everything_once_whatever_breaks() {
    for seed in 0..40 {
        let world = World::new(seed);
        let topic: Arc<str> = world.topic("log", 3);
        let mut random = world.network.lock().random.split();
        {
            let behaviour = &mut world.network.lock().behaviour;
            behaviour.breaks = *random.pick(&[3, 10, 50]);
            behaviour.fetch_bytes = (1, *random.pick(&[100, 2000]));
        }
        let mut readings = [Reading::new(&world)];
        readings[0].max = 1 + random.index(20);
        let mut sent = 0;
        let mut producer = world.transactions("one");
        for round in 0..10 {
            let add = sent + random.index(20);
            for partition in 0..3 {
                let place = at(&topic, partition);
                world.fill(&place, sent..add);
                world.put(&mut producer, &place, "dropped");
            }
            world.end(&producer, false);
            sent = add;
            match round {
                1 => readings[0].add(&at(&topic, 0), StartOffset::Beginning),
                3 => readings[0].add(&at(&topic, 1), StartOffset::At(0)),
                5 => readings[0].add(&at(&topic, 2), StartOffset::Beginning),
                _ => {}
            }
            if random.one_in(3) {
                world.network.lock().set_away(true);
                let time = random.between(Duration::ZERO, 3 * SECOND);
                world.turn_for(time, &mut readings);
                world.network.lock().set_away(false);
            }
            let time = random.between(Duration::ZERO, SECOND);
            world.turn_for(time, &mut readings);
        }
        let end = {
            let network = world.network.lock();
            let partition = network.broker.topics.partition("log", 0);
            partition.expect("a topic").log.end()
        };
        world.until("all ends are reached", &mut readings, |r| {
            (0..3).all(|partition| r[0].sink.end(&topic, partition) == Some(end))
        });
        for partition in 0..3 {
            let values = readings[0].sink.values(&topic, partition);
            let expected: Vec<_> = (0..sent).map(|value| value.to_string()).collect();
            assert!(values == expected, "seed {seed}: {values:?}");
        }
    }
}
