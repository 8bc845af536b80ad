//! The reader of changelogs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, TopicName};
use kafka_protocol::records::Record;
use tokio::sync::Notify;

use super::hand::plain;
use super::{Kept, Owner, START_MS, World, at};
use crate::broker::api::text;
use crate::error::{Error, ErrorKind};
use crate::kafka::{PartitionReader, RecordSink, StartOffset, TopicPartition};
use crate::record::RecordRef;
use crate::testing::clients::network::Process;
use crate::testing::clients::reader::VirtualReader;

/// A reader and what it has read.
pub(super) struct Reading {
    pub(super) reader: Box<dyn PartitionReader>,
    wake: Arc<Notify>,
    pub(super) sink: Kept,
    /// How many records it takes at once.
    pub(super) max: usize,
    error: Option<Error>,
}

impl Reading {
    pub(super) fn new(world: &World) -> Self {
        let wake = Arc::new(Notify::new());
        Self {
            reader: VirtualReader::boxed(&world.network, Process(0), Arc::clone(&wake)),
            wake,
            sink: Kept::default(),
            max: 1000,
            error: None,
        }
    }

    /// One that reads a partition from there on.
    pub(super) fn of(world: &World, at: &TopicPartition, start: StartOffset) -> Self {
        let mut reading = Self::new(world);
        reading.add(at, start);
        reading
    }

    pub(super) fn add(&mut self, at: &TopicPartition, start: StartOffset) {
        self.reader.add(&[(at.clone(), start)]).expect("it reads");
    }

    fn poll(&mut self) {
        loop {
            match self.reader.poll(&mut self.sink, self.max) {
                Ok(records) if records == self.max => {}
                Ok(_) => return,
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
    }
}

impl Owner for Reading {
    fn wake(&self) -> &Notify {
        &self.wake
    }

    fn due(&self) -> Option<Duration> {
        None
    }

    fn turn(&mut self, _: Duration, _: bool) {
        self.poll();
    }
}

#[test]
fn the_end_behind_a_transaction_marker_is_the_offset_after_the_marker() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let mut producer = world.transactions("one");
    world.put(&mut producer, &at(&topic, 0), "kept");
    world.end(&producer, true);
    world.put(&mut producer, &at(&topic, 0), "dropped");
    world.end(&producer, false);

    let mut reading = [Reading::new(&world)];
    let places = [at(&topic, 0), at(&topic, 1)];
    assert_eq!(
        reading[0].reader.known_end(&places[0]),
        None,
        "nothing was fetched yet"
    );
    for place in &places {
        reading[0].add(place, StartOffset::Beginning);
    }
    world.until("both ends are reached", &mut reading, |r| {
        r[0].sink.ends.len() == 2
    });
    let [reading] = reading;
    assert_eq!(reading.sink.values(&topic, 0), ["kept"]);
    // Two records and two markers.
    assert_eq!(reading.sink.end(&topic, 0), Some(4));
    assert_eq!(reading.sink.end(&topic, 1), Some(0));
    assert_eq!(places.map(|at| reading.reader.known_end(&at)), [Some(4), Some(0)]);
    assert!(world.now() < Duration::from_millis(100), "{:?}", world.now());
}

#[test]
fn transactions_that_interleave_are_told_apart() {
    let world = World::new(1);
    let place = at(&world.topic("log", 1), 0);
    let mut one = world.transactions("one");
    let mut other = world.transactions("other");
    let mut expected = Vec::new();
    for (round, fates) in [[true, false], [false, true], [false, false], [true, true]]
        .into_iter()
        .enumerate()
    {
        for part in 0..3 {
            world.fill(&place, 0..1);
            world.put(&mut one, &place, &format!("one {round} {part}"));
            world.put(&mut other, &place, &format!("other {round} {part}"));
            expected.push("0".to_owned());
            for (name, commits) in ["one", "other"].into_iter().zip(fates) {
                expected.extend(commits.then(|| format!("{name} {round} {part}")));
            }
        }
        world.end(&other, fates[1]);
        world.end(&one, fates[0]);
    }
    let end = 4 * (3 * 3 + 2);
    // From everywhere, so that beginnings of transactions were not seen; and with small fetches.
    for bytes in [1, 200, 1 << 20] {
        world.network.lock().behaviour.fetch_bytes = (bytes, bytes);
        for start in 0..=end {
            let mut reading = [Reading::of(&world, &place, StartOffset::At(start))];
            world.until("the end is reached", &mut reading, |r| !r[0].sink.ends.is_empty());
            let values = reading[0].sink.values(&place.topic, 0);
            assert!(expected.ends_with(&values.iter().map(ToString::to_string).collect::<Vec<_>>()));
            let first = reading[0].sink.offsets(&place.topic, 0).first().copied();
            assert!(first.is_none_or(|first| first >= start));
            assert_eq!(reading[0].sink.end(&place.topic, 0), Some(end));
            assert!(start > 0 || values.len() == expected.len());
        }
    }
}

#[test]
fn a_record_comes_whole() {
    struct One(Vec<String>);
    impl RecordSink for One {
        fn record(&mut self, record: RecordRef<'_>) {
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|(name, value)| (name.to_owned(), text(value)))
                .collect();
            self.0.push(format!(
                "{}[{}]@{} {} {:?} {:?} {headers:?}",
                record.topic,
                record.partition,
                record.offset,
                record.timestamp - START_MS,
                text(record.key),
                text(record.value)
            ));
        }
    }
    let world = World::new(1);
    let topic = world.topic("log", 2);
    let headers = [("trace", Some("7")), ("empty", Some("")), ("null", None)];
    let headers = headers.map(|(name, value)| (text(name), value.map(|value| Bytes::from(value.as_bytes()))));
    let records = [
        Record {
            timestamp: START_MS + 5,
            headers: headers.into_iter().collect(),
            ..plain("first")
        },
        Record {
            timestamp: START_MS - 300_000,
            key: None,
            ..plain(&"long".repeat(100))
        },
        Record {
            key: Some(Bytes::new()),
            value: None,
            ..plain("")
        },
    ];
    world.produce(&at(&topic, 1), None, &records);
    let mut reading = Reading::of(&world, &at(&topic, 1), StartOffset::Beginning);
    world.pass(Duration::from_secs(1));
    let mut one = One(Vec::new());
    assert_eq!(reading.reader.poll(&mut one, 2).expect("no error"), 2);
    assert_eq!(reading.reader.poll(&mut one, 2).expect("no error"), 1);
    assert_eq!(
        one.0,
        [
            "log[1]@0 5 Some(\"key\") Some(\"first\") \
             [(\"trace\", Some(\"7\")), (\"empty\", Some(\"\")), (\"null\", None)]"
                .to_owned(),
            format!("log[1]@1 -300000 None Some({:?}) []", "long".repeat(100)),
            "log[1]@2 0 Some(\"\") None []".to_owned(),
        ]
    );

    let stamped = world.topic_with("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let appended = world.now().as_millis();
    world.produce(&at(&stamped, 0), None, &records[..1]);
    let mut reading = Reading::of(&world, &at(&stamped, 0), StartOffset::Beginning);
    world.pass(Duration::from_secs(1));
    let mut one = One(Vec::new());
    reading.reader.poll(&mut one, 2).expect("no error");
    assert!(
        one.0[0].starts_with(&format!("stamped[0]@0 {appended} ")),
        "{:?}",
        one.0
    );
}

#[test]
fn the_end_of_a_compacted_log_counts_what_compaction_removed() {
    let world = World::new(1);
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "0"),
    ];
    let place = at(&world.topic_with("log", 1, &settings), 0);
    for round in 0..20 {
        world.fill(&place, round..round + 10);
        world.pass(Duration::from_secs(1));
    }
    let mut reading = [Reading::of(&world, &place, StartOffset::Beginning)];
    world.until("the end is reached", &mut reading, |r| !r[0].sink.ends.is_empty());
    assert_eq!(reading[0].sink.end(&place.topic, 0), Some(200));
    assert!(
        reading[0].sink.count() < 100,
        "{} of 200 are left",
        reading[0].sink.count()
    );
    assert_eq!(
        reading[0].sink.of(&place.topic, 0).last(),
        Some(&(199, "28".to_owned()))
    );
}

#[test]
fn an_end_is_told_again_after_more_records_and_partitions_come_and_go() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    world.fill(&at(&topic, 0), 0..3);
    world.fill(&at(&topic, 1), 0..2);
    let mut reading = [Reading::of(&world, &at(&topic, 0), StartOffset::At(1))];
    world.until("the first end is reached", &mut reading, |r| {
        r[0].sink.end(&topic, 0) == Some(3)
    });
    reading[0].add(&at(&topic, 1), StartOffset::Beginning);
    assert!(
        reading[0]
            .reader
            .add(&[(at(&topic, 1), StartOffset::Beginning)])
            .is_err(),
        "it is read already"
    );
    world.fill(&at(&topic, 0), 3..5);
    world.until("both ends are reached", &mut reading, |r| {
        r[0].sink.end(&topic, 0) == Some(5) && r[0].sink.end(&topic, 1) == Some(2)
    });
    assert_eq!(reading[0].sink.values(&topic, 0), ["1", "2", "3", "4"]);
    reading[0]
        .reader
        .remove(&[at(&topic, 0), at(&topic, 7)])
        .expect("it stops");
    world.fill(&at(&topic, 0), 5..6);
    world.fill(&at(&topic, 1), 2..3);
    world.until("the rest goes on", &mut reading, |r| {
        r[0].sink.end(&topic, 1) == Some(3)
    });
    assert_eq!(reading[0].sink.of(&topic, 0).len(), 4);
    assert!(
        reading[0]
            .reader
            .add(&[(at(&topic, 0), StartOffset::Committed)])
            .is_err(),
        "it has no group"
    );
}

#[test]
fn what_was_fetched_of_a_partition_that_is_given_up_does_not_come() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    world.fill(&at(&topic, 0), 0..10);
    world.fill(&at(&topic, 1), 0..10);
    let mut reading = Reading::of(&world, &at(&topic, 0), StartOffset::Beginning);
    reading.add(&at(&topic, 1), StartOffset::Beginning);
    world.pass(Duration::from_secs(1));
    reading.reader.remove(&[at(&topic, 0)]).expect("it stops");
    reading.poll();
    assert_eq!(reading.sink.of(&topic, 0), []);
    assert_eq!(reading.sink.of(&topic, 1).len(), 10);
    // An answer that is on its way is none to what is read anew.
    world.fill(&at(&topic, 0), 10..11);
    reading.add(&at(&topic, 0), StartOffset::At(0));
    reading.reader.remove(&[at(&topic, 0)]).expect("it stops");
    reading.add(&at(&topic, 0), StartOffset::At(8));
    let mut reading = [reading];
    world.until("it was read", &mut reading, |r| {
        r[0].sink.end(&topic, 0) == Some(11)
    });
    assert_eq!(reading[0].sink.offsets(&topic, 0), [8, 9, 10]);
}

#[test]
fn an_offset_that_is_not_there_is_the_sinks_or_an_error() {
    let world = World::new(1);
    let topic = world.topic("log", 2);
    world.fill(&at(&topic, 1), 0..2);
    let mut reading = [Reading::of(&world, &at(&topic, 0), StartOffset::At(17))];
    reading[0].add(&at(&topic, 1), StartOffset::Beginning);
    reading[0].sink.takes_out_of_range = true;
    world.until("the gap is seen, the other is read", &mut reading, |r| {
        !r[0].sink.out_of_range.is_empty() && r[0].sink.end(&topic, 1).is_some()
    });
    world.turn_for(Duration::from_secs(2), &mut reading);
    assert_eq!(reading[0].sink.out_of_range, [at(&topic, 0)]);
    assert!(reading[0].error.is_none());

    // From the beginning it can be read after all.
    reading[0].reader.remove(&[at(&topic, 0)]).expect("it stops");
    reading[0].add(&at(&topic, 0), StartOffset::Beginning);
    world.until("the empty partition's end is reached", &mut reading, |r| {
        r[0].sink.end(&topic, 0) == Some(0)
    });

    reading[0].sink = Kept::default();
    reading[0].reader.remove(&[at(&topic, 0)]).expect("it stops");
    reading[0].add(&at(&topic, 0), StartOffset::At(17));
    world.until("the poll ends in an error", &mut reading, |r| {
        r[0].error.is_some()
    });
    let error = reading[0].error.as_ref().expect("it has come");
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.to_string().contains("log[0]"), "{error}");
}

#[test]
fn a_log_that_loses_its_beginning_is_read_from_what_it_has() {
    let world = World::new(1);
    let place = at(&world.topic("log", 1), 0);
    world.fill(&place, 0..10);
    let partition = DeleteRecordsPartition::default()
        .with_partition_index(0)
        .with_offset(6);
    let topic = DeleteRecordsTopic::default()
        .with_name(TopicName(text("log")))
        .with_partitions(vec![partition]);
    world.call(2, DeleteRecordsRequest::default().with_topics(vec![topic]));
    let mut reading = [Reading::of(&world, &place, StartOffset::Beginning)];
    world.until("it was read", &mut reading, |r| !r[0].sink.ends.is_empty());
    assert_eq!(reading[0].sink.offsets(&place.topic, 0), [6, 7, 8, 9]);
    let mut reading = [Reading::of(&world, &place, StartOffset::At(5))];
    reading[0].sink.takes_out_of_range = true;
    world.until("it is not there", &mut reading, |r| {
        !r[0].sink.out_of_range.is_empty()
    });
    assert_eq!(reading[0].sink.count(), 0);
}

#[test]
fn an_end_waits_for_the_fate_of_an_open_transaction() {
    let world = World::new(1);
    let place = at(&world.topic("log", 1), 0);
    let mut producer = world.transactions("one");
    let mut expected = Vec::new();
    let mut next = 0;
    for commits in [true, false] {
        world.fill(&place, 0..2);
        expected.extend(["0", "1"]);
        world.put(&mut producer, &place, "fateful");
        let mut reading = [Reading::of(&world, &place, StartOffset::Beginning)];
        world.until("what is stable is read", &mut reading, |r| {
            r[0].sink.values(&place.topic, 0) == expected
        });
        world.turn_for(Duration::from_secs(5), &mut reading);
        assert_eq!(
            reading[0].sink.end(&place.topic, 0),
            None,
            "a transaction is open"
        );
        world.end(&producer, commits);
        if commits {
            expected.push("fateful");
        }
        // Two records, the one of the transaction, and its marker.
        next += 4;
        world.until("the end is reached", &mut reading, |r| !r[0].sink.ends.is_empty());
        assert_eq!(reading[0].sink.end(&place.topic, 0), Some(next));
        assert_eq!(reading[0].sink.values(&place.topic, 0), expected);
    }
}

#[test]
fn a_reader_fetches_no_more_than_its_queue_holds() {
    let world = World::new(1);
    let place = at(&world.topic("log", 1), 0);
    for start in 0..100 {
        world.fill(&place, start * 10..start * 10 + 10);
    }
    {
        let behaviour = &mut world.network.lock().behaviour;
        behaviour.fetch_bytes = (500, 500);
        behaviour.queue_bytes = 2000;
    }
    world.network.lock().keep_trace();
    let mut reading = [Reading::of(&world, &place, StartOffset::At(0))];
    world.pass(Duration::from_secs(10));
    let fetches = |world: &World| {
        let network = world.network.lock();
        let trace = network.trace().iter();
        trace.filter(|line| line.contains("asks Fetch ")).count()
    };
    let first = fetches(&world);
    assert!((2..10).contains(&first), "{first} fetches fill the queue");
    reading[0].max = 7;
    world.until("everything is read", &mut reading, |r| !r[0].sink.ends.is_empty());
    assert_eq!(
        reading[0].sink.offsets(&place.topic, 0),
        (0..1000).collect::<Vec<_>>()
    );
    assert!(fetches(&world) > 5 * first);
}
