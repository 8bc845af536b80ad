//! Tables that come back from their changelogs.

use rdkafka::{Offset, TopicPartitionList};
use stream_runtime::prelude::*;

use crate::support::{Bench, input, wait_until};

#[table(config = [("cleanup.policy", "compact,delete")])]
static RESTORES_COUNT: Table<String, u64>;

#[agent(topic = "votes", sink = "tally")]
async fn tally(name: String) -> String {
    let count = RESTORES_COUNT.update(&name, |count| {
        *count += 1;
        *count
    });
    format!("{name} {count}")
}

#[test]
fn a_restore_ends_where_the_changelog_ends_although_no_record_is_there() {
    let bench = Bench::new(&[("votes", 1), ("tally", 1)]);
    bench.produce("votes", ["a", "b", "c"].map(input));
    let running = bench.start([tally::agent()]);
    bench.wait_for_commit("votes", 0, 3);
    running.stop().expect("all is well");
    let changelog = bench.changelog("restores-count");
    let end = bench.end(&changelog);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&changelog, 0, Offset::Offset(end))
        .expect("an offset that can be");
    bench.delete_records(&list);
    assert_eq!((bench.read(&changelog).len(), bench.end(&changelog)), (0, 3));
    bench.produce("votes", ["a"].map(input));
    let running = bench.start([tally::agent()]);
    bench.wait_for_commit("votes", 0, 4);
    running.stop().expect("all is well");
    assert_eq!(bench.texts("tally").last().map(String::as_str), Some("a 1"));
}

#[test]
fn changes_that_were_written_and_not_committed_are_overwritten_although_nothing_comes() {
    let bench = Bench::new(&[("votes", 1), ("tally", 1)]);
    let running = bench.start([tally::agent()]);
    for votes in 1..=2 {
        bench.produce("votes", ["a"].map(input));
        bench.wait_for_commit("votes", 0, votes);
    }
    running.stop().expect("all is well");
    let changelog = bench.changelog("restores-count");
    let values: Vec<_> = bench
        .read(&changelog)
        .into_iter()
        .map(|change| change.value)
        .collect();
    let [Some(one), Some(two)] = &values[..] else {
        panic!("one change for each commit: {values:?}");
    };
    // As a worker leaves them that dies before it commits.
    bench.produce(&changelog, ["a", "b"].map(|name| input(one).key(name).to(0)));
    let running = bench.start([tally::agent()]);
    wait_until("both are overwritten", || bench.end(&changelog) == 6);
    running.stop().expect("all is well");
    let changes = bench.read(&changelog).into_iter().skip(4);
    let changes: Vec<_> = changes.map(|change| (change.key_text(), change.value)).collect();
    assert_eq!(
        changes,
        [("a".to_owned(), Some(two.clone())), ("b".to_owned(), None)]
    );
}

#[table(config = [("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01"), ("delete.retention.ms", "0"), ("min.compaction.lag.ms", "0")])]
static RESTORES_COMPACTED: Table<String, u64>;

#[agent(topic = "votes", sink = "tally")]
async fn tally_or_remove(name: String) -> String {
    if let Some(name) = name.strip_prefix('-') {
        return format!("{name} had {:?}", RESTORES_COMPACTED.remove(name));
    }
    let count = RESTORES_COMPACTED.update(&name, |count| {
        *count += 1;
        *count
    });
    format!("{name} {count}")
}

#[test]
fn a_restore_of_a_compacted_changelog_is_exact() {
    let bench = Bench::new(&[("votes", 1), ("tally", 1)]);
    let changelog = bench.changelog("restores-compacted");
    let running = bench.start([tally_or_remove::agent()]);
    let mut voted = 0;
    let mut rounds = 0;
    bench.produce("votes", [input("gone"), input("-gone")]);
    voted += 2;
    wait_until("compaction has left gaps", || {
        bench.produce("votes", ["a", "b"].map(input));
        voted += 2;
        rounds += 1;
        bench.wait_for_commit("votes", 0, voted);
        (bench.read(&changelog).len() as i64) < bench.end(&changelog) - 1
    });
    bench.produce("votes", [input("-b")]);
    voted += 1;
    bench.wait_for_commit("votes", 0, voted);
    running.stop().expect("all is well");
    bench.produce("votes", ["a", "b", "gone"].map(input));
    let running = bench.start([tally_or_remove::agent()]);
    bench.wait_for_commit("votes", 0, voted + 3);
    running.stop().expect("all is well");
    let texts = bench.texts("tally");
    assert_eq!(
        texts[texts.len() - 3..],
        [format!("a {}", rounds + 1), "b 1".to_owned(), "gone 1".to_owned()]
    );
}

#[test]
fn each_task_is_restored_from_its_own_partition_of_the_changelog() {
    let bench = Bench::new(&[("votes", 4), ("tally", 1)]);
    bench.produce("votes", (0..2000).map(|n| input(format!("n{n}")).to(0)));
    let running = bench.start([tally::agent()]);
    bench.wait_for_commit("votes", 0, 2000);
    running.stop().expect("all is well");
    bench.produce("votes", (0..10).map(|n| input(format!("n{n}")).to(n % 4)));
    let running = bench.start([tally::agent()]);
    wait_until("all tasks run", || running.running_tasks().len() == 4);
    bench.wait_for_records("tally", 2010);
    running.stop().expect("all is well");
    let texts = bench.texts("tally");
    for n in [0, 4, 8] {
        assert!(texts.contains(&format!("n{n} 2")), "n{n} was counted before");
    }
    for n in [1, 2, 3, 5] {
        assert!(!texts.contains(&format!("n{n} 2")), "n{n} is another shard's");
    }
}
