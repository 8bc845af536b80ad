//! Members of a group: deferred rebalances, partitions that go along, commits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Kept, SOON, Setting, at, commit, offset, until, wake};
use crate::kafka::{Cluster, CommitOutcome, GroupConsumer, Rebalance, StartOffset, TopicPartition};

/// A member that answers rebalances some polls late, and takes a companion along with each lead.
struct Member {
    consumer: Box<dyn GroupConsumer>,
    sink: Kept,
    /// Lead and companion.
    pairs: Vec<(Arc<str>, Arc<str>)>,
    assigned: BTreeSet<TopicPartition>,
    lost: usize,
    patience: u32,
    waited: u32,
}

impl Member {
    fn new(cluster: &dyn Cluster, pairs: &[(&Arc<str>, &Arc<str>)], patience: u32) -> Self {
        let mut consumer = cluster.group_consumer("0", wake()).expect("a consumer");
        let leads = pairs.iter().map(|(lead, _)| Arc::clone(lead)).collect::<Vec<_>>();
        consumer.subscribe(&leads).expect("it subscribes");
        Self {
            consumer,
            sink: Kept::default(),
            pairs: pairs
                .iter()
                .map(|(lead, other)| (Arc::clone(lead), Arc::clone(other)))
                .collect(),
            assigned: BTreeSet::new(),
            lost: 0,
            patience,
            waited: 0,
        }
    }

    fn with_companions(&self, leads: Vec<TopicPartition>) -> Vec<TopicPartition> {
        let mut all = Vec::new();
        for place in leads {
            let pair = self
                .pairs
                .iter()
                .find(|(lead, _)| *lead == place.topic)
                .expect("a lead topic");
            if pair.1 != pair.0 {
                all.push(at(&pair.1, place.partition));
            }
            all.push(place);
        }
        all
    }

    fn turn(&mut self) {
        self.consumer.poll(&mut self.sink, 1000).expect("no error");
        let Some(rebalance) = self.consumer.rebalance() else {
            return;
        };
        self.waited += 1;
        if self.waited <= self.patience {
            return;
        }
        self.waited = 0;
        match rebalance {
            Rebalance::Assign(leads) => {
                let all = self.with_companions(leads);
                let starts = all
                    .iter()
                    .cloned()
                    .map(|at| (at, StartOffset::Committed))
                    .collect::<Vec<_>>();
                self.consumer.assign(&starts).expect("they are taken on");
                self.assigned.extend(all);
            }
            Rebalance::Revoke(leads) => {
                let all = self.with_companions(leads);
                let offsets = all
                    .iter()
                    .map(|at| offset(at.clone(), 5, "given back"))
                    .collect::<Vec<_>>();
                let outcome = commit(&mut *self.consumer, &offsets);
                assert!(matches!(outcome, CommitOutcome::Done), "{outcome:?}");
                self.give_up(&all);
            }
            Rebalance::Lost(_) => {
                self.lost += 1;
                let all = self.assigned.iter().cloned().collect::<Vec<_>>();
                self.give_up(&all);
            }
        }
        assert_eq!(self.consumer.rebalance(), None);
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

#[test]
fn partitions_go_along_with_their_leads_through_one_two_one_members() {
    let Some(setting) = Setting::new("along") else {
        return;
    };
    go_along(&setting, &*setting.cluster);
}

#[test]
fn partitions_go_along_under_the_newer_group_protocol_too() {
    let Some(setting) = Setting::new("along-848") else {
        return;
    };
    go_along(&setting, &*setting.newer().cluster);
}

fn go_along(setting: &Setting, cluster: &dyn Cluster) {
    let [colors, colors_too, shapes, shapes_too] =
        ["colors", "colors-too", "shapes", "shapes-too"].map(|name| setting.topic(name, 4, &[]));
    let pairs = [(&colors, &colors_too), (&shapes, &shapes_too)];
    for topic in [&colors, &colors_too, &shapes, &shapes_too] {
        for partition in 0..4 {
            setting.fill(topic, partition, 10);
        }
    }

    let mut first = Member::new(cluster, &pairs, 20);
    until("the first member has everything and read it", || {
        first.turn();
        first.assigned.len() == 16 && first.sink.count() == 160
    });
    assert!(first.holds_whole_pairs());

    let mut second = Member::new(cluster, &pairs, 20);
    until("both members have half", || {
        first.turn();
        second.turn();
        first.assigned.len() == 8 && second.assigned.len() == 8
    });
    assert!(first.holds_whole_pairs() && second.holds_whole_pairs());
    assert!(first.assigned.is_disjoint(&second.assigned));
    // Commits of five were made on the way, for leads and companions alike.
    until("the second member goes on at the committed offsets", || {
        first.turn();
        second.turn();
        second.sink.count() == 40
    });
    for place in &second.assigned {
        assert_eq!(
            second.sink.values(&place.topic, place.partition),
            ["5", "6", "7", "8", "9"],
            "{place:?}"
        );
    }

    second.consumer.close(SOON);
    until("the first member has everything again", || {
        first.turn();
        first.assigned.len() == 16
    });
    assert!(first.holds_whole_pairs());
    assert_eq!(first.lost, 0);
    first.consumer.close(SOON);
}

#[test]
fn commits_carry_metadata_for_partitions_that_went_along() {
    if let Some(setting) = Setting::new("metadata") {
        commit_metadata(&setting);
    }
}

#[test]
fn commits_carry_metadata_for_partitions_that_went_along_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("metadata-848") {
        commit_metadata(&setting.newer());
    }
}

fn commit_metadata(setting: &Setting) {
    let [lead, other] = ["lead", "other"].map(|name| setting.topic(name, 1, &[]));
    let mut member = Member::new(&*setting.cluster, &[(&lead, &other)], 0);
    until("it has both", || {
        member.turn();
        member.assigned.len() == 2
    });
    let long = "m".repeat(4000);
    let offsets = [
        offset(at(&lead, 0), 3, &long),
        offset(at(&other, 0), 9, "tables=4,17"),
    ];
    assert!(matches!(
        commit(&mut *member.consumer, &offsets),
        CommitOutcome::Done
    ));

    let admin = setting.cluster.admin().expect("an admin client");
    let places = [at(&other, 0), at(&lead, 0), at(&other, 7)];
    let found = admin
        .committed_offsets(&setting.name, &places, SOON)
        .expect("an answer");
    let [_, first] = &offsets;
    assert_eq!(found, [Some(first.clone()), Some(offsets[0].clone()), None]);
    assert_eq!(
        admin.committed(&setting.name, &places, SOON).expect("an answer"),
        [Some(9), Some(3), None]
    );

    let too_long = [offset(at(&lead, 0), 4, &"m".repeat(5000))];
    let outcome = commit(&mut *member.consumer, &too_long);
    assert!(matches!(outcome, CommitOutcome::Failed(_)), "{outcome:?}");
    member.consumer.commit(&offsets).expect("it starts");
    assert!(member.consumer.commit(&offsets).is_err(), "one at a time");
    member.consumer.close(SOON);
}

/// Hundreds of thousands of records may have been fetched ahead.
#[test]
fn the_end_of_a_commit_does_not_wait_behind_what_was_fetched() {
    if let Some(setting) = Setting::new("ends") {
        let topic = setting.topic("a", 1, &[]);
        setting.fill(&topic, 0, 500);
        let mut member = Member::new(&*setting.cluster, &[(&topic, &topic)], 0);
        until("the partition is assigned", || {
            member.turn();
            !member.assigned.is_empty()
        });
        until("a record comes", || {
            let polled = member.consumer.poll(&mut member.sink, 1);
            polled.expect("no error");
            member.sink.count() > 0
        });
        let seen = member.sink.count();
        let offsets = [offset(at(&topic, 0), 1, "")];
        member.consumer.commit(&offsets).expect("it starts");
        let mut outcome = None;
        until("the commit ends", || {
            let polled = member.consumer.poll(&mut member.sink, 0);
            polled.expect("no error");
            outcome = member.consumer.commit_outcome();
            outcome.is_some()
        });
        assert!(matches!(outcome, Some(CommitOutcome::Done)), "{outcome:?}");
        assert_eq!(member.sink.count(), seen, "no record was asked for");
    }
}

#[test]
fn who_does_not_poll_loses_its_partitions_and_its_commit_is_fenced() {
    if let Some(setting) = Setting::new("fenced") {
        lose(&setting);
    }
}

#[test]
fn who_does_not_poll_loses_its_partitions_and_its_commit_is_fenced_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("fenced-848") {
        lose(&setting.newer());
    }
}

fn lose(setting: &Setting) {
    let [lead, other] = ["lead", "other"].map(|name| setting.topic(name, 2, &[]));
    let mut slow = Member::new(&*setting.impatient().cluster, &[(&lead, &other)], 0);
    until("it has everything", || {
        slow.turn();
        slow.assigned.len() == 4
    });
    let held = slow
        .assigned
        .iter()
        .map(|at| offset(at.clone(), 1, "stale"))
        .collect::<Vec<_>>();

    let mut quick = Member::new(&*setting.cluster, &[(&lead, &other)], 0);
    until("the other member takes over", || {
        quick.turn();
        quick.assigned.len() == 4
    });
    slow.consumer.commit(&held).expect("it starts");
    let mut outcome = None;
    until("the stale commit ends", || {
        slow.consumer.poll(&mut slow.sink, 100).expect("no error");
        quick.turn();
        outcome = slow.consumer.commit_outcome();
        outcome.is_some()
    });
    assert!(matches!(outcome, Some(CommitOutcome::Fenced(_))), "{outcome:?}");
    // It was asked to give back one pair; by now all are lost.
    let Some(Rebalance::Lost(lost)) = slow.consumer.rebalance() else {
        panic!("{:?}", slow.consumer.rebalance());
    };
    assert_eq!(lost.len(), 4);
    let admin = setting.cluster.admin().expect("an admin client");
    let committed = admin
        .committed(&setting.name, &[at(&lead, 0)], SOON)
        .expect("an answer");
    assert_eq!(committed, [None]);

    until("it takes part again", || {
        slow.turn();
        quick.turn();
        slow.assigned.len() == 2 && quick.assigned.len() == 2
    });
    assert_eq!(slow.lost, 1);
    slow.consumer.close(SOON);
    quick.consumer.close(SOON);
}

#[test]
fn a_second_worker_with_the_same_instance_id_ends_the_first_with_advice() {
    let Some(setting) = Setting::new("instance") else {
        return;
    };
    let topic = setting.topic("log", 1, &[]);
    let cluster = setting.named("one").cluster;
    let mut first = Member::new(&*cluster, &[(&topic, &topic)], 0);
    until("the first has the partition", || {
        first.turn();
        first.assigned.len() == 1
    });
    let mut second = Member::new(&*cluster, &[(&topic, &topic)], 0);
    let mut error = None;
    until("the first ends", || {
        second.turn();
        error = first.consumer.poll(&mut first.sink, 100).err();
        error.is_some()
    });
    let error = error.expect("it has come").to_string();
    assert!(error.contains("give each worker its own"), "{error}");
    first.consumer.close(SOON);
    second.consumer.close(SOON);
}

#[test]
fn a_second_worker_with_the_same_instance_id_ends_with_advice_under_the_newer_protocol() {
    let Some(setting) = Setting::new("instance-848") else {
        return;
    };
    let topic = setting.topic("log", 1, &[]);
    let cluster = setting.newer().named("one").cluster;
    let mut first = Member::new(&*cluster, &[(&topic, &topic)], 0);
    until("the first has the partition", || {
        first.turn();
        first.assigned.len() == 1
    });
    // There the first stays.
    let mut second = Member::new(&*cluster, &[(&topic, &topic)], 0);
    let mut error = None;
    until("the second ends", || {
        first.turn();
        error = second.consumer.poll(&mut second.sink, 100).err();
        error.is_some()
    });
    let error = error.expect("it has come").to_string();
    assert!(error.contains("give each worker its own"), "{error}");
    assert_eq!(first.assigned.len(), 1);
    second.consumer.close(SOON);
    let offsets = [offset(at(&topic, 0), 1, "")];
    assert!(matches!(
        commit(&mut *first.consumer, &offsets),
        CommitOutcome::Done
    ));
    first.consumer.close(SOON);
}

#[test]
fn a_member_with_a_lasting_name_comes_back_to_its_partitions() {
    if let Some(setting) = Setting::new("static") {
        come_back(&setting);
    }
}

#[test]
fn a_member_with_a_lasting_name_comes_back_to_its_partitions_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("static-848") {
        come_back(&setting.newer());
    }
}

fn come_back(setting: &Setting) {
    let [lead, other] = ["lead", "other"].map(|name| setting.topic(name, 4, &[]));
    let pairs = [(&lead, &other)];
    let [one, two] = ["one", "two"].map(|name| setting.named(name).cluster);
    let mut first = Member::new(&*one, &pairs, 0);
    let mut second = Member::new(&*two, &pairs, 0);
    until("both have their share", || {
        first.turn();
        second.turn();
        first.assigned.len() == 4 && second.assigned.len() == 4
    });
    let held = second.assigned.clone();
    second.consumer.close(SOON);
    let mut second = Member::new(&*two, &pairs, 0);
    until("it is back", || {
        first.turn();
        second.turn();
        second.assigned.len() == 4
    });
    assert_eq!(second.assigned, held);
    assert_eq!((first.assigned.len(), first.lost), (4, 0), "nothing was moved");
    first.consumer.close(SOON);
    second.consumer.close(SOON);
}

#[test]
fn paused_partitions_stay_paused_while_others_come() {
    if let Some(setting) = Setting::new("paused") {
        stay_paused(&setting);
    }
}

#[test]
fn paused_partitions_stay_paused_while_others_come_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("paused-848") {
        stay_paused(&setting.newer());
    }
}

fn stay_paused(setting: &Setting) {
    let [lead, other] = ["lead", "other"].map(|name| setting.topic(name, 2, &[]));
    let mut member = Member::new(&*setting.cluster, &[(&lead, &other)], 0);
    // Even before it is assigned.
    member.consumer.pause(&[at(&lead, 0)]).expect("it pauses");
    until("it has everything", || {
        member.turn();
        member.assigned.len() == 4
    });
    member.consumer.pause(&[at(&other, 1)]).expect("it pauses");
    for (topic, partition) in [(&lead, 0), (&lead, 1), (&other, 0), (&other, 1)] {
        setting.fill(topic, partition, 3);
    }
    let flowing =
        |member: &Member| member.sink.of(&lead, 1).len() == 3 && member.sink.of(&other, 0).len() == 3;
    until("what flows has arrived", || {
        member.turn();
        flowing(&member)
    });
    // Another member comes and goes, so that assignments change around them.
    let mut guest = Member::new(&*setting.cluster, &[(&lead, &other)], 0);
    until("the guest has its share", || {
        member.turn();
        guest.turn();
        guest.assigned.len() == 2
    });
    guest.consumer.close(SOON);
    until("everything is back", || {
        member.turn();
        member.assigned.len() == 4
    });
    let still = member.assigned.clone();
    // One of the two was away, and comes back as it is now: flowing.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(700) {
        member.turn();
    }
    let held_back = [member.sink.of(&lead, 0).len(), member.sink.of(&other, 1).len()];
    assert!(held_back.contains(&0), "{held_back:?}");
    member
        .consumer
        .resume(&still.into_iter().collect::<Vec<_>>())
        .expect("they resume");
    until("all have arrived", || {
        member.turn();
        !member.sink.of(&lead, 0).is_empty() && !member.sink.of(&other, 1).is_empty()
    });
    member.consumer.close(SOON);
}

#[test]
fn closing_leaves_at_once_even_with_a_rebalance_unanswered() {
    if let Some(setting) = Setting::new("closing") {
        close_unanswered(&setting);
    }
}

#[test]
fn closing_leaves_at_once_even_with_a_rebalance_unanswered_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("closing-848") {
        close_unanswered(&setting.newer());
    }
}

fn close_unanswered(setting: &Setting) {
    let topic = setting.topic("log", 2, &[]);
    let mut first = Member::new(&*setting.cluster, &[(&topic, &topic)], 0);
    until("the first has everything", || {
        first.turn();
        first.assigned.len() == 2
    });
    let mut second = Member::new(&*setting.cluster, &[(&topic, &topic)], u32::MAX);
    until("the first is asked to give back", || {
        first.consumer.poll(&mut first.sink, 100).expect("no error");
        second.turn();
        matches!(first.consumer.rebalance(), Some(Rebalance::Revoke(_)))
    });
    let start = Instant::now();
    first.consumer.close(SOON);
    let with_revoke = start.elapsed();
    until("the second is asked to take on everything", || {
        second.turn();
        matches!(second.consumer.rebalance(), Some(Rebalance::Assign(_)))
    });
    let start = Instant::now();
    second.consumer.close(SOON);
    let with_assign = start.elapsed();
    assert!(with_revoke < Duration::from_secs(3), "{with_revoke:?}");
    assert!(with_assign < Duration::from_secs(3), "{with_assign:?}");

    let start = Instant::now();
    let mut third = Member::new(&*setting.cluster, &[(&topic, &topic)], 0);
    until("the third has everything", || {
        third.turn();
        third.assigned.len() == 2
    });
    // The others have left, or this would take their session's time-out.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    third.consumer.close(SOON);
}
