//! Which workers stand by for which tasks. Pure.
//!
//! Every worker decides for itself from the same view of the others, and no two need to agree on anything else:
//! rendezvous hashing gives each pair of worker and task a weight, and a task's standbys are on the heaviest workers that
//! do not run it. So when a worker comes or goes, only the tasks that it is heaviest for move.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::plan::TaskId;

/// A worker and what it runs.
#[derive(Debug, Clone)]
pub(super) struct Peer<'a> {
    pub worker: &'a str,
    pub runs: BTreeSet<TaskId>,
}

/// What this worker may stand by for.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// This worker.
    pub me: &'a str,
    /// What this worker runs.
    pub runs: &'a BTreeSet<TaskId>,
    /// The other live workers.
    pub peers: &'a [Peer<'a>],
    /// Every task with tables, and its name.
    pub tasks: &'a BTreeMap<TaskId, String>,
    /// How many workers stand by for a task.
    pub replicas: usize,
}

/// What this worker is to do about the tasks it does not run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    /// It stands by for these.
    pub chosen: BTreeSet<TaskId>,
    /// Nobody is known to run these, as between two owners: what is there stays and nothing new begins.
    pub undecided: BTreeSet<TaskId>,
}

impl Question<'_> {
    /// Decides.
    pub(super) fn answer(&self) -> Placement {
        let mut placement = Placement::default();
        for (task, name) in self.tasks {
            if self.runs.contains(task) {
                continue;
            }
            let (active, others): (Vec<&Peer<'_>>, Vec<&Peer<'_>>) =
                self.peers.iter().partition(|peer| peer.runs.contains(task));
            if active.is_empty() {
                placement.undecided.insert(*task);
                continue;
            }
            let mine = rank(self.me, name);
            let heavier = others.iter().filter(|peer| rank(peer.worker, name) > mine);
            if heavier.count() < self.replicas {
                placement.chosen.insert(*task);
            }
        }
        placement
    }
}

/// The place of a worker among those that could have a task: by weight, by name where weights are equal.
fn rank<'a>(worker: &'a str, task: &str) -> (u64, &'a str) {
    (weight(worker, task), worker)
}

/// How much a worker is the one for a task. The same number in every build, since workers of several versions share
/// the tasks out between them.
pub(super) fn weight(worker: &str, task: &str) -> u64 {
    // FNV-1a, which is simple, and the mixing of SplitMix64, since FNV's upper bits hardly see the last bytes.
    let bytes = worker.bytes().chain([0xff]).chain(task.bytes());
    let folded = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (folded ^ (folded >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    mod properties;

    use super::*;

    const TASKS: usize = 60;

    fn tasks() -> BTreeMap<TaskId, String> {
        let name = |task: &TaskId| format!("votes-{}/{}", task.sub_topology, task.partition);
        let ids = (0..TASKS).map(|n| TaskId {
            sub_topology: n % 3,
            partition: i32::try_from(n / 3).expect("few tasks"),
        });
        ids.map(|task| (task, name(&task))).collect()
    }

    /// Task number `n` is run by worker number `n` modulo their number.
    fn running(workers: &[String]) -> BTreeMap<&str, BTreeSet<TaskId>> {
        let mut running: BTreeMap<&str, BTreeSet<TaskId>> = workers
            .iter()
            .map(|worker| (worker.as_str(), BTreeSet::new()))
            .collect();
        for (number, task) in tasks().into_keys().enumerate() {
            let worker = workers[number % workers.len()].as_str();
            running.entry(worker).or_default().insert(task);
        }
        running
    }

    /// For each task those who stand by for it, as each worker decides on its own.
    fn standbys(
        running: &BTreeMap<&str, BTreeSet<TaskId>>,
        replicas: usize,
    ) -> BTreeMap<TaskId, BTreeSet<String>> {
        let tasks = tasks();
        let mut standbys: BTreeMap<TaskId, BTreeSet<String>> =
            tasks.keys().map(|task| (*task, BTreeSet::new())).collect();
        for (me, runs) in running {
            let others = running.iter().filter(|(worker, _)| *worker != me);
            let peers: Vec<_> = others
                .map(|(worker, runs)| Peer {
                    worker,
                    runs: runs.clone(),
                })
                .collect();
            let question = Question {
                me,
                runs,
                peers: &peers,
                tasks: &tasks,
                replicas,
            };
            for task in question.answer().chosen {
                standbys.entry(task).or_default().insert((*me).to_owned());
            }
        }
        standbys
    }

    fn workers(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("worker-{n}")).collect()
    }

    #[test]
    fn every_task_has_its_standbys_and_never_where_it_runs() {
        for count in 1..7 {
            for replicas in 0..4 {
                let workers = workers(count);
                let running = running(&workers);
                for (task, standbys) in standbys(&running, replicas) {
                    assert_eq!(
                        standbys.len(),
                        replicas.min(count - 1),
                        "{task:?} of {count} workers"
                    );
                    for worker in standbys {
                        assert!(!running[worker.as_str()].contains(&task), "{task:?} on {worker}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_worker_that_comes_takes_its_share_and_moves_nothing_else() {
        let workers = workers(6);
        let running = running(&workers[..5]);
        let before = standbys(&running, 2);
        let mut with_sixth = running.clone();
        with_sixth.insert(&workers[5], BTreeSet::new());
        let after = standbys(&with_sixth, 2);
        let mut moved = 0;
        for (task, standbys) in &after {
            let new: Vec<_> = standbys.difference(&before[task]).collect();
            assert!(
                new.iter().all(|worker| **worker == workers[5]),
                "{task:?}: {new:?}"
            );
            moved += new.len();
        }
        // Its fair share of 120 is 24 (a fifth of those that it may have).
        assert!((8..=48).contains(&moved), "{moved}");
    }

    #[test]
    fn what_a_dead_worker_stood_by_for_is_replaced_and_the_rest_stays() {
        let workers = workers(5);
        let mut running = running(&workers[..4]);
        running.insert(&workers[4], BTreeSet::new());
        let before = standbys(&running, 1);
        running.remove(workers[4].as_str());
        let after = standbys(&running, 1);
        for (task, standbys) in &before {
            assert_eq!(after[task].len(), 1);
            if !standbys.contains(&workers[4]) {
                assert_eq!(after[task], *standbys, "{task:?}");
            }
        }
    }

    #[test]
    fn the_tasks_are_spread() {
        let workers = workers(4);
        let running = running(&workers);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for worker in standbys(&running, 1).into_values().flatten() {
            *counts.entry(worker).or_default() += 1;
        }
        for worker in &workers {
            let count = counts.get(worker).copied().unwrap_or_default();
            assert!(
                (5..=30).contains(&count),
                "{worker} stands by for {count}: {counts:?}"
            );
        }
    }

    #[test]
    fn a_task_that_nobody_is_known_to_run_is_left_as_it_is() {
        let tasks = tasks();
        let question = Question {
            me: "a",
            runs: &BTreeSet::new(),
            peers: &[Peer {
                worker: "b",
                runs: BTreeSet::new(),
            }],
            tasks: &tasks,
            replicas: 1,
        };
        let placement = question.answer();
        assert_eq!(placement.chosen, BTreeSet::new());
        assert_eq!(placement.undecided, tasks.keys().copied().collect());
    }

    #[test]
    fn two_who_claim_one_task_are_both_left_out() {
        let task = TaskId {
            sub_topology: 0,
            partition: 0,
        };
        let tasks = BTreeMap::from([(task, "votes/0".to_owned())]);
        let peer = |worker| Peer {
            worker,
            runs: BTreeSet::from([task]),
        };
        let question = |replicas| {
            let peers = [peer("b"), peer("c")];
            let runs = BTreeSet::new();
            let question = Question {
                me: "a",
                runs: &runs,
                peers: &peers,
                tasks: &tasks,
                replicas,
            };
            question.answer().chosen
        };
        assert_eq!(question(1), BTreeSet::from([task]));
        assert_eq!(question(0), BTreeSet::new());
    }

    #[test]
    fn weights_never_change() {
        assert_ne!(weight("worker-a", "votes/0"), weight("worker-b", "votes/0"));
        assert_ne!(weight("ab", "c/0"), weight("a", "bc/0"));
        // Workers of two versions must agree.
        assert_eq!(weight("worker-a", "votes/0"), 0x8530_7ad7_c412_5981);
    }
}
