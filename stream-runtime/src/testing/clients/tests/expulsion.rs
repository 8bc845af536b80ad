//! Members that are put out, come back, and are replaced under their lasting names.

use std::time::Duration;

use super::group::{SECOND, halves, outcome};
use super::{LONG, Member, World, at, offset, settings};
use crate::kafka::{ClientSettings, CommitOutcome, Rebalance};
use crate::testing::clients::network::Process;

fn named(instance: &str) -> ClientSettings {
    ClientSettings {
        instance_id: Some(instance.to_owned()),
        ..settings()
    }
}

#[test]
fn who_is_dropped_without_closing_is_missed_when_its_session_ends() {
    let world = World::new(1);
    let topic = world.topic("log", 4);
    let mut members = vec![
        Member::quick(&world, 1, &[&topic]),
        Member::quick(&world, 2, &[&topic]),
    ];
    world.until("both have their share", &mut members, |m| halves(m, 2));
    let began = world.now();
    drop(members.pop());
    world.until("the other takes over", &mut members, |m| m[0].assigned.len() == 4);
    let after = world.now() - began;
    assert!(after > 9 * SECOND && after < 12 * SECOND, "{after:?}");

    members.push(Member::quick(&world, 2, &[&topic]));
    world.until("both have their share", &mut members, |m| halves(m, 2));
    world.network.lock().kill(Process(2));
    drop(members.pop());
    world.until("the other takes over", &mut members, |m| m[0].assigned.len() == 4);
}

#[test]
fn who_does_not_answer_until_the_next_rebalance_is_over_has_lost_everything() {
    for seed in 0..10 {
        let world = World::new(seed);
        let [lead, other] = ["lead", "other"].map(|name| world.topic(name, 2));
        let mut members = vec![Member::new(
            &world,
            1,
            &settings(),
            &[(&lead, &other)],
            Duration::ZERO,
        )];
        world.until("it has everything", &mut members, |m| m[0].assigned.len() == 4);
        members[0].patience = LONG;
        members.push(Member::new(
            &world,
            2,
            &settings(),
            &[(&lead, &other)],
            Duration::ZERO,
        ));
        world.until("it is asked to give back one", &mut members, |m| {
            matches!(m[0].waiting, Some((Rebalance::Revoke(_), _)))
        });
        // As long as nobody else comes, the group goes on without an answer.
        world.turn_for(100 * SECOND, &mut members);
        members.push(Member::new(
            &world,
            3,
            &settings(),
            &[(&lead, &other)],
            Duration::ZERO,
        ));
        let began = world.now();
        world.until("the first has lost everything", &mut members, |m| {
            m[0].lost.len() == 1
        });
        assert_eq!(members[0].lost[0].len(), 4, "companions as well");
        assert!(world.now() - began > 59 * SECOND, "{:?}", world.now() - began);
        members[0].patience = Duration::ZERO;
        world.until("it takes part again", &mut members, |m| {
            let assigned = m.iter().map(|member| member.assigned.len());
            assigned.sum::<usize>() == 4 && m.iter().all(|member| member.assigned.len() <= 2)
        });
        assert_eq!(members[0].lost.len(), 1);
        assert!(members[1..].iter().all(|member| member.lost.is_empty()));
    }
}

#[test]
fn who_does_not_poll_loses_its_partitions_and_its_commit_is_fenced() {
    let mut also_companions = 0;
    for seed in 0..10 {
        let world = World::new(seed);
        let [lead, other] = ["lead", "other"].map(|name| world.topic(name, 2));
        let impatient = ClientSettings {
            max_poll_interval: 2 * SECOND,
            ..settings()
        };
        let pairs = [(&lead, &other)];
        let mut slow = vec![Member::new(&world, 1, &impatient, &pairs, Duration::ZERO)];
        world.until("it has everything", &mut slow, |m| m[0].assigned.len() == 4);
        let held = slow[0].assigned.iter();
        let held: Vec<_> = held.map(|at| offset(at.clone(), 1, "stale")).collect();
        if seed % 2 == 0 {
            // It is out before anybody comes; otherwise it is asked to give back something first.
            world.pass(4 * SECOND);
        }
        let mut quick = vec![Member::new(&world, 2, &settings(), &pairs, Duration::ZERO)];
        world.until("the other member takes over", &mut quick, |m| {
            m[0].assigned.len() == 4
        });
        assert!(slow[0].consumer.membership().is_none());
        slow[0].consumer.commit(&held).expect("it starts");
        let Some(Rebalance::Lost(lost)) = slow[0].consumer.rebalance() else {
            panic!("{:?}", slow[0].consumer.rebalance());
        };
        assert!(lost.contains(&at(&lead, 0)) && lost.contains(&at(&lead, 1)));
        also_companions += usize::from(lost.len() == 4);
        let outcome = outcome(&world, &mut slow);
        assert!(matches!(outcome, CommitOutcome::Fenced(_)), "{outcome:?}");
        assert_eq!(slow[0].lost.len(), 1);
        quick[0].consumer.fetch_committed(&[at(&lead, 0)]).expect("asked");
        world.until("there is an answer", &mut quick, |m| m[0].answer.is_some());
        assert_eq!(quick[0].answer.take(), Some(vec![None]));

        let mut both = [slow, quick].into_iter().flatten().collect::<Vec<_>>();
        world.until("it takes part again", &mut both, |m| halves(m, 2));
        assert!(both[0].consumer.membership().is_some());
        assert_eq!((both[0].lost.len(), both[1].lost.len()), (1, 0));
    }
    assert!((1..10).contains(&also_companions), "{also_companions}");
}

#[test]
fn a_frozen_process_finds_out_that_it_was_put_out() {
    for seed in 0..20 {
        let world = World::new(seed);
        let topic = world.topic("log", 2);
        let mut slow = vec![Member::quick(&world, 1, &[&topic])];
        world.until("it has everything", &mut slow, |m| m[0].assigned.len() == 2);
        let mut quick = vec![Member::quick(&world, 2, &[&topic])];
        world.network.lock().set_frozen(Process(1), true);
        world.until("the other takes over", &mut quick, |m| m[0].assigned.len() == 2);
        world.network.lock().set_frozen(Process(1), false);
        // The first thing that it does.
        let held = [
            offset(at(&topic, 0), 1, "stale"),
            offset(at(&topic, 1), 1, "stale"),
        ];
        slow[0].consumer.commit(&held).expect("it starts");
        let mut both = [slow, quick].into_iter().flatten().collect::<Vec<_>>();
        world.until("the commit ends", &mut both, |m| m[0].outcome.is_some());
        let outcome = both[0].outcome.take();
        assert!(matches!(outcome, Some(CommitOutcome::Fenced(_))), "{outcome:?}");
        world.until("it takes part again", &mut both, |m| halves(m, 1));
        assert_eq!((both[0].lost.len(), both[1].lost.len()), (1, 0));
    }
}

#[test]
fn who_does_not_reach_the_broker_has_lost_everything_when_its_session_ends() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let mut members = vec![Member::quick(&world, 1, &[&topic])];
    world.until("it has everything", &mut members, |m| m[0].assigned.len() == 2);
    let began = world.now();
    world.network.lock().set_cut_off(Process(1), true);
    world.until("it has lost everything", &mut members, |m| m[0].lost.len() == 1);
    let after = world.now() - began;
    assert!(after > 9 * SECOND && after < 12 * SECOND, "{after:?}");
    assert!(members[0].consumer.membership().is_none());
    world.turn_for(30 * SECOND, &mut members);
    world.network.lock().set_cut_off(Process(1), false);
    world.until("it is back", &mut members, |m| m[0].assigned.len() == 2);
    assert_eq!(members[0].lost.len(), 1);
}

#[test]
fn what_was_never_answered_is_lost_when_it_is() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let mut member = vec![Member::new(&world, 1, &settings(), &[(&topic, &topic)], LONG)];
    world.until("it is asked to take on everything", &mut member, |m| {
        m[0].waiting.is_some()
    });
    // It is put out meanwhile; there is nothing to lose yet.
    world.network.lock().set_cut_off(Process(1), true);
    world.turn_for(15 * SECOND, &mut member);
    assert!(matches!(
        member[0].consumer.rebalance(),
        Some(Rebalance::Assign(_))
    ));
    member[0].patience = Duration::ZERO;
    let (waiting, _) = member[0].waiting.take().expect("it waits");
    member[0].answer(waiting);
    assert!(member[0].consumer.membership().is_none());
    assert!(matches!(member[0].consumer.rebalance(), Some(Rebalance::Lost(_))));
    world.network.lock().set_cut_off(Process(1), false);
    world.until("it is back", &mut member, |m| {
        m[0].lost.len() == 1 && m[0].assigned.len() == 2
    });
    assert!(member[0].consumer.membership().is_some());
}

#[test]
fn a_second_worker_with_the_same_instance_id_ends_the_first_with_advice() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let pairs = [(&topic, &topic)];
    let mut members = vec![Member::new(&world, 1, &named("one"), &pairs, Duration::ZERO)];
    world.until("the first has the partition", &mut members, |m| {
        m[0].assigned.len() == 1
    });
    members.push(Member::new(&world, 2, &named("one"), &pairs, Duration::ZERO));
    world.until("the first ends", &mut members, |m| m[0].error.is_some());
    let error = members[0].error.take().unwrap_or_default();
    assert!(error.contains("give each worker its own"), "{error}");
    let first = &mut members[0];
    first
        .consumer
        .commit(&[offset(at(&topic, 0), 1, "")])
        .expect("it starts");
    assert!(
        first.consumer.poll(&mut first.sink, 1).is_err(),
        "it does not heal"
    );
    let outcome = first.consumer.commit_outcome();
    assert!(matches!(outcome, Some(CommitOutcome::Fenced(_))), "{outcome:?}");
    world.until("the second has it", &mut members[1..], |m| {
        m[0].assigned.len() == 1
    });
}

#[test]
fn a_member_with_a_lasting_name_comes_back_to_its_partitions() {
    let world = World::new(1);
    let [lead, other] = ["lead", "other"].map(|name| world.topic(name, 4));
    let pairs = [(&lead, &other)];
    let start = |process, name| Member::new(&world, process, &named(name), &pairs, Duration::ZERO);
    let mut members = vec![start(1, "one"), start(2, "two")];
    world.until("both have their share", &mut members, |m| halves(m, 4));
    for closes in [true, false] {
        let gone = members.pop().expect("the second");
        let held = gone.assigned.clone();
        if closes {
            gone.consumer.close(SECOND);
        } else {
            drop(gone);
        }
        world.turn_for(5 * SECOND, &mut members);
        members.push(start(2, "two"));
        world.until("it is back", &mut members, |m| m[1].assigned.len() == 4);
        assert_eq!(members[1].assigned, held);
        assert_eq!(
            (members[0].assigned.len(), members[0].lost.len()),
            (4, 0),
            "nothing was moved"
        );
    }
    // The leader as well.
    let gone = members.remove(0);
    let held = gone.assigned.clone();
    drop(gone);
    members.push(start(1, "one"));
    world.until("it is back", &mut members, |m| m[1].assigned.len() == 4);
    assert_eq!(members[1].assigned, held);
    drop(members.pop());
    world.until("who stays away is missed", &mut members, |m| {
        m[0].assigned.len() == 8
    });
}

#[test]
fn who_comes_back_under_its_lasting_name_before_it_gave_back_leaves_partitions_to_nobody() {
    let world = World::new(1);
    let topic = world.topic("log", 4);
    let start =
        |process, name, patience| Member::new(&world, process, &named(name), &[(&topic, &topic)], patience);
    let mut members = vec![start(1, "one", Duration::ZERO)];
    world.until("it has everything", &mut members, |m| m[0].assigned.len() == 4);
    members[0].patience = LONG;
    members.push(start(2, "two", Duration::ZERO));
    world.until("the first is asked to give back", &mut members, |m| {
        matches!(m[0].waiting, Some((Rebalance::Revoke(_), _))) && m[1].waiting.is_none()
    });
    drop(members.remove(0));
    members.push(start(1, "one", Duration::ZERO));
    // The broker gives it what the group has assigned to its name, and nobody asks for another rebalance.
    world.turn_for(100 * SECOND, &mut members);
    assert_eq!((members[0].assigned.len(), members[1].assigned.len()), (0, 2));
    members.push(start(3, "three", Duration::ZERO));
    world.until("the next rebalance finds them", &mut members, |m| {
        let assigned = m.iter().map(|member| member.assigned.len());
        assigned.sum::<usize>() == 4
    });
}
