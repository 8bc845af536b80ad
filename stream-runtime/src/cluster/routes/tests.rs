//! Tasks that come and go, records and pauses in any order: each record is in the buffer of its partition, and those are
//! paused that hold too much.

use std::cell::Cell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::agent::context::TopicNames;
use crate::kafka::{CommitOffset, CommitOutcome, GroupMembership, Rebalance, StartOffset};
use crate::record::HeadersRef;
use crate::tests::property::holds_for_share;

const TOPICS: [&str; 2] = ["a", "b"];
const PARTITIONS: i32 = 2;

/// Notes what is paused and where it is sent; nothing else is asked of it.
#[derive(Debug, Default)]
struct Client {
    paused: BTreeSet<TopicPartition>,
    sent: Vec<(TopicPartition, StartOffset)>,
}

impl GroupConsumer for Client {
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for partition in partitions {
            assert!(
                self.paused.insert(partition.clone()),
                "{partition} is paused already"
            );
        }
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for partition in partitions {
            assert!(self.paused.remove(partition), "{partition} is not paused");
        }
        Ok(())
    }

    fn subscribe(&mut self, _: &[Arc<str>]) -> Result<()> {
        unreachable!("routes ask for nothing else")
    }

    fn poll(&mut self, _: &mut dyn RecordSink, _: usize) -> Result<usize> {
        unreachable!("routes ask for nothing else")
    }

    fn rebalance(&mut self) -> Option<Rebalance> {
        unreachable!("routes ask for nothing else")
    }

    fn assign(&mut self, _: &[(TopicPartition, StartOffset)]) -> Result<()> {
        unreachable!("routes ask for nothing else")
    }

    fn unassign(&mut self, _: &[TopicPartition]) -> Result<()> {
        unreachable!("routes ask for nothing else")
    }

    fn commit(&mut self, _: &[CommitOffset]) -> Result<()> {
        unreachable!("routes ask for nothing else")
    }

    fn commit_outcome(&mut self) -> Option<CommitOutcome> {
        unreachable!("routes ask for nothing else")
    }

    fn fetch_committed(&mut self, _: &[TopicPartition]) -> Result<()> {
        unreachable!("routes ask for nothing else")
    }

    fn committed(&mut self) -> Option<Vec<Option<CommitOffset>>> {
        unreachable!("routes ask for nothing else")
    }

    fn seek(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        self.sent.extend_from_slice(partitions);
        Ok(())
    }

    fn membership(&self) -> Option<GroupMembership> {
        unreachable!("routes ask for nothing else")
    }

    fn close(self: Box<Self>, _: Duration) {
        unreachable!("routes ask for nothing else")
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// The task of a partition number comes, unless it is there.
    Come(i32),
    Go(i32),
    /// So many records of so many bytes arrive, whether there is a task or not.
    Arrive {
        topic: usize,
        partition: i32,
        records: usize,
        bytes: usize,
    },
    /// So many records are done.
    Finish {
        topic: usize,
        partition: i32,
        records: usize,
    },
    Regulate,
}

fn step() -> impl Strategy<Value = Step> {
    // One topic has few records, of many bytes, the other many of none: either alone fills a buffer.
    let amounts = [(1_usize..4, 1_usize << 20..3 << 20), (10_000..30_000, 0..1)];
    let place = || (0..TOPICS.len(), 0..PARTITIONS);
    let arrive = (place(), amounts).prop_map(|((topic, partition), amounts)| Step::Arrive {
        topic,
        partition,
        records: amounts[topic].0,
        bytes: amounts[topic].1,
    });
    let finish =
        (place(), [1_usize..3, 5_000..20_000]).prop_map(|((topic, partition), records)| Step::Finish {
            topic,
            partition,
            records: records[topic],
        });
    prop_oneof![
        1 => (0..PARTITIONS).prop_map(Step::Come),
        1 => (0..PARTITIONS).prop_map(Step::Go),
        10 => arrive,
        8 => finish,
        12 => Just(Step::Regulate),
    ]
}

fn task(partition: i32) -> Rc<TaskContext> {
    let buffer = |topic: &&str| RefCell::new(InputBuffer::new((*topic).into(), partition));
    Rc::new(TaskContext {
        name: format!("a/{partition}"),
        inputs: TOPICS.iter().map(buffer).collect(),
        shards: RefCell::default(),
        outbox: RefCell::default(),
        names: Arc::new(TopicNames::new("app".into(), Vec::new())),
        open: Cell::new(None),
        failure: RefCell::new(None),
        store_failure: RefCell::new(None),
        max_record_bytes: 0,
        detached: false,
    })
}

/// Offset and size of each record that waits, by topic.
type Waiting = [VecDeque<(i64, usize)>; TOPICS.len()];

fn is_above(waiting: &VecDeque<(i64, usize)>, share: usize) -> bool {
    let bytes: usize = waiting.iter().map(|(_, bytes)| bytes).sum();
    bytes > (8 << 20) / share || waiting.len() > 50_000 / share
}

fn is_below(waiting: &VecDeque<(i64, usize)>, share: usize) -> bool {
    let bytes: usize = waiting.iter().map(|(_, bytes)| bytes).sum();
    bytes < (8 << 20) / share && waiting.len() < 50_000 / share
}

#[test]
fn records_find_their_buffers_and_full_ones_are_paused_until_they_are_half_empty() {
    let value = vec![7; 4 << 20];
    holds_for_share(4, vec(step(), 0..40), |steps| {
        let mut routes = Routes::new(true);
        let mut consumer = Client::default();
        let mut tasks: BTreeMap<i32, (Rc<TaskContext>, Waiting)> = BTreeMap::new();
        let mut paused: BTreeSet<TopicPartition> = BTreeSet::new();
        let first = (0..PARTITIONS).map(Step::Come);
        for (round, step) in (0_i64..).zip(first.chain(steps)) {
            match step {
                Step::Come(partition) => {
                    if let Entry::Vacant(place) = tasks.entry(partition) {
                        let task = task(partition);
                        routes.add(&task);
                        place.insert((task, Waiting::default()));
                    }
                }
                Step::Go(partition) => {
                    if let Some((task, _)) = tasks.remove(&partition) {
                        routes.remove(&task);
                        // Whoever takes it over finds it as it was never paused.
                        paused.retain(|at| at.partition != partition);
                        consumer.paused.retain(|at| at.partition != partition);
                    }
                }
                Step::Arrive {
                    topic,
                    partition,
                    records,
                    bytes,
                } => {
                    for number in 0..records {
                        let offset = round * 100_000 + i64::try_from(number).expect("few");
                        routes.record(RecordRef {
                            topic: TOPICS[topic],
                            partition,
                            offset,
                            timestamp: 0,
                            key: None,
                            value: Some(&value[..bytes]),
                            headers: HeadersRef::default(),
                        });
                        if let Some((_, waiting)) = tasks.get_mut(&partition) {
                            waiting[topic].push_back((offset, bytes));
                        }
                    }
                    routes.end_of_partition(TOPICS[topic], partition, (round + 1) * 100_000);
                }
                Step::Finish {
                    topic,
                    partition,
                    records,
                } => {
                    if let Some((task, waiting)) = tasks.get_mut(&partition) {
                        for _ in 0..records.min(waiting[topic].len()) {
                            task.inputs[topic].borrow_mut().pop();
                            waiting[topic].pop_front();
                        }
                    }
                }
                Step::Regulate => {
                    routes.regulate(&mut consumer).expect("nothing fails here");
                    for (partition, (_, waiting)) in &tasks {
                        for (topic, waiting) in TOPICS.iter().zip(waiting) {
                            let at = TopicPartition {
                                topic: (*topic).into(),
                                partition: *partition,
                            };
                            if is_above(waiting, 1) {
                                paused.insert(at);
                            } else if is_below(waiting, 2) {
                                paused.remove(&at);
                            }
                        }
                    }
                    prop_assert_eq!(&consumer.paused, &paused);
                    prop_assert_eq!(&consumer.sent, &[]);
                }
            }
            for (task, waiting) in tasks.values() {
                for (buffer, waiting) in task.inputs.iter().zip(waiting) {
                    let buffer = buffer.borrow();
                    let head = waiting.front().map(|(offset, _)| *offset);
                    prop_assert_eq!((buffer.len(), buffer.head_offset()), (waiting.len(), head));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn records_are_wanted_as_long_as_some_partition_has_few() {
    let mut routes = Routes::new(true);
    assert!(
        routes.are_hungry(),
        "without partitions, rebalances are waited for"
    );
    let task = task(0);
    routes.add(&task);
    let mut arrive = |topic: usize, records: i64, bytes: usize| {
        for offset in 0..records {
            routes.record(RecordRef {
                topic: TOPICS[topic],
                partition: 0,
                offset,
                timestamp: 0,
                key: None,
                value: Some(&vec![7; bytes]),
                headers: HeadersRef::default(),
            });
        }
        routes.are_hungry()
    };
    assert!(arrive(0, 2_000, 1), "the others have none");
    for topic in 1..TOPICS.len() {
        let is_last = topic + 1 == TOPICS.len();
        assert_eq!(
            arrive(topic, 1, 1 << 20),
            !is_last,
            "few large ones are enough, too"
        );
    }
    task.inputs[0].borrow_mut().pop();
    assert!(routes.are_hungry());
}

#[test]
fn a_client_that_reads_from_before_the_commit_is_sent_back_once() {
    let mut routes = Routes::new(true);
    let mut client = Client::default();
    let task = task(1);
    routes.add(&task);
    task.inputs[0].borrow_mut().start_at(500);
    task.inputs[1].borrow_mut().start_at(9);
    let mut arrive = |topic: &'static str, offsets: std::ops::Range<i64>| {
        for offset in offsets {
            routes.record(RecordRef {
                topic,
                partition: 1,
                offset,
                timestamp: 0,
                key: None,
                value: None,
                headers: HeadersRef::default(),
            });
        }
        routes.regulate(&mut client).expect("nothing fails here");
        std::mem::take(&mut client.sent)
    };
    let place = TopicPartition {
        topic: TOPICS[0].into(),
        partition: 1,
    };
    assert_eq!(arrive(TOPICS[0], 0..10), [(place, StartOffset::At(500))]);
    assert_eq!(arrive(TOPICS[1], 9..12), []);
    assert_eq!(arrive(TOPICS[0], 500..503), []);
    let heads = task.inputs.iter().map(|buffer| buffer.borrow().head_offset());
    assert_eq!(heads.collect::<Vec<_>>(), [Some(500), Some(9)]);
}
