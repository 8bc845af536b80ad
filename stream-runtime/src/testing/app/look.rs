//! What a test sees of a program.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, btree_map};
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;

use super::TestApp;
use crate::cluster::status::Stage;
use crate::record::HeadersRef;
use crate::record::codec::CodecOf;
use crate::record::key::TableKey;
use crate::record::topic::Topic;
use crate::table::Table;
use crate::testing::clients::topics::LoggedRecord;
use crate::testing::effects;

/// What is seen of it.
impl TestApp {
    /// The time since the start.
    #[track_caller]
    pub fn elapsed(&mut self) -> Duration {
        self.world().elapsed()
    }

    /// Milliseconds since the Unix epoch; tests begin with the year 2020.
    #[track_caller]
    pub fn now_millis(&mut self) -> i64 {
        self.world().network.lock().wall_millis()
    }

    /// All records of a topic that are there for good, decoded: partition by partition, in their order. Those of open and
    /// aborted transactions are not among them.
    ///
    /// # Panics
    /// When a record does not decode, or the program has no such topic.
    #[track_caller]
    pub fn outputs<K: 'static, V: 'static>(&mut self, topic: &'static Topic<K, V>) -> Vec<(K, V)> {
        let name = self.name_of(topic.def());
        let mut outputs = Vec::new();
        // No closures: a panic names the line of the test.
        for record in self.read(&name) {
            let place = format!("{name}/{} at offset {}", record.partition, record.offset);
            let key = decoded(topic.key, record.key.as_deref(), "key", &place);
            let value = decoded(topic.value, record.value.as_deref(), "value", &place);
            outputs.push((key, value));
        }
        outputs
    }

    /// All records of a topic by its name on the broker, as they are; otherwise as [`outputs`](Self::outputs).
    ///
    /// # Panics
    /// When the program has no such topic.
    #[track_caller]
    pub fn records(&mut self, topic: &str) -> Vec<TestRecord> {
        self.read(topic)
    }

    /// What is committed of a table, all partitions together.
    ///
    /// # Panics
    /// When the program has no such table, an entry does not decode, a key is in two partitions (as after
    /// [`send_with`](Self::send_with) to another than that of the key), or nobody has one of its tasks at the moment, as
    /// after a [`kill`](Self::kill): [`settle`](Self::settle) first.
    #[track_caller]
    pub fn table<K, V>(&mut self, table: &'static Table<K, V>) -> TableView<K, V>
    where
        K: TableKey,
        V: Clone + serde::Serialize + 'static,
    {
        let name = table.def().name;
        let (running, _) = self.running();
        let world = &running.driver.world;
        let Some((sub, count)) = world.tasks_of(name) else {
            panic!("the program has no table `{name}`: is it used by one of the agents of the test?");
        };
        let mut restored = world.restored_tasks();
        restored.retain(|(found, ..)| *found == sub);
        let is_there = |number: &u32| {
            let mut partitions = restored.iter().map(|(_, partition, _)| partition.cast_unsigned());
            partitions.any(|partition| partition == *number)
        };
        if let Some(number) = (0..count).find(|number| !is_there(number)) {
            panic!(
                "nobody has task {sub}/{number} at the moment, and with it a part of table `{name}`: let it be taken over \
                 first, with `settle` or more of `advance`"
            );
        }
        let mut entries = BTreeMap::new();
        let mut wrong = None;
        for (sub_topology, partition, worker) in restored {
            let disk = &world.workers[worker].disk;
            disk.scan(&sub_topology, partition, name, &mut |key, value| {
                match (K::decode_key(key), table.decode(value)) {
                    (Ok(key), Ok(value)) => match entries.entry(key) {
                        btree_map::Entry::Vacant(entry) => drop(entry.insert(value)),
                        btree_map::Entry::Occupied(_) => {
                            wrong = Some(format!("is in two partitions, {partition} the second"));
                        }
                    },
                    (Err(error), _) | (_, Err(error)) => wrong = Some(format!("does not decode: {error}")),
                }
                ControlFlow::Continue(())
            });
        }
        if let Some(wrong) = wrong {
            panic!("an entry of table `{name}` {wrong}");
        }
        TableView { entries }
    }

    /// The tasks that each worker runs, restored and ready: `<sub-topology>/<partition>`.
    #[track_caller]
    pub fn running_tasks(&mut self) -> Vec<Vec<String>> {
        let workers = self.world().workers.iter();
        let running = workers.map(|worker| {
            let tasks = worker.tasks().into_iter();
            let mut names: Vec<_> = tasks
                .filter(|(_, stage)| *stage == Stage::Running)
                .map(|(name, _)| name)
                .collect();
            names.sort();
            names
        });
        running.collect()
    }

    /// Why tasks have stopped, one sentence each.
    #[track_caller]
    pub fn stopped_tasks(&mut self) -> Vec<String> {
        self.world().stopped()
    }

    /// The seed.
    pub fn seed_number(&self) -> u64 {
        self.seed
    }

    /// What became of faults since the program was started, if no other was started on this thread since.
    #[doc(hidden)]
    pub fn effects(&self) -> BTreeMap<&'static str, u64> {
        effects::counts()
    }

    /// What was done, a line each: requests and answers with a checksum of what is in them, faults, starts and ends. Empty
    /// without [`traced`](Self::traced). Two runs that have the same lines did the same.
    #[track_caller]
    pub fn trace(&mut self) -> Vec<String> {
        self.world().network.lock().trace().to_vec()
    }

    /// What the group has not committed yet, and who is not ready.
    pub(super) fn unsettled(&self) -> String {
        let Some(running) = &self.running else {
            return "it was never started".to_owned();
        };
        let mut left: Vec<_> = match running.progress.left() {
            Ok(left) => left
                .into_iter()
                .map(|(at, left)| format!("{left} offsets of {at}"))
                .collect(),
            Err(error) => vec![format!("the broker says {error}")],
        };
        let world = &running.driver.world;
        let held = world
            .workers
            .iter()
            .map(|worker| worker.tasks().len())
            .sum::<usize>();
        if held != world.task_count() {
            left.push(format!("workers hold {held} of {} tasks", world.task_count()));
        }
        left.extend(world.complaint_about_group());
        if world.network.lock().is_away() {
            left.push("the broker is away".to_owned());
        }
        if world.network.hides_records() {
            left.push("a transaction is open".to_owned());
        }
        for worker in &world.workers {
            match worker {
                worker if !worker.lives() => left.push(format!("{worker:?} does not run")),
                worker if worker.is_frozen() => left.push(format!("{worker:?} is frozen")),
                worker if worker.is_cut_off() => left.push(format!("{worker:?} is cut off")),
                _ => {}
            }
            let tasks = worker.tasks().into_iter();
            let late = tasks.filter(|(_, stage)| *stage != Stage::Running);
            left.extend(late.map(|(task, stage)| format!("task {task} of {worker:?} is {stage:?}")));
            left.extend(worker.is_committing().then(|| format!("{worker:?} commits")));
        }
        left.join(", ")
    }

    #[track_caller]
    fn read(&mut self, topic: &str) -> Vec<TestRecord> {
        let count = self.partitions_of(topic);
        let network = self.world().network.clone();
        let of = |partition| {
            let records = network.read(topic, partition, true).into_iter();
            records.map(move |record| TestRecord::of(partition, record))
        };
        (0..count.cast_signed()).flat_map(of).collect()
    }
}

/// A record as it is in a topic.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestRecord {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values of the headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl fmt::Debug for TestRecord {
    /// With text where it is text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(Bytes::copy_from_slice);
        let headers = self.headers.iter();
        let headers: Vec<_> = headers.map(|(name, value)| (name, text(value))).collect();
        f.debug_struct("TestRecord")
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("key", &text(&self.key))
            .field("value", &text(&self.value))
            .field("headers", &headers)
            .finish()
    }
}

impl TestRecord {
    fn of(partition: i32, record: LoggedRecord) -> Self {
        let headers = HeadersRef::new(&record.headers).iter();
        let headers = headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
        Self {
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            headers: headers.collect(),
            key: record.key,
            value: record.value,
        }
    }
}

/// The entries of a table at some moment, those of all partitions together, in the order of their keys.
///
/// It compares with the maps of the standard library:
///
/// ```
/// use std::collections::BTreeMap;
/// use stream_runtime::prelude::*;
/// use stream_runtime::testing::TestApp;
///
/// #[topic]
/// static WORDS: Topic<String, String>;
///
/// #[table]
/// static SEEN: Table<String, u64>;
///
/// #[agent(topic = WORDS)]
/// async fn count(word: String) {
///     SEEN.update(&word, |n| *n += 1);
/// }
///
/// # fn main() {
/// let mut app = TestApp::new().agents([count::agent()]);
/// app.send(&WORDS, "a", "a").send(&WORDS, "b", "b").settle();
/// let seen = app.table(&SEEN);
/// assert_eq!(seen, BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 1)]));
/// for (word, count) in &seen {
///     assert_eq!(*count, 1, "{word}");
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableView<K, V> {
    entries: BTreeMap<K, V>,
}

impl<K: Ord, V> TableView<K, V> {
    /// The value of a key.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.entries.get(key)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq<BTreeMap<K, V>> for TableView<K, V> {
    fn eq(&self, other: &BTreeMap<K, V>) -> bool {
        self.entries == *other
    }
}

impl<K: Eq + Hash, V: PartialEq, S: BuildHasher> PartialEq<HashMap<K, V, S>> for TableView<K, V> {
    fn eq(&self, other: &HashMap<K, V, S>) -> bool {
        let mut entries = self.entries.iter();
        self.entries.len() == other.len() && entries.all(|(key, value)| other.get(key) == Some(value))
    }
}

impl<'a, K, V> IntoIterator for &'a TableView<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = btree_map::Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

impl<K, V> From<TableView<K, V>> for BTreeMap<K, V> {
    fn from(view: TableView<K, V>) -> Self {
        view.entries
    }
}

#[track_caller]
fn decoded<T>(codec: CodecOf<T>, bytes: Option<&[u8]>, part: &str, place: &str) -> T {
    match (codec.decode)(bytes) {
        Ok(value) => value,
        Err(error) => panic!("the {part} of {place} does not decode: {error}"),
    }
}
