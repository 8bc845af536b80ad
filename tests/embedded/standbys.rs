//! Copies of tables on workers that do not run their tasks, and takeovers without a restore.
//!
//! That nothing is restored is told by the number of records that a worker has read from changelogs to restore tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
#[cfg(feature = "rocksdb")]
use std::path::Path;
use std::path::PathBuf;

use stream_runtime::prelude::*;
use stream_runtime::{App, Running};

use crate::support::bench::program;
use crate::support::proxy::Proxy;
use crate::support::{Bench, DEADLINE, input, wait_until};

#[table]
static STANDBYS_COUNT: Table<String, u64>;

#[agent(topic = "votes", sink = "tally")]
async fn tally(name: String) -> String {
    let count = STANDBYS_COUNT.update(&name, |count| {
        *count += 1;
        *count
    });
    format!("{name} {count}")
}

/// A broker for one test, and where its workers keep their tables.
struct Place {
    bench: Bench,
    /// Below it each worker has a directory of its own; without one they are in memory.
    datadir: Option<Datadir>,
    guarantee: &'static str,
}

/// A directory that goes with its test.
struct Datadir(PathBuf);

impl Drop for Datadir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Place {
    fn in_memory(partitions: u32) -> Self {
        Self {
            bench: Bench::new(&[("votes", partitions), ("tally", 1)]),
            datadir: None,
            guarantee: "at_least_once",
        }
    }

    /// A worker with one standby a task, at this address of the broker.
    fn app(&self, bootstrap: &str) -> App {
        let app = program(&self.bench.id, bootstrap, [tally::agent()])
            .set("standby_replicas", "1")
            .set("processing_guarantee", self.guarantee)
            .set("session_timeout", "6s")
            .set("heartbeat_interval", "300ms");
        match &self.datadir {
            None => app,
            Some(datadir) => app
                .set("store", "rocksdb://")
                .set("datadir", datadir.0.display())
                .set("memory_budget", "32MiB"),
        }
    }

    #[track_caller]
    fn start(&self) -> Running {
        self.start_with(|app| app)
    }

    #[track_caller]
    fn start_with(&self, settings: impl FnOnce(App) -> App) -> Running {
        let app = settings(self.app(&self.bench.broker.bootstrap()));
        app.start().expect("the program starts")
    }

    /// A worker that can be cut off.
    #[track_caller]
    fn start_behind(&self, proxy: &Proxy) -> Running {
        self.app(&proxy.bootstrap()).start().expect("the program starts")
    }
}

/// Ten votes for names of its own in every partition, processed and committed by these workers when it returns.
#[track_caller]
fn vote(bench: &Bench, partitions: i32, some: &Running) {
    let votes = (0..partitions)
        .flat_map(|partition| (0..10).map(move |n| input(format!("p{partition}-n{n}")).to(partition)));
    bench.produce("votes", votes);
    some.drain(DEADLINE).expect("all is processed");
}

/// Checks that every name was counted from 1 to `rounds`, each once.
#[track_caller]
fn assert_counted(bench: &Bench, partitions: i32, rounds: u64) {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for text in bench.texts("tally") {
        *counted.entry(text).or_default() += 1;
    }
    let lines = (0..partitions).flat_map(|partition| {
        (0..10).flat_map(move |n| (1..=rounds).map(move |round| (format!("p{partition}-n{n} {round}"), 1)))
    });
    assert_eq!(counted, lines.collect());
}

/// The tasks that a worker stands by for with all there is in their changelog, which nobody writes to meanwhile.
fn stands_by(bench: &Bench, running: &Running) -> BTreeSet<String> {
    let changelog = bench.changelog("standbys-count");
    let mut ends: BTreeMap<i32, u64> = BTreeMap::new();
    for record in bench.read(&changelog) {
        ends.insert(record.partition, record.offset.unsigned_abs() + 1);
    }
    let standbys = running.standby_tasks().into_iter().filter(|task| {
        let partition = task.name.trim_start_matches("votes/").parse().expect("a number");
        task.applied == ends.get(&partition).copied().unwrap_or(0) && task.lag == Some(0)
    });
    standbys.map(|task| task.name).collect()
}

fn tasks(running: &Running) -> BTreeSet<String> {
    running.running_tasks().into_iter().collect()
}

#[test]
fn a_standby_takes_over_from_a_worker_that_stops_without_a_restore() {
    let place = Place::in_memory(4);
    take_over_from_one_that_stops(&place);
    // Who had no standby reads every record there is.
    let running = place.start_with(|app| app.set("standby_replicas", "0"));
    wait_until("it has all", || tasks(&running).len() == 4);
    assert_eq!(running.restored_records(), 120);
    running.stop().expect("all is well");
}

fn take_over_from_one_that_stops(place: &Place) {
    let first = place.start();
    vote(&place.bench, 4, &first);
    let second = place.start();
    wait_until("each has two", || {
        tasks(&first).len() == 2 && tasks(&second).len() == 2
    });
    let restored = second.restored_records();
    vote(&place.bench, 4, &second);
    wait_until("each stands by for the other", || {
        stands_by(&place.bench, &first) == tasks(&second) && stands_by(&place.bench, &second) == tasks(&first)
    });
    first.stop().expect("all is well");
    wait_until("the second has all", || tasks(&second).len() == 4);
    assert_eq!(
        second.restored_records(),
        restored,
        "what the standby had was not read again"
    );
    assert_eq!(second.standby_tasks(), []);
    vote(&place.bench, 4, &second);
    second.stop().expect("all is well");
    assert_counted(&place.bench, 4, 3);
}

#[test]
fn a_standby_takes_over_from_a_worker_that_is_gone_without_a_restore() {
    take_over_from_one_that_is_gone(&Place::in_memory(4));
}

#[test]
fn a_standby_takes_over_with_transactions_too() {
    let exactly_once = || Place {
        guarantee: "exactly_once",
        ..Place::in_memory(4)
    };
    take_over_from_one_that_stops(&exactly_once());
    take_over_from_one_that_is_gone(&exactly_once());
}

fn take_over_from_one_that_is_gone(place: &Place) {
    let proxy = Proxy::before(place.bench.broker.port());
    let first = place.start_behind(&proxy);
    vote(&place.bench, 4, &first);
    let second = place.start();
    wait_until("each has two", || {
        tasks(&first).len() == 2 && tasks(&second).len() == 2
    });
    let restored = second.restored_records();
    vote(&place.bench, 4, &second);
    wait_until("the second stands by", || {
        stands_by(&place.bench, &second) == tasks(&first)
    });
    proxy.cut();
    wait_until("the second has all", || tasks(&second).len() == 4);
    assert_eq!(second.restored_records(), restored);
    vote(&place.bench, 4, &second);
    second.stop().expect("all is well");
    proxy.mend();
    first.stop().expect("all is well");
    assert_counted(&place.bench, 4, 3);
}

#[test]
fn what_a_worker_gives_back_it_keeps_for_the_way_back() {
    give_back_and_take_again(&Place::in_memory(4));
}

fn give_back_and_take_again(place: &Place) {
    let first = place.start();
    vote(&place.bench, 4, &first);
    let second = place.start();
    wait_until("each has two", || {
        tasks(&first).len() == 2 && tasks(&second).len() == 2
    });
    vote(&place.bench, 4, &second);
    wait_until("the first stands by", || {
        stands_by(&place.bench, &first) == tasks(&second)
    });
    second.stop().expect("all is well");
    wait_until("the first has all", || tasks(&first).len() == 4);
    assert_eq!(
        first.restored_records(),
        0,
        "it began with nothing and missed nothing"
    );
    vote(&place.bench, 4, &first);
    first.stop().expect("all is well");
    assert_counted(&place.bench, 4, 3);
}

#[test]
fn a_standby_has_nothing_that_is_not_committed() {
    leave_out_what_is_not_committed(&Place::in_memory(1));
}

fn leave_out_what_is_not_committed(place: &Place) {
    let first = place.start();
    let second = place.start();
    wait_until("one has the task, the other stands by", || {
        tasks(&first).len() + tasks(&second).len() == 1
    });
    let (active, standby) = match tasks(&first).len() {
        1 => (first, second),
        _ => (second, first),
    };
    vote(&place.bench, 1, &active);
    wait_until("the standby has all", || {
        stands_by(&place.bench, &standby) == tasks(&active)
    });
    // Written to the changelog as by a worker that did not live to commit it. Were it applied, the value could not
    // be read.
    let changelog = place.bench.changelog("standbys-count");
    place.bench.produce(
        &changelog,
        [
            input("no count").key("p0-n0").to(0),
            input("no count").key("other").to(0),
        ],
    );
    wait_until("the standby has read it", || {
        standby
            .standby_tasks()
            .iter()
            .map(|task| task.held_back)
            .sum::<u64>()
            == 2
    });
    assert_eq!(standby.standby_tasks()[0].applied, 10);
    active.stop().expect("all is well");
    wait_until("the standby has taken over", || tasks(&standby).len() == 1);
    assert_eq!(standby.restored_records(), 2, "the two that are taken back");
    vote(&place.bench, 1, &standby);
    standby.stop().expect("all is well");
    assert_counted(&place.bench, 1, 2);
}

#[test]
fn two_replicas_are_on_two_workers() {
    let place = Place::in_memory(6);
    let start = || place.start_with(|app| app.set("standby_replicas", "2"));
    let workers = [start(), start(), start()];
    wait_until("each has two", || {
        workers.iter().all(|worker| tasks(worker).len() == 2)
    });
    vote(&place.bench, 6, &workers[0]);
    let all: BTreeSet<_> = (0..6).map(|partition| format!("votes/{partition}")).collect();
    wait_until("each stands by for all that it does not run", || {
        workers.iter().all(|worker| {
            let rest: BTreeSet<_> = all.difference(&tasks(worker)).cloned().collect();
            stands_by(&place.bench, worker) == rest
        })
    });
    let [first, second, third] = workers;
    let restored = second.restored_records() + third.restored_records();
    first.stop().expect("all is well");
    wait_until("the others have three each", || {
        tasks(&second).len() == 3 && tasks(&third).len() == 3
    });
    assert_eq!(second.restored_records() + third.restored_records(), restored);
    vote(&place.bench, 6, &second);
    second.stop().expect("all is well");
    third.stop().expect("all is well");
    assert_counted(&place.bench, 6, 2);
}

#[test]
fn a_worker_that_is_gone_is_replaced_as_a_standby() {
    let place = Place::in_memory(6);
    let proxy = Proxy::before(place.bench.broker.port());
    let lost = place.start_behind(&proxy);
    let workers = [place.start(), place.start()];
    wait_until("each has two", || {
        tasks(&lost).len() == 2 && workers.iter().all(|worker| tasks(worker).len() == 2)
    });
    vote(&place.bench, 6, &workers[0]);
    // Which tasks each stands by for is a matter of their names; together they stand by for all.
    let standbys = |workers: &[&Running]| -> Vec<String> {
        let mut standbys: Vec<_> = workers
            .iter()
            .flat_map(|worker| stands_by(&place.bench, worker))
            .collect();
        standbys.sort();
        standbys
    };
    let all: Vec<_> = (0..6).map(|partition| format!("votes/{partition}")).collect();
    wait_until("every task has one standby", || {
        standbys(&[&lost, &workers[0], &workers[1]]) == all
    });
    proxy.cut();
    wait_until("the others have three each", || {
        workers.iter().all(|worker| tasks(worker).len() == 3)
    });
    wait_until("every task has one standby again", || {
        stands_by(&place.bench, &workers[0]) == tasks(&workers[1])
            && stands_by(&place.bench, &workers[1]) == tasks(&workers[0])
    });
    let [first, second] = workers;
    vote(&place.bench, 6, &first);
    first.stop().expect("all is well");
    second.stop().expect("all is well");
    proxy.mend();
    lost.stop().expect("all is well");
    assert_counted(&place.bench, 6, 2);
}

#[test]
fn a_new_worker_fills_its_tables_before_it_takes_partitions() {
    fill_before_joining(&Place::in_memory(4));
}

fn fill_before_joining(place: &Place) {
    let ahead = |app: App| app.set("standby_replicas", "0").set("restore_ahead", "60s");
    let first = place.start_with(ahead);
    vote(&place.bench, 4, &first);
    let second = place.start_with(ahead);
    wait_until("each has two", || {
        tasks(&first).len() == 2 && tasks(&second).len() == 2
    });
    assert_eq!(second.restored_records(), 0, "it had all of it when it joined");
    vote(&place.bench, 4, &second);
    wait_until("what it filled and did not get is let go of", || {
        second.standby_tasks().is_empty()
    });
    first.stop().expect("all is well");
    second.stop().expect("all is well");
    assert_counted(&place.bench, 4, 2);
}

#[test]
fn only_programs_with_standbys_have_a_topic_of_their_workers() {
    let place = Place::in_memory(1);
    let workers = place.bench.internal("workers");
    let running = place.bench.start([tally::agent()]);
    wait_until("it runs", || tasks(&running).len() == 1);
    assert_eq!(running.standby_tasks(), []);
    running.stop().expect("all is well");
    assert!(!place.bench.topics().contains_key(&workers));
    let running = place.start();
    assert_eq!(place.bench.topics().get(&workers), Some(&1));
    assert_eq!(
        place.bench.topic_setting(&workers, "cleanup.policy").as_deref(),
        Some("compact")
    );
    wait_until("it says what it runs", || {
        let last = place.bench.read(&workers).pop();
        last.is_some_and(|record| record.text().contains(r#""runs":{"votes":[0]}"#))
    });
    running.stop().expect("all is well");
    let last = place.bench.read(&workers).pop().expect("there were some");
    assert_eq!(last.value, None, "it takes leave");
}

/// The same with tables on disk.
#[cfg(feature = "rocksdb")]
mod rocksdb {
    use super::*;

    fn on_disk(partitions: u32) -> Place {
        let mut place = Place::in_memory(partitions);
        let name = format!("standbys-{}-{}", std::process::id(), place.bench.id);
        let datadir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&datadir);
        place.datadir = Some(Datadir(datadir));
        place
    }

    #[test]
    fn a_standby_takes_over_from_a_worker_that_stops_without_a_restore() {
        take_over_from_one_that_stops(&on_disk(4));
    }

    #[test]
    fn a_standby_takes_over_from_a_worker_that_is_gone_without_a_restore() {
        take_over_from_one_that_is_gone(&on_disk(4));
    }

    #[test]
    fn what_a_worker_gives_back_it_keeps_for_the_way_back() {
        give_back_and_take_again(&on_disk(4));
    }

    #[test]
    fn a_standby_has_nothing_that_is_not_committed() {
        leave_out_what_is_not_committed(&on_disk(1));
    }

    #[test]
    fn a_new_worker_fills_its_tables_before_it_takes_partitions() {
        fill_before_joining(&on_disk(4));
    }

    #[test]
    fn a_worker_that_was_away_brings_what_it_has_up_to_date_before_it_joins() {
        let place = on_disk(4);
        let ahead = |app: App| app.set("standby_replicas", "0").set("restore_ahead", "60s");
        let first = place.start_with(ahead);
        wait_until("the first has all", || tasks(&first).len() == 4);
        vote(&place.bench, 4, &first);
        first.stop().expect("all is well");
        let first = place.start_with(ahead);
        wait_until("it has all again", || tasks(&first).len() == 4);
        assert_eq!(first.restored_records(), 0);
        vote(&place.bench, 4, &first);
        let second = place.start_with(ahead);
        wait_until("each has two", || {
            tasks(&first).len() == 2 && tasks(&second).len() == 2
        });
        second.stop().expect("all is well");
        wait_until("the first has all", || tasks(&first).len() == 4);
        vote(&place.bench, 4, &first);
        // It has the state of the tasks it ran, and of none the last votes.
        let second = place.start_with(ahead);
        wait_until("each has two once more", || {
            tasks(&first).len() == 2 && tasks(&second).len() == 2
        });
        assert_eq!(second.restored_records(), 0);
        vote(&place.bench, 4, &second);
        first.stop().expect("all is well");
        second.stop().expect("all is well");
        assert_counted(&place.bench, 4, 4);
    }
}
