//! Members of a group: deferred rebalances, partitions that go along, commits.

use std::sync::Arc;
use std::time::Duration;

use super::{LONG, Member, Owner, World, at, offset, settings};
use crate::kafka::{CommitOutcome, Rebalance, StartOffset};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Commits and waits for the outcome.
fn commit(world: &World, member: &mut [Member], metadata: &str, position: i64) -> CommitOutcome {
    let offsets = member[0].assigned.iter();
    let offsets: Vec<_> = offsets.map(|at| offset(at.clone(), position, metadata)).collect();
    member[0].consumer.commit(&offsets).expect("it starts");
    outcome(world, member)
}

pub(super) fn outcome(world: &World, member: &mut [Member]) -> CommitOutcome {
    world.until("a commit ends", member, |m| m[0].outcome.is_some());
    member[0].outcome.take().expect("it has ended")
}

pub(super) fn halves(members: &[Member], each: usize) -> bool {
    members
        .iter()
        .all(|member| member.assigned.len() == each && member.waiting.is_none())
}

#[test]
fn partitions_go_along_with_their_leads_through_one_two_one_members() {
    let world = World::new(1);
    let [colors, colors_too, shapes, shapes_too] =
        ["colors", "colors-too", "shapes", "shapes-too"].map(|name| world.topic(name, 4));
    let pairs = [(&colors, &colors_too), (&shapes, &shapes_too)];
    for topic in [&colors, &colors_too, &shapes, &shapes_too] {
        for partition in 0..4 {
            world.fill(&at(topic, partition), 0..10);
        }
    }
    let patience = Duration::from_millis(300);
    let mut members = vec![Member::new(&world, 1, &settings(), &pairs, patience)];
    members[0].gives_back = Some(5);
    world.until("the first member has everything and read it", &mut members, |m| {
        m[0].assigned.len() == 16 && m[0].sink.count() == 160
    });
    assert!(members[0].holds_whole_pairs());

    members.push(Member::new(&world, 2, &settings(), &pairs, patience));
    world.until("both members have half", &mut members, |m| halves(m, 8));
    assert!(members.iter().all(Member::holds_whole_pairs));
    assert!(members[0].assigned.is_disjoint(&members[1].assigned));
    // Commits of five were made on the way, for leads and companions alike.
    world.until(
        "the second member goes on at the committed offsets",
        &mut members,
        |m| m[1].sink.count() == 40,
    );
    for place in &members[1].assigned {
        assert_eq!(
            members[1].sink.values(&place.topic, place.partition),
            ["5", "6", "7", "8", "9"],
            "{place:?}"
        );
    }
    let began = world.now();
    members.remove(1).consumer.close(SECOND);
    world.until("the first member has everything again", &mut members, |m| {
        m[0].assigned.len() == 16
    });
    assert!(members[0].holds_whole_pairs());
    assert_eq!(members[0].lost.len(), 0);
    // The other has left, or this would take its session's time-out.
    assert!(world.now() - began < 2 * SECOND, "{:?}", world.now() - began);
}

#[test]
fn every_rebalance_is_told_also_when_nothing_comes() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let never = |process| {
        let pairs = [(&topic, &topic)];
        Member::new(&world, process, &settings(), &pairs, LONG)
    };
    let mut members = vec![Member::quick(&world, 1, &[&topic])];
    world.until("it has the partition", &mut members, |m| m[0].assigned.len() == 1);
    members.push(never(2));
    world.until("both are asked", &mut members, |m| m[1].waiting.is_some());
    assert_eq!(
        members[1].consumer.rebalance(),
        Some(Rebalance::Assign(Vec::new()))
    );
    members[1].consumer.assign(&[]).expect("nothing is an answer too");
    assert_eq!(members[1].consumer.rebalance(), None);
    assert!(members[1].consumer.membership().is_some());
    assert!(members[1].consumer.unassign(&[]).is_ok());
}

#[test]
fn while_a_rebalance_waits_nothing_comes_and_nothing_is_lost() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let pairs = [(&topic, &topic)];
    let mut members = vec![Member::new(&world, 1, &settings(), &pairs, Duration::ZERO)];
    world.until("it has everything", &mut members, |m| m[0].assigned.len() == 2);
    members[0].patience = 5 * SECOND;
    for partition in 0..2 {
        world.fill(&at(&topic, partition), 0..10);
    }
    members[0].max = 3;
    members.push(Member::quick(&world, 2, &[&topic]));
    world.until("it is asked to give back one", &mut members, |m| {
        matches!(m[0].waiting, Some((Rebalance::Revoke(_), _)))
    });
    let before = members[0].sink.count();
    for partition in 0..2 {
        world.fill(&at(&topic, partition), 10..20);
    }
    world.turn_for(2 * SECOND, &mut members);
    assert_eq!(members[0].sink.count(), before);
    assert_eq!(members[1].assigned.len(), 0, "nothing was given back yet");
    members[0].gives_back = Some(20);
    world.until("each has its own", &mut members, |m| {
        halves(m, 1) && m[0].sink.count() + m[1].sink.count() >= before + 10
    });
    let kept = members[0].assigned.first().expect("one").partition;
    world.until("it goes on", &mut members, |m| {
        m[0].sink.of(&topic, kept).len() == 20
    });
    assert_eq!(
        members[0].sink.offsets(&topic, kept),
        (0..20).collect::<Vec<_>>(),
        "in order, once each"
    );
}

#[test]
fn what_was_fetched_ahead_comes_after_the_answer() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let mut members = vec![Member::quick(&world, 1, &[&topic])];
    world.until("it has everything", &mut members, |m| m[0].assigned.len() == 2);
    for partition in 0..2 {
        world.fill(&at(&topic, partition), 0..10);
    }
    // It is fetched, and then something is to be given back, before the owner turns at all.
    world.pass(SECOND);
    members[0].patience = SECOND;
    members.push(Member::quick(&world, 2, &[&topic]));
    world.pass(10 * SECOND);
    members[0].turn(world.now(), true);
    assert!(matches!(members[0].waiting, Some((Rebalance::Revoke(_), _))));
    assert_eq!(members[0].sink.count(), 0);
    world.until("each has its own", &mut members, |m| {
        m[0].sink.count() == 10 && m[1].sink.count() == 10
    });
}

#[test]
fn a_late_answer_is_in_time_as_long_as_the_owner_polls() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let pairs = [(&topic, &topic)];
    // Longer than the session, shorter than the poll interval.
    let mut members = vec![Member::new(&world, 1, &settings(), &pairs, 40 * SECOND)];
    world.until("it has everything", &mut members, |m| m[0].assigned.len() == 2);
    members[0].gives_back = Some(3);
    members.push(Member::quick(&world, 2, &[&topic]));
    world.until("both have their share", &mut members, |m| halves(m, 1));
    assert_eq!(members[0].lost.len(), 0);
}

#[test]
fn commits_carry_metadata_for_partitions_that_went_along() {
    let world = World::new(1);
    let [lead, other] = ["lead", "other"].map(|name| world.topic(name, 1));
    let mut member = [Member::new(
        &world,
        1,
        &settings(),
        &[(&lead, &other)],
        Duration::ZERO,
    )];
    world.until("it has both", &mut member, |m| m[0].assigned.len() == 2);
    let long = "m".repeat(4000);
    let offsets = [
        offset(at(&lead, 0), 3, &long),
        offset(at(&other, 0), 9, "tables=4,17"),
    ];
    member[0].consumer.commit(&offsets).expect("it starts");
    assert!(member[0].consumer.commit(&offsets).is_err(), "one at a time");
    assert!(member[0].consumer.commit_outcome().is_none(), "it has not ended");
    assert!(matches!(outcome(&world, &mut member), CommitOutcome::Done));
    let places = [at(&other, 0), at(&lead, 0), at(&other, 7)];
    member[0].consumer.fetch_committed(&places).expect("it is asked");
    world.until("there is an answer", &mut member, |m| m[0].answer.is_some());
    let [first, second] = offsets;
    assert_eq!(
        member[0].answer.take(),
        Some(vec![Some(second), Some(first), None])
    );

    let outcome = commit(&world, &mut member, &"m".repeat(5000), 4);
    assert!(matches!(outcome, CommitOutcome::Failed(_)), "{outcome:?}");
    assert!(
        member[0]
            .consumer
            .commit(&[offset(at(&lead, 0), -1, "")])
            .is_err(),
        "there is no such offset"
    );
    member[0].consumer.commit(&[]).expect("nothing is to be done");
    assert!(matches!(self::outcome(&world, &mut member), CommitOutcome::Done));
}

#[test]
fn a_commit_without_an_answer_is_to_be_tried_again() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let mut member = [Member::quick(&world, 1, &[&topic])];
    world.until("it has the partition", &mut member, |m| m[0].assigned.len() == 1);
    world.network.lock().set_away(true);
    let outcome = commit(&world, &mut member, "", 4);
    assert!(matches!(outcome, CommitOutcome::Retry(_)), "{outcome:?}");
    world.network.lock().set_away(false);
    let outcome = commit(&world, &mut member, "", 4);
    assert!(matches!(outcome, CommitOutcome::Done), "{outcome:?}");
}

#[test]
fn a_commit_that_crosses_a_rebalance_is_tried_again_and_then_done() {
    let mut outcomes = [0, 0];
    for seed in 0..20 {
        let world = World::new(seed);
        let topic = world.topic("log", 4);
        let mut members = vec![Member::quick(&world, 1, &[&topic])];
        world.until("it has everything", &mut members, |m| m[0].assigned.len() == 4);
        // Nobody answers for a while, so that the first waits in its JoinGroup.
        members.push(Member::new(
            &world,
            2,
            &settings(),
            &[(&topic, &topic)],
            5 * SECOND,
        ));
        world.until("both are in the next generation", &mut members, |m| {
            m[0].assigned.len() == 2
        });
        let outcome = commit(&world, &mut members, "", 2);
        match outcome {
            CommitOutcome::Retry(_) => outcomes[0] += 1,
            CommitOutcome::Done => outcomes[1] += 1,
            CommitOutcome::Fenced(_) | CommitOutcome::Failed(_) => panic!("{outcome:?}"),
        }
        world.until("both have their share", &mut members, |m| halves(m, 2));
        let outcome = commit(&world, &mut members, "", 2);
        assert!(matches!(outcome, CommitOutcome::Done), "{outcome:?}");
        assert_eq!(members[0].lost.len(), 0);
    }
    assert!(outcomes.iter().all(|times| *times > 0), "{outcomes:?}");
}

#[test]
fn paused_partitions_stay_paused_while_others_come() {
    let world = World::new(1);
    let [lead, other] = ["lead", "other"].map(|name| world.topic(name, 2));
    let pairs = [(&lead, &other)];
    let mut members = vec![Member::new(&world, 1, &settings(), &pairs, Duration::ZERO)];
    // Even before it is assigned.
    members[0].consumer.pause(&[at(&lead, 0)]).expect("it pauses");
    world.until("it has everything", &mut members, |m| m[0].assigned.len() == 4);
    members[0].consumer.pause(&[at(&other, 1)]).expect("it pauses");
    world.turn_for(SECOND, &mut members);
    for (topic, partition) in [(&lead, 0), (&lead, 1), (&other, 0), (&other, 1)] {
        world.fill(&at(topic, partition), 0..3);
    }
    world.until("what flows has arrived", &mut members, |m| {
        m[0].sink.of(&lead, 1).len() == 3 && m[0].sink.of(&other, 0).len() == 3
    });
    // Another member comes and goes, so that assignments change around them.
    members.push(Member::new(&world, 2, &settings(), &pairs, Duration::ZERO));
    world.until("the guest has its share", &mut members, |m| halves(m, 2));
    if let Some(guest) = members.pop() {
        guest.consumer.close(SECOND);
    }
    world.until("everything is back", &mut members, |m| m[0].assigned.len() == 4);
    world.turn_for(5 * SECOND, &mut members);
    // One of the two was away, and comes back as it is now: flowing.
    let sink = &members[0].sink;
    let held_back = [sink.of(&lead, 0).len(), sink.of(&other, 1).len()];
    assert!(held_back.contains(&0), "{held_back:?}");
    let all: Vec<_> = members[0].assigned.iter().cloned().collect();
    members[0].consumer.resume(&all).expect("they resume");
    world.until("all have arrived", &mut members, |m| {
        !m[0].sink.of(&lead, 0).is_empty() && !m[0].sink.of(&other, 1).is_empty()
    });
}

#[test]
fn a_pause_loses_and_doubles_nothing() {
    for seed in 0..20 {
        let world = World::new(seed);
        let topic = world.topic("log", 1);
        let mut members = [Member::quick(&world, 1, &[&topic])];
        members[0].max = 3;
        world.until("it has the partition", &mut members, |m| m[0].assigned.len() == 1);
        for round in 0..10 {
            world.fill(&at(&topic, 0), round * 5..round * 5 + 5);
            world.pass(Duration::from_millis(round as u64 % 3));
            let mut sink = std::mem::take(&mut members[0].sink);
            members[0].consumer.poll(&mut sink, 2).expect("no error");
            members[0].sink = sink;
            members[0].consumer.pause(&[at(&topic, 0)]).expect("it pauses");
            world.turn_for(SECOND, &mut members);
            members[0].consumer.resume(&[at(&topic, 0)]).expect("it resumes");
        }
        world.until("everything has come", &mut members, |m| m[0].sink.count() >= 50);
        assert_eq!(
            members[0].sink.offsets(&topic, 0),
            (0..50).collect::<Vec<_>>(),
            "seed {seed}"
        );
    }
}

#[test]
fn closing_leaves_at_once_even_with_a_rebalance_unanswered() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let pairs = [(&topic, &topic)];
    let mut first = Member::quick(&world, 1, &[&topic]);
    world.until(
        "the first has everything",
        std::slice::from_mut(&mut first),
        |m| m[0].assigned.len() == 2,
    );
    first.patience = LONG;
    let mut members = vec![first, Member::new(&world, 2, &settings(), &pairs, Duration::ZERO)];
    world.until("the first is asked to give back", &mut members, |m| {
        matches!(m[0].waiting, Some((Rebalance::Revoke(_), _)))
    });
    members[1].patience = LONG;
    let began = world.now();
    members.remove(0).consumer.close(SECOND);
    world.until(
        "the second is asked to take on everything",
        &mut members,
        |m| matches!(&m[0].waiting, Some((Rebalance::Assign(all), _)) if all.len() == 2),
    );
    members.remove(0).consumer.close(SECOND);
    members.push(Member::quick(&world, 3, &[&topic]));
    world.until("the third has everything", &mut members, |m| {
        m[0].assigned.len() == 2
    });
    // The others have left, or this would take their session's time-out.
    assert!(world.now() - began < 2 * SECOND, "{:?}", world.now() - began);
}

#[test]
fn a_topic_that_gets_more_partitions_is_assigned_anew() {
    let world = World::new(1);
    let topic: Arc<str> = Arc::from("late");
    let mut members = vec![
        Member::quick(&world, 1, &[&topic]),
        Member::quick(&world, 2, &[&topic]),
    ];
    world.turn_for(5 * SECOND, &mut members);
    assert!(members.iter().all(|member| member.assigned.is_empty()));
    world.topic("late", 2);
    world.until("both have one", &mut members, |m| halves(m, 1));
}

#[test]
fn what_a_member_has_it_does_not_take_on_twice() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let mut members = [Member::quick(&world, 1, &[&topic])];
    world.until("it has the partition", &mut members, |m| m[0].assigned.len() == 1);
    let again = [(at(&topic, 0), StartOffset::Beginning)];
    assert!(members[0].consumer.assign(&again).is_err());
}
