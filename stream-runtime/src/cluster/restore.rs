//! Filling shards from their changelogs before their task runs, while other tasks go on.
//!
//! A shard is restored when the reader has reached the end of its changelog partition: not when a record
//! of a certain offset was seen, since markers and compaction leave gaps.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::plan::TaskId;
use crate::clock;
use crate::error::Result;
use crate::kafka::{Cluster, PartitionReader, RecordSink, StartOffset, TopicPartition};
use crate::record::RecordRef;
use crate::store::{Batch, Store, Write};

/// Records applied to a store in one batch.
const BATCH: usize = 10_000;
/// Records taken in one round, so that running tasks get their turn.
const ROUND: usize = 10_000;
/// How often progress is logged.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// The restores of one thread.
pub(crate) struct Restores {
    cluster: Arc<dyn Cluster>,
    wake: Arc<Notify>,
    /// Made when it is first needed, and kept: to drop one takes a tenth of a second.
    reader: Option<Box<dyn PartitionReader>>,
    shards: Vec<RestoringShard>,
}

struct RestoringShard {
    task: TaskId,
    table: usize,
    at: TopicPartition,
    store: Rc<dyn Store>,
    batch: Batch,
    next_offset: i64,
    records: u64,
    /// Records without a key, which nobody of this program wrote.
    keyless: u64,
    started: Instant,
    reported: Instant,
    reached_end: bool,
}

impl Restores {
    pub(crate) fn new(cluster: Arc<dyn Cluster>, wake: Arc<Notify>) -> Self {
        Self {
            cluster,
            wake,
            reader: None,
            shards: Vec::new(),
        }
    }

    /// Begins to restore every shard of a task.
    pub(crate) fn add(
        &mut self,
        task: TaskId,
        changelogs: &[TopicPartition],
        store: &Rc<dyn Store>,
    ) -> Result<()> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(self.cluster.partition_reader(Arc::clone(&self.wake))?),
        };
        let now = clock::now();
        let mut starts = Vec::new();
        for (table, at) in changelogs.iter().enumerate() {
            let offset = store.changelog_offset(table);
            starts.push((at.clone(), offset.map_or(StartOffset::Beginning, StartOffset::At)));
            self.shards.push(RestoringShard {
                task,
                table,
                at: at.clone(),
                store: Rc::clone(store),
                batch: Batch::default(),
                next_offset: offset.unwrap_or(0),
                records: 0,
                keyless: 0,
                started: now,
                reported: now,
                reached_end: false,
            });
        }
        reader.add(&starts)
    }

    /// Gives up a task's restores: its partition was taken away.
    pub(crate) fn remove(&mut self, task: TaskId) -> Result<()> {
        let (gone, kept) = std::mem::take(&mut self.shards)
            .into_iter()
            .partition::<Vec<_>, _>(|shard| shard.task == task);
        self.shards = kept;
        let gone: Vec<_> = gone.into_iter().map(|shard| shard.at).collect();
        if let Some(reader) = &mut self.reader
            && !gone.is_empty()
        {
            reader.remove(&gone)?;
        }
        Ok(())
    }

    /// Whether anything is being restored.
    pub(crate) fn active(&self) -> bool {
        !self.shards.is_empty()
    }

    /// Applies what has arrived. Returns how many records that was, and the tasks whose last shard is now
    /// complete.
    pub(crate) fn step(&mut self) -> Result<(usize, Vec<TaskId>)> {
        let Some(reader) = &mut self.reader else {
            return Ok((0, Vec::new()));
        };
        let records = reader.poll(&mut Shards(&mut self.shards), ROUND)?;
        let mut ended = Vec::new();
        for shard in &mut self.shards {
            if shard.reached_end || shard.batch.len() >= BATCH {
                shard.apply()?;
            }
            if shard.reached_end {
                shard.report_end();
                ended.push(shard.at.clone());
            } else {
                shard.report_progress();
            }
        }
        if ended.is_empty() {
            return Ok((records, Vec::new()));
        }
        reader.remove(&ended)?;
        let mut tasks: Vec<_> = self
            .shards
            .iter()
            .filter(|shard| shard.reached_end)
            .map(|shard| shard.task)
            .collect();
        self.shards.retain(|shard| !shard.reached_end);
        tasks.sort_unstable();
        tasks.dedup();
        tasks.retain(|task| self.shards.iter().all(|shard| shard.task != *task));
        Ok((records, tasks))
    }
}

impl RestoringShard {
    fn apply(&mut self) -> Result<()> {
        self.batch.set_changelog_offset(self.table, self.next_offset);
        self.store.apply(&self.batch)?;
        self.batch.clear();
        Ok(())
    }

    fn report_progress(&mut self) {
        let now = clock::now();
        if now.duration_since(self.reported) < REPORT_EVERY {
            return;
        }
        self.reported = now;
        let rate = self.records as f64 / now.duration_since(self.started).as_secs_f64();
        info!(changelog = %self.at, records = self.records, rate = rate as u64, "restoring");
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
            info!(changelog = %self.at, records = self.records, ?took, "restored");
        }
    }
}

/// Puts records into the batches of the shards they belong to.
struct Shards<'a>(&'a mut [RestoringShard]);

impl Shards<'_> {
    fn find(&mut self, topic: &str, partition: i32) -> Option<&mut RestoringShard> {
        self.0
            .iter_mut()
            .find(|shard| shard.at.partition == partition && *shard.at.topic == *topic)
    }
}

impl RecordSink for Shards<'_> {
    fn record(&mut self, record: RecordRef<'_>) {
        let Some(shard) = self.find(record.topic, record.partition) else {
            return;
        };
        shard.next_offset = record.offset + 1;
        shard.records += 1;
        let Some(key) = record.key else {
            shard.keyless += 1;
            return;
        };
        shard.batch.push(Write {
            table: shard.table,
            key,
            value: record.value,
            timestamp: record.timestamp,
        });
    }

    fn end_of_partition(&mut self, topic: &str, partition: i32, offset: i64) {
        if let Some(shard) = self.find(topic, partition) {
            shard.next_offset = shard.next_offset.max(offset);
            shard.reached_end = true;
        }
    }
}
