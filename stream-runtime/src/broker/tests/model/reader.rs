//! A consumer: fetches, and leaves out what was aborted as clients do it, by the list that comes with an answer.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest, TopicName};
use std::collections::BTreeSet;

use super::batches::{self, Found, Record};
use crate::broker::api::{Request, Response, text};
use crate::broker::state::Answer;
use crate::broker::tests::fixture::Driver;

/// More than a test writes.
pub(super) const ALL: i32 = 1 << 20;
/// ListOffsets by time.
pub(super) const LARGEST_TIME: i64 = -3;
const EARLIEST: i64 = -2;

/// A request for partition 0 that waits up to `wait_ms` for a byte.
pub(super) fn request(topic: &str, offset: i64, max_bytes: i32, committed: bool, wait_ms: i32) -> Request {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(max_bytes);
    let topic = FetchTopic::default()
        .with_topic(TopicName(text(topic)))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(max_bytes)
        .with_isolation_level(i8::from(committed))
        .with_topics(vec![topic]);
    Request::Fetch(request)
}

/// What there is of partition 0 now.
pub(super) fn fetch(
    driver: &mut Driver,
    topic: &str,
    offset: i64,
    max_bytes: i32,
    committed: bool,
) -> PartitionData {
    let request = request(topic, offset, max_bytes, committed, 0);
    match driver.send(11, request).1 {
        Answer::Ready(Response::Fetch(mut response)) => response.responses.remove(0).partitions.remove(0),
        other => panic!("no answer to Fetch: {other:?}"),
    }
}

/// The offset and the time of the first record of this time, of the beginning, or with the largest time.
pub(super) fn offset_at(driver: &mut Driver, topic: &str, timestamp: i64) -> (i64, i64) {
    let partition = ListOffsetsPartition::default()
        .with_timestamp(timestamp)
        .with_current_leader_epoch(-1);
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(text(topic)))
        .with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    match driver.send(7, Request::ListOffsets(request)).1 {
        Answer::Ready(Response::ListOffsets(response)) => {
            let partition = &response.topics[0].partitions[0];
            assert_eq!(partition.error_code, 0);
            (partition.offset, partition.timestamp)
        }
        other => panic!("no answer to ListOffsets: {other:?}"),
    }
}

/// All that can be read of a log, and its limits.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) stable: i64,
    pub(super) batches: Vec<Found>,
}

impl Log {
    /// The records that a consumer hands out, with their offsets: no markers, nothing before the start.
    pub(super) fn records(&self) -> impl Iterator<Item = &(i64, Record)> {
        let batches = self.batches.iter().filter(|batch| !batch.is_control);
        let records = batches.flat_map(|batch| &batch.records);
        records.filter(|(offset, _)| *offset >= self.start)
    }
}

/// Reads a log from its start to its end in bites of `max_bytes`, uncommitted records too.
pub(super) fn read_all(driver: &mut Driver, topic: &str, max_bytes: i32) -> Log {
    let (start, _) = offset_at(driver, topic, EARLIEST);
    let mut log = Log {
        start,
        end: start,
        stable: start,
        batches: Vec::new(),
    };
    follow(driver, topic, start, max_bytes, false, |data, batches| {
        (log.start, log.end, log.stable) = (
            data.log_start_offset,
            data.high_watermark,
            data.last_stable_offset,
        );
        log.batches.extend(batches);
    });
    assert_eq!(log.start, start, "the start is the same whoever asks");
    log
}

/// The records of committed transactions and of none, with their offsets.
pub(super) fn read_committed(driver: &mut Driver, topic: &str, max_bytes: i32) -> Vec<(i64, Record)> {
    let (start, _) = offset_at(driver, topic, EARLIEST);
    let mut seen = Vec::new();
    follow(driver, topic, start, max_bytes, true, |data, batches| {
        let mut aborted: Vec<(i64, i64)> = data
            .aborted_transactions
            .iter()
            .flatten()
            .map(|aborted| (aborted.first_offset, aborted.producer_id.0))
            .collect();
        aborted.sort_unstable();
        aborted.reverse();
        let mut hidden = BTreeSet::new();
        for batch in batches {
            while let Some((_, producer)) = aborted.pop_if(|(first, _)| *first <= batch.last) {
                hidden.insert(producer);
            }
            if batch.is_control {
                if batch.aborts {
                    hidden.remove(&batch.producer_id);
                }
            } else if !batch.is_transactional || !hidden.contains(&batch.producer_id) {
                seen.extend(batch.records);
            }
        }
    });
    seen.retain(|(offset, _)| *offset >= start);
    seen
}

/// Fetches from `from` until nothing more comes.
fn follow(
    driver: &mut Driver,
    topic: &str,
    from: i64,
    max_bytes: i32,
    committed: bool,
    mut take: impl FnMut(&PartitionData, Vec<Found>),
) {
    let mut next = from;
    loop {
        let data = fetch(driver, topic, next, max_bytes, committed);
        assert_eq!(
            data.error_code, 0,
            "offset {next} lies between the start and the end"
        );
        let batches = batches::read(data.records.clone().unwrap_or_default());
        let Some(last) = batches.last().map(|batch| batch.last) else {
            let end = if committed {
                data.last_stable_offset
            } else {
                data.high_watermark
            };
            assert!(
                next >= end || committed,
                "nothing is read at {next} although the log ends at {end}"
            );
            take(&data, Vec::new());
            return;
        };
        assert!(
            batches.iter().all(|batch| batch.last >= next),
            "a batch before {next} was asked for by nobody"
        );
        if committed {
            let limit = data.last_stable_offset;
            assert!(
                last < limit,
                "{last} is read although only what is before {limit} is stable"
            );
        }
        take(&data, batches);
        next = last + 1;
    }
}

/// The batches of an answer.
pub(super) fn batches_of(data: &PartitionData) -> Vec<Found> {
    batches::read(data.records.clone().unwrap_or_default())
}
