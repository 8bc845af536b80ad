//! Any workers that run any tasks: where the standbys are, as each worker decides alone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::btree_set;
use proptest::prelude::*;

use super::super::{Peer, Question};
use crate::cluster::plan::TaskId;
use crate::tests::property::holds;

const TASKS: usize = 6;

/// Workers and the numbers of the tasks that each runs: at times one task by none, or by two.
type Workers = BTreeMap<String, BTreeSet<usize>>;

fn workers() -> impl Strategy<Value = Workers> {
    let name = prop_oneof!["worker-[0-9]", any::<String>()];
    let owners = proptest::collection::vec(
        proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
        TASKS,
    );
    let names = btree_set(name, 1..7).prop_map(|names| names.into_iter().collect::<Vec<_>>());
    (names, owners).prop_map(|(names, owners)| {
        let mut workers: Workers = names.iter().map(|name| (name.clone(), BTreeSet::new())).collect();
        for (task, owners) in owners.into_iter().enumerate() {
            for owner in owners {
                workers.entry(owner.get(&names).clone()).or_default().insert(task);
            }
        }
        workers
    })
}

fn task(number: usize) -> TaskId {
    TaskId {
        sub_topology: number % 2,
        partition: i32::try_from(number / 2).expect("few"),
    }
}

fn ids(numbers: &BTreeSet<usize>) -> BTreeSet<TaskId> {
    numbers.iter().map(|number| task(*number)).collect()
}

/// For each task the workers that stand by and those that leave it as it is; `turn` says in which order each hears of
/// the others.
fn decided(workers: &Workers, replicas: usize, turn: usize) -> Vec<(BTreeSet<String>, BTreeSet<String>)> {
    let tasks: BTreeMap<_, _> = (0..TASKS)
        .map(|number| (task(number), format!("votes/{number}")))
        .collect();
    let mut decided = vec![(BTreeSet::new(), BTreeSet::new()); TASKS];
    for (me, runs) in workers {
        let mut peers: Vec<_> = workers
            .iter()
            .filter(|(worker, _)| *worker != me)
            .map(|(worker, runs)| Peer {
                worker,
                runs: ids(runs),
            })
            .collect();
        if !peers.is_empty() {
            let by = turn % peers.len();
            peers.rotate_left(by);
        }
        let question = Question {
            me,
            runs: &ids(runs),
            peers: &peers,
            tasks: &tasks,
            replicas,
        };
        let placement = question.answer();
        for (number, (chosen, undecided)) in decided.iter_mut().enumerate() {
            if placement.chosen.contains(&task(number)) {
                chosen.insert(me.clone());
            }
            if placement.undecided.contains(&task(number)) {
                undecided.insert(me.clone());
            }
        }
    }
    decided
}

#[test]
fn a_task_has_as_many_standbys_as_asked_for_or_possible_and_never_where_it_runs() {
    holds(
        (workers(), 0_usize..4, 0_usize..6),
        |(workers, replicas, turn)| {
            for (number, (chosen, undecided)) in decided(&workers, replicas, turn).into_iter().enumerate() {
                let (active, others): (Vec<_>, Vec<_>) =
                    workers.iter().partition(|(_, runs)| runs.contains(&number));
                if active.is_empty() {
                    prop_assert!(chosen.is_empty(), "nobody runs {number}, and {chosen:?} begin");
                    prop_assert_eq!(undecided.len(), workers.len());
                    continue;
                }
                prop_assert_eq!(undecided.len(), 0);
                prop_assert_eq!(chosen.len(), replicas.min(others.len()));
                for (worker, _) in active {
                    prop_assert!(!chosen.contains(worker), "{worker:?} runs {number} itself");
                }
            }
            Ok(())
        },
    );
}

#[test]
fn the_order_in_which_workers_hear_of_each_other_does_not_matter() {
    holds(
        (workers(), 0_usize..4, 0_usize..6),
        |(workers, replicas, turn)| {
            prop_assert_eq!(decided(&workers, replicas, turn), decided(&workers, replicas, 0));
            Ok(())
        },
    );
}

#[test]
fn a_worker_that_comes_or_goes_moves_only_what_it_takes_or_had() {
    let strategy = (workers(), any::<String>(), 0_usize..4);
    holds(strategy, |(mut workers, newcomer, replicas)| {
        workers.remove(&newcomer);
        let without = decided(&workers, replicas, 0);
        workers.insert(newcomer.clone(), BTreeSet::new());
        let with = decided(&workers, replicas, 0);
        for (number, ((before, _), (after, _))) in without.iter().zip(&with).enumerate() {
            if workers.values().all(|runs| !runs.contains(&number)) {
                continue;
            }
            let came: Vec<_> = after.difference(before).collect();
            prop_assert!(
                came.iter().all(|worker| **worker == newcomer),
                "{came:?} for {number}"
            );
            let left = before.difference(after).count();
            prop_assert!(
                left <= came.len(),
                "{number} moved from {left} for {}",
                came.len()
            );
        }
        Ok(())
    });
}

#[test]
fn a_task_that_moves_changes_no_standbys_but_its_own() {
    let strategy = (workers(), 0..TASKS, any::<prop::sample::Index>(), 0_usize..4);
    holds(strategy, |(workers, number, to, replicas)| {
        let before = decided(&workers, replicas, 0);
        let mut moved = workers.clone();
        for runs in moved.values_mut() {
            runs.remove(&number);
        }
        let names: Vec<_> = workers.keys().cloned().collect();
        moved.entry(to.get(&names).clone()).or_default().insert(number);
        let after = decided(&moved, replicas, 0);
        for other in (0..TASKS).filter(|other| *other != number) {
            prop_assert_eq!(&before[other], &after[other]);
        }
        Ok(())
    });
}
