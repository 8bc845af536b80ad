//! Transactional producers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::sending::{SOON, record, send, values, woken_until};
use super::{Member as Consumer, World, at, offset, settings};
use crate::kafka::{CommitOffset, GroupMembership, SendOutcome, TransactionOutcome, TransactionalProducer};
use crate::testing::Random;
use crate::testing::clients::membership::Member;
use crate::testing::clients::network::Process;
use crate::testing::clients::transactions::VirtualTransactionalProducer;

const MINUTE: Duration = Duration::from_secs(60);

/// A producer and what wakes its owner.
struct Transacting {
    producer: Box<dyn TransactionalProducer>,
    wake: Arc<Notify>,
}

impl Transacting {
    /// One that is not ready.
    fn raw(world: &World, process: u32, timeout: Duration) -> Self {
        let wake = Arc::new(Notify::new());
        let settings = settings();
        let producer = VirtualTransactionalProducer::new(
            &world.network,
            Process(process),
            &settings,
            "shop-0",
            timeout,
            Arc::clone(&wake),
        );
        Self {
            producer: Box::new(producer),
            wake,
        }
    }

    fn new(world: &World, process: u32) -> Self {
        let mut new = Self::raw(world, process, MINUTE);
        new.producer.init();
        let outcome = new.ended(world);
        assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
        new
    }

    /// Waits for the outcome of a step, without polling for reports.
    fn ended(&mut self, world: &World) -> TransactionOutcome {
        let mut outcome = None;
        let Self { producer, wake } = self;
        woken_until(world, wake, "a step ends", || {
            outcome = producer.outcome();
            outcome.is_some()
        });
        outcome.expect("it has ended")
    }

    fn begin(&mut self) {
        self.producer.begin().expect("it begins");
    }

    fn send(&mut self, topic: &Arc<str>, value: &str) {
        send(&mut *self.producer, topic, 0, value);
    }

    fn commit(&mut self, world: &World, offsets: &[CommitOffset]) -> TransactionOutcome {
        assert!(self.producer.flush(SOON));
        self.producer.commit(offsets, nobody());
        self.ended(world)
    }

    fn abort(&mut self, world: &World) {
        self.producer.abort();
        let outcome = self.ended(world);
        assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
    }
}

/// Somebody whom the broker does not ask for.
fn nobody() -> GroupMembership {
    GroupMembership(Box::new(Member {
        group: "shop".to_owned(),
        member_id: String::new(),
        generation: -1,
        instance_id: None,
    }))
}

fn committed(world: &World, topic: &str) -> Option<(i64, String)> {
    world.network.committed("shop").remove(&(topic.to_owned(), 0))
}

fn is_done(outcome: &TransactionOutcome) -> bool {
    matches!(outcome, TransactionOutcome::Done)
}

#[test]
fn records_and_offsets_are_there_together_or_not_at_all() {
    let world = World::new(1);
    let [input, output] = ["input", "output"].map(|name| world.topic(name, 1));
    let mut producer = Transacting::new(&world, 0);
    producer.producer.follow(&output);

    producer.begin();
    producer.send(&output, "one");
    producer.send(&output, "two");
    let first = offset(at(&input, 0), 2, "output=2");
    let outcome = producer.commit(&world, &[first]);
    assert!(is_done(&outcome), "{outcome:?}");
    assert_eq!(producer.producer.acknowledged(&output, 0), Some(2));
    assert_eq!(committed(&world, "input"), Some((2, "output=2".to_owned())));

    producer.begin();
    producer.send(&output, "never");
    assert!(producer.producer.flush(SOON));
    producer.abort(&world);
    assert_eq!(committed(&world, "input"), Some((2, "output=2".to_owned())));

    // One with offsets alone, one with records alone, one with nothing.
    producer.begin();
    let outcome = producer.commit(&world, &[offset(at(&input, 0), 5, "")]);
    assert!(is_done(&outcome), "{outcome:?}");
    assert_eq!(committed(&world, "input"), Some((5, String::new())));
    producer.begin();
    producer.send(&output, "three");
    let outcome = producer.commit(&world, &[]);
    assert!(is_done(&outcome), "{outcome:?}");
    producer.begin();
    assert!(producer.producer.begin().is_err(), "one at a time");
    let outcome = producer.commit(&world, &[]);
    assert!(is_done(&outcome), "{outcome:?}");

    assert_eq!(values(&world, "output", 0), ["one", "two", "three"]);
    // Four records, and a marker for each of the three transactions that wrote here.
    assert_eq!(world.network.end("output", 0), 7);
    assert_eq!(
        producer.producer.acknowledged(&output, 0),
        Some(6),
        "the marker is the broker's"
    );
    assert_eq!(producer.producer.take_failure(), None);
    assert!(!producer.producer.is_broken());
}

#[test]
fn records_are_sent_within_a_transaction_only() {
    let world = World::new(1);
    let output = world.topic("output", 1);
    let mut producer = Transacting::raw(&world, 0, MINUTE);
    assert!(producer.producer.begin().is_err(), "it is not ready");
    producer.producer.init();
    assert!(is_done(&producer.ended(&world)));
    let outcome = producer.producer.send(record(&output, 0, "early"));
    assert!(matches!(outcome, SendOutcome::Refused(_)), "{outcome:?}");
    producer.begin();
    producer.send(&output, "one");
    assert!(is_done(&producer.commit(&world, &[])));
    let outcome = producer.producer.send(record(&output, 0, "late"));
    assert!(matches!(outcome, SendOutcome::Refused(_)), "{outcome:?}");
    producer.producer.commit(&[], nobody());
    let outcome = producer.ended(&world);
    assert!(matches!(outcome, TransactionOutcome::Failed(_)), "{outcome:?}");
}

#[test]
fn an_abort_takes_back_what_is_queued_and_in_flight_without_anybody_polling() {
    for seed in 0..10 {
        let world = World::new(seed);
        let output = world.topic("output", 1);
        world.network.lock().behaviour.batch_records = (1, 100);
        let mut producer = Transacting::new(&world, 0);
        let mut chance = Random::new(seed);
        for round in 0..10 {
            producer.begin();
            for _ in 0..300 {
                producer.send(&output, "never");
            }
            // In the queue at first, on the wire later.
            world.pass(Duration::from_micros(chance.below(5000)));
            if round % 3 == 0 {
                producer.producer.purge();
                producer.producer.commit(&[], nobody());
                let outcome = producer.ended(&world);
                assert!(matches!(outcome, TransactionOutcome::Abort(_)), "{outcome:?}");
            }
            producer.abort(&world);
            assert_eq!(producer.producer.in_flight(), 0, "round {round}");
            producer.begin();
            assert_eq!(
                producer.producer.take_failure(),
                None,
                "nothing of the transaction before"
            );
            producer.send(&output, &round.to_string());
            let outcome = producer.commit(&world, &[]);
            assert!(is_done(&outcome), "{outcome:?}");
        }
        let expected: Vec<_> = (0..10).map(|round| round.to_string()).collect();
        assert_eq!(values(&world, "output", 0), expected);
    }
}

#[test]
fn a_newer_producer_of_the_same_id_fences_the_older_and_ends_its_transaction() {
    let world = World::new(1);
    let [input, output] = ["input", "output"].map(|name| world.topic(name, 1));
    let mut older = Transacting::new(&world, 0);
    older.begin();
    older.send(&output, "of the older");
    assert!(older.producer.flush(SOON));

    let mut newer = Transacting::new(&world, 1);
    let outcome = older.commit(&world, &[offset(at(&input, 0), 7, "")]);
    assert!(matches!(outcome, TransactionOutcome::Fenced(_)), "{outcome:?}");
    assert!(older.producer.is_broken());
    assert!(older.producer.take_failure().is_some());
    assert!(older.producer.begin().is_err());
    assert_eq!(committed(&world, "input"), None);

    newer.begin();
    newer.send(&output, "of the newer");
    let outcome = newer.commit(&world, &[offset(at(&input, 0), 8, "")]);
    assert!(is_done(&outcome), "{outcome:?}");
    assert_eq!(values(&world, "output", 0), ["of the newer"]);
    assert_eq!(committed(&world, "input"), Some((8, String::new())));

    // Without offsets the fence is met at the end of the transaction, and then it does not tell how that ended.
    let mut newest = Transacting::new(&world, 2);
    newer.begin();
    let outcome = newer.commit(&world, &[]);
    assert!(is_done(&outcome), "nothing was in it: {outcome:?}");
    newest.begin();
    newest.send(&output, "of the newest");
    assert!(newest.producer.flush(SOON));
    let _fourth = Transacting::new(&world, 3);
    let outcome = newest.commit(&world, &[]);
    assert!(matches!(outcome, TransactionOutcome::Unknown(_)), "{outcome:?}");
    assert!(newest.producer.is_broken());
    assert_eq!(values(&world, "output", 0), ["of the newer"]);
}

#[test]
fn a_fenced_producer_learns_of_it_when_it_sends() {
    let world = World::new(1);
    let output = world.topic("output", 2);
    // Before anything of the transaction is with the broker, and after.
    for partition in 0..2 {
        let mut older = Transacting::new(&world, 0);
        older.begin();
        if partition == 1 {
            older.send(&output, "first");
            assert!(older.producer.flush(SOON));
        }
        let _newer = Transacting::new(&world, 1);
        older.send(&output, "second");
        let Transacting { producer, wake } = &mut older;
        woken_until(&world, wake, "it is told", || {
            producer.poll();
            producer.is_broken()
        });
        assert_eq!(older.producer.in_flight(), 0);
        assert!(older.producer.take_failure().is_some());
        older.producer.abort();
        let outcome = older.ended(&world);
        assert!(matches!(outcome, TransactionOutcome::Fenced(_)), "{outcome:?}");
        older.producer.abort();
        let outcome = older.ended(&world);
        assert!(matches!(outcome, TransactionOutcome::Unknown(_)), "{outcome:?}");
    }
    assert_eq!(values(&world, "output", 0), [""; 0]);
}

#[test]
fn a_member_that_was_put_out_commits_nothing_and_its_transaction_does_not_stay_open() {
    let world = World::new(1);
    let [input, output] = ["input", "output"].map(|name| world.topic(name, 1));
    let mut members = [Consumer::quick(&world, 0, &[&input])];
    world.until("it is a member", &mut members, |members| {
        members[0].consumer.membership().is_some()
    });
    let membership = members[0].consumer.membership().expect("it is a member");
    let known = membership.0.downcast::<Member>().expect("of this kind");
    let stranger = Member {
        member_id: "a stranger".to_owned(),
        ..*known.clone()
    };
    let generation = known.generation - 1;
    let of_before = Member {
        generation,
        ..*known.clone()
    };
    let wrong = [(stranger, true), (of_before, false)];
    for (member, is_fenced) in wrong {
        let mut producer = Transacting::new(&world, 1);
        producer.begin();
        producer.send(&output, "of one that was put out");
        assert!(producer.producer.flush(SOON));
        let membership = GroupMembership(Box::new(member));
        producer
            .producer
            .commit(&[offset(at(&input, 0), 7, "")], membership);
        let outcome = producer.ended(&world);
        assert_eq!(
            matches!(outcome, TransactionOutcome::Fenced(_)),
            is_fenced,
            "{outcome:?}"
        );
        assert_eq!(
            matches!(outcome, TransactionOutcome::Abort(_)),
            !is_fenced,
            "{outcome:?}"
        );
        assert_eq!(producer.producer.is_broken(), is_fenced);
        assert_eq!(committed(&world, "input"), None);
        let end = world.network.end("output", 0);
        drop(producer);
        world.pass(Duration::from_millis(10));
        assert_eq!(world.network.end("output", 0), end + 1, "it was aborted");
    }
    assert_eq!(values(&world, "output", 0), [""; 0]);
    let mut producer = Transacting::new(&world, 1);
    producer.begin();
    producer.send(&output, "of a member");
    assert!(producer.producer.flush(SOON));
    producer
        .producer
        .commit(&[offset(at(&input, 0), 8, "")], GroupMembership(known));
    assert!(is_done(&producer.ended(&world)));
    assert_eq!(committed(&world, "input"), Some((8, String::new())));
}

#[test]
fn a_delivery_that_fails_fails_its_transaction_alone() {
    let world = World::new(1);
    let input = world.topic("input", 1);
    let small = world.topic_with("small", 1, &[("max.message.bytes", "2000")]);
    let mut producer = Transacting::new(&world, 0);
    let large = "x".repeat(50_000);
    for round in 0..3 {
        producer.begin();
        producer.send(&small, "goes down with it");
        producer.send(&small, &large);
        let Transacting {
            producer: inner,
            wake,
        } = &mut producer;
        woken_until(&world, wake, "it fails", || {
            inner.poll();
            inner.in_flight() == 0
        });
        if round == 0 {
            let outcome = producer.commit(&world, &[offset(at(&input, 0), 7, "")]);
            assert!(matches!(outcome, TransactionOutcome::Abort(_)), "{outcome:?}");
        }
        let failure = producer.producer.take_failure().expect("it is told");
        assert!(failure.contains("small"), "{failure}");
        assert!(!producer.producer.is_broken());
        // The transaction has failed, so the client takes no more: that is not this record's fault.
        producer.send(&small, "neither");
        assert!(producer.producer.flush(SOON));
        let outcome = producer.commit(&world, &[offset(at(&input, 0), 7, "")]);
        assert!(matches!(outcome, TransactionOutcome::Abort(_)), "{outcome:?}");
        producer.abort(&world);
        producer.begin();
        assert_eq!(producer.producer.take_failure(), None);
        producer.send(&small, "fits");
        let outcome = producer.commit(&world, &[]);
        assert!(is_done(&outcome), "{outcome:?}");
    }
    assert_eq!(committed(&world, "input"), None);
    assert_eq!(values(&world, "small", 0), ["fits", "fits", "fits"]);
}

#[test]
fn a_topic_that_does_not_exist_fails_its_transaction_alone() {
    let world = World::new(1);
    let output = world.topic("output", 1);
    let nowhere = Arc::from("nowhere");
    let mut producer = Transacting::new(&world, 0);
    producer.begin();
    producer.send(&nowhere, "lost");
    let Transacting {
        producer: inner,
        wake,
    } = &mut producer;
    woken_until(&world, wake, "the delivery fails", || {
        inner.poll();
        inner.in_flight() == 0
    });
    let failure = producer.producer.take_failure();
    assert!(failure.is_some_and(|failure| failure.contains("nowhere")));
    producer.send(&output, "goes down with it");
    let outcome = producer.commit(&world, &[]);
    assert!(matches!(outcome, TransactionOutcome::Abort(_)), "{outcome:?}");
    producer.abort(&world);
    producer.begin();
    producer.send(&output, "fits");
    assert!(is_done(&producer.commit(&world, &[])));
    assert_eq!(values(&world, "output", 0), ["fits"]);
}

#[test]
fn a_transaction_that_takes_too_long_is_ended_by_the_broker() {
    let world = World::new(1);
    let [input, output] = ["input", "output"].map(|name| world.topic(name, 1));
    let timeout = Duration::from_secs(5);
    let mut producer = Transacting::raw(&world, 0, timeout);
    producer.producer.init();
    assert!(is_done(&producer.ended(&world)));
    producer.begin();
    producer.send(&output, "too slow");
    assert!(producer.producer.flush(SOON));
    world.pass(timeout * 2);
    let outcome = producer.commit(&world, &[offset(at(&input, 0), 7, "")]);
    assert!(matches!(outcome, TransactionOutcome::Fenced(_)), "{outcome:?}");
    assert!(producer.producer.is_broken());
    assert_eq!(values(&world, "output", 0), [""; 0]);
    assert_eq!(committed(&world, "input"), None);
}

#[test]
fn a_dropped_producer_ends_its_transaction() {
    let world = World::new(1);
    let output = world.topic("output", 1);
    world.network.lock().behaviour.batch_records = (1, 1);
    let mut producer = Transacting::new(&world, 0);
    producer.begin();
    producer.send(&output, "delivered");
    assert!(producer.producer.flush(SOON));
    for _ in 0..1000 {
        producer.send(&output, "queued");
    }
    drop(producer);
    world.pass(Duration::from_secs(1));
    let end = world.network.end("output", 0);
    assert!(end < 10, "{end}");
    assert_eq!(world.network.read("output", 0, true), []);
    assert!(!world.network.read("output", 0, false).is_empty());
    world.pass(MINUTE * 2);
    assert_eq!(
        world.network.end("output", 0),
        end,
        "it was aborted, and writes no more"
    );
}

#[test]
fn a_commit_that_nobody_answers_is_unknown_and_its_fate_is_told_later() {
    let mut fates = [0; 2];
    for seed in 0..40 {
        let world = World::new(seed);
        let output = world.topic("output", 1);
        let mut producer = Transacting::new(&world, 0);
        producer.begin();
        producer.send(&output, "one");
        assert!(is_done(&producer.commit(&world, &[])));
        producer.begin();
        producer.send(&output, "two");
        assert!(producer.producer.flush(SOON));
        let start = world.now();
        producer.producer.commit(&[], nobody());
        world.network.lock().set_cut_off(Process(0), true);
        let outcome = producer.ended(&world);
        assert!(matches!(outcome, TransactionOutcome::Unknown(_)), "{outcome:?}");
        assert!(world.now() - start < MINUTE);
        assert!(producer.producer.is_broken());
        drop(producer);
        let mut next = Transacting::new(&world, 1);
        next.begin();
        next.send(&output, "three");
        assert!(is_done(&next.commit(&world, &[])));
        let values = values(&world, "output", 0);
        let was_committed = values == ["one", "two", "three"];
        assert!(was_committed || values == ["one", "three"], "{values:?}");
        fates[usize::from(was_committed)] += 1;
    }
    assert!(fates.iter().all(|count| *count > 5), "{fates:?}");
}

#[test]
fn nobody_is_waited_for_for_ever() {
    let world = World::new(1);
    let [input, output] = ["input", "output"].map(|name| world.topic(name, 1));
    world.network.lock().set_away(true);
    let mut producer = Transacting::raw(&world, 0, MINUTE);
    for _ in 0..2 {
        let start = world.now();
        producer.producer.init();
        assert!(producer.producer.outcome().is_none(), "a step takes its time");
        let outcome = producer.ended(&world);
        assert!(matches!(outcome, TransactionOutcome::Unknown(_)), "{outcome:?}");
        assert!(world.now() - start < MINUTE);
    }
    drop(producer);
    world.network.lock().set_away(false);

    // What does not reach the group is aborted, what does not reach the coordinator is unknown.
    for (offsets, is_unknown) in [(vec![offset(at(&input, 0), 7, "")], false), (Vec::new(), true)] {
        let mut producer = Transacting::new(&world, 0);
        producer.begin();
        producer.send(&output, "never");
        assert!(producer.producer.flush(SOON));
        world.network.lock().set_away(true);
        producer.producer.commit(&offsets, nobody());
        let outcome = producer.ended(&world);
        assert_eq!(
            matches!(outcome, TransactionOutcome::Unknown(_)),
            is_unknown,
            "{outcome:?}"
        );
        assert_eq!(
            matches!(outcome, TransactionOutcome::Abort(_)),
            !is_unknown,
            "{outcome:?}"
        );
        producer.producer.abort();
        let outcome = producer.ended(&world);
        assert!(matches!(outcome, TransactionOutcome::Unknown(_)), "{outcome:?}");
        world.network.lock().set_away(false);
    }
    let _next = Transacting::new(&world, 1);
    assert_eq!(values(&world, "output", 0), [""; 0]);
}

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
                assert!(
                    self.long_faults > 0 || self.has_rival || !is_fenced,
                    "{outcome:?}"
                );
                self.renew();
            }
        }
    }
}

/// What is committed is what was told to be, nothing twice, in order: whatever breaks.
#[test]
fn faults_never_make_what_is_committed_differ_from_what_was_told() {
    let mut counts = BTreeMap::new();
    for seed in 0..60 {
        let world = World::new(seed);
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
        }
        let transacting = Transacting::raw(&world, 0, MINUTE);
        let mut worker = Worker {
            world: &world,
            topics,
            transacting,
            told: Told::default(),
            long_faults: [0, 20][usize::from(seed % 3 == 0)],
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
        let found = committed(&world, "input").map_or(0, |(offset, _)| offset);
        assert_eq!(found, worker.told.offset, "seed {seed}");
        for (partition, told) in (0..).zip(&worker.told.done) {
            assert!(values(&world, "output", partition) == *told, "seed {seed}");
        }
        for (what, count) in &worker.told.counts {
            *counts.entry(*what).or_insert(0) += count;
        }
    }
    for what in [
        "done", "given up", "failed", "replaced", "aborted", "fenced", "unknown",
    ] {
        assert!(counts.contains_key(what), "{what}: {counts:?}");
    }
}
