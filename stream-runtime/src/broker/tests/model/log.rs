//! A log against a list of what was acknowledged: appending, reading, retention, compaction, deletion, times.
//!
//! The list is never shortened; for each record that can no longer be read there must be a reason in the topic's
//! settings, and what is read must be what was sent.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, TopicName};
use proptest::prelude::*;
use std::time::Duration;

use super::batches::{Record, Sent};
use super::cases;
use super::policy::{self, Policy, any_policy};
use super::reader::{self, ALL, LARGEST_TIME, Log};
use super::writers::{Expected, Turn, Writer};
use crate::broker::api::{Request, Response, text};
use crate::broker::state::{Answer, Token};
use crate::broker::tests::fixture::Driver;

/// A record to be: its key, whether it is a tombstone, and how old it is when it is sent.
type Draft = (Option<u8>, bool, i64);

#[derive(Debug, Clone)]
enum Step {
    Produce(Vec<Draft>, u8),
    Idempotent(usize, Turn, Vec<Draft>),
    /// At any offset, up to so many bytes.
    Fetch(usize, i32),
    /// A fetch at the end that waits.
    Await,
    DeleteBefore(usize),
    FindTime(i64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let draft = (
        proptest::option::weighted(0.98, 0..4_u8),
        proptest::bool::weighted(0.2),
        prop_oneof![4 => Just(0), 1 => -2_000..30_000_i64],
    );
    let drafts = proptest::collection::vec(draft, 1..4);
    let turn = prop_oneof![
        6 => Just(Turn::Next),
        3 => (0..7_usize).prop_map(Turn::Again),
        1 => (1..4).prop_map(Turn::Gap),
        1 => prop_oneof![Just(0), 1..4].prop_map(Turn::NewEpoch),
        1 => Just(Turn::OldEpoch),
    ];
    prop_oneof![
        6 => (drafts.clone(), 0..4_u8).prop_map(|(drafts, codec)| Step::Produce(drafts, codec)),
        5 => (0..2_usize, turn, drafts).prop_map(|(who, turn, drafts)| Step::Idempotent(who, turn, drafts)),
        4 => (any::<usize>(), prop_oneof![0..400_i32, Just(ALL)]).prop_map(|(at, most)| Step::Fetch(at, most)),
        1 => Just(Step::Await),
        1 => any::<usize>().prop_map(Step::DeleteBefore),
        2 => (-2_000..40_000_i64).prop_map(Step::FindTime),
        5 => prop_oneof![Just(10_u64), Just(600), Just(1_100), Just(6_000), Just(21_000), Just(300_000)]
            .prop_map(Step::Pass),
    ]
}

/// A record that was acknowledged.
#[derive(Debug)]
struct Kept {
    offset: i64,
    record: Record,
    appended_ms: i64,
    is_gone: bool,
}

struct Model {
    driver: Driver,
    policy: Policy,
    all: Vec<Kept>,
    writers: [Writer; 2],
    start: i64,
    end: i64,
    /// What can be read now.
    log: Log,
    waiting: Option<Token>,
    values: u32,
}

impl Model {
    fn new(policy: Policy) -> Self {
        let mut driver = Driver::new(Duration::ZERO);
        driver.topic("t", policy.settings);
        let log = reader::read_all(&mut driver, "t", ALL);
        Self {
            driver,
            policy,
            all: Vec::new(),
            // The second one's sequences wrap soon.
            writers: [Writer::new(100, 0), Writer::new(101, i32::MAX - 3)],
            start: 0,
            end: 0,
            log,
            waiting: None,
            values: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Produce(drafts, codec) => {
                let records = self.records(drafts);
                let codec = *codec;
                let sent = Sent {
                    codec,
                    ..Sent::plain(&records)
                };
                let expected = self.expected(&records, Expected::Append);
                self.send(&sent, expected);
            }
            Step::Idempotent(who, turn, drafts) => {
                let mut attempt = self.writers[*who].attempt(*turn, drafts.len());
                let drafts: Vec<_> = drafts.iter().cycle().take(attempt.records).copied().collect();
                let records = self.records(&drafts);
                attempt.expected = self.expected(&records, attempt.expected);
                let sent = Sent {
                    producer: (self.writers[*who].id, attempt.epoch, attempt.sequence),
                    ..Sent::plain(&records)
                };
                if let Some(offset) = self.send(&sent, attempt.expected) {
                    self.writers[*who].appended(attempt, offset);
                }
            }
            Step::Fetch(at, most) => self.fetch(self.any_offset(*at), *most),
            Step::Await => {
                let request = reader::request("t", self.end, ALL, false, 500);
                let (token, answer) = self.driver.send(11, request);
                assert!(
                    matches!(answer, Answer::Later),
                    "there is nothing behind the end: {answer:?}"
                );
                // An earlier one is answered by what comes next or by time; one is enough to follow.
                self.waiting = Some(token);
            }
            Step::DeleteBefore(at) => self.delete_before(self.any_offset(*at)),
            Step::FindTime(age) => self.find(self.driver.now().wall_ms - age),
            Step::Pass(ms) => {
                let completed = self.driver.pass(Duration::from_millis(*ms));
                if let Some(token) = self.waiting
                    && *ms >= 500
                {
                    assert!(completed.iter().any(|(done, _)| *done == token), "a fetch hangs");
                    self.waiting = None;
                }
            }
        }
    }

    fn records(&mut self, drafts: &[Draft]) -> Vec<Record> {
        let now = self.driver.now().wall_ms;
        let draft = |(key, is_tombstone, age): &Draft| {
            self.values += 1;
            Record {
                key: key.map(|key| format!("k{key}")),
                value: (!is_tombstone).then(|| format!("value {}", self.values)),
                timestamp: now - age,
            }
        };
        drafts.iter().map(draft).collect()
    }

    fn expected(&self, records: &[Record], otherwise: Expected) -> Expected {
        let lacks_key = records.iter().any(|record| record.key.is_none());
        match otherwise {
            _ if lacks_key && self.policy.compact => Expected::Refused(ResponseError::InvalidRecord),
            otherwise => otherwise,
        }
    }

    /// Sends a batch; its offset if it was appended.
    fn send(&mut self, sent: &Sent<'_>, expected: Expected) -> Option<i64> {
        let now = self.driver.now().wall_ms;
        let (code, offset) = self.driver.produce("t", sent.encode());
        match expected {
            Expected::Refused(error) => {
                assert_eq!(code, error.code(), "the batch should be refused: {error}");
                return None;
            }
            Expected::At(at) => {
                assert_eq!((code, offset), (0, at), "the batch is a duplicate");
                return None;
            }
            Expected::Append => assert_eq!((code, offset), (0, self.end), "offsets are dense"),
        }
        for record in sent.records {
            let mut record = record.clone();
            if self.policy.append_time {
                record.timestamp = now;
            }
            self.all.push(Kept {
                offset: self.end,
                record,
                appended_ms: now,
                is_gone: false,
            });
            self.end += 1;
        }
        let completed = self.driver.completions();
        if let Some(token) = self.waiting.take() {
            assert!(
                completed.iter().any(|(done, _)| *done == token),
                "a fetch waits on"
            );
        }
        Some(offset)
    }

    /// An offset in the log, or one to either side of it.
    fn any_offset(&self, at: usize) -> i64 {
        let width = usize::try_from(self.end - self.start + 3).expect("the end is not before the start");
        self.start - 1 + i64::try_from(at % width).expect("small")
    }

    fn fetch(&mut self, offset: i64, max_bytes: i32) {
        let data = reader::fetch(&mut self.driver, "t", offset, max_bytes, false);
        if offset < self.start || offset > self.end {
            assert_eq!(data.error_code, ResponseError::OffsetOutOfRange.code());
            return;
        }
        assert_eq!(data.error_code, 0);
        let most = usize::try_from(max_bytes).expect("not negative");
        let mut size = 0;
        let mut expected = Vec::new();
        for batch in self.log.batches.iter().filter(|batch| batch.last >= offset) {
            size += batch.size;
            if size > most && !expected.is_empty() {
                break;
            }
            expected.push(batch.base);
        }
        let found: Vec<i64> = reader::batches_of(&data).iter().map(|batch| batch.base).collect();
        assert_eq!(
            found, expected,
            "the batches from {offset} in {max_bytes} bytes, one at least"
        );
    }

    fn delete_before(&mut self, offset: i64) {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let topic = DeleteRecordsTopic::default()
            .with_name(TopicName(text("t")))
            .with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
        let Answer::Ready(Response::DeleteRecords(response)) =
            self.driver.send(2, Request::DeleteRecords(request)).1
        else {
            panic!("no answer to DeleteRecords");
        };
        let result = &response.topics[0].partitions[0];
        // -1 asks for everything.
        let offset = if offset == -1 { self.end } else { offset };
        let expected = if !self.policy.delete {
            Err(ResponseError::PolicyViolation)
        } else if offset > self.end {
            Err(ResponseError::OffsetOutOfRange)
        } else {
            Ok(self.start.max(offset))
        };
        match expected {
            Ok(start) => {
                assert_eq!((result.error_code, result.low_watermark), (0, start));
                self.start = start;
            }
            Err(error) => assert_eq!(result.error_code, error.code()),
        }
    }

    fn find(&mut self, time: i64) {
        let first_at = |log: &Log, time: i64| {
            let found = log.records().find(|(_, record)| record.timestamp >= time);
            found.map_or((-1, -1), |(offset, record)| (*offset, record.timestamp))
        };
        let found = reader::offset_at(&mut self.driver, "t", time);
        assert_eq!(found, first_at(&self.log, time), "the first record at {time}");
        let largest = self.log.records().map(|(_, record)| record.timestamp).max();
        let expected = largest.map_or((-1, -1), |largest| first_at(&self.log, largest));
        let found = reader::offset_at(&mut self.driver, "t", LARGEST_TIME);
        assert_eq!(found, expected, "the record with the largest time");
    }

    /// Reads everything and compares.
    fn check(&mut self) {
        let log = reader::read_all(&mut self.driver, "t", ALL);
        assert_eq!(
            (log.end, log.stable),
            (self.end, self.end),
            "the end is what was appended"
        );
        assert!(
            log.start >= self.start && log.start <= log.end,
            "the start only grows"
        );
        let ordered = log.batches.windows(2).all(|pair| pair[0].last < pair[1].base);
        assert!(ordered, "batches do not overlap");
        let remaining: usize = log.batches.iter().map(|batch| batch.size).sum();
        let now = self.driver.now().wall_ms;
        for kept in self.all.iter().filter(|kept| !kept.is_gone) {
            if (self.start..log.start).contains(&kept.offset) {
                let is_old = |keep| kept.record.timestamp < now - keep;
                let old = self.policy.retention_ms.is_some_and(is_old);
                let too_much = self.policy.retention_bytes.is_some_and(|keep| remaining >= keep);
                assert!(
                    self.policy.delete && (old || too_much),
                    "retention took {kept:?} too early"
                );
            }
        }
        self.start = log.start;
        let mut seen = log.records().peekable();
        let mut gone = Vec::new();
        for (at, kept) in self.all.iter().enumerate() {
            if kept.offset < log.start {
                continue;
            }
            if seen.next_if(|(offset, _)| *offset == kept.offset).is_some() {
                assert!(!kept.is_gone, "{kept:?} came back");
            } else if !kept.is_gone {
                self.check_compacted(at, now);
                gone.push(at);
            }
        }
        assert_eq!(seen.next(), None, "what is read was sent, once, in this order");
        for (offset, record) in log.records() {
            let at = usize::try_from(*offset).expect("offsets of a log are not negative");
            assert_eq!(
                *record, self.all[at].record,
                "the record at {offset} is what was sent"
            );
        }
        drop(seen);
        for at in gone {
            self.all[at].is_gone = true;
        }
        self.log = log;
    }

    /// A record that is not there may only have been compacted away.
    fn check_compacted(&self, at: usize, now: i64) {
        let kept = &self.all[at];
        assert!(self.policy.compact, "{kept:?} was lost");
        let is_young = |other: &Kept| other.record.timestamp > now - self.policy.min_lag_ms;
        assert!(
            self.policy.min_lag_ms == 0 || !is_young(kept),
            "{kept:?} is too young to go"
        );
        let mut behind = self.all.iter().skip(at + 1);
        let is_replaced = behind.any(|other| other.record.key == kept.record.key);
        let is_over =
            kept.record.value.is_none() && kept.appended_ms + self.policy.delete_retention_ms <= now;
        assert!(
            is_replaced || is_over,
            "{kept:?} was the last of its key and is lost"
        );
    }

    /// Whatever happened: in the end old records go, and of each key one record at most is left, no tombstone.
    fn settle(&mut self) {
        if self.policy.is_eager {
            for wait in [2_000, 12_000, 9_000, 2_000] {
                self.take(&Step::Produce(vec![(Some(99), false, 0)], 0));
                self.check();
                self.take(&Step::Pass(wait));
                self.check();
            }
            let mut keys = std::collections::BTreeSet::new();
            for (offset, record) in self.log.records() {
                if record.key.as_deref() != Some("k99") {
                    assert!(
                        record.value.is_some(),
                        "the tombstone at {offset} should have gone"
                    );
                    assert!(
                        keys.insert(record.key.clone()),
                        "{:?} at {offset} was replaced",
                        record.key
                    );
                }
            }
        }
        self.take(&Step::Pass(300_000));
        self.check();
        let limit = |ms: i64| self.driver.now().wall_ms - 300_000 - ms;
        let batches = &self.log.batches;
        let first_time = batches
            .first()
            .and_then(|first| first.records.iter().map(|(_, record)| record.timestamp).max());
        if let (true, Some(keep), Some(time)) = (self.policy.delete, self.policy.retention_ms, first_time) {
            assert!(time >= limit(keep), "a record of {time} should have gone");
        }
        if let Some(keep) = self.policy.retention_bytes {
            let behind: usize = batches.iter().skip(1).map(|batch| batch.size).sum();
            assert!(behind < keep, "{behind} bytes are kept behind the first batch");
        }
    }
}

proptest! {
    #![proptest_config(cases(160))]

    #[test]
    fn a_log_is_what_was_appended_but_for_what_may_go(
        policy in any_policy(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        run(policy, &steps);
    }
}

fn run(policy: Policy, steps: &[Step]) {
    let mut model = Model::new(policy);
    for step in steps {
        model.take(step);
        model.check();
    }
    model.settle();
}

#[test]
fn the_largest_time_is_that_of_a_record_that_is_left() {
    let two = Step::Produce(vec![(Some(2), false, -1000), (Some(0), false, 0)], 0);
    let compacted = [
        two.clone(),
        Step::Produce(vec![(Some(2), false, 1000)], 0),
        Step::Pass(1_100),
        Step::Produce(vec![(Some(9), false, 5_000)], 0),
        Step::Pass(600),
        Step::FindTime(0),
    ];
    run(policy::EAGER, &compacted);
    // In the middle of the only batch.
    run(policy::RETAINED, &[two, Step::DeleteBefore(2), Step::FindTime(0)]);
}
