//! What a commit covers, and where a restart goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stream_runtime::prelude::*;

use crate::support::{Bench, Gate, input, wait_until};

#[table]
static COMMITS_COUNT: Table<String, u64>;

#[agent(topic = "votes", sink = "tally")]
async fn tally(name: String) -> String {
    let count = COMMITS_COUNT.update(&name, |count| {
        *count += 1;
        *count
    });
    format!("{name} {count}")
}

#[test]
fn committed_offsets_are_those_behind_the_records_that_are_done() {
    let bench = Bench::new(&[("votes", 2), ("tally", 1)]);
    bench.produce("votes", ["a", "b", "c"].map(|name| input(name).to(0)));
    bench.produce("votes", ["d"].map(|name| input(name).to(1)));
    let running = bench.start([tally::agent()]);
    bench.wait_for_commit("votes", 0, 3);
    bench.wait_for_commit("votes", 1, 1);
    bench.produce("votes", ["e"].map(|name| input(name).to(1)));
    bench.wait_for_commit("votes", 1, 2);
    running.stop().expect("all is well");
    assert_eq!(
        (bench.committed("votes", 0), bench.committed("votes", 1)),
        (Some(3), Some(2))
    );
}

#[test]
fn a_stop_commits_all_that_was_processed() {
    let bench = Bench::new(&[("votes", 1), ("tally", 1)]);
    bench.produce("votes", ["a", "b", "a"].map(input));
    let app = bench.app([tally::agent()]).set("commit_interval", "4m");
    let running = app.start().expect("the program starts");
    bench.wait_for_records("tally", 3);
    assert_eq!(
        bench.committed("votes", 0),
        Some(0),
        "no commit but that of where it began is due for minutes"
    );
    running.stop().expect("all is well");
    assert_eq!(bench.committed("votes", 0), Some(3));
    assert_eq!(bench.end(&bench.changelog("commits-count")), 2);
}

#[table]
static COMMITS_LARGE: Table<u64, String>;

#[agent(topic = "numbers")]
async fn keep_a_lot(number: u64) {
    COMMITS_LARGE.set(&number, "x".repeat(100_000));
}

#[test]
fn a_commit_is_due_before_its_time_when_values_in_memory_weigh_much() {
    let bench = Bench::new(&[("numbers", 1)]);
    let app = bench.app([keep_a_lot::agent()]).set("commit_interval", "4m");
    let running = app.start().expect("the program starts");
    // Of few keys, but they take 20 MB.
    bench.produce("numbers", (0..200).map(|n| input(n.to_string())));
    wait_until("much is committed", || bench.committed("numbers", 0) > Some(100));
    running.stop().expect("all is well");
    assert_eq!(bench.end(&bench.changelog("commits-large")), 200);
}

#[test]
fn drain_waits_until_everything_is_processed_and_committed() {
    let bench = Bench::new(&[("votes", 4), ("tally", 1)]);
    bench.produce(
        "votes",
        (0..200).map(|n| input(format!("n{n}")).key(n.to_string())),
    );
    let app = bench.app([tally::agent()]).set("commit_interval", "4m");
    let running = app.start().expect("the program starts");
    running
        .drain(crate::support::DEADLINE)
        .expect("everything is processed");
    assert_eq!(bench.end("tally"), 200);
    let committed: i64 = (0..4)
        .filter_map(|partition| bench.committed("votes", partition))
        .sum();
    assert_eq!(committed, 200);
    running.stop().expect("all is well");
}

#[test]
fn a_restart_goes_on_exactly_where_the_last_run_stopped_and_tables_with_it() {
    let bench = Bench::new(&[("votes", 4), ("tally", 1)]);
    let mut voted = 0;
    for round in 1..=3_u64 {
        bench.produce(
            "votes",
            (0..40).map(|n| input(format!("n{n}")).key(n.to_string())),
        );
        voted += 40;
        let running = bench.start([tally::agent()]);
        bench.wait_for_records("tally", voted);
        running.stop().expect("all is well");
        assert_eq!(bench.end("tally"), voted);
        let texts = bench.texts("tally");
        for n in 0..40 {
            let expected = format!("n{n} {round}");
            assert_eq!(
                texts.iter().filter(|text| **text == expected).count(),
                1,
                "{expected}"
            );
        }
    }
}

#[test]
fn a_key_written_a_thousand_times_between_two_commits_is_one_record_of_the_changelog() {
    let bench = Bench::new(&[("votes", 1), ("tally", 1)]);
    let app = bench.app([tally::agent()]).set("commit_interval", "4m");
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock that is set");
    let before = since_epoch.as_millis() as i64;
    let running = app.start().expect("the program starts");
    for hundred in 1..=10 {
        bench.produce("votes", (0..100).map(|n| input("hot").at(1_700_000_000_000 + n)));
        bench.wait_for_records("tally", 100 * hundred);
    }
    running.stop().expect("all is well");
    let changelog = bench.read(&bench.changelog("commits-count"));
    assert_eq!(changelog.len(), 1);
    assert_eq!(changelog[0].key_text(), "hot");
    assert!(
        changelog[0].timestamp >= before,
        "how long it has been there decides about compaction, not the time of an event"
    );
}

#[agent(topic = "orders", sink = "counts")]
async fn count_or_remove(Key(name): Key<String>, order: String) -> String {
    match order.as_str() {
        "remove" => format!("{name} had {:?}", COMMITS_COUNT.remove(&name)),
        "show" => format!("{name} has {:?}", COMMITS_COUNT.get(&name)),
        _ => {
            COMMITS_COUNT.update(&name, |count| *count += 1);
            format!("{name} counted")
        }
    }
}

#[test]
fn a_removed_key_is_a_tombstone_in_the_changelog_and_does_not_come_back() {
    let bench = Bench::new(&[("orders", 1), ("counts", 1)]);
    let order = |order: &str| input(order).key("k");
    bench.produce("orders", [order("count"), order("count")]);
    let running = bench.start([count_or_remove::agent()]);
    bench.wait_for_commit("orders", 0, 2);
    bench.produce("orders", [order("remove")]);
    bench.wait_for_commit("orders", 0, 3);
    bench.produce("orders", [order("show")]);
    bench.wait_for_commit("orders", 0, 4);
    running.stop().expect("all is well");
    let changelog = bench.read(&bench.changelog("commits-count"));
    let last = changelog.last().expect("it was written");
    assert_eq!((last.key_text(), last.value.clone()), ("k".to_owned(), None));
    bench.produce("orders", [order("show"), order("count"), order("remove")]);
    let running = bench.start([count_or_remove::agent()]);
    bench.wait_for_commit("orders", 0, 7);
    running.stop().expect("all is well");
    assert_eq!(
        bench.texts("counts")[2..],
        [
            "k had Some(2)",
            "k has None",
            "k has None",
            "k counted",
            "k had Some(1)"
        ]
    );
}

static MIDDLE: Gate = Gate::new();

#[agent(topic = "steps", sink = "taken")]
async fn step(Key(name): Key<String>, value: String) -> String {
    COMMITS_COUNT.update(&format!("{name} {value} before"), |count| *count += 1);
    if value == "wait" {
        MIDDLE.pass().await;
    }
    COMMITS_COUNT.update(&format!("{name} {value} after"), |count| *count += 1);
    value
}

#[test]
fn a_commit_waits_for_an_agent_amid_a_record_and_other_tasks_commit_meanwhile() {
    let bench = Bench::new(&[("steps", 2), ("taken", 1)]);
    let slow = |value: &str| input(value).key("slow").to(0);
    let quick = |value: &str| input(value).key("quick").to(1);
    bench.produce("steps", [slow("go"), slow("wait"), slow("go")]);
    let running = bench.start([step::agent()]);
    MIDDLE.wait_for(1);
    for commits in 1..=3 {
        bench.produce("steps", [quick("go")]);
        bench.wait_for_commit("steps", 1, commits);
    }
    let changelog = bench.changelog("commits-count");
    let committed = bench.committed("steps", 0).unwrap_or(0);
    assert!(
        committed <= 1,
        "the record that is open is not committed, nor what is behind it"
    );
    let writes = bench.read(&changelog);
    let of_slow: Vec<_> = writes.iter().filter(|write| write.partition == 0).collect();
    assert_eq!(of_slow.len() as i64, 2 * committed, "nor are half of its writes");
    MIDDLE.open();
    bench.wait_for_commit("steps", 0, 3);
    running.stop().expect("all is well");
    assert_eq!(bench.end("taken"), 6);
}

#[agent(topic = "steps", sink = "taken")]
async fn step_to_the_end(value: String) -> String {
    COMMITS_COUNT.update("steps", |count| *count += 1);
    if value == "wait" {
        END.pass().await;
    }
    value
}

static END: Gate = Gate::new();

#[test]
fn a_stop_lets_the_open_record_be_finished_and_commits_it() {
    let bench = Bench::new(&[("steps", 1), ("taken", 1)]);
    bench.produce("steps", ["go", "wait", "go"].map(input));
    let running = bench.start([step_to_the_end::agent()]);
    END.wait_for(1);
    let stopping = std::thread::spawn(move || running.stop());
    // Whether the stop has begun by now or not, it must wait.
    END.open();
    stopping.join().expect("it does not panic").expect("all is well");
    let committed = bench.committed("steps", 0).expect("a commit was made");
    assert!(committed >= 2);
    assert_eq!(bench.end("taken"), committed);
}

#[agent(topic = "votes", sink = "tally")]
async fn pass_on(name: String) -> String {
    name
}

#[test]
fn a_worker_of_two_threads_loses_and_doubles_nothing() {
    let bench = Bench::new(&[("votes", 4), ("tally", 1)]);
    let app = bench.app([pass_on::agent()]).set("threads", 2);
    let running = app.start().expect("the program starts");
    wait_until("all tasks run", || running.running_tasks().len() == 4);
    bench.produce(
        "votes",
        (0..40).map(|n| input(format!("n{n}")).key(n.to_string())),
    );
    bench.wait_for_records("tally", 40);
    running.stop().expect("all is well");
    let mut passed = bench.texts("tally");
    passed.sort();
    let mut expected: Vec<_> = (0..40).map(|n| format!("n{n}")).collect();
    expected.sort();
    assert_eq!(passed, expected);
}

#[table]
static COMMITS_SHARED: Table<String, u64>;

#[agent(topic = "quiet-votes")]
async fn count_quiet(name: String) {
    COMMITS_SHARED.update(&name, |count| *count += 1);
}

#[agent(topic = "busy-votes")]
async fn count_busy(name: String) {
    COMMITS_SHARED.update(&name, |count| *count += 1);
}

/// The offsets of one input may be reset or gone at the next start: what is left must not tell of an old cut.
#[test]
fn an_input_that_stands_still_carries_the_newest_cut_too() {
    let bench = Bench::new(&[("quiet-votes", 1), ("busy-votes", 1)]);
    bench.produce("quiet-votes", ["a"].map(input));
    let running = bench.start([count_quiet::agent(), count_busy::agent()]);
    bench.wait_for_commit("quiet-votes", 0, 1);
    for count in 1..=3 {
        bench.produce("busy-votes", ["b"].map(input));
        bench.wait_for_commit("busy-votes", 0, count);
    }
    running.stop().expect("all is well");
    let quiet = bench.committed_with("quiet-votes", 0).expect("is committed");
    let busy = bench.committed_with("busy-votes", 0).expect("is committed");
    assert_eq!((quiet.0, busy.0), (1, 3));
    assert_eq!(quiet.1, busy.1);
    assert!(!busy.1.is_empty());
}

static TAKES_ITS_TIME: AtomicBool = AtomicBool::new(true);

/// Blocks its thread for a little while at every record, and at one of them for good.
#[agent(topic = "slow-votes")]
async fn take_time(event: Event<(), String>) {
    while TAKES_ITS_TIME.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
        if event.offset < 1000 {
            break;
        }
    }
}

struct Hurry;

impl Drop for Hurry {
    fn drop(&mut self) {
        TAKES_ITS_TIME.store(false, Ordering::SeqCst);
    }
}

#[test]
fn commits_do_not_wait_until_slow_agents_are_done_with_all_that_has_come() {
    let bench = Bench::new(&[("slow-votes", 1)]);
    bench.produce("slow-votes", (0..1500).map(|_| input("a")));
    let running = bench.start([take_time::agent()]);
    let hurry = Hurry;
    wait_until("some records are committed", || {
        bench.committed("slow-votes", 0).is_some_and(|offset| offset > 0)
    });
    drop(hurry);
    bench.wait_for_commit("slow-votes", 0, 1500);
    running.stop().expect("all is well");
}

/// Votes by name, until they are counted.
#[topic(internal, partitions = 1)]
static COMMITS_BY_NAME: Topic<String, String>;

/// The same, for a week.
#[topic(internal, partitions = 1, retention = "7d")]
static COMMITS_KEPT: Topic<String, String>;

#[agent(topic = "votes")]
async fn send_on(name: String) {
    COMMITS_BY_NAME.send(&name, &name).await;
    COMMITS_KEPT.send(&name, &name).await;
}

#[agent(topic = COMMITS_BY_NAME)]
async fn take_passed_on(_name: String) {}

#[agent(topic = COMMITS_KEPT)]
async fn take_kept(_name: String) {}

#[test]
fn what_is_processed_is_deleted_from_internal_topics_that_have_no_retention() {
    let bench = Bench::new(&[("votes", 1)]);
    bench.produce("votes", ["a", "b", "c"].map(input));
    let app = bench
        .app([send_on::agent(), take_passed_on::agent(), take_kept::agent()])
        .set("purge_interval", "50ms");
    let running = app.start().expect("the program starts");
    let (by_name, kept) = (
        format!("{}-commits-by-name", bench.id),
        format!("{}-commits-kept", bench.id),
    );
    wait_until("what is processed is deleted", || bench.deleted(&by_name) == 3);
    bench.wait_for_commit(&kept, 0, 3);
    bench.produce("votes", ["d"].map(input));
    wait_until("what comes later, too", || bench.deleted(&by_name) == 4);
    assert_eq!((bench.deleted(&kept), bench.deleted("votes")), (0, 0));
    assert_eq!(
        bench.topic_setting(&by_name, "retention.ms").as_deref(),
        Some("-1"),
        "records of long ago are not to be gone before they are read"
    );
    running.stop().expect("all is well");
}
