//! Transactional producers.

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

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// A producer and what wakes its owner.
pub(super) struct Transacting {
    pub(super) producer: Box<dyn TransactionalProducer>,
    wake: Arc<Notify>,
}

impl Transacting {
    /// One that is not ready.
    pub(super) fn raw(world: &World, process: u32, timeout: Duration) -> Self {
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
pub(super) fn nobody() -> GroupMembership {
    GroupMembership(Box::new(Member {
        group: "shop".to_owned(),
        member_id: String::new(),
        generation: -1,
        instance_id: None,
    }))
}

pub(super) fn committed(world: &World, topic: &str) -> Option<(i64, String)> {
    world.network.committed("shop").remove(&(topic.to_owned(), 0))
}

pub(super) fn is_done(outcome: &TransactionOutcome) -> bool {
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

/// What a worker does when its offsets are not acknowledged in time: it aborts, or takes a fresh producer, as it is told.
#[test]
fn offsets_that_come_late_are_no_part_of_the_next_transaction() {
    let world = World::new(1);
    let input = world.topic("input", 2);
    let mut producer = Transacting::new(&world, 0);
    let usual = world.network.lock().behaviour.clone();
    {
        let behaviour = &mut world.network.lock().behaviour;
        let slow = Duration::from_millis(60);
        behaviour.latency = (slow, slow);
        // The group is known of after two of these, and the offsets come after the third.
        behaviour.step_deadline = slow * 5 / 2;
    }
    producer.begin();
    let outcome = producer.commit(&world, &[offset(at(&input, 0), 7, "")]);
    world.network.lock().behaviour = usual;
    match outcome {
        TransactionOutcome::Abort(_) => producer.abort(&world),
        TransactionOutcome::Unknown(_) => producer = Transacting::new(&world, 0),
        outcome => panic!("{outcome:?}"),
    }
    producer.begin();
    let outcome = producer.commit(&world, &[offset(at(&input, 1), 3, "")]);
    assert!(is_done(&outcome), "{outcome:?}");
    world.pass(Duration::from_secs(1));
    assert_eq!(committed(&world, "input"), None);
    let other = (input.to_string(), 1);
    assert_eq!(
        world.network.committed("shop").remove(&other),
        Some((3, String::new()))
    );
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

    // Neither what does not reach the group nor what does not reach the coordinator has an end that is known.
    for offsets in [vec![offset(at(&input, 0), 7, "")], Vec::new()] {
        let mut producer = Transacting::new(&world, 0);
        producer.begin();
        producer.send(&output, "never");
        assert!(producer.producer.flush(SOON));
        world.network.lock().set_away(true);
        producer.producer.commit(&offsets, nobody());
        let outcome = producer.ended(&world);
        assert!(matches!(outcome, TransactionOutcome::Unknown(_)), "{outcome:?}");
        producer.producer.abort();
        let outcome = producer.ended(&world);
        assert!(matches!(outcome, TransactionOutcome::Unknown(_)), "{outcome:?}");
        world.network.lock().set_away(false);
    }
    let _next = Transacting::new(&world, 1);
    assert_eq!(values(&world, "output", 0), [""; 0]);
}
