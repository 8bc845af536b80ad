//! Restores over a log that is a vector.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;

use super::*;
use crate::error::Error;
use crate::kafka::{AcknowledgedProducer, Admin, GroupConsumer, Producer, TransactionalProducer};
use crate::record::HeadersRef;
use crate::store::MemoryStore;

/// What a changelog has: offset, key and value.
type Log = Vec<(i64, &'static str, Option<&'static str>)>;

/// Where reading began, of what the reader was told of at once.
type Begun = Arc<Mutex<Vec<Vec<StartOffset>>>>;

const LAG: Duration = Duration::from_secs(24 * 3600);

/// A cluster of changelogs, all records of which are of the same age.
struct Logs {
    logs: BTreeMap<&'static str, Log>,
    age: Duration,
    /// The first offset that is still there.
    first: i64,
    begun: Begun,
}

struct Reader {
    logs: BTreeMap<&'static str, Log>,
    timestamp: i64,
    first: i64,
    begun: Begun,
    /// What is being read, from which offset on.
    reading: Vec<(TopicPartition, i64)>,
}

impl Cluster for Logs {
    fn partition_reader(&self, _: Arc<Notify>) -> Result<Box<dyn PartitionReader>> {
        let age = i64::try_from(self.age.as_millis()).expect("a short age");
        Ok(Box::new(Reader {
            logs: self.logs.clone(),
            timestamp: clock::wall_millis() - age,
            first: self.first,
            begun: Arc::clone(&self.begun),
            reading: Vec::new(),
        }))
    }

    fn group_consumer(&self, _: &str, _: Arc<Notify>) -> Result<Box<dyn GroupConsumer>> {
        Err(Error::usage("there are only logs"))
    }

    fn producer(&self, _: Arc<Notify>) -> Result<Box<dyn Producer + Send>> {
        Err(Error::usage("there are only logs"))
    }

    fn transactional_producer(
        &self,
        _: &str,
        _: Duration,
        _: Arc<Notify>,
    ) -> Result<Box<dyn TransactionalProducer>> {
        Err(Error::usage("there are only logs"))
    }

    fn acknowledged_producer(&self) -> Result<Arc<dyn AcknowledgedProducer>> {
        Err(Error::usage("there are only logs"))
    }

    fn admin(&self) -> Result<Arc<dyn Admin>> {
        Err(Error::usage("there are only logs"))
    }
}

impl PartitionReader for Reader {
    fn add(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        let starts = partitions.iter().map(|(_, start)| *start);
        self.begun
            .lock()
            .expect("no panic under it")
            .push(starts.collect());
        for (at, start) in partitions {
            let from = match start {
                StartOffset::At(offset) => *offset,
                StartOffset::Beginning => self.first,
                StartOffset::Committed => return Err(Error::usage("there is no group")),
            };
            self.reading.push((at.clone(), from));
        }
        Ok(())
    }

    fn remove(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.reading.retain(|(at, _)| !partitions.contains(at));
        Ok(())
    }

    fn poll(&mut self, sink: &mut dyn RecordSink, _: usize) -> Result<usize> {
        let mut records = 0;
        for (at, from) in &self.reading {
            let log = &self.logs[&*at.topic];
            let end = log.last().map_or(0, |(offset, ..)| offset + 1);
            if *from < self.first || *from > end {
                sink.out_of_range(&at.topic, at.partition);
                continue;
            }
            for (offset, key, value) in log.iter().filter(|(offset, ..)| offset >= from) {
                records += 1;
                sink.record(RecordRef {
                    topic: &at.topic,
                    partition: at.partition,
                    offset: *offset,
                    timestamp: self.timestamp,
                    key: Some(key.as_bytes()),
                    value: value.map(str::as_bytes),
                    headers: HeadersRef::default(),
                });
            }
            sink.end_of_partition(&at.topic, at.partition, end);
        }
        Ok(records)
    }

    fn known_end(&self, at: &TopicPartition) -> Option<i64> {
        Some(self.logs[&*at.topic].last()?.0 + 1)
    }
}

const TASK: TaskId = TaskId {
    sub_topology: 0,
    partition: 0,
};

/// A restore of one table.
struct Case {
    log: Log,
    age: Duration,
    first: i64,
    committed: Option<i64>,
}

impl Case {
    fn of(log: &[(i64, &'static str, Option<&'static str>)]) -> Self {
        Self {
            log: log.to_vec(),
            age: Duration::from_secs(60),
            first: 0,
            committed: None,
        }
    }

    fn committed(self, offset: i64) -> Self {
        Self {
            committed: Some(offset),
            ..self
        }
    }

    fn restores(self) -> (Restores, Begun) {
        let begun = Begun::default();
        let cluster = Arc::new(Logs {
            logs: [("t-changelog", self.log)].into(),
            age: self.age,
            first: self.first,
            begun: Arc::clone(&begun),
        });
        (Restores::new(cluster, Arc::new(Notify::new())), begun)
    }

    /// Restores into `store`; gives what came of it and where reading began.
    fn into(self, store: &Rc<dyn Store>) -> (Restored, Vec<StartOffset>) {
        let committed = self.committed;
        let (mut restores, begun) = self.restores();
        add(&mut restores, TASK, committed, store);
        for _ in 0..3 {
            let (_, mut restored) = restores.step().expect("goes on");
            if let Some(restored) = restored.pop() {
                assert!(!restores.active());
                let begun = begun.lock().expect("no panic under it").concat();
                return (restored, begun);
            }
        }
        panic!("three rounds are enough");
    }
}

fn add(restores: &mut Restores, task: TaskId, committed: Option<i64>, store: &Rc<dyn Store>) {
    let request = RestoreRequest {
        name: "t",
        changelog: TopicPartition {
            topic: "t-changelog".into(),
            partition: task.partition,
        },
        committed,
        kept: LAG,
    };
    restores.add(task, vec![request], store).expect("begins");
}

fn empty() -> Rc<dyn Store> {
    Rc::new(MemoryStore::new(1))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The entries of the store as `key=value`.
fn entries(store: &Rc<dyn Store>) -> Vec<String> {
    let mut entries = Vec::new();
    let scanned = store.scan(0, &mut |key, value| {
        entries.push(format!("{}={}", text(key), text(value)));
        ControlFlow::Continue(())
    });
    scanned.expect("scans");
    entries
}

/// The writes of a batch as `key=value`, `key` alone where it deletes.
fn writes(batch: &Batch) -> Vec<String> {
    let write = |write: Write<'_>| match write.value {
        Some(value) => format!("{}={}", text(write.key), text(value)),
        None => text(write.key),
    };
    batch.writes().map(write).collect()
}

const LOG: [(i64, &str, Option<&str>); 5] = [
    (0, "a", Some("1")),
    (1, "b", Some("1")),
    (4, "a", Some("2")),
    (5, "b", None),
    (6, "c", Some("1")),
];

#[test]
fn all_of_a_changelog_counts_where_nothing_says_what_was_committed() {
    let store = empty();
    let (restored, begun) = Case::of(&LOG).into(&store);
    assert_eq!(entries(&store), ["a=2", "c=1"]);
    assert_eq!(store.changelog_offset(0), Some(7));
    assert_eq!(restored.changelogs, [("t", 7)]);
    assert!(restored.repair.is_empty());
    assert_eq!(begun, [StartOffset::At(0)]);
}

#[test]
fn what_is_behind_the_cut_is_taken_back() {
    let store = empty();
    let (restored, _) = Case::of(&LOG).committed(4).into(&store);
    assert_eq!(entries(&store), ["a=1", "b=1"]);
    assert_eq!(store.changelog_offset(0), Some(4));
    assert_eq!(restored.changelogs, [("t", 4)]);
    assert_eq!(writes(&restored.repair), ["a=1", "b=1", "c"]);
}

#[test]
fn a_cut_in_a_gap_of_the_log_is_a_cut_all_the_same() {
    let store = empty();
    let (restored, _) = Case::of(&LOG).committed(3).into(&store);
    assert_eq!(entries(&store), ["a=1", "b=1"]);
    assert_eq!(writes(&restored.repair), ["a=1", "b=1", "c"]);
    assert_eq!(restored.changelogs, [("t", 3)]);
}

#[test]
fn a_tail_that_is_too_old_to_be_taken_back_counts() {
    let store = empty();
    let old = Case {
        age: LAG,
        ..Case::of(&LOG).committed(4)
    };
    let (restored, _) = old.into(&store);
    assert_eq!(entries(&store), ["a=2", "c=1"]);
    assert_eq!(restored.changelogs, [("t", 7)]);
    assert!(restored.repair.is_empty());
}

#[test]
fn only_what_the_store_does_not_have_is_read() {
    let store = empty();
    Case::of(&LOG[..3]).committed(5).into(&store);
    assert_eq!(store.changelog_offset(0), Some(5));
    let (restored, begun) = Case::of(&LOG).committed(7).into(&store);
    assert_eq!(begun, [StartOffset::At(5)]);
    assert_eq!(entries(&store), ["a=2", "c=1"]);
    assert_eq!(restored.changelogs, [("t", 7)]);
}

#[test]
fn a_store_that_is_ahead_of_the_cut_is_rebuilt_up_to_it() {
    let store = empty();
    Case::of(&LOG).into(&store);
    let (restored, begun) = Case::of(&LOG).committed(2).into(&store);
    assert_eq!(begun, [StartOffset::At(0)]);
    assert_eq!(entries(&store), ["a=1", "b=1"]);
    assert_eq!(writes(&restored.repair), ["a=1", "b=1", "c"]);
}

#[test]
fn a_store_of_a_longer_log_is_rebuilt_from_what_there_is() {
    let store = empty();
    Case::of(&LOG).into(&store);
    let (restored, begun) = Case::of(&LOG[..1]).committed(7).into(&store);
    assert_eq!(begun, [StartOffset::At(7), StartOffset::Beginning]);
    assert_eq!(entries(&store), ["a=1"]);
    assert_eq!(restored.changelogs, [("t", 1)]);
    assert_eq!(store.changelog_offset(0), Some(1));
}

#[test]
fn a_log_that_lost_its_beginning_is_read_from_where_it_begins() {
    let store = empty();
    let shortened = Case {
        first: 4,
        ..Case::of(&LOG[2..]).committed(7)
    };
    let (restored, begun) = shortened.into(&store);
    assert_eq!(begun, [StartOffset::At(0), StartOffset::Beginning]);
    assert_eq!(entries(&store), ["a=2", "c=1"]);
    assert_eq!(restored.changelogs, [("t", 7)]);
}

/// A second task, of the same log.
const OTHER: TaskId = TaskId {
    sub_topology: 0,
    partition: 1,
};

/// The tasks that the next step restores.
fn stepped(restores: &mut Restores) -> Vec<TaskId> {
    let (_, restored) = restores.step().expect("goes on");
    restored.into_iter().map(|restored| restored.task).collect()
}

#[test]
fn the_reader_is_told_of_all_tasks_of_a_turn_at_once() {
    let (mut restores, begun) = Case::of(&LOG).restores();
    add(&mut restores, TASK, None, &empty());
    add(&mut restores, OTHER, None, &empty());
    assert_eq!(stepped(&mut restores), [TASK, OTHER]);
    assert_eq!(
        *begun.lock().expect("no panic under it"),
        [[StartOffset::At(0); 2]]
    );
}

#[test]
fn a_task_that_is_taken_away_in_the_same_turn_is_not_read() {
    let (mut restores, begun) = Case::of(&LOG).restores();
    add(&mut restores, TASK, None, &empty());
    add(&mut restores, OTHER, None, &empty());
    restores.remove(TASK).expect("goes");
    assert_eq!(stepped(&mut restores), [OTHER]);
    // It comes, goes and comes again.
    add(&mut restores, TASK, None, &empty());
    restores.remove(TASK).expect("goes");
    add(&mut restores, TASK, None, &empty());
    assert_eq!(stepped(&mut restores), [TASK]);
    assert!(!restores.active());
    let begun = begun.lock().expect("no panic under it");
    assert_eq!(*begun, [[StartOffset::At(0)], [StartOffset::At(0)]]);
}
