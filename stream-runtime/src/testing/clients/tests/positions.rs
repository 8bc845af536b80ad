//! Where members read: committed offsets, seeks, membership.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, TopicName};

use super::{Kept, LONG, Member, World, at, offset, settings};
use crate::broker::api::text;
use crate::kafka::{CommitOffset, CommitOutcome, GroupMembership, Rebalance, StartOffset, TopicPartition};
use crate::testing::clients::membership;

const SECOND: Duration = Duration::from_secs(1);

/// A member that is alone in its group and has all partitions of a topic.
fn alone(world: &World, topic: &Arc<str>, start: StartOffset) -> [Member; 1] {
    let mut member = [Member::quick(world, 1, &[topic])];
    member[0].start = start;
    world.until("it has everything", &mut member, |m| !m[0].assigned.is_empty());
    member
}

fn ask(world: &World, member: &mut [Member], partitions: &[TopicPartition]) -> Vec<Option<CommitOffset>> {
    member[0]
        .consumer
        .fetch_committed(partitions)
        .expect("it is asked");
    world.until("there is an answer", member, |m| m[0].answer.is_some());
    member[0].answer.take().expect("it has come")
}

fn commit(world: &World, member: &mut [Member], offsets: &[CommitOffset]) {
    member[0].consumer.commit(offsets).expect("it starts");
    world.until("a commit ends", member, |m| m[0].outcome.is_some());
    assert!(matches!(member[0].outcome.take(), Some(CommitOutcome::Done)));
}

#[test]
fn what_is_committed_comes_in_the_order_of_the_question_with_its_metadata() {
    let world = World::new(1);
    let topic = world.topic("log", 3);
    let mut member = alone(&world, &topic, StartOffset::Beginning);
    let places = [at(&topic, 2), at(&topic, 0), at(&topic, 1)];
    assert_eq!(ask(&world, &mut member, &places), [None, None, None]);
    let offsets = [
        offset(at(&topic, 0), 3, "tables=4,17"),
        offset(at(&topic, 2), 0, ""),
    ];
    commit(&world, &mut member, &offsets);
    let [first, second] = offsets;
    assert_eq!(
        ask(&world, &mut member, &places),
        [Some(second), Some(first.clone()), None]
    );
    assert_eq!(ask(&world, &mut member, &[]), []);

    // Another question takes the place of the one before.
    member[0].consumer.fetch_committed(&places).expect("it is asked");
    assert_eq!(ask(&world, &mut member, &[at(&topic, 0)]), [Some(first)]);
    world.turn_for(SECOND, &mut member);
    assert_eq!(member[0].answer, None, "an answer is given once");
}

#[test]
fn an_offset_that_an_open_transaction_may_change_is_waited_for() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    world.fill(&at(&topic, 0), 0..10);
    let mut member = alone(&world, &topic, StartOffset::Beginning);
    commit(&world, &mut member, &[offset(at(&topic, 0), 3, "before")]);
    let mut expected = 3;
    let producer = world.transactions("one");
    for commits in [false, true] {
        world.put_offset(&producer, "shop", &at(&topic, 0), 8);
        let places = [at(&topic, 0), at(&topic, 1)];
        member[0].consumer.fetch_committed(&places).expect("it is asked");
        // Where it is to begin anew has to be known as well.
        let seek = [(at(&topic, 0), StartOffset::Committed)];
        member[0].consumer.seek(&seek).expect("it is assigned");
        member[0].sink = Kept::default();
        world.turn_for(5 * SECOND, &mut member);
        assert_eq!(member[0].answer, None, "the transaction is open");
        assert_eq!(member[0].sink.count(), 0, "nor is known where to begin");
        world.end(&producer, commits);
        if commits {
            expected = 8;
        }
        world.until("the answer comes", &mut member, |m| {
            m[0].answer.is_some() && m[0].sink.end(&topic, 0).is_some()
        });
        let answer = member[0].answer.take().expect("it has come");
        assert_eq!(answer[0].as_ref().map(|found| found.offset), Some(expected));
        assert_eq!(answer[1], None);
        assert_eq!(
            member[0].sink.offsets(&topic, 0),
            (expected..10).collect::<Vec<_>>()
        );
    }
}

#[test]
fn after_a_seek_the_next_record_is_from_there_whatever_was_fetched_before() {
    for seed in 0..10 {
        let world = World::new(seed);
        world.network.lock().behaviour.fetch_bytes = (100, 20_000);
        let topic = world.topic("log", 2);
        for start in 0..50 {
            world.fill(&at(&topic, 0), start * 100..start * 100 + 100);
            world.fill(&at(&topic, 1), start * 100..start * 100 + 100);
        }
        let mut member = alone(&world, &topic, StartOffset::Beginning);
        for target in [0, 4990, 17, 2500, 1] {
            let pause = world
                .network
                .lock()
                .random
                .between(Duration::ZERO, 5 * SECOND / 1000);
            world.pass(pause);
            let sink = &mut member[0].sink;
            sink.records.remove(&at(&topic, 0));
            let seek = [(at(&topic, 0), StartOffset::At(target))];
            member[0].consumer.seek(&seek).expect("it is assigned");
            let mut sink = std::mem::take(&mut member[0].sink);
            for _ in 0..2000 {
                if sink.of(&topic, 0).len() >= 5 {
                    break;
                }
                member[0].consumer.poll(&mut sink, 7).expect("no error");
                world.pass(SECOND / 1000);
            }
            let offsets = sink.offsets(&topic, 0);
            assert!(offsets.len() >= 5, "seed {seed}");
            let expected = target..target + offsets.len() as i64;
            assert!(offsets.into_iter().eq(expected), "seed {seed}");
            member[0].sink = sink;
        }
        world.until("the other partition was not disturbed", &mut member, |m| {
            m[0].sink.of(&topic, 1).len() == 5000
        });
        let offsets = member[0].sink.offsets(&topic, 1);
        assert!(offsets.into_iter().eq(0..5000), "in order, once each");
    }
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let mut member = alone(&world, &topic, StartOffset::Beginning);
    let seek = [(at(&topic, 7), StartOffset::Beginning)];
    assert!(member[0].consumer.seek(&seek).is_err(), "it is not assigned");
}

#[test]
fn a_seek_right_after_an_assignment_and_to_committed_offsets_counts() {
    let world = World::new(1);
    let topic = world.topic("log", 3);
    for partition in 0..3 {
        world.fill(&at(&topic, partition), 0..10);
    }
    let mut member = alone(&world, &topic, StartOffset::Committed);
    commit(&world, &mut member, &[offset(at(&topic, 1), 8, "")]);
    let [first] = member;
    first.consumer.close(SECOND);

    let mut member = alone(&world, &topic, StartOffset::Committed);
    member[0]
        .consumer
        .seek(&[
            (at(&topic, 0), StartOffset::At(6)),
            (at(&topic, 1), StartOffset::Beginning),
            (at(&topic, 2), StartOffset::At(3)),
        ])
        .expect("they are assigned");
    world.until("all have come", &mut member, |m| m[0].sink.ends.len() == 3);
    assert_eq!(member[0].sink.values(&topic, 0), ["6", "7", "8", "9"]);
    assert_eq!(member[0].sink.of(&topic, 1).len(), 10);
    assert_eq!(member[0].sink.of(&topic, 2)[0], (3, "3".to_owned()));

    member[0].sink = Kept::default();
    let places = [at(&topic, 1), at(&topic, 2)];
    member[0]
        .consumer
        .seek(&places.map(|at| (at, StartOffset::Committed)))
        .expect("they are assigned");
    world.until("all have come again", &mut member, |m| m[0].sink.ends.len() == 2);
    assert_eq!(member[0].sink.values(&topic, 1), ["8", "9"]);
    assert_eq!(
        member[0].sink.of(&topic, 2).len(),
        10,
        "nothing is committed there"
    );
    assert_eq!(member[0].sink.of(&topic, 0), []);
}

#[test]
fn a_paused_partition_stays_paused_through_a_seek_and_goes_on_from_there() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    world.fill(&at(&topic, 0), 0..100);
    let mut member = alone(&world, &topic, StartOffset::Beginning);
    world.until("it was read", &mut member, |m| m[0].sink.count() == 100);
    member[0].consumer.pause(&[at(&topic, 0)]).expect("it pauses");
    let seek = [(at(&topic, 0), StartOffset::At(42))];
    member[0].consumer.seek(&seek).expect("it is assigned");
    world.fill(&at(&topic, 1), 0..5);
    world.turn_for(5 * SECOND, &mut member);
    assert_eq!(member[0].sink.of(&topic, 1).len(), 5, "the other flows");
    assert_eq!(member[0].sink.of(&topic, 0).len(), 100, "it is paused");
    member[0].sink = Kept::default();
    member[0].consumer.resume(&[at(&topic, 0)]).expect("it resumes");
    world.until("it goes on", &mut member, |m| m[0].sink.of(&topic, 0).len() == 58);
    assert_eq!(member[0].sink.of(&topic, 0)[0].0, 42);
}

#[test]
fn a_seek_is_no_answer_to_a_rebalance_that_waits() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    world.fill(&at(&topic, 0), 0..10);
    world.fill(&at(&topic, 1), 0..10);
    let [mut first] = alone(&world, &topic, StartOffset::Committed);
    first.patience = LONG;
    let mut members = vec![first, Member::quick(&world, 2, &[&topic])];
    members[1].start = StartOffset::Beginning;
    world.until("the first is asked", &mut members, |m| {
        m[0].sink.count() == 20 && m[0].waiting.is_some()
    });
    members[0].sink = Kept::default();
    let seek = [0, 1].map(|partition| (at(&topic, partition), StartOffset::At(4)));
    members[0].consumer.seek(&seek).expect("they are assigned");
    world.turn_for(20 * SECOND, &mut members);
    assert!(members[1].assigned.is_empty(), "nothing was given back yet");
    assert_eq!(members[0].sink.count(), 0, "nor is anything fetched");
    members[0].patience = Duration::ZERO;
    let Some((rebalance @ Rebalance::Revoke(_), _)) = members[0].waiting.take() else {
        panic!("it waits");
    };
    members[0].answer(rebalance);
    world.until("both go on", &mut members, |m| {
        m[0].sink.count() == 6 && m[1].sink.count() == 10
    });
    let kept = members[0].assigned.first().expect("one").partition;
    assert_eq!(members[0].sink.of(&topic, kept)[0].0, 4);
}

#[test]
fn an_offset_that_is_not_there_is_that_of_the_first_record() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let place = at(&topic, 0);
    world.fill(&place, 0..10);
    let mut member = alone(&world, &topic, StartOffset::At(17));
    world.until("it was read", &mut member, |m| m[0].sink.ends.len() == 2);
    assert_eq!(member[0].sink.offsets(&topic, 0), (0..10).collect::<Vec<_>>());

    let partition = DeleteRecordsPartition::default().with_offset(8);
    let wanted = DeleteRecordsTopic::default()
        .with_name(TopicName(text("log")))
        .with_partitions(vec![partition]);
    world.call(2, DeleteRecordsRequest::default().with_topics(vec![wanted]));
    member[0].sink = Kept::default();
    let seek = [(place, StartOffset::At(2))];
    member[0].consumer.seek(&seek).expect("it is assigned");
    world.until("it was read", &mut member, |m| {
        m[0].sink.end(&topic, 0) == Some(10)
    });
    assert_eq!(member[0].sink.offsets(&topic, 0), [8, 9]);
    assert_eq!(member[0].sink.out_of_range, []);
}

#[test]
fn the_end_for_a_member_is_where_the_first_open_transaction_begins() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let place = at(&topic, 0);
    let mut producer = world.transactions("one");
    world.fill(&place, 0..2);
    world.put(&mut producer, &place, "fateful");
    world.fill(&place, 2..3);
    let mut member = alone(&world, &topic, StartOffset::Beginning);
    world.until("it stands at an end", &mut member, |m| !m[0].sink.ends.is_empty());
    assert_eq!(member[0].sink.end(&topic, 0), Some(2));
    assert_eq!(member[0].sink.values(&topic, 0), ["0", "1"]);
    world.end(&producer, false);
    world.until("it stands behind the marker", &mut member, |m| {
        m[0].sink.end(&topic, 0) == Some(5)
    });
    assert_eq!(member[0].sink.values(&topic, 0), ["0", "1", "2"]);
    // Nothing but a marker comes.
    let mut producer = world.transactions("other");
    world.put(&mut producer, &place, "dropped");
    world.end(&producer, false);
    world.until("it stands behind that", &mut member, |m| {
        m[0].sink.end(&topic, 0) == Some(7)
    });
}

fn spoken(membership: Option<GroupMembership>) -> Option<membership::Member> {
    let member = membership?.0.downcast::<membership::Member>();
    Some(*member.expect("it is one of ours"))
}

#[test]
fn only_a_member_of_the_group_has_a_membership() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let impatient = crate::kafka::ClientSettings {
        max_poll_interval: SECOND,
        instance_id: None,
        ..settings()
    };
    let mut member = [Member::new(&world, 1, &impatient, &[(&topic, &topic)], LONG)];
    assert!(member[0].consumer.membership().is_none(), "it has not joined");
    let mut names = Vec::new();
    for _ in 0..2 {
        member[0].patience = LONG;
        world.until("it is given the partition", &mut member, |m| {
            matches!(m[0].waiting, Some((Rebalance::Assign(_), _)))
        });
        assert!(member[0].consumer.membership().is_none(), "it has nothing yet");
        member[0].patience = Duration::ZERO;
        let (waiting, _) = member[0].waiting.take().expect("it waits");
        member[0].answer(waiting);
        let spoken = spoken(member[0].consumer.membership()).expect("it has");
        assert_eq!((spoken.group.as_str(), &spoken.instance_id), ("shop", &None));
        assert!(spoken.generation > 0);
        names.push(spoken.member_id);
        // Put out, since it does not poll for so long.
        world.pass(4 * SECOND);
        assert!(member[0].consumer.membership().is_none(), "it was put out");
    }
    assert_ne!(names[0], names[1], "it joined as a new member");
}

#[test]
fn a_membership_goes_on_through_rebalances_with_their_generations() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let named = crate::kafka::ClientSettings {
        instance_id: Some("one".to_owned()),
        ..settings()
    };
    let mut members = vec![Member::new(&world, 1, &named, &[(&topic, &topic)], SECOND)];
    world.until("it has everything", &mut members, |m| m[0].assigned.len() == 2);
    let before = spoken(members[0].consumer.membership()).expect("it is one");
    assert_eq!(before.instance_id.as_deref(), Some("one-0"));
    members.push(Member::quick(&world, 2, &[&topic]));
    world.until("it is asked to give back one", &mut members, |m| {
        matches!(m[0].waiting, Some((Rebalance::Revoke(_), _)))
    });
    let during = spoken(members[0].consumer.membership()).expect("what it gives back it commits");
    assert_eq!(during.member_id, before.member_id);
    assert!(during.generation > before.generation);
    world.until("both have their share", &mut members, |m| {
        m.iter().all(|member| member.assigned.len() == 1)
    });
    let after = spoken(members[0].consumer.membership()).expect("it is one");
    assert_eq!(after.member_id, before.member_id);
    assert!(after.generation > during.generation);
}
