//! What a test does to a program, call by call.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::catch_unwind;

use super::{COUNTS, SEEN, WORDS, app, counted, four, seconds, send_all, shares};
use crate::partition_of;
use crate::prelude::*;
use crate::testing::panics::caught;
use crate::testing::{CommitStep, FaultKind, Faults, TestApp};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

#[test]
fn a_worker_writes_by_its_own_clock_until_it_is_set_right() {
    let mut app = app();
    app.settle();
    app.set_clock(0, -2 * DAY);
    app.send(&WORDS, "red", "red").settle();
    app.kill(0).start(0).send(&WORDS, "red", "red").settle();
    app.set_clock(0, 0);
    app.send(&WORDS, "red", "red").settle();
    let now = app.now_millis();
    let ages: Vec<_> = app
        .records("test-seen-changelog")
        .iter()
        .map(|record| (now - record.timestamp) / DAY)
        .collect();
    assert_eq!(ages, [2, 2, 0]);
}

#[test]
fn a_clock_that_the_test_has_set_is_not_set_right_when_faults_end() {
    let mut app = app().faults(Faults::of([FaultKind::ClockJump]).every(seconds(1)));
    app.set_clock(0, DAY).advance(seconds(20)).settle();
    assert_eq!(app.world().workers[0].clock_skew, DAY);
}

#[test]
fn a_disk_that_is_full_ends_its_worker_and_has_room_again_when_the_test_says_so() {
    let mut app = app().exactly_once();
    app.settle().disk_full(0, true).send(&WORDS, "red", "red");
    app.advance(seconds(20));
    let failure = app.world().failure().expect("it has to write");
    assert!(failure.contains("the simulated disk is full"), "{failure}");
    app.disk_full(0, false).start(0).settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&1));
}

#[test]
fn no_fault_ends_that_a_disk_is_full_which_the_test_has_filled() {
    let mut app = app().faults(Faults::of([FaultKind::FullDisk]).every(seconds(1)));
    while app.schedule.told.is_empty() {
        app.advance(seconds(1) / 100);
    }
    app.disk_full(0, true).advance(seconds(1) / 100);
    app.schedule.only = Some(BTreeSet::new());
    app.advance(seconds(10)).send(&WORDS, "red", "red");
    app.advance(seconds(20));
    assert_eq!(app.outputs(&COUNTS).len(), 0);
}

#[test]
fn a_broker_that_is_away_is_worked_without_until_it_is_back() {
    let mut app = app();
    app.settle().broker_away(true).send(&WORDS, "red", "red");
    app.advance(seconds(20));
    assert_eq!(app.table(&SEEN).get("red"), None);
    app.broker_away(false).settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&1));
}

#[test]
#[should_panic(
    expected = "worker 0 would wait for the broker, which is away: let it come back with `broker_away(false)`"
)]
fn a_worker_is_not_started_while_the_broker_is_away() {
    app().settle().kill(0).broker_away(true).start(0);
}

#[test]
fn a_worker_that_faults_have_ended_starts_when_the_test_lets_the_broker_come_back() {
    let restarts = Faults::of([FaultKind::Kill]).every(seconds(1));
    let mut app = app().faults(restarts);
    app.broker_away(true).advance(seconds(60));
    let lives = app.world().workers[0].lives();
    assert!(!lives, "it was killed and waits");
    app.broker_away(false).send(&WORDS, "red", "red").settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&1));
}

/// Two workers that share four partitions, under exactly-once.
fn pair() -> TestApp {
    four(2).exactly_once()
}

/// Sends every word once more and settles; each has come so often by then.
fn counts_all(app: &mut TestApp, times: u64) {
    send_all(app);
    app.settle();
    counted(app, times);
}

#[test]
fn workers_come_and_go_as_scaled() {
    let mut app = pair();
    counts_all(&mut app, 1);
    assert_eq!(shares(&mut app), [2, 2]);
    app.scale(4);
    counts_all(&mut app, 2);
    assert_eq!(shares(&mut app), [1, 1, 1, 1]);
    app.scale(1);
    counts_all(&mut app, 3);
    assert_eq!(shares(&mut app), [4, 0, 0, 0]);
    app.scale(2);
    counts_all(&mut app, 4);
    assert_eq!(shares(&mut app), [2, 2, 0, 0]);
}

#[test]
fn a_worker_that_is_stopped_has_committed_and_comes_back_to_its_disk() {
    let mut app = app();
    app.settle()
        .send(&WORDS, "red", "red")
        .advance(seconds(1) / 2)
        .stop(0);
    assert_eq!(shares(&mut app), [0]);
    app.send(&WORDS, "red", "red").advance(seconds(60));
    assert_eq!(app.records("counts").len(), 1);
    app.start(0).settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&2));
    assert_eq!(app.records("counts").len(), 2);
}

#[test]
#[should_panic(expected = "worker 0 runs: kill or stop it first")]
fn a_worker_that_runs_is_not_started() {
    app().start(0);
}

#[test]
fn a_worker_that_stands_still_is_taken_over_from_and_comes_back() {
    let mut app = pair();
    counts_all(&mut app, 1);
    app.freeze(0).advance(seconds(20));
    assert_eq!(shares(&mut app)[1], 4, "worker 1 has everything");
    app.thaw(0);
    counts_all(&mut app, 2);
    assert_eq!(shares(&mut app), [2, 2]);
}

#[test]
fn a_worker_that_is_cut_off_is_taken_over_from_and_comes_back() {
    let mut app = pair();
    counts_all(&mut app, 1);
    app.cut_off(1, true).advance(seconds(20));
    assert_eq!(shares(&mut app)[0], 4, "worker 0 has everything");
    app.cut_off(1, false);
    counts_all(&mut app, 2);
    assert_eq!(shares(&mut app), [2, 2]);
}

#[test]
fn a_worker_whose_disk_is_lost_restores_its_tables() {
    let mut app = app();
    app.send(&WORDS, "red", "red").settle().kill(0).wipe(0).start(0);
    app.settle();
    assert_eq!(app.table(&SEEN).get("red"), Some(&1));
}

#[test]
fn a_record_has_the_time_and_the_place_that_it_was_sent_to() {
    let mut app = app().partition_count(3);
    let now = app.now_millis();
    app.send_at(&WORDS, "red", "red", now - 1000)
        .send(&WORDS, "blue", "blue");
    app.advance(seconds(5)).send(&WORDS, "red", "red").settle();
    let mut found = Vec::new();
    for record in app.records("words") {
        let key = String::from_utf8(record.key.expect("it has one")).expect("text");
        let partition = partition_of(key.as_bytes(), 3).cast_signed();
        assert_eq!(record.partition, partition, "{key}");
        found.push((key, record.timestamp - now));
    }
    found.sort();
    let wanted = [("blue", 0), ("red", -1000), ("red", 5000)];
    assert_eq!(found, wanted.map(|(key, time)| (key.to_owned(), time)));
    // What follows from a record has its time.
    let mut times: Vec<_> = app
        .records("counts")
        .iter()
        .map(|record| record.timestamp - now)
        .collect();
    times.sort_unstable();
    assert_eq!(times, [-1000, 0, 5000]);
}

#[test]
fn topics_have_as_many_partitions_as_is_said() {
    for count in [1, 7] {
        let mut app = app().partition_count(count);
        app.settle();
        assert_eq!(shares(&mut app), [count as usize]);
        let names: BTreeSet<_> = app.running_tasks()[0].iter().cloned().collect();
        assert_eq!(names.len(), count as usize);
    }
}

#[test]
fn each_worker_has_a_lasting_name_of_its_own() {
    let mut app = pair().set("instance_id", "shop");
    counts_all(&mut app, 1);
    assert_eq!(shares(&mut app), [2, 2]);
    // It comes back to its tasks within its session: nobody else has had them.
    app.kill(1).advance(seconds(2)).start(1).advance(seconds(1));
    assert_eq!(shares(&mut app)[0], 2);
    counts_all(&mut app, 2);
}

#[test]
fn a_worker_that_is_not_there_is_named() {
    type Act = fn(&mut TestApp);
    let acts: [(&str, Act); 9] = [
        ("kill", |app| {
            app.kill(1);
        }),
        ("stop", |app| {
            app.stop(1);
        }),
        ("freeze", |app| {
            app.freeze(1);
        }),
        ("thaw", |app| {
            app.thaw(1);
        }),
        ("cut_off", |app| {
            app.cut_off(1, true);
        }),
        ("wipe", |app| {
            app.wipe(1);
        }),
        ("kill_at", |app| {
            app.kill_at(1, CommitStep::Outputs);
        }),
        ("disk_full", |app| {
            app.disk_full(1, true);
        }),
        ("set_clock", |app| {
            app.set_clock(1, 1);
        }),
    ];
    for (name, act) in acts {
        let failed = catch_unwind(|| act(&mut app())).expect_err(name);
        assert_eq!(
            failed.downcast_ref::<String>().map(String::as_str),
            Some("there is no worker 1"),
            "{name}"
        );
    }
}

/// A topic of no agent.
#[topic(name = "strange")]
static STRANGE: Topic<String, u64>;

/// A table of no agent.
#[table(name = "strange")]
static STRANGE_TABLE: Table<String, u64>;

/// An output that is not what it should be.
fn with_no_key(app: &mut TestApp) -> &mut TestApp {
    app.send_bytes("counts", None, None)
}

/// A setting is no number.
fn misconfigured() -> TestApp {
    app().set("partitions", "many")
}

#[test]
fn what_cannot_be_done_is_told_with_the_line_of_the_test() {
    type Act = fn(&mut TestApp);
    let acts: [(u32, Act); 21] = [
        (line!(), |app| _ = app.send(&STRANGE, "a", 1_u64)),
        (line!(), |app| _ = app.send_at(&STRANGE, "a", 1_u64, 0)),
        (line!(), |app| _ = app.send_bytes("strange", None, None)),
        (line!(), |app| _ = app.outputs(&STRANGE)),
        (line!(), |app| _ = with_no_key(app).outputs(&COUNTS)),
        (line!(), |app| _ = app.records("strange")),
        (line!(), |app| _ = app.table(&STRANGE_TABLE)),
        (line!(), |app| _ = app.kill(0).table(&SEEN)),
        (line!(), |app| _ = app.broker_away(true).settle()),
        (line!(), |app| _ = app.start(0)),
        (line!(), |app| _ = app.start(2)),
        (line!(), |app| _ = app.broker_away(true).scale(2)),
        (line!(), |app| _ = app.kill(1)),
        (line!(), |app| _ = app.stop(1)),
        (line!(), |app| _ = app.freeze(0).stop(0)),
        (line!(), |app| _ = app.freeze(1)),
        (line!(), |app| _ = app.thaw(1)),
        (line!(), |app| _ = app.cut_off(1, true)),
        (line!(), |app| _ = app.wipe(0)),
        (line!(), |_| _ = TestApp::new().workers(0)),
        (line!(), |_| _ = misconfigured().settle()),
    ];
    for (line, act) in acts {
        let panicked = caught(true, || act(&mut app())).expect_err("it cannot be done");
        let place = Some(format!("{}:{line}", file!()));
        assert_eq!(panicked.place, place, "{}", panicked.message);
    }
}

#[test]
fn a_table_is_as_a_map_with_its_entries() {
    let mut app = app();
    app.send(&WORDS, "a", "a").send(&WORDS, "b", "b").settle();
    let seen = app.table(&SEEN);
    let same = [("a".to_owned(), 1), ("b".to_owned(), 1)];
    assert_eq!(seen, BTreeMap::from(same.clone()));
    assert_eq!(seen, HashMap::<_, _>::from(same.clone()));
    assert!((&seen).into_iter().eq(seen.iter()));
    for other in [
        [("a".to_owned(), 1), ("b".to_owned(), 2)],
        [("a".to_owned(), 1), ("c".to_owned(), 1)],
    ] {
        assert_ne!(seen, BTreeMap::from(other.clone()));
        assert_ne!(seen, HashMap::<_, _>::from(other));
    }
    let [first, _] = same;
    assert_ne!(seen, HashMap::<_, _>::from([first]));
}

thread_local! {
    /// The time that the destructor of a worker's future saw, in tokio's clock and the wall's.
    static DROPPED_AT: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Notes when it is dropped.
struct NotesItsEnd;

impl Drop for NotesItsEnd {
    fn drop(&mut self) {
        DROPPED_AT.set(Some(crate::clock::wall_millis()));
    }
}

/// Takes very long for each word.
#[agent(topic = WORDS)]
async fn take_long(_word: String) {
    let _end = NotesItsEnd;
    tokio::time::sleep(seconds(3600)).await;
}

#[test]
fn destructors_of_a_worker_that_is_killed_are_on_virtual_time() {
    let mut app = TestApp::new().agents([take_long::agent()]).partition_count(1);
    app.send(&WORDS, "red", "red").advance(seconds(10)).kill(0);
    let now = app.now_millis();
    assert_eq!(DROPPED_AT.take(), Some(now));
}

/// How many faults happen in five minutes.
fn faults_of(faults: Faults) -> usize {
    let mut app = app().workers(2).faults(faults);
    app.advance(seconds(300));
    app.schedule.told.len()
}

#[test]
fn faults_come_as_often_as_is_said() {
    let clocks = || Faults::of([FaultKind::ClockJump]);
    assert_eq!(faults_of(Faults::none()), 0);
    let [often, usual, seldom] =
        [clocks().every(seconds(1)), clocks(), clocks().every(seconds(30))].map(faults_of);
    assert!((200..450).contains(&often), "{often}");
    assert!((45..120).contains(&usual), "{usual}");
    assert!((4..20).contains(&seldom), "{seldom}");
}

#[test]
fn every_kind_of_fault_happens_and_exactly_once_holds_through_it() {
    for &kind in FaultKind::ALL {
        let faults = Faults::of([kind]).every(seconds(2));
        let mut app = app().workers(2).exactly_once().faults(faults);
        for _ in 0..60 {
            app.send(&WORDS, "red", "red").advance(seconds(1));
        }
        app.settle();
        assert!(!app.schedule.told.is_empty(), "{kind:?} happens");
        assert_eq!(app.table(&SEEN).get("red"), Some(&60), "{kind:?}");
        assert_eq!(app.outputs(&COUNTS).len(), 60, "{kind:?}");
    }
}
