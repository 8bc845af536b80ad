//! Transactions while things break.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::sending::{send, values};
use super::transacting::{MINUTE, Transacting, committed, is_done, nobody};
use super::{World, at, offset};
use crate::kafka::TransactionOutcome;
use crate::testing::Random;
use crate::testing::clients::network::Process;

/// What a run under faults has been told.
#[derive(Default)]
struct Told {
    /// Values by partition, in order, and the last offset that was committed.
    done: [Vec<String>; 3],
    offset: i64,
    counts: BTreeMap<&'static str, usize>,
}

/// A worker under faults: it processes numbers in order, a transaction for some of them.
struct Worker<'a> {
    world: &'a World,
    topics: (Arc<str>, Arc<str>),
    transacting: Transacting,
    told: Told,
    chance: Random,
    process: u32,
    /// A fault is long once in so many times.
    long_faults: u32,
    /// One before this may fence it: the broker ends the transaction of whoever has the id for anybody who asks for the
    /// next epoch, and refuses an older one only then.
    has_rival: bool,
    /// Producers whose place was taken while their transactions were open.
    zombies: Vec<Transacting>,
}

impl Worker<'_> {
    /// Lets faults happen.
    fn pass(&mut self) {
        let process = Process(self.process);
        let mut network = self.world.network.lock();
        match self.chance.below(20) {
            0 => network.set_away(true),
            1 => network.set_cut_off(process, true),
            2 => network.set_frozen(process, true),
            _ => {}
        }
        drop(network);
        // Now and then longer than a step, or even a transaction, may take.
        let is_long = self.chance.one_in(self.long_faults);
        let millis = if is_long { 90_000 } else { 30 };
        self.world
            .pass(Duration::from_micros(self.chance.below(millis * 1000)));
        let mut network = self.world.network.lock();
        network.set_away(false);
        network.set_cut_off(process, false);
        network.set_frozen(process, false);
    }

    fn wait(&mut self) -> TransactionOutcome {
        loop {
            if let Some(outcome) = self.transacting.producer.outcome() {
                return outcome;
            }
            self.pass();
        }
    }

    /// A fresh producer in the place of the one before, which may be of no more use, killed, or still alive.
    fn renew(&mut self) {
        let killed = Process(self.process);
        let is_killed = self.chance.one_in(2);
        if is_killed {
            self.world.network.lock().kill(killed);
        } else {
            self.has_rival = true;
        }
        self.process += 1;
        let mut zombie = None;
        loop {
            let fresh = Transacting::raw(self.world, self.process, MINUTE);
            let before = std::mem::replace(&mut self.transacting, fresh);
            // One that still works is dropped at once, or lives on.
            zombie = zombie.or((!is_killed && self.chance.one_in(2)).then_some(before));
            self.transacting.producer.init();
            match self.wait() {
                TransactionOutcome::Done => break,
                TransactionOutcome::Unknown(_) => {}
                outcome => panic!("{outcome:?}"),
            }
        }
        if let Some(mut zombie) = zombie {
            zombie.producer.poll();
            if zombie.producer.outcome().is_none() {
                zombie
                    .producer
                    .commit(&[offset(at(&self.topics.0, 0), 1_000_000, "")], nobody());
                self.zombies.push(zombie);
            }
        }
    }

    /// Waits until all that still try have given up.
    fn end(&mut self) {
        for mut zombie in std::mem::take(&mut self.zombies) {
            let end = self.world.now() + MINUTE;
            let mut outcome = zombie.producer.outcome();
            while outcome.is_none() && self.world.now() < end {
                self.world.pass(Duration::from_secs(1));
                outcome = zombie.producer.outcome();
            }
            let outcome = outcome.expect("every step ends");
            assert!(!is_done(&outcome), "a zombie has committed");
        }
    }

    /// One transaction over the numbers from the committed offset on.
    fn transact(&mut self) {
        let from = self.told.offset;
        let count = self.chance.below(40);
        let (input, output) = (&self.topics.0, &self.topics.1);
        let mut sent: [Vec<String>; 3] = Default::default();
        self.transacting.producer.begin().expect("it is ready");
        let to = from + i64::try_from(count).expect("small");
        let offsets = [offset(at(input, 0), to, "")];
        let (input, output) = (Arc::clone(input), Arc::clone(output));
        for number in from..to {
            let partition = self.chance.index(3);
            let value = number.to_string();
            send(
                &mut *self.transacting.producer,
                &output,
                i32::try_from(partition).expect("few"),
                &value,
            );
            sent[partition].push(value);
            if self.chance.one_in(10) {
                self.pass();
            }
        }
        drop(input);
        if self.chance.one_in(10) {
            // More than the topic takes.
            send(&mut *self.transacting.producer, &output, 0, &"x".repeat(5000));
        }
        let mut gives_up = self.chance.one_in(10);
        while !gives_up && self.transacting.producer.in_flight() > 0 {
            self.transacting.producer.poll();
            if self.transacting.producer.take_failure().is_some() {
                *self.told.counts.entry("failed").or_default() += 1;
                gives_up = true;
            }
            self.pass();
        }
        if self.chance.one_in(15) {
            // Killed, or a zombie that another takes the place of.
            *self.told.counts.entry("replaced").or_default() += 1;
            self.renew();
            return;
        }
        if gives_up || self.transacting.producer.in_flight() > 0 {
            *self.told.counts.entry("given up").or_default() += 1;
            self.abort();
            return;
        }
        self.transacting.producer.commit(&offsets, nobody());
        let was_committed = match self.wait() {
            TransactionOutcome::Done => true,
            TransactionOutcome::Abort(_) => {
                *self.told.counts.entry("aborted").or_default() += 1;
                self.abort();
                return;
            }
            TransactionOutcome::Fenced(reason) => {
                assert!(self.long_faults > 0 || self.has_rival, "{reason}");
                *self.told.counts.entry("fenced").or_default() += 1;
                self.renew();
                false
            }
            TransactionOutcome::Failed(reason) => panic!("{reason}"),
            TransactionOutcome::Unknown(_) => {
                *self.told.counts.entry("unknown").or_default() += 1;
                self.renew();
                let found = committed(self.world, "input").map_or(0, |(offset, _)| offset);
                assert!(found == from || found == to, "{found} is neither {from} nor {to}");
                found == to
            }
        };
        if was_committed {
            *self.told.counts.entry("done").or_default() += 1;
            self.told.offset = to;
            for (done, sent) in self.told.done.iter_mut().zip(sent) {
                done.extend(sent);
            }
        }
    }

    fn abort(&mut self) {
        self.transacting.producer.abort();
        match self.wait() {
            TransactionOutcome::Done => assert_eq!(self.transacting.producer.in_flight(), 0),
            TransactionOutcome::Failed(reason) => panic!("{reason}"),
            outcome => {
                *self.told.counts.entry("not aborted").or_default() += 1;
                let is_fenced = matches!(outcome, TransactionOutcome::Fenced(_));
                // What was refused before the broker did any of it is ended as if it knew of it.
                let is_refused = self.world.network.lock().behaviour.refuses > 0;
                assert!(
                    self.long_faults > 0 || self.has_rival || is_refused || !is_fenced,
                    "{outcome:?}"
                );
                self.renew();
            }
        }
    }
}

/// Fifty transactions under the faults that a seed decides on; what they committed is checked.
fn run(world: &World, seed: u64) -> Told {
    let topics = (
        world.topic("input", 1),
        world.topic_with("output", 3, &[("max.message.bytes", "2000")]),
    );
    let mut chance = Random::new(seed);
    {
        let mut network = world.network.lock();
        let behaviour = &mut network.behaviour;
        behaviour.breaks = 5 + u32::try_from(chance.below(60)).expect("small");
        behaviour.patience = Duration::from_millis(1 + chance.below(400));
        behaviour.latency = (
            Duration::from_micros(100),
            Duration::from_millis(1 + chance.below(20)),
        );
        behaviour.batch_records = (1, 1 + chance.below(30));
        behaviour.request_batches = (1, 3);
        behaviour.refuses = *chance.pick(&[0, 3, 12]);
    }
    let mut worker = Worker {
        world,
        topics,
        transacting: Transacting::raw(world, 0, MINUTE),
        told: Told::default(),
        long_faults: [0, 20][usize::from(seed.is_multiple_of(3))],
        has_rival: false,
        chance,
        process: 0,
        zombies: Vec::new(),
    };
    worker.renew();
    for _ in 0..50 {
        worker.transact();
    }
    worker.end();
    let found = committed(world, "input").map_or(0, |(offset, _)| offset);
    assert_eq!(found, worker.told.offset, "seed {seed}");
    for (partition, told) in (0..).zip(&worker.told.done) {
        assert!(values(world, "output", partition) == *told, "seed {seed}");
    }
    worker.told
}

/// What is committed is what was told to be, nothing twice, in order: whatever breaks.
#[test]
fn faults_never_make_what_is_committed_differ_from_what_was_told() {
    let mut counts = BTreeMap::new();
    for seed in 0..60 {
        for (what, count) in run(&World::new(seed), seed).counts {
            *counts.entry(what).or_insert(0) += count;
        }
    }
    for what in ["done", "given up", "failed", "replaced", "fenced", "unknown"] {
        assert!(counts.contains_key(what), "{what}: {counts:?}");
    }
}

#[test]
fn a_seed_gives_the_same_transactions() {
    let trace = |seed| {
        let world = World::new(seed);
        world.network.lock().keep_trace();
        run(&world, seed);
        world.network.lock().trace().to_vec()
    };
    assert!(trace(3) == trace(3));
    assert!(trace(3) != trace(4));
}
