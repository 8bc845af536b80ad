//! Transactional producers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::outage::Broker;
use super::positions::Alone;
use super::{Kept, SOON, Setting, at, bootstrap, offset, send, settings, until, wake};
use crate::kafka::cluster::RdKafkaCluster;
use crate::kafka::{
    CommitOffset, OutgoingRecord, SendOutcome, StartOffset, TransactionOutcome, TransactionalProducer,
};

const MINUTE: Duration = Duration::from_secs(60);

fn producer(setting: &Setting, id: &str) -> Box<dyn TransactionalProducer> {
    let mut producer = setting
        .cluster
        .transactional_producer(&format!("{}-{id}", setting.name), MINUTE, wake())
        .expect("a producer");
    producer.init();
    let outcome = ended(&mut *producer);
    assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
    producer
}

/// Waits for the outcome of a step without polling for reports.
fn ended(producer: &mut dyn TransactionalProducer) -> TransactionOutcome {
    let mut outcome = None;
    let end = Instant::now() + MINUTE;
    while outcome.is_none() {
        assert!(Instant::now() < end, "a step ends");
        outcome = producer.outcome();
        std::thread::sleep(Duration::from_millis(1));
    }
    outcome.expect("it has ended")
}

fn commit(
    producer: &mut dyn TransactionalProducer,
    member: &mut Alone,
    offsets: &[CommitOffset],
) -> TransactionOutcome {
    assert!(producer.flush(SOON));
    let membership = member.consumer.membership().expect("it is a member");
    producer.commit(offsets, membership);
    ended(producer)
}

fn abort(producer: &mut dyn TransactionalProducer) {
    producer.abort();
    let outcome = ended(producer);
    assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
}

/// What a reader of committed records sees, and where the partition ends.
fn seen(setting: &Setting, topic: &Arc<str>) -> (Vec<String>, i64) {
    let mut reader = setting.cluster.partition_reader(wake()).expect("a reader");
    reader
        .add(&[(at(topic, 0), StartOffset::Beginning)])
        .expect("it reads");
    let mut sink = Kept::default();
    until("the end is reached", || {
        reader.poll(&mut sink, 10_000).expect("no error");
        sink.end(topic, 0).is_some()
    });
    let values = sink.values(topic, 0).into_iter().map(str::to_owned);
    (values.collect(), sink.end(topic, 0).expect("it is there"))
}

fn committed(setting: &Setting, topic: &Arc<str>) -> Option<CommitOffset> {
    let admin = setting.cluster.admin().expect("an admin client");
    let found = admin.committed_offsets(&setting.name, &[at(topic, 0)], SOON);
    found.expect("an answer").remove(0)
}

#[test]
fn records_and_offsets_are_there_together_or_not_at_all() {
    if let Some(setting) = Setting::new("together") {
        all_or_nothing(&setting);
    }
}

#[test]
fn records_and_offsets_are_there_together_or_not_at_all_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("together-848") {
        all_or_nothing(&setting.newer());
    }
}

fn all_or_nothing(setting: &Setting) {
    let [input, output] = ["input", "output"].map(|name| setting.topic(name, 1, &[]));
    let mut member = Alone::new(setting, &input, StartOffset::Beginning);
    let mut producer = producer(setting, "0");
    producer.follow(&output);

    producer.begin().expect("it begins");
    send(&mut *producer, &output, 0, "one");
    send(&mut *producer, &output, 0, "two");
    let first = offset(at(&input, 0), 2, "output=2");
    let outcome = commit(&mut *producer, &mut member, std::slice::from_ref(&first));
    assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
    assert_eq!(producer.acknowledged(&output, 0), Some(2));
    assert_eq!(committed(setting, &input), Some(first.clone()));

    producer.begin().expect("it begins");
    send(&mut *producer, &output, 0, "never");
    assert!(producer.flush(SOON));
    abort(&mut *producer);
    assert_eq!(committed(setting, &input), Some(first));

    // One with offsets alone, one with records alone, one with nothing.
    producer.begin().expect("it begins");
    let second = offset(at(&input, 0), 5, "");
    let outcome = commit(&mut *producer, &mut member, std::slice::from_ref(&second));
    assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
    assert_eq!(committed(setting, &input), Some(second));
    producer.begin().expect("it begins");
    send(&mut *producer, &output, 0, "three");
    let outcome = commit(&mut *producer, &mut member, &[]);
    assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
    producer.begin().expect("it begins");
    assert!(producer.begin().is_err(), "one at a time");
    let outcome = commit(&mut *producer, &mut member, &[]);
    assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");

    // Three records and a marker each for the first three transactions that wrote here.
    assert_eq!(
        seen(setting, &output),
        (["one", "two", "three"].map(str::to_owned).to_vec(), 7)
    );
    assert_eq!(
        producer.acknowledged(&output, 0),
        Some(6),
        "the marker is the broker's"
    );
    assert_eq!(producer.take_failure(), None);
    assert!(!producer.is_broken());
    member.consumer.close(SOON);
}

#[test]
fn an_abort_takes_back_what_is_queued_and_in_flight_without_anybody_polling() {
    let Some(setting) = Setting::new("aborts") else {
        return;
    };
    let [input, output] = ["input", "output"].map(|name| setting.topic(name, 1, &[]));
    let mut member = Alone::new(&setting, &input, StartOffset::Beginning);
    let mut producer = producer(&setting, "0");
    for round in 0..10 {
        producer.begin().expect("it begins");
        for _ in 0..3000 {
            send(&mut *producer, &output, 0, "never");
        }
        // In the queue at first, on the wire later.
        std::thread::sleep(Duration::from_millis(round * 2));
        if round % 3 == 0 {
            producer.purge();
            let outcome = commit(&mut *producer, &mut member, &[]);
            assert!(matches!(outcome, TransactionOutcome::Abort(_)), "{outcome:?}");
        }
        abort(&mut *producer);
        assert_eq!(producer.in_flight(), 0, "round {round}");
        producer.begin().expect("it begins");
        assert_eq!(producer.take_failure(), None, "nothing of the transaction before");
        send(&mut *producer, &output, 0, &round.to_string());
        let outcome = commit(&mut *producer, &mut member, &[]);
        assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
    }
    let (values, _) = seen(&setting, &output);
    assert_eq!(values, (0..10).map(|round| round.to_string()).collect::<Vec<_>>());
    member.consumer.close(SOON);
}

#[test]
fn a_step_wakes_when_it_has_ended() {
    let Some(setting) = Setting::new("wakes") else {
        return;
    };
    let wake = Arc::new(Notify::new());
    let mut producer = setting
        .cluster
        .transactional_producer(&setting.name, MINUTE, Arc::clone(&wake))
        .expect("a producer");
    producer.init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    while producer.outcome().is_none() {
        producer.poll();
        let woken = async { tokio::time::timeout(SOON, wake.notified()).await };
        runtime.block_on(woken).expect("the outcome wakes");
    }
}

#[test]
fn a_newer_producer_of_the_same_id_fences_the_older_and_ends_its_transaction() {
    let Some(setting) = Setting::new("fences") else {
        return;
    };
    let [input, output] = ["input", "output"].map(|name| setting.topic(name, 1, &[]));
    let mut member = Alone::new(&setting, &input, StartOffset::Beginning);
    let mut older = producer(&setting, "0");
    older.begin().expect("it begins");
    send(&mut *older, &output, 0, "of the older");
    assert!(older.flush(SOON));

    let mut newer = producer(&setting, "0");
    let outcome = commit(&mut *older, &mut member, &[offset(at(&input, 0), 7, "")]);
    assert!(matches!(outcome, TransactionOutcome::Fenced(_)), "{outcome:?}");
    assert!(older.is_broken());
    assert!(older.take_failure().is_some());
    assert_eq!(committed(&setting, &input), None);

    newer.begin().expect("it begins");
    send(&mut *newer, &output, 0, "of the newer");
    let outcome = commit(&mut *newer, &mut member, &[offset(at(&input, 0), 8, "")]);
    assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
    assert_eq!(seen(&setting, &output).0, ["of the newer"]);
    assert_eq!(committed(&setting, &input).map(|found| found.offset), Some(8));

    // Without offsets the fence is met at the end of the transaction, and then it does not tell how that ended.
    let mut newest = producer(&setting, "0");
    newer.begin().expect("nobody has told it yet");
    let outcome = commit(&mut *newer, &mut member, &[]);
    assert!(
        matches!(outcome, TransactionOutcome::Done),
        "nothing was in it: {outcome:?}"
    );
    newest.begin().expect("it begins");
    send(&mut *newest, &output, 0, "of the newest");
    assert!(newest.flush(SOON));
    let _fourth = producer(&setting, "0");
    let outcome = commit(&mut *newest, &mut member, &[]);
    assert!(matches!(outcome, TransactionOutcome::Unknown(_)), "{outcome:?}");
    assert!(newest.is_broken());
    assert_eq!(seen(&setting, &output).0, ["of the newer"]);
    member.consumer.close(SOON);
}

#[test]
fn a_member_that_was_put_out_commits_nothing_and_its_transaction_does_not_stay_open() {
    if let Some(setting) = Setting::new("put-out") {
        put_out(&setting);
    }
}

#[test]
fn a_member_that_was_put_out_commits_nothing_and_its_transaction_does_not_stay_open_under_the_newer_protocol()
{
    if let Some(setting) = Setting::new("put-out-848") {
        put_out(&setting.newer());
    }
}

fn put_out(setting: &Setting) {
    let [input, output] = ["input", "output"].map(|name| setting.topic(name, 1, &[]));
    let mut slow = Alone::new(&setting.impatient(), &input, StartOffset::Beginning);
    let mut producer = producer(setting, "0");
    producer.begin().expect("it begins");
    send(&mut *producer, &output, 0, "of one that was put out");
    assert!(producer.flush(SOON));
    let membership = slow.consumer.membership().expect("it is a member");
    // It does not poll, and another takes over.
    let quick = Alone::new(setting, &input, StartOffset::Beginning);
    producer.commit(&[offset(at(&input, 0), 7, "")], membership);
    let outcome = ended(&mut *producer);
    assert!(
        matches!(
            outcome,
            TransactionOutcome::Fenced(_) | TransactionOutcome::Abort(_)
        ),
        "{outcome:?}"
    );
    assert_eq!(committed(setting, &input), None);
    drop(producer);
    // Long before its time-out, which readers would wait for.
    let start = Instant::now();
    assert_eq!(seen(setting, &output), (Vec::new(), 2));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    slow.turn();
    slow.consumer.close(SOON);
    quick.consumer.close(SOON);
}

#[test]
fn a_delivery_that_fails_fails_its_transaction_alone() {
    let Some(setting) = Setting::new("fails") else {
        return;
    };
    let input = setting.topic("input", 1, &[]);
    let small = setting.topic("small", 1, &[("max.message.bytes", "2000")]);
    let mut member = Alone::new(&setting, &input, StartOffset::Beginning);
    let mut producer = producer(&setting, "0");
    // What LZ4 does not make small.
    let mut state = 1_u64;
    let large = (0..50_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    let large = large.collect::<Vec<_>>();
    for round in 0..3 {
        producer.begin().expect("it begins");
        send(&mut *producer, &small, 0, "goes down with it");
        let record = OutgoingRecord {
            topic: &small,
            partition: Some(0),
            key: None,
            value: Some(&large),
            headers: &[],
            timestamp: None,
        };
        assert!(matches!(producer.send(record), SendOutcome::Queued));
        until("it fails", || {
            producer.poll();
            producer.in_flight() == 0
        });
        if round == 0 {
            let outcome = commit(&mut *producer, &mut member, &[offset(at(&input, 0), 7, "")]);
            assert!(matches!(outcome, TransactionOutcome::Abort(_)), "{outcome:?}");
        }
        let failure = producer.take_failure().expect("it is told");
        assert!(failure.contains(&*small), "{failure}");
        assert!(!producer.is_broken());
        // The transaction has failed, so the client takes no more: that is not this record's fault.
        send(&mut *producer, &small, 0, "neither");
        let mut one = std::iter::once((&b"key"[..], None));
        assert_eq!(producer.send_many(&small, 0, &mut one), 0);
        assert!(producer.flush(SOON));
        let outcome = commit(&mut *producer, &mut member, &[offset(at(&input, 0), 7, "")]);
        assert!(matches!(outcome, TransactionOutcome::Abort(_)), "{outcome:?}");
        abort(&mut *producer);
        // The batch that the broker refused has left a gap in the sequence, which the next transaction may still meet.
        let mut tries = 0;
        loop {
            producer.begin().expect("it begins");
            assert_eq!(producer.take_failure(), None);
            send(&mut *producer, &small, 0, "fits");
            match commit(&mut *producer, &mut member, &[]) {
                TransactionOutcome::Done => break,
                TransactionOutcome::Abort(_) if tries == 0 => abort(&mut *producer),
                outcome => panic!("{outcome:?}"),
            }
            tries += 1;
        }
    }
    assert_eq!(committed(&setting, &input), None);
    assert_eq!(seen(&setting, &small).0, ["fits", "fits", "fits"]);
    member.consumer.close(SOON);
}

#[test]
fn a_topic_that_does_not_exist_fails_its_transaction_alone() {
    let Some(setting) = Setting::new("no-topic") else {
        return;
    };
    let output = setting.topic("output", 1, &[]);
    let nowhere: Arc<str> = Arc::from(format!("{}-nowhere", setting.name));
    let mut member = Alone::new(&setting, &output, StartOffset::Beginning);
    let mut producer = producer(&setting, "0");
    producer.begin().expect("it begins");
    send(&mut *producer, &nowhere, 0, "lost");
    let mut failure = None;
    let end = Instant::now() + MINUTE;
    while failure.is_none() {
        assert!(Instant::now() < end, "the delivery fails");
        producer.poll();
        failure = producer.take_failure();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(failure.is_some_and(|failure| failure.contains(&*nowhere)));
    abort(&mut *producer);
    producer.begin().expect("it begins");
    send(&mut *producer, &output, 0, "fits");
    let outcome = commit(&mut *producer, &mut member, &[]);
    assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
    member.consumer.close(SOON);
}

#[test]
fn a_dropped_producer_ends_its_transaction_and_holds_nobody_up() {
    let Some(setting) = Setting::new("dropped") else {
        return;
    };
    let output = setting.topic("output", 1, &[]);
    let mut producer = producer(&setting, "0");
    producer.begin().expect("it begins");
    send(&mut *producer, &output, 0, "delivered");
    assert!(producer.flush(SOON));
    for _ in 0..10_000 {
        send(&mut *producer, &output, 0, "queued");
    }
    let start = Instant::now();
    drop(producer);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let (values, end) = seen(&setting, &output);
    assert_eq!(values, Vec::<String>::new());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        assert_eq!(seen(&setting, &output).1, end, "it writes no more");
    }
}

#[test]
fn a_commit_that_nobody_answers_is_unknown_and_its_fate_is_told_later() {
    // Only asked for whether there is Kafka at all.
    if bootstrap().is_none() {
        return;
    }
    let broker = Broker::start();
    let setting = Setting::at(&format!("127.0.0.1:{}", broker.port), "unknown");
    let [input, output] = ["input", "output"].map(|name| setting.topic(name, 1, &[]));
    let mut member = Alone::new(&setting, &input, StartOffset::Beginning);
    let mut producer = producer(&setting, "0");
    producer.begin().expect("it begins");
    send(&mut *producer, &output, 0, "one");
    // The offsets are in the transaction already when the broker hangs: what is repeated changes nothing.
    let outcome = commit(&mut *producer, &mut member, &[offset(at(&input, 0), 1, "")]);
    assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
    producer.begin().expect("it begins");
    send(&mut *producer, &output, 0, "two");
    assert!(producer.flush(SOON));
    broker.signal("-STOP");
    let start = Instant::now();
    let membership = member.consumer.membership().expect("it is a member");
    producer.commit(&[], membership);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "the call itself waits for nobody"
    );
    let outcome = ended(&mut *producer);
    assert!(matches!(outcome, TransactionOutcome::Unknown(_)), "{outcome:?}");
    assert!(producer.is_broken());
    let start = Instant::now();
    drop(producer);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    broker.signal("-CONT");

    // Whoever has the id next decides it: then it is there whole or not at all.
    let mut next = self::producer(&setting, "0");
    let (values, _) = seen(&setting, &output);
    assert!(values == ["one"] || values == ["one", "two"], "{values:?}");
    next.begin().expect("it begins");
    send(&mut *next, &output, 0, "three");
    assert!(next.flush(SOON));
    // The member may have been put out in the meantime; without offsets that does not matter.
    until("it is a member again", || {
        member.turn();
        member.answer();
        member.consumer.membership().is_some()
    });
    let outcome = commit(&mut *next, &mut member, &[]);
    assert!(matches!(outcome, TransactionOutcome::Done), "{outcome:?}");
    assert_eq!(
        seen(&setting, &output).0.last().map(String::as_str),
        Some("three")
    );
    member.consumer.close(SOON);
}

#[test]
fn nobody_is_waited_for_for_ever() {
    let cluster = RdKafkaCluster::connect(settings("127.0.0.1:1", "nobody")).expect("settings are right");
    let start = Instant::now();
    let mut producer = cluster
        .transactional_producer("nobody-0", MINUTE, wake())
        .expect("a producer");
    producer.init();
    let outcome = ended(&mut *producer);
    assert!(matches!(outcome, TransactionOutcome::Unknown(_)), "{outcome:?}");
    assert!(start.elapsed() < MINUTE, "{:?}", start.elapsed());
    producer.init();
    assert!(producer.outcome().is_none(), "a step takes its time");
    let start = Instant::now();
    drop(producer);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
