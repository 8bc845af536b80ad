//! Compaction: of every key only the last record stays.
//!
//! A pure function of a log, its topic's settings and the time. Offsets never change, they only get
//! gaps; the active segment, what is younger than `min.compaction.lag.ms`, and batches that cannot be
//! unpacked stay as they are, and so does all that open transactions may still abort. A tombstone stays
//! for `delete.retention.ms` after the first compaction that saw it, so that a reader that is behind
//! still learns of it. Records of aborted transactions go and replace nothing; the marker of a
//! transaction stays as long as one of its records does, and then as long as a tombstone.

use bytes::{Bytes, BytesMut};
use std::collections::{HashMap, HashSet};

use super::batch::Batch;
use super::config::TopicConfig;
use super::log::Log;
use super::records::{self, RawRecord};

/// Compacts the log if enough of it is dirty, or if tombstones are due. Says whether it did.
pub(crate) fn compact(log: &mut Log, now_ms: i64, config: &TopicConfig) -> bool {
    if !config.compact {
        return false;
    }
    log.roll(now_ms, config);
    let end = cleanable_end(log, now_ms, config);
    if !is_due(log, end, now_ms, config) {
        return false;
    }
    let latest = latest_offsets(log, end);
    let mut kept = Vec::new();
    // The producers of which a record stays since their last marker.
    let mut writers = HashSet::new();
    for batch in log.batches().iter().take_while(|batch| batch.base_offset < end) {
        let stays = if batch.marker.is_some() {
            let has_records = writers.remove(&batch.producer_id);
            keep_marker(batch, has_records, now_ms, config)
        } else if log.isolation().is_aborted(batch) {
            None
        } else {
            keep(batch, &latest, now_ms, config)
        };
        if let Some(batch) = stays {
            if batch.is_transactional() && batch.marker.is_none() {
                writers.insert(batch.producer_id);
            }
            kept.push(batch);
        }
    }
    log.replace_before(end, kept);
    true
}

/// The first offset that must stay as it is.
fn cleanable_end(log: &Log, now_ms: i64, config: &TopicConfig) -> i64 {
    let active = log.active_start().min(log.stable_end());
    if config.min_compaction_lag_ms == 0 {
        return active;
    }
    let young = now_ms.saturating_sub(config.min_compaction_lag_ms);
    let first_young = log.dirty().find(|batch| batch.max_timestamp > young);
    first_young.map_or(active, |batch| active.min(batch.base_offset))
}

fn is_due(log: &Log, end: i64, now_ms: i64, config: &TopicConfig) -> bool {
    if log.tombstones_due().is_some_and(|horizon| horizon <= now_ms) {
        return true;
    }
    // Asked twice a second of every partition, so the common case looks at no batch.
    if end <= log.cleaned_to() {
        return false;
    }
    let dirty: usize = log
        .dirty()
        .take_while(|batch| batch.base_offset < end)
        .map(Batch::len)
        .sum();
    #[allow(clippy::cast_precision_loss, reason = "a ratio of sizes far below 2^52")]
    let ratio = dirty as f64 / ((log.clean_bytes() + dirty).max(1)) as f64;
    dirty > 0 && ratio >= config.min_cleanable_dirty_ratio
}

/// The last offset of every key of the dirty part: what is clean holds each of its keys once.
fn latest_offsets(log: &Log, end: i64) -> HashMap<Bytes, i64> {
    let counts = |batch: &&Batch| batch.marker.is_none() && !log.isolation().is_aborted(batch);
    let dirty = log
        .dirty()
        .take_while(|batch| batch.base_offset < end)
        .filter(counts);
    let records = dirty.filter_map(records::decode).flatten();
    records
        .filter_map(|record| Some((record.key?, record.offset)))
        .collect()
}

/// The marker as it stays; `None` when its time is over.
fn keep_marker(batch: &Batch, has_records: bool, now_ms: i64, config: &TopicConfig) -> Option<Batch> {
    if batch.delete_horizon.is_some_and(|horizon| horizon <= now_ms) {
        return None;
    }
    let mut result = batch.clone();
    if !has_records {
        result
            .delete_horizon
            .get_or_insert_with(|| now_ms.saturating_add(config.delete_retention_ms));
    }
    Some(result)
}

/// What stays of a batch; `None` when nothing does.
fn keep(batch: &Batch, latest: &HashMap<Bytes, i64>, now_ms: i64, config: &TopicConfig) -> Option<Batch> {
    let Some(records) = records::decode(batch) else {
        return Some(batch.clone());
    };
    let tombstones_due = batch.delete_horizon.is_some_and(|horizon| horizon <= now_ms);
    let stays = |record: &&RawRecord| {
        let Some(key) = &record.key else { return false };
        let is_last = latest.get(key).is_none_or(|last| record.offset >= *last);
        is_last && !(record.is_tombstone && tombstones_due)
    };
    let kept: Vec<&RawRecord> = records.iter().filter(stays).collect();
    if kept.is_empty() {
        return None;
    }
    let mut result = if kept.len() == records.len() {
        batch.clone()
    } else {
        let mut payload = BytesMut::with_capacity(kept.iter().map(|record| record.bytes.len()).sum());
        for record in &kept {
            payload.extend_from_slice(&record.bytes);
        }
        let count = i32::try_from(kept.len()).unwrap_or(i32::MAX);
        let latest = kept.iter().map(|record| record.timestamp).max();
        batch.with_records(count, &payload, latest.unwrap_or(batch.max_timestamp))
    };
    result.delete_horizon = kept.iter().any(|record| record.is_tombstone).then(|| {
        batch
            .delete_horizon
            .unwrap_or_else(|| now_ms.saturating_add(config.delete_retention_ms))
    });
    Some(result)
}
