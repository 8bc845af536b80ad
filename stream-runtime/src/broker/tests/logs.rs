//! Compaction, retention and times, on a time that the tests set.

use std::io::Write;
use std::time::Duration;

use super::fixture::{Driver, START_MS, Sent};
use crate::broker::log::{OffsetTime, Reads};

type Pair<'a> = (Option<&'a str>, Option<&'a str>);

const EAGER: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "1000"),
    ("delete.retention.ms", "5000"),
    ("min.cleanable.dirty.ratio", "0.01"),
];

fn put(driver: &mut Driver, records: &[Pair<'_>]) {
    let timestamp = driver.now().wall_ms;
    let (code, _) = driver.produce(
        "t",
        Sent {
            timestamp,
            ..Sent::new(records)
        }
        .encode(),
    );
    assert_eq!(code, 0);
}

fn offsets(driver: &Driver) -> Vec<i64> {
    driver
        .contents("t")
        .into_iter()
        .map(|(offset, _)| offset)
        .collect()
}

#[test]
fn compaction_keeps_the_last_record_of_a_key_at_its_offset() {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", EAGER);
    put(
        &mut driver,
        &[
            (Some("a"), Some("1")),
            (Some("b"), Some("1")),
            (Some("a"), Some("2")),
        ],
    );
    put(&mut driver, &[(Some("b"), Some("2")), (Some("c"), Some("1"))]);
    assert_eq!(offsets(&driver), [0, 1, 2, 3, 4], "nothing in the active segment");
    driver.pass(Duration::from_secs(2));
    // The last batch stays as it is, whatever is in it.
    put(&mut driver, &[(Some("c"), Some("2"))]);
    driver.pass(Duration::from_secs(2));
    assert_eq!(offsets(&driver), [2, 3, 4, 5]);
    put(&mut driver, &[(Some("z"), Some("1"))]);
    driver.pass(Duration::from_secs(2));
    assert_eq!(offsets(&driver), [2, 3, 5, 6]);
    let log = &driver.state.topics.partition("t", 0).expect("a topic").log;
    assert_eq!((log.start(), log.end()), (0, 7));
    assert!(
        !log.read(0, 1000, true, Reads::All)
            .expect("gaps can be read over")
            .bytes
            .is_empty()
    );
}

#[test]
fn a_tombstone_stays_for_a_while() {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", EAGER);
    put(&mut driver, &[(Some("a"), Some("1"))]);
    put(&mut driver, &[(Some("a"), None)]);
    put(&mut driver, &[(Some("z"), Some("1"))]);
    driver.pass(Duration::from_secs(2));
    assert_eq!(offsets(&driver), [1, 2], "the tombstone has replaced the value");
    driver.pass(Duration::from_secs(3));
    assert_eq!(offsets(&driver), [1, 2]);
    driver.pass(Duration::from_secs(3));
    assert_eq!(offsets(&driver), [2]);
}

#[test]
fn young_records_are_spared() {
    let mut driver = Driver::new(Duration::ZERO);
    let mut settings = EAGER.to_vec();
    settings.push(("min.compaction.lag.ms", "60000"));
    driver.topic("t", &settings);
    for _ in 0..4 {
        put(&mut driver, &[(Some("a"), Some("1"))]);
    }
    driver.pass(Duration::from_secs(30));
    assert_eq!(offsets(&driver), [0, 1, 2, 3]);
    driver.pass(Duration::from_secs(31));
    assert_eq!(offsets(&driver), [2, 3], "the last batch is never touched");
}

#[test]
fn what_cannot_be_unpacked_stays() {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", EAGER);
    let zstd = Sent {
        attributes: 4,
        ..Sent::new(&[(Some("a"), Some("1"))])
    };
    driver.produce("t", zstd.wrap(b"not for us"));
    put(&mut driver, &[(Some("a"), Some("1"))]);
    put(&mut driver, &[(Some("a"), Some("2"))]);
    put(&mut driver, &[(Some("z"), Some("1"))]);
    driver.pass(Duration::from_secs(2));
    let log = &driver.state.topics.partition("t", 0).expect("a topic").log;
    let bases: Vec<i64> = log.batches().iter().map(|batch| batch.base_offset).collect();
    assert_eq!(bases, [0, 2, 3]);
}

#[test]
fn retention_drops_what_is_old_and_what_is_too_much() {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", &[("retention.ms", "400000")]);
    put(&mut driver, &[(Some("a"), Some("1"))]);
    driver.pass(Duration::from_secs(200));
    put(&mut driver, &[(Some("a"), Some("2"))]);
    driver.pass(Duration::from_secs(450));
    assert_eq!(offsets(&driver), [1]);
    let log = &driver.state.topics.partition("t", 0).expect("a topic").log;
    assert_eq!((log.start(), log.end()), (1, 2));
}

#[test]
fn the_size_of_a_log_is_kept_right() {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", &[("retention.bytes", "150")]);
    for _ in 0..5 {
        put(&mut driver, &[(Some("a"), Some("1"))]);
    }
    driver.pass(Duration::from_secs(301));
    assert_eq!(offsets(&driver), [2, 3, 4], "two batches are less than 150 bytes");
}

#[test]
fn a_time_is_found_inside_a_packed_batch() {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", &[]);
    let records: &[Pair<'_>] = &[(Some("a"), Some("1"))];
    let plain = Sent::new(records).encode();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain[61..]).expect("into memory");
    let packed = gzip.finish().expect("into memory");
    let late = Sent {
        attributes: 1,
        timestamp: START_MS + 500,
        ..Sent::new(records)
    };
    driver.produce("t", plain);
    driver.produce("t", late.wrap(&packed));
    let log = &driver.state.topics.partition("t", 0).expect("a topic").log;
    let second = OffsetTime {
        offset: 1,
        timestamp: START_MS + 500,
    };
    assert_eq!(log.first_at(START_MS + 1), Some(second));
    assert_eq!(log.latest_time(), Some(second));
    assert_eq!(log.first_at(START_MS + 501), None);
}
