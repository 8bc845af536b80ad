//! Producers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{World, is_woken, settings};
use crate::kafka::{AcknowledgedProducer, ClientSettings, OutgoingRecord, Producer, SendOutcome};
use crate::record::{pack_header, partitioner};
use crate::testing::Random;
use crate::testing::clients::acknowledged::VirtualAcknowledgedProducer;
use crate::testing::clients::network::{Behaviour, Process};
use crate::testing::clients::producer::VirtualProducer;
use crate::testing::clients::topics::{LoggedRecord, NewRecord};

pub(super) const SOON: Duration = Duration::from_secs(30);

pub(super) fn producer(world: &World) -> (Box<dyn Producer + Send>, Arc<Notify>) {
    producer_with(world, &settings())
}

fn producer_with(world: &World, settings: &ClientSettings) -> (Box<dyn Producer + Send>, Arc<Notify>) {
    let wake = Arc::new(Notify::new());
    let producer = VirtualProducer::new(&world.network, Process(0), settings, Arc::clone(&wake));
    (Box::new(producer), wake)
}

pub(super) fn record<'a>(topic: &'a Arc<str>, partition: i32, value: &'a str) -> OutgoingRecord<'a> {
    OutgoingRecord {
        topic,
        partition: Some(partition),
        key: Some(b"key"),
        value: Some(value.as_bytes()),
        headers: &[],
        timestamp: None,
    }
}

pub(super) fn send<P: Producer + ?Sized>(producer: &mut P, topic: &Arc<str>, partition: i32, value: &str) {
    let outcome = producer.send(record(topic, partition, value));
    assert!(matches!(outcome, SendOutcome::Queued), "{outcome:?}");
}

/// The values of a partition, as a reader of committed records sees them.
pub(super) fn values(world: &World, topic: &str, partition: i32) -> Vec<String> {
    let records = world.network.read(topic, partition, true).into_iter();
    let text = |record: LoggedRecord| String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned();
    records.map(text).collect()
}

pub(super) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Turns whenever it is woken, and only then, until `done`.
#[track_caller]
pub(super) fn woken_until(world: &World, wake: &Notify, what: &str, mut done: impl FnMut() -> bool) {
    let end = world.now() + SOON * 10;
    while !(is_woken(wake) && done()) {
        let mut network = world.network.lock();
        let next = network.next_event().expect("the broker's own timers go on");
        assert!(next < end, "{what}");
        network.run_until(next);
    }
}

#[test]
fn a_record_arrives_as_it_was_sent() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let mut headers = Vec::new();
    pack_header(&mut headers, "trace", Some(b"7"));
    pack_header(&mut headers, "nothing", None);
    pack_header(&mut headers, "trace", Some(b""));
    let plain = OutgoingRecord {
        topic: &topic,
        partition: Some(0),
        key: None,
        value: None,
        headers: &[],
        timestamp: Some(1_700_000_000_000),
    };
    let (mut producer, _) = producer(&world);
    let whole = OutgoingRecord {
        key: Some(b"key"),
        value: Some(b"value"),
        headers: &headers,
        timestamp: None,
        ..plain
    };
    let empty = OutgoingRecord {
        key: Some(b""),
        value: Some(b""),
        ..plain
    };
    world.pass(Duration::from_millis(7));
    let sent_at = world.network.lock().wall_millis();
    for record in [plain, empty, whole] {
        assert!(matches!(producer.send(record), SendOutcome::Queued));
    }
    assert_eq!(producer.in_flight(), 3);
    assert!(producer.flush(SOON));
    assert_eq!(producer.in_flight(), 0);
    let logged = |offset, timestamp, part: Option<(&str, &str)>, headers: &[u8]| LoggedRecord {
        offset,
        timestamp,
        key: part.map(|(key, _)| key.as_bytes().to_vec()),
        value: part.map(|(_, value)| value.as_bytes().to_vec()),
        headers: headers.to_vec(),
    };
    assert_eq!(
        world.network.read("log", 0, true),
        [
            logged(0, 1_700_000_000_000, None, &[]),
            logged(1, 1_700_000_000_000, Some(("", "")), &[]),
            logged(2, sent_at, Some(("key", "value")), &headers),
        ]
    );
}

#[test]
fn a_send_reaches_the_broker_one_latency_later() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let (mut producer, _) = producer(&world);
    send(&mut *producer, &topic, 0, "first");
    assert!(producer.flush(SOON));
    for number in 0..1000 {
        send(&mut *producer, &topic, 0, &number.to_string());
    }
    let latency = Behaviour::default().latency.1;
    world.pass(latency - Duration::from_micros(1));
    assert_eq!(world.network.end("log", 0), 1);
    world.pass(Duration::from_micros(1));
    assert_eq!(world.network.end("log", 0), 1001);
    assert_eq!(producer.in_flight(), 1000);
    world.pass(latency);
    assert_eq!(producer.in_flight(), 1000, "nobody has polled");
    producer.poll();
    assert_eq!(producer.in_flight(), 0);
}

#[test]
fn a_wake_up_tells_that_nothing_is_in_flight() {
    let world = World::new(1);
    let topic = world.topic("log", 3);
    world.network.lock().behaviour.request_batches = (1, 1);
    let (mut producer, wake) = producer(&world);
    for partition in 0..3 {
        send(&mut *producer, &topic, partition, "one");
    }
    woken_until(&world, &wake, "everything is delivered", || {
        producer.poll();
        producer.in_flight() == 0
    });
}

#[test]
fn a_key_goes_where_murmur2_says_and_a_null_key_anywhere() {
    let world = World::new(1);
    let topic = world.topic("log", 5);
    let (mut producer, _) = producer(&world);
    let keys = ["red", "green", "blue", "colour", ""];
    for key in keys {
        let outcome = producer.send(OutgoingRecord {
            partition: None,
            key: Some(key.as_bytes()),
            ..record(&topic, 0, key)
        });
        assert!(matches!(outcome, SendOutcome::Queued));
    }
    assert!(producer.flush(SOON));
    for key in keys {
        let partition = partitioner::partition_of(key.as_bytes(), 5);
        let found = values(&world, "log", i32::try_from(partition).expect("few"));
        assert!(found.contains(&key.to_owned()), "{key:?}: {found:?}");
    }
    for _ in 0..100 {
        let outcome = producer.send(OutgoingRecord {
            partition: None,
            key: None,
            ..record(&topic, 0, "anywhere")
        });
        assert!(matches!(outcome, SendOutcome::Queued));
    }
    assert!(producer.flush(SOON));
    for partition in 0..5 {
        assert!(values(&world, "log", partition).contains(&"anywhere".to_owned()));
    }
}

#[test]
fn what_can_never_be_sent_is_refused() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let (mut producer, _) = producer(&world);
    send(&mut *producer, &topic, 0, "known");
    assert!(producer.flush(SOON));
    let refused = |outcome: SendOutcome| match outcome {
        SendOutcome::Refused(reason) => reason,
        outcome => panic!("{outcome:?}"),
    };
    let large = "x".repeat(2_000_000);
    let reason = refused(producer.send(OutgoingRecord {
        key: None,
        ..record(&topic, 0, &large)
    }));
    assert!(reason.contains("2000000 bytes"), "{reason}");
    let reason = refused(producer.send(record(&topic, 9, "value")));
    assert!(reason.contains("log[9]"), "{reason}");
    let bad = Arc::from("nul\0name");
    refused(producer.send(record(&bad, 0, "value")));
    assert_eq!(producer.take_failure(), None);
    assert_eq!(producer.in_flight(), 0);
}

#[test]
fn a_topic_or_partition_that_does_not_exist_fails_the_delivery_and_wakes() {
    let world = World::new(1);
    let few = world.topic("few", 1);
    let (mut producer, wake) = producer(&world);
    for (topic, partition, seconds) in [(few, 3, 0..1), (Arc::from("nowhere"), 0, 29..33)] {
        let start = world.now();
        send(&mut *producer, &topic, partition, "lost");
        let mut failure = None;
        woken_until(&world, &wake, "the delivery fails", || {
            producer.poll();
            failure = producer.take_failure();
            failure.is_some()
        });
        let failure = failure.expect("it was told");
        assert!(failure.contains(&format!("{topic}[{partition}]")), "{failure}");
        assert_eq!(producer.in_flight(), 0);
        let took = (world.now() - start).as_secs();
        assert!(seconds.contains(&took), "{topic}: {took} s");
    }
    let nowhere = Arc::from("nowhere");
    let outcome = producer.send(record(&nowhere, 0, "again"));
    assert!(matches!(outcome, SendOutcome::Refused(_)), "{outcome:?}");
    // Made after all, it is found.
    let late = world.topic("nowhere", 1);
    world.pass(Duration::from_secs(1));
    send(&mut *producer, &late, 0, "late");
    assert!(producer.flush(SOON));
    assert_eq!(values(&world, "nowhere", 0), ["late"]);
}

#[test]
fn a_topic_that_is_made_soon_is_waited_for() {
    let world = World::new(1);
    let (mut producer, _) = producer(&world);
    let topic: Arc<str> = Arc::from("late");
    send(&mut *producer, &topic, 1, "early");
    world.pass(Duration::from_secs(5));
    world.topic("late", 2);
    assert!(producer.flush(SOON));
    assert_eq!(producer.take_failure(), None);
    assert_eq!(values(&world, "late", 1), ["early"]);
}

#[test]
fn new_partitions_are_noticed() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let (mut producer, _) = producer(&world);
    send(&mut *producer, &topic, 0, "one");
    assert!(producer.flush(SOON));
    world
        .network
        .lock()
        .broker
        .topics
        .get_mut("log")
        .expect("it is there")
        .partitions
        .resize_with(2, Default::default);
    assert!(matches!(
        producer.send(record(&topic, 1, "early")),
        SendOutcome::Refused(_)
    ));
    world.pass(Duration::from_secs(400));
    let _ = producer.send(record(&topic, 1, "asks again"));
    world.pass(Duration::from_secs(1));
    send(&mut *producer, &topic, 1, "two");
    assert!(producer.flush(SOON));
    assert_eq!(values(&world, "log", 1).last().map(String::as_str), Some("two"));
}

#[test]
fn a_full_queue_says_so_and_takes_more_when_some_is_delivered() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    world.network.lock().behaviour.send_queue = 10;
    let (mut producer, wake) = producer(&world);
    let mut sent = 0;
    // The first turn.
    wake.notify_one();
    woken_until(&world, &wake, "all are taken", || {
        producer.poll();
        while sent < 35 {
            match producer.send(record(&topic, 0, &sent.to_string())) {
                SendOutcome::Queued => sent += 1,
                SendOutcome::Full => break,
                SendOutcome::Refused(reason) => panic!("{reason}"),
            }
        }
        assert!(producer.in_flight() <= 10);
        sent == 35 && producer.in_flight() == 0
    });
    assert_eq!(values(&world, "log", 0), numbers(0..35));
}

#[test]
fn purging_takes_back_what_is_queued_and_the_producer_goes_on() {
    for seed in 0..20 {
        let world = World::new(seed);
        let topic = world.topic("log", 1);
        let (mut producer, _) = producer(&world);
        world.network.lock().behaviour.batch_records = (1, 50);
        send(&mut *producer, &topic, 0, "first");
        assert!(producer.flush(SOON));
        let mut chance = Random::new(seed);
        for _ in 0..10 {
            for _ in 0..100 {
                send(&mut *producer, &topic, 0, "maybe");
            }
            world.pass(Duration::from_micros(chance.below(3000)));
            producer.purge();
            assert_eq!(producer.in_flight(), 0);
        }
        assert_eq!(producer.take_failure(), None);
        send(&mut *producer, &topic, 0, "last");
        assert!(producer.flush(SOON));
        assert_eq!(producer.take_failure(), None);
        let values = values(&world, "log", 0);
        assert_eq!(values.first().map(String::as_str), Some("first"));
        assert_eq!(
            values.iter().position(|value| value == "last"),
            Some(values.len() - 1)
        );
    }
}

#[test]
fn acknowledgements_of_followed_topics_tell_where_their_partitions_end() {
    let world = World::new(1);
    let [log, other] = ["log", "other"].map(|name| world.topic(name, 3));
    let (mut producer, _) = producer(&world);
    producer.follow(&log);
    assert_eq!(producer.acknowledged(&log, 1), None, "nothing was sent");
    for round in 1..=3 {
        for number in 0..1000 {
            send(&mut *producer, &log, 1, &number.to_string());
            send(&mut *producer, &other, 1, &number.to_string());
        }
        send(&mut *producer, &log, 2, "one");
        assert!(producer.flush(SOON));
        assert_eq!(producer.acknowledged(&log, 1), Some(1000 * round));
        assert_eq!(producer.acknowledged(&log, 2), Some(round));
        assert_eq!(producer.acknowledged(&log, 0), None);
        assert_eq!(producer.acknowledged(&other, 1), None, "nobody follows it");
    }
    // Somebody else writes in between: the offsets are the broker's.
    let record = NewRecord {
        key: None,
        value: Some(b"of the test"),
        headers: &[],
        timestamp: super::START_MS,
    };
    assert_eq!(world.network.produce("log", 1, &record), 3000);
    send(&mut *producer, &log, 1, "last");
    assert!(producer.flush(SOON));
    assert_eq!(producer.acknowledged(&log, 1), Some(3002));
}

#[test]
fn a_batch_that_was_sent_twice_may_be_acknowledged_without_its_offset() {
    let mut unknown = 0;
    for seed in 0..50 {
        let world = World::new(seed);
        let topic = world.topic("log", 1);
        world.network.lock().behaviour.unknown_offsets = 1;
        let (mut producer, _) = producer(&world);
        producer.follow(&topic);
        send(&mut *producer, &topic, 0, "first");
        assert!(producer.flush(SOON));
        assert_eq!(producer.acknowledged(&topic, 0), Some(1));
        send(&mut *producer, &topic, 0, "second");
        world.pass(Duration::from_micros(200));
        world.network.lock().set_away(true);
        world.network.lock().set_away(false);
        assert!(producer.flush(SOON));
        unknown += usize::from(producer.acknowledged(&topic, 0).is_none());
        send(&mut *producer, &topic, 0, "third");
        assert!(producer.flush(SOON));
        assert_eq!(producer.acknowledged(&topic, 0), Some(3));
    }
    assert!(unknown > 0);
}

#[test]
fn a_batch_that_the_topic_does_not_take_fails_alone() {
    let world = World::new(1);
    let small = world.topic_with("small", 2, &[("max.message.bytes", "2000")]);
    let (mut producer, _) = producer(&world);
    world.network.lock().behaviour.batch_records = (1, 1);
    let large = "x".repeat(50_000);
    for round in 0..3 {
        for partition in 0..2 {
            send(&mut *producer, &small, partition, &format!("{round} before"));
        }
        send(&mut *producer, &small, 0, &large);
        for number in 0..9 {
            for partition in 0..2 {
                send(&mut *producer, &small, partition, &format!("{round} {number}"));
            }
        }
        assert!(producer.flush(SOON));
        let failure = producer.take_failure().expect("it is told");
        assert!(
            failure.contains("small[0]") && failure.contains("max.message.bytes"),
            "{failure}"
        );
    }
    for partition in 0..2 {
        let expected = (0..3).flat_map(|round| {
            let rest = (0..9).map(move |number| format!("{round} {number}"));
            [format!("{round} before")].into_iter().chain(rest)
        });
        assert_eq!(values(&world, "small", partition), expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_record_whose_time_is_over_fails() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let raw = ("delivery.timeout.ms".to_owned(), "2000".to_owned());
    let settings = ClientSettings {
        raw: vec![raw],
        ..settings()
    };
    let (mut producer, wake) = producer_with(&world, &settings);
    send(&mut *producer, &topic, 0, "first");
    assert!(producer.flush(SOON));
    world.network.lock().set_away(true);
    send(&mut *producer, &topic, 0, "lost");
    let start = world.now();
    woken_until(&world, &wake, "it fails", || {
        producer.poll();
        producer.in_flight() == 0
    });
    assert!(
        producer
            .take_failure()
            .is_some_and(|failure| failure.contains("log[0]"))
    );
    assert!(world.now() - start < Duration::from_secs(4));
    world.network.lock().set_away(false);
    send(&mut *producer, &topic, 0, "last");
    assert!(producer.flush(SOON));
    assert_eq!(values(&world, "log", 0), ["first", "last"]);
}

#[test]
fn a_flush_ends_at_its_deadline() {
    let world = World::new(1);
    let topic = world.topic("log", 1);
    let (mut producer, _) = producer(&world);
    world.network.lock().set_away(true);
    send(&mut *producer, &topic, 0, "kept");
    let start = world.now();
    assert!(!producer.flush(Duration::from_secs(7)));
    assert_eq!(world.now() - start, Duration::from_secs(7));
    world.network.lock().set_away(false);
    assert!(producer.flush(SOON));
    assert_eq!(values(&world, "log", 0), ["kept"]);
}

#[test]
fn an_acknowledged_record_tells_where_it_is() {
    let world = World::new(1);
    let topic = world.topic("log", 5);
    let producer = VirtualAcknowledgedProducer::new(&world.network, Process(0), &settings());
    let producer: Arc<dyn AcknowledgedProducer> = Arc::new(producer);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let deliver = |records: &[OutgoingRecord<'_>]| {
        let producer = Arc::clone(&producer);
        let mut sends: Vec<_> = records.iter().map(|record| producer.send(*record)).collect();
        // Everything is sent at the first look, and answered in time.
        runtime.block_on(async {
            for send in &mut sends {
                assert!(
                    std::future::poll_fn(|context| std::task::Poll::Ready(send.as_mut().poll(context)))
                        .await
                        .is_pending()
                );
            }
            world.pass(SOON * 2);
            let mut outcomes = Vec::new();
            for send in sends {
                outcomes.push(send.await);
            }
            outcomes
        })
    };
    let any = OutgoingRecord {
        partition: None,
        ..record(&topic, 0, "any")
    };
    let outcomes = deliver(&[any, record(&topic, 4, "one"), record(&topic, 4, "two")]);
    let places: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("delivered"))
        .collect();
    let partition = i32::try_from(partitioner::partition_of(b"key", 5)).expect("few");
    assert_ne!(partition, 4);
    assert_eq!(places, [(partition, 0), (4, 0), (4, 1)]);
    world.network.lock().set_away(true);
    let outcomes = deliver(&[record(&topic, 4, "three")]);
    let error = outcomes
        .into_iter()
        .next()
        .and_then(Result::err)
        .expect("nobody answers");
    assert_eq!(error.kind(), crate::error::ErrorKind::Broker);
    assert!(error.to_string().contains("log"), "{error}");
}

/// A seed repeats a run.
#[test]
fn a_seed_gives_the_same_run() {
    let run = |seed| {
        let world = World::new(seed);
        world.network.lock().keep_trace();
        world.network.lock().behaviour.breaks = 5;
        let topics = ["b", "c", "a"].map(|name| world.topic(name, 3));
        let (mut producer, _) = producer(&world);
        for number in 0..300 {
            let topic = &topics[number % 3];
            let record = record(topic, 0, "value");
            let outcome = producer.send(OutgoingRecord {
                key: None,
                partition: None,
                ..record
            });
            assert!(matches!(outcome, SendOutcome::Queued));
            world.pass(Duration::from_micros(100));
        }
        assert!(producer.flush(SOON));
        world.network.lock().trace().to_vec()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
