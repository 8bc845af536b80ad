//! Filling shards from their changelogs before their task runs, while other tasks go on.
//!
//! A shard is restored when the reader has reached the end of its changelog partition: not when a record
//! of a certain offset was seen, since markers and compaction leave gaps. It is then as it was at the last commit:
//! what is behind that in the changelog was written by a worker that did not live to commit it. This *tail* is not
//! applied, since its input is processed again; its keys are written once more with their committed values by the next
//! commit, which buries it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::last_found::LastFound;
use super::plan::TaskId;
use super::progress::{Pace, RestoreProgress, spoken_closely, spoken_or_unknown};
use crate::clock;
use crate::error::Result;
use crate::kafka::{Cluster, PartitionReader, RecordSink, StartOffset, TopicPartition};
use crate::record::RecordRef;
use crate::store::{Batch, Store, Write};

/// Records applied to a store in one batch.
const BATCH: usize = 10_000;
/// And so many bytes at most, but for what one round brings, which the client's queue bounds.
const BATCH_BYTES: usize = 16 << 20;
/// Records taken in one round, so that running tasks get their turn.
const ROUND: usize = 10_000;
/// How often it is looked how far shards have come.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often progress is logged.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// The restores of one thread.
pub(crate) struct Restores {
    cluster: Arc<dyn Cluster>,
    wake: Arc<Notify>,
    /// Made when it is first needed, and kept: to drop one takes a tenth of a second.
    reader: Option<Box<dyn PartitionReader>>,
    shards: Vec<RestoringShard>,
    /// Where those begin that the reader is not told of yet: of all that are added in one turn, it is told at once.
    starts: Vec<(TopicPartition, StartOffset)>,
    /// Those at the end of their changelog whose task has others that are not.
    ended: Vec<RestoringShard>,
    last: LastFound,
    looked: Instant,
}

struct RestoringShard {
    task: TaskId,
    table: usize,
    name: &'static str,
    at: TopicPartition,
    store: Rc<dyn Store>,
    /// What is behind this offset was never committed; all of it was where this is not known.
    until: Option<i64>,
    /// How long the broker keeps versions of a key that a newer one replaces.
    kept: Duration,
    batch: Batch,
    tail: Tail,
    /// The offset of the first record, or that at which reading begins.
    first_offset: i64,
    next_offset: i64,
    /// Where the log ends, as far as is known.
    known_end: Option<i64>,
    pace: Pace,
    records: u64,
    /// Records without a key, which nobody of this program wrote.
    keyless: u64,
    started: Instant,
    reported: Instant,
    reached_end: bool,
    /// The changelog no longer has what the store's offset says.
    truncated: bool,
}

/// What was written to a changelog and not committed: the last value of each key.
#[derive(Debug, Default)]
struct Tail {
    values: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    /// When its oldest record was written, in milliseconds since the Unix epoch.
    oldest: Option<i64>,
}

/// One shard of a task that is to be restored.
pub(crate) struct RestoreRequest {
    pub name: &'static str,
    pub changelog: TopicPartition,
    /// The changelog offset behind everything that was committed, if that is known.
    pub committed: Option<i64>,
    /// How long the broker keeps versions of a key that a newer one replaces (`min.compaction.lag.ms`).
    pub kept: Duration,
}

/// A task whose shards are as they were at its last commit.
#[derive(Debug)]
pub(crate) struct Restored {
    pub task: TaskId,
    /// Where that is in the changelogs, by table.
    pub changelogs: Vec<(&'static str, i64)>,
    /// Writes that put right what was not committed.
    pub repair: Batch,
}

impl Restores {
    pub(crate) fn new(cluster: Arc<dyn Cluster>, wake: Arc<Notify>) -> Self {
        Self {
            cluster,
            wake,
            reader: None,
            shards: Vec::new(),
            starts: Vec::new(),
            ended: Vec::new(),
            last: LastFound::default(),
            looked: clock::now(),
        }
    }

    /// Begins to restore every shard of a task.
    pub(crate) fn add(
        &mut self,
        task: TaskId,
        requests: Vec<RestoreRequest>,
        store: &Rc<dyn Store>,
    ) -> Result<()> {
        store.restoring(true)?;
        let now = clock::now();
        for (table, request) in requests.into_iter().enumerate() {
            let mut offset = store.changelog_offset(table);
            if let (Some(local), Some(committed)) = (offset, request.committed)
                && local > committed
            {
                warn!(
                    changelog = %request.changelog, local, committed,
                    "the local state is ahead of what the group has committed: it is dropped and restored"
                );
                store.clear(table)?;
                offset = None;
            }
            // Asked for the beginning, librdkafka waits half a second for a leader that it does not know yet; at an offset
            // it begins at once. Where the log no longer has the first record, it says so.
            let from = offset.unwrap_or(0);
            self.starts
                .push((request.changelog.clone(), StartOffset::At(from)));
            self.shards.push(RestoringShard {
                task,
                table,
                name: request.name,
                at: request.changelog,
                store: Rc::clone(store),
                until: request.committed,
                kept: request.kept,
                batch: Batch::default(),
                tail: Tail::default(),
                first_offset: from,
                next_offset: from,
                known_end: None,
                pace: Pace::from(from, now),
                records: 0,
                keyless: 0,
                started: now,
                reported: now,
                reached_end: false,
                truncated: false,
            });
        }
        Ok(())
    }

    /// Gives up a task's restores: its partition was taken away. What was restored so far stays in its store.
    pub(crate) fn remove(&mut self, task: TaskId) -> Result<()> {
        let (gone, kept) = std::mem::take(&mut self.shards)
            .into_iter()
            .partition::<Vec<_>, _>(|shard| shard.task == task);
        self.shards = kept;
        self.ended.retain(|shard| shard.task != task);
        let mut left = Vec::new();
        for mut shard in gone {
            shard.apply()?;
            // The reader has not heard of one that is added in this turn.
            match self.starts.iter().position(|(at, _)| *at == shard.at) {
                Some(place) => drop(self.starts.swap_remove(place)),
                None => left.push(shard.at),
            }
        }
        if let Some(reader) = &mut self.reader
            && !left.is_empty()
        {
            reader.remove(&left)?;
        }
        Ok(())
    }

    /// Lets the client of a reader that has nothing to read say what it has to say.
    pub(crate) fn rest(&mut self) -> Result<()> {
        match &mut self.reader {
            Some(reader) if self.shards.is_empty() => reader.poll(&mut Nothing, 1).map(drop),
            _ => Ok(()),
        }
    }

    /// Whether anything is being restored.
    pub(crate) fn active(&self) -> bool {
        !self.shards.is_empty()
    }

    /// Looks how far the shards have come, a few times a second. True when it did.
    pub(crate) fn look(&mut self) -> bool {
        let now = clock::now();
        if now.duration_since(self.looked) < LOOK_EVERY {
            return false;
        }
        self.looked = now;
        for shard in &mut self.shards {
            let end = self
                .reader
                .as_ref()
                .and_then(|reader| reader.known_end(&shard.at));
            shard.known_end = end.or(shard.known_end);
            shard.pace.note(shard.records, shard.next_offset, now);
            shard.report_progress(now);
        }
        true
    }

    /// How far the shards of all tasks have come that are not restored yet.
    pub(crate) fn progress(&self) -> impl Iterator<Item = (TaskId, RestoreProgress)> {
        let now = clock::now();
        let shards = self.shards.iter().chain(&self.ended);
        shards.map(move |shard| (shard.task, shard.progress(now)))
    }

    /// Applies what has arrived. Returns how many records that was, and the tasks whose last shard is now
    /// complete.
    pub(crate) fn step(&mut self) -> Result<(usize, Vec<Restored>)> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(self.cluster.partition_reader(Arc::clone(&self.wake))?),
        };
        if !self.starts.is_empty() {
            reader.add(&std::mem::take(&mut self.starts))?;
        }
        let mut sink = Shards {
            shards: &mut self.shards,
            last: &mut self.last,
        };
        let records = reader.poll(&mut sink, ROUND)?;
        let mut rebuilt = Vec::new();
        for shard in &mut self.shards {
            if shard.truncated {
                shard.begin_anew()?;
                rebuilt.push(shard.at.clone());
            } else if shard.reached_end || shard.batch.len() >= BATCH || shard.batch.bytes() >= BATCH_BYTES {
                shard.apply()?;
            }
        }
        if !rebuilt.is_empty() {
            reader.remove(&rebuilt)?;
            let starts = rebuilt.into_iter().map(|at| (at, StartOffset::Beginning));
            reader.add(&starts.collect::<Vec<_>>())?;
        }
        let (ended, shards) = std::mem::take(&mut self.shards)
            .into_iter()
            .partition::<Vec<_>, _>(|shard| shard.reached_end);
        self.shards = shards;
        if ended.is_empty() {
            return Ok((records, Vec::new()));
        }
        let places: Vec<_> = ended.iter().map(|shard| shard.at.clone()).collect();
        reader.remove(&places)?;
        let mut tasks: Vec<_> = ended.iter().map(|shard| shard.task).collect();
        self.ended.extend(ended);
        tasks.sort_unstable();
        tasks.dedup();
        tasks.retain(|task| self.shards.iter().all(|shard| shard.task != *task));
        let restored = tasks.into_iter().map(|task| self.finish(task));
        Ok((records, restored.collect::<Result<_>>()?))
    }

    /// All shards of this task have reached the ends of their changelogs.
    fn finish(&mut self, task: TaskId) -> Result<Restored> {
        let (mut shards, kept) = std::mem::take(&mut self.ended)
            .into_iter()
            .partition::<Vec<_>, _>(|shard| shard.task == task);
        self.ended = kept;
        let mut restored = Restored {
            task,
            changelogs: Vec::new(),
            repair: Batch::default(),
        };
        for shard in &mut shards {
            let all_counts = shard.settle_tail(&mut restored.repair)?;
            let cut = shard
                .until
                .filter(|until| !all_counts && *until < shard.next_offset);
            restored
                .changelogs
                .push((shard.name, cut.unwrap_or(shard.next_offset)));
            shard.report_end();
        }
        if let Some(shard) = shards.first() {
            shard.store.restoring(false)?;
        }
        Ok(restored)
    }
}

impl RestoringShard {
    fn apply(&mut self) -> Result<()> {
        // What is behind the cut is not in the store.
        let offset = self
            .until
            .map_or(self.next_offset, |until| until.min(self.next_offset));
        self.batch.set_changelog_offset(self.table, offset);
        self.store.apply(&self.batch)?;
        self.batch.clear();
        Ok(())
    }

    /// The log does not have what the store says it had, so the store is not of this log.
    fn begin_anew(&mut self) -> Result<()> {
        if self.next_offset > 0 {
            warn!(
                changelog = %self.at,
                "the changelog does not have the offset at which the local state stands: it was truncated or made anew, \
                 and the state is rebuilt from what it has"
            );
        }
        self.store.clear(self.table)?;
        self.batch.clear();
        self.tail = Tail::default();
        self.first_offset = 0;
        self.next_offset = 0;
        self.records = 0;
        self.pace = Pace::from(0, clock::now());
        self.known_end = None;
        self.reached_end = false;
        self.truncated = false;
        Ok(())
    }

    /// Decides about what was written and not committed: its input is processed again, so the versions before it
    /// count, unless the broker may have dropped those. True when it counts after all.
    fn settle_tail(&mut self, repair: &mut Batch) -> Result<bool> {
        if let Some(until) = self.until
            && self.next_offset < until
        {
            warn!(
                changelog = %self.at, end = self.next_offset, committed = until,
                "the changelog ends before what was committed: it was truncated or made anew, and the \
                 table has what it still has"
            );
        }
        let Some(oldest) = self.tail.oldest else {
            return Ok(false);
        };
        let age = Duration::from_millis(u64::try_from(clock::wall_millis() - oldest).unwrap_or_default());
        let keys = self.tail.values.len();
        // Half, since segments and clocks are not exact.
        if age > self.kept / 2 {
            warn!(
                changelog = %self.at, keys, ?age,
                "changes that were written and never committed are too old to be taken back, since the \
                 versions before them may be gone: they count, and so does what is processed again"
            );
            let mut batch = Batch::default();
            for (key, value) in &self.tail.values {
                batch.push(self.write(key, value.as_deref()));
            }
            batch.set_changelog_offset(self.table, self.next_offset);
            self.store.apply(&batch)?;
            return Ok(true);
        }
        info!(changelog = %self.at, keys, "changes that were not committed are taken back");
        for key in self.tail.values.keys() {
            let mut value = None;
            self.store
                .get(self.table, key, &mut |bytes| value = Some(bytes.to_vec()))?;
            repair.push(self.write(key, value.as_deref()));
        }
        Ok(false)
    }

    fn write<'a>(&self, key: &'a [u8], value: Option<&'a [u8]>) -> Write<'a> {
        Write {
            table: self.table,
            key,
            value,
        }
    }

    fn progress(&self, now: Instant) -> RestoreProgress {
        // What was read is certain, and what the broker said may be of a while ago.
        let known_end = self.known_end.map(|end| end.max(self.next_offset));
        let end = match self.reached_end {
            true => Some(self.next_offset),
            false => known_end,
        };
        RestoreProgress {
            task: String::new(),
            table: self.name.to_owned(),
            changelog: self.at.topic.to_string(),
            partition: self.at.partition,
            records: self.records,
            start: self.first_offset,
            offset: self.next_offset,
            end,
            elapsed: now.saturating_duration_since(self.started),
            rate: self.pace.rate(),
            eta: match self.reached_end {
                true => Some(Duration::ZERO),
                false => self.pace.eta(end),
            },
        }
    }

    fn report_progress(&mut self, now: Instant) {
        if now.saturating_duration_since(self.reported) < REPORT_EVERY {
            return;
        }
        self.reported = now;
        let progress = self.progress(now);
        let expected = progress.expected_records();
        info!(
            changelog = %self.at,
            records = self.records,
            of = %expected.map_or_else(|| "unknown".to_owned(), |records| records.to_string()),
            rate = %format_args!("{:.0}/s", progress.rate),
            eta = %spoken_or_unknown(progress.eta),
            "restoring"
        );
    }

    fn report_end(&self) {
        if self.keyless > 0 {
            warn!(
                changelog = %self.at,
                records = self.keyless,
                "records without a key were passed over: nobody but this program may write to its changelogs"
            );
        }
        if self.records > 0 {
            let took = clock::now().duration_since(self.started);
            let rate = self.records as f64 / took.as_secs_f64().max(0.001);
            info!(
                changelog = %self.at, records = self.records,
                "restored in {} ({rate:.0}/s)", spoken_closely(took)
            );
        }
    }
}

/// Nothing is expected.
struct Nothing;

impl RecordSink for Nothing {
    fn record(&mut self, _: RecordRef<'_>) {}

    fn wants_headers(&self) -> bool {
        false
    }

    fn out_of_range(&mut self, _: &str, _: i32) -> bool {
        true
    }
}

/// Puts records into the batches of the shards they belong to.
struct Shards<'a> {
    shards: &'a mut [RestoringShard],
    last: &'a mut LastFound,
}

impl Shards<'_> {
    fn find(&mut self, topic: &str, partition: i32) -> Option<&mut RestoringShard> {
        let fits = |shard: &RestoringShard| shard.at.partition == partition && *shard.at.topic == *topic;
        let place = self.last.find(self.shards, fits)?;
        self.shards.get_mut(place)
    }
}

impl RecordSink for Shards<'_> {
    fn record(&mut self, record: RecordRef<'_>) {
        let Some(shard) = self.find(record.topic, record.partition) else {
            return;
        };
        if shard.records == 0 {
            shard.first_offset = record.offset;
        }
        shard.next_offset = record.offset + 1;
        shard.records += 1;
        let Some(key) = record.key else {
            shard.keyless += 1;
            return;
        };
        let write = Write {
            table: shard.table,
            key,
            value: record.value,
        };
        if shard.until.is_none_or(|until| record.offset < until) {
            shard.batch.push(write);
        } else {
            let value = record.value.map(Into::into);
            shard.tail.values.insert(key.into(), value);
            let oldest = shard.tail.oldest.get_or_insert(record.timestamp);
            *oldest = record.timestamp.min(*oldest);
        }
    }

    fn wants_headers(&self) -> bool {
        false
    }

    fn end_of_partition(&mut self, topic: &str, partition: i32, offset: i64) {
        if let Some(shard) = self.find(topic, partition) {
            shard.next_offset = shard.next_offset.max(offset);
            shard.reached_end = true;
        }
    }

    fn out_of_range(&mut self, topic: &str, partition: i32) -> bool {
        let shard = self.find(topic, partition);
        if let Some(shard) = shard {
            shard.truncated = true;
        }
        true
    }
}

#[cfg(test)]
mod tests;
