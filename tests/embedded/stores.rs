//! What the store keeps on this machine from one start to the next.

use std::fs;
use std::path::{Path, PathBuf};

#[cfg(feature = "rocksdb")]
use stream_runtime::embedded::NewTopic;
use stream_runtime::prelude::*;

#[cfg(feature = "rocksdb")]
use crate::support::wait_until;
use crate::support::{Bench, input};

// `delete` lets a test remove records from the changelog.
#[table(config = [("cleanup.policy", "compact,delete")])]
static STORES_COUNT: Table<String, u64>;

#[agent(topic = "votes", sink = "tally")]
async fn count_votes(name: String) -> String {
    let count = STORES_COUNT.update(&name, |count| {
        *count += 1;
        *count
    });
    format!("{name} {count}")
}

/// A directory for the state of one test's program.
fn datadir(bench: &Bench) -> PathBuf {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stores-{}-{}", std::process::id(), bench.id));
    let _ = fs::remove_dir_all(&path);
    path
}

#[test]
fn a_store_in_memory_makes_no_directory() {
    let bench = Bench::new(&[("votes", 1), ("tally", 1)]);
    let datadir = datadir(&bench);
    bench.produce("votes", ["a"].map(input));
    let app = bench
        .app([count_votes::agent()])
        .set("datadir", datadir.display());
    let running = app.start().expect("the program starts");
    bench.wait_for_commit("votes", 0, 1);
    running.stop().expect("all is well");
    assert!(!datadir.exists());
}

#[cfg(feature = "rocksdb")]
mod rocksdb {
    use super::*;

    fn app(bench: &Bench, datadir: &Path) -> App {
        bench
            .app([count_votes::agent()])
            .set("store", "rocksdb://")
            .set("datadir", datadir.display())
            .set("memory_budget", "32MiB")
    }

    #[test]
    fn a_restart_goes_on_from_the_state_on_this_machine() {
        let bench = Bench::new(&[("votes", 2), ("tally", 1)]);
        let datadir = datadir(&bench);
        bench.produce("votes", (0..500).map(|n| input(format!("n{}", n % 50)).to(n % 2)));
        let running = app(&bench, &datadir).start().expect("the program starts");
        bench.wait_for_commit("votes", 0, 250);
        bench.wait_for_commit("votes", 1, 250);
        running.stop().expect("all is well");
        assert!(datadir.join(&bench.id).join("0/tasks/votes-1/CURRENT").exists());
        bench.produce("votes", (0..50).map(|n| input(format!("n{n}")).to(n % 2)));
        let running = app(&bench, &datadir).start().expect("the program starts");
        bench.wait_for_records("tally", 550);
        running.stop().expect("all is well");
        let mut texts = bench.texts("tally").split_off(500);
        texts.sort();
        let mut expected: Vec<_> = (0..50).map(|n| format!("n{n} 11")).collect();
        expected.sort();
        assert_eq!(texts, expected);
        let _ = fs::remove_dir_all(datadir);
    }

    #[test]
    fn a_changelog_is_read_from_where_the_state_on_this_machine_ends() {
        let bench = Bench::new(&[("votes", 1), ("tally", 1)]);
        let datadir = datadir(&bench);
        bench.produce("votes", ["a", "a", "b"].map(input));
        // Twice, since what is committed has its offset in the changelog when it is read again at the latest.
        for _ in 0..2 {
            let running = app(&bench, &datadir).start().expect("the program starts");
            bench.wait_for_commit("votes", 0, 3);
            wait_until("the task runs", || !running.running_tasks().is_empty());
            running.stop().expect("all is well");
        }
        // With the changelog gone, only this machine knows.
        let changelog = bench.changelog("stores-count");
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(&changelog, 0, rdkafka::Offset::Offset(bench.end(&changelog)))
            .expect("an offset that can be");
        bench.delete_records(&list);
        bench.produce("votes", ["a"].map(input));
        let running = app(&bench, &datadir).start().expect("the program starts");
        bench.wait_for_commit("votes", 0, 4);
        running.stop().expect("all is well");
        assert_eq!(bench.texts("tally").last().map(String::as_str), Some("a 3"));
        let _ = fs::remove_dir_all(datadir);
    }

    #[test]
    fn two_workers_share_a_datadir() {
        let bench = Bench::new(&[("votes", 4), ("tally", 1)]);
        let datadir = datadir(&bench);
        let first = app(&bench, &datadir).start().expect("the program starts");
        wait_until("the first has all", || first.running_tasks().len() == 4);
        let second = app(&bench, &datadir).start().expect("the program starts");
        wait_until("they share", || {
            (first.running_tasks().len(), second.running_tasks().len()) == (2, 2)
        });
        bench.produce("votes", (0..40).map(|n| input(format!("n{}", n % 4)).to(n % 4)));
        for partition in 0..4 {
            bench.wait_for_commit("votes", partition, 10);
        }
        second.stop().expect("all is well");
        wait_until("the first has all again", || first.running_tasks().len() == 4);
        bench.produce("votes", (0..4).map(|n| input(format!("n{n}")).to(n)));
        bench.wait_for_records("tally", 44);
        first.stop().expect("all is well");
        let texts = bench.texts("tally");
        for n in 0..4 {
            assert!(
                texts.contains(&format!("n{n} 11")),
                "n{n} is counted on by whoever has it"
            );
        }
        let numbers = fs::read_dir(datadir.join(&bench.id)).expect("it is there");
        let numbers = numbers.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir()));
        assert_eq!(numbers.count(), 2);
        let _ = fs::remove_dir_all(datadir);
    }

    /// Text that takes a twentieth of its length.
    fn long(name: &str) -> String {
        format!("{name} ").repeat(20_000)
    }

    #[table]
    static STORES_TEXTS: Table<String, String>;

    #[agent(topic = "texts", sink = "copies")]
    async fn keep_text(text: String) -> String {
        let name = text.split(' ').next().unwrap_or_default().to_owned();
        STORES_TEXTS.set(&name, text.clone());
        text
    }

    /// Both libraries bring LZ4 along; linked wrongly, one would call into the other's.
    #[test]
    fn rocksdb_and_librdkafka_compress_with_lz4_in_one_program() {
        let bench = Bench::new(&[("texts", 1)]);
        // A record of this size gets through only if it is compressed.
        bench.create(NewTopic::new("copies", 1).with("max.message.bytes", "20000"));
        let datadir = datadir(&bench);
        let texts: Vec<_> = (0..20).map(|n| long(&format!("text{n}"))).collect();
        bench.produce("texts", texts.iter().map(input));
        let start = || {
            bench
                .app([keep_text::agent()])
                .set("store", "rocksdb://")
                .set("datadir", datadir.display())
                .set("compression.type", "lz4")
                .start()
                .expect("the program starts")
        };
        let running = start();
        bench.wait_for_commit("texts", 0, 20);
        running.stop().expect("all is well");
        assert!(bench.texts("copies") == texts);
        let task = datadir.join(&bench.id).join("0/tasks/texts-0");
        let files = |is_one: fn(&Path) -> bool| -> Vec<_> {
            let entries = fs::read_dir(&task).expect("it is there");
            let paths = entries.map(|entry| entry.expect("can be read").path());
            let paths = paths.filter(|path| is_one(path));
            paths.map(|path| fs::read(path).expect("can be read")).collect()
        };
        let tables = files(|path| path.extension().is_some_and(|extension| extension == "sst"));
        let bytes: usize = tables.iter().map(Vec::len).sum();
        let plain: usize = texts.iter().map(String::len).sum();
        assert!((1..plain / 10).contains(&bytes), "{bytes} for {plain}");
        let options = files(|path| path.to_string_lossy().contains("OPTIONS-")).concat();
        let options = String::from_utf8_lossy(&options);
        assert!(options.contains("compression=kLZ4Compression"), "{options}");
        // And both read what they wrote.
        bench.produce("texts", [input(long("text0"))]);
        let running = start();
        bench.wait_for_commit("texts", 0, 21);
        running.stop().expect("all is well");
        let _ = fs::remove_dir_all(datadir);
    }
}
