//! Fetch: records, now or when there are enough of them.
//!
//! There are no fetch sessions: every request names all of its partitions, which the protocol allows
//! (session id 0).

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProducerId, TopicName};
use std::time::Duration;

use super::super::batch::LEADER_EPOCH;
use super::super::isolation::Aborted;
use super::super::log::{Grown, Reads};
use super::super::state::{Answer, Caller, Completion, Now, State, Timer, Token};

/// Answers at once if there is enough, something is wrong, or the client does not want to wait.
pub(crate) fn fetch(state: &mut State, now: Now, caller: &Caller, request: FetchRequest) -> Answer {
    if request.session_id != 0 {
        let code = ResponseError::FetchSessionIdNotFound.code();
        return Answer::Ready(FetchResponse::default().with_error_code(code).into());
    }
    let read = read(state, &request);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    match missing(&read, &request) {
        Some(missing) if !wait.is_zero() && !request.topics.is_empty() => {
            state.timers.set(now.elapsed + wait, Timer::Fetch(caller.token));
            let topics = &mut state.topics;
            state.fetches.wait(topics, caller.token, request, missing);
            Answer::Later
        }
        _ => Answer::Ready(read.response.into()),
    }
}

/// Answers a waiting fetch with what there is now.
pub(crate) fn finish(state: &mut State, token: Token) {
    if let Some(waiting) = state.fetches.take(&mut state.topics, token) {
        let response = read(state, &waiting.request).response.into();
        state.completions.push(Completion { token, response });
    }
}

/// Answers the fetches that have enough now that more of a partition can be read.
pub(crate) fn grown(state: &mut State, topic: &str, index: i32, grown: Grown) {
    let Ok(partition) = state.topics.partition(topic, index) else {
        return;
    };
    for token in state.fetches.grown(&partition.waiting, grown) {
        let Some(request) = state.fetches.request(token) else {
            continue;
        };
        let read = read(state, request);
        match missing(&read, request) {
            Some(missing) => state.fetches.wait_on(token, missing),
            None => {
                state.fetches.take(&mut state.topics, token);
                let response = read.response.into();
                state.completions.push(Completion { token, response });
            }
        }
    }
}

/// How many bytes a fetch still wants; `None` if it is to be answered.
fn missing(read: &Read, request: &FetchRequest) -> Option<usize> {
    let wanted = usize::try_from(request.min_bytes.min(request.max_bytes)).unwrap_or(0);
    (!read.is_ready && read.bytes < wanted).then(|| wanted - read.bytes)
}

struct Read {
    response: FetchResponse,
    bytes: usize,
    /// Something is wrong, or more than it may get is there already: no use to wait.
    is_ready: bool,
}

fn read(state: &State, request: &FetchRequest) -> Read {
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0);
    let (mut bytes, mut is_ready) = (0, false);
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let reads = Reads::of(request.isolation_level);
            let (data, is_cut) = read_partition(state, &topic.topic, wanted, reads, left, bytes == 0);
            let size = data.records.as_ref().map_or(0, Bytes::len);
            bytes += size;
            left = left.saturating_sub(size);
            is_ready |= is_cut || data.error_code != 0;
            partitions.push(data);
        }
        let response = FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions);
        responses.push(response);
    }
    Read {
        response: FetchResponse::default().with_responses(responses),
        bytes,
        is_ready,
    }
}

/// What there is of a partition, and whether it was cut short.
fn read_partition(
    state: &State,
    topic: &TopicName,
    wanted: &FetchPartition,
    reads: Reads,
    left: usize,
    is_first: bool,
) -> (PartitionData, bool) {
    let data = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_records(Some(Bytes::new()));
    let unknown = |error: ResponseError, data: PartitionData| {
        let data = data
            .with_error_code(error.code())
            .with_high_watermark(-1)
            .with_last_stable_offset(-1)
            .with_log_start_offset(-1);
        (data, false)
    };
    let partition = match state.topics.partition(topic, wanted.partition) {
        Ok(partition) => partition,
        Err(error) => return unknown(error, data),
    };
    if let Err(error) = check_epoch(wanted.current_leader_epoch) {
        return unknown(error, data);
    }
    let log = &partition.log;
    let most = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(left);
    match log.read(wanted.fetch_offset, most, is_first, reads) {
        Ok(slice) => {
            let aborted = slice.aborted.map(|all| all.iter().map(aborted).collect());
            let data = data
                .with_high_watermark(log.end())
                .with_last_stable_offset(log.stable_end())
                .with_log_start_offset(log.start())
                .with_aborted_transactions(aborted)
                .with_records(Some(slice.bytes));
            (data, slice.is_cut)
        }
        Err(error) => unknown(error, data),
    }
}

fn aborted(aborted: &Aborted) -> AbortedTransaction {
    AbortedTransaction::default()
        .with_producer_id(ProducerId(aborted.producer_id))
        .with_first_offset(aborted.first)
}

/// A client that knows another leader than the one there is has to ask again.
pub(crate) fn check_epoch(known: i32) -> Result<(), ResponseError> {
    if known > LEADER_EPOCH {
        Err(ResponseError::UnknownLeaderEpoch)
    } else {
        Ok(())
    }
}
