//! The model of transactions: who owns a transactional id, what is open, and what a reader of committed records sees.

use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::batches::Record;

pub(super) const TOPICS: [&str; 3] = ["a", "b", "compacted"];
pub(super) const COMPACTED: usize = 2;

/// A transactional id.
#[derive(Debug)]
pub(super) struct Id {
    pub(super) name: &'static str,
    pub(super) timeout: Duration,
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    /// The epoch that may come back for the present one.
    last_epoch: Option<i16>,
    open: Option<Open>,
    /// How the last transaction of this producer ended.
    ended: Option<bool>,
    /// The next sequence in each topic, by epoch.
    sequences: BTreeMap<i16, [i32; TOPICS.len()]>,
}

#[derive(Debug)]
struct Open {
    since: Duration,
    topics: BTreeSet<usize>,
    has_group: bool,
    staged: Option<Offset>,
}

/// An offset of the group and which of all writes it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    value: i64,
    write: u64,
}

/// A record in a log and what became of it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) offset: i64,
    pub(super) record: Record,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// In the open transaction of this id.
    Open(usize),
    /// Of a committed transaction, or of none.
    Committed,
    Aborted,
}

/// One log.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) written: Vec<Written>,
}

impl Log {
    /// Where readers of committed records are stopped.
    pub(super) fn stable(&self) -> i64 {
        let is_open = |written: &&Written| matches!(written.fate, Fate::Open(_));
        let first = self.written.iter().find(is_open);
        first.map_or(self.end, |first| first.offset.max(self.start))
    }

    /// What such a reader sees.
    pub(super) fn committed(&self) -> impl Iterator<Item = &Written> {
        let readable = self.start..self.stable();
        let written = self.written.iter();
        written.filter(move |written| written.fate == Fate::Committed && readable.contains(&written.offset))
    }
}

/// Everything.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) ids: Vec<Id>,
    pub(super) logs: [Log; TOPICS.len()],
    committed: Option<Offset>,
    writes: u64,
}

impl Model {
    pub(super) fn new(ids: Vec<Id>) -> Self {
        Self {
            ids,
            logs: Default::default(),
            committed: None,
            writes: 0,
        }
    }

    /// InitProducerId, of a producer that has an epoch already or of a new one: the epoch it gets.
    pub(super) fn init(&mut self, who: usize, returning: Option<i16>) -> Result<i16, ResponseError> {
        if self.ids[who].open.is_some() {
            self.fence(who);
        }
        let id = &mut self.ids[who];
        match returning {
            Some(epoch) if epoch != id.epoch && Some(epoch) != id.last_epoch => {
                return Err(ResponseError::ProducerFenced);
            }
            // The answer before may have been lost.
            Some(epoch) if epoch != id.epoch => return Ok(id.epoch),
            _ => {}
        }
        id.last_epoch = returning;
        id.epoch += 1;
        id.ended = None;
        Ok(id.epoch)
    }

    /// Whether this is the id's producer.
    pub(super) fn check(&self, who: usize, epoch: i16) -> Result<(), ResponseError> {
        match epoch == self.ids[who].epoch {
            true => Ok(()),
            false => Err(ResponseError::ProducerFenced),
        }
    }

    pub(super) fn add_topic(
        &mut self,
        who: usize,
        epoch: i16,
        topic: usize,
        now: Duration,
    ) -> Result<(), ResponseError> {
        self.check(who, epoch)?;
        self.open(who, now).topics.insert(topic);
        Ok(())
    }

    pub(super) fn add_group(&mut self, who: usize, epoch: i16, now: Duration) -> Result<(), ResponseError> {
        self.check(who, epoch)?;
        self.open(who, now).has_group = true;
        Ok(())
    }

    fn open(&mut self, who: usize, now: Duration) -> &mut Open {
        self.ids[who].open.get_or_insert_with(|| Open {
            since: now,
            topics: BTreeSet::new(),
            has_group: false,
            staged: None,
        })
    }

    /// Whether a producer may write to a topic.
    pub(super) fn may_write(&self, who: usize, epoch: i16, topic: usize) -> Result<(), ResponseError> {
        self.may(who, epoch, |open| open.topics.contains(&topic))
    }

    fn may(&self, who: usize, epoch: i16, is_added: impl Fn(&Open) -> bool) -> Result<(), ResponseError> {
        if self.check(who, epoch).is_err() {
            // As producers know it from writes.
            return Err(ResponseError::InvalidProducerEpoch);
        }
        match self.ids[who].open.as_ref().is_some_and(is_added) {
            true => Ok(()),
            false => Err(ResponseError::InvalidTxnState),
        }
    }

    pub(super) fn sequence(&mut self, who: usize, epoch: i16, topic: usize) -> &mut i32 {
        &mut self.ids[who].sequences.entry(epoch).or_default()[topic]
    }

    /// Records were appended, in the transaction of an id or in none; the offset of the first.
    pub(super) fn appended(&mut self, who: Option<usize>, topic: usize, records: &[Record]) -> i64 {
        let log = &mut self.logs[topic];
        let first = log.end;
        let fate = who.map_or(Fate::Committed, Fate::Open);
        for record in records {
            log.written.push(Written {
                offset: log.end,
                record: record.clone(),
                fate,
            });
            log.end += 1;
        }
        first
    }

    /// Stages an offset in the transaction.
    pub(super) fn stage(&mut self, who: usize, epoch: i16, value: i64) -> Result<(), ResponseError> {
        self.may(who, epoch, |open| open.has_group)?;
        self.writes += 1;
        let write = self.writes;
        if let Some(open) = &mut self.ids[who].open {
            open.staged = Some(Offset { value, write });
        }
        Ok(())
    }

    /// Commits an offset outside of transactions.
    pub(super) fn commit_offset(&mut self, value: i64) {
        self.writes += 1;
        let write = self.writes;
        self.committed = Some(Offset { value, write });
    }

    /// What the group has committed.
    pub(super) fn offset(&self) -> Option<i64> {
        self.committed.map(|offset| offset.value)
    }

    /// Whether an open transaction may change it.
    pub(super) fn is_offset_unstable(&self) -> bool {
        let mut open = self.ids.iter().filter_map(|id| id.open.as_ref());
        open.any(|open| open.staged.is_some())
    }

    /// EndTxn.
    pub(super) fn end(&mut self, who: usize, epoch: i16, commit: bool) -> Result<(), ResponseError> {
        self.check(who, epoch)?;
        let id = &self.ids[who];
        if id.open.is_none() && id.ended != Some(commit) {
            return Err(ResponseError::InvalidTxnState);
        }
        self.finish(who, commit);
        Ok(())
    }

    /// Time has come to this: transactions that were open too long are aborted, and their producers fenced.
    pub(super) fn passed(&mut self, now: Duration) {
        for who in 0..self.ids.len() {
            let id = &self.ids[who];
            if id
                .open
                .as_ref()
                .is_some_and(|open| open.since + id.timeout <= now)
            {
                self.fence(who);
            }
        }
    }

    fn fence(&mut self, who: usize) {
        let id = &mut self.ids[who];
        id.last_epoch = Some(id.epoch);
        id.epoch += 1;
        self.finish(who, false);
    }

    fn finish(&mut self, who: usize, commit: bool) {
        let Some(open) = self.ids[who].open.take() else {
            return;
        };
        self.ids[who].ended = Some(commit);
        let fate = if commit { Fate::Committed } else { Fate::Aborted };
        for topic in open.topics {
            let log = &mut self.logs[topic];
            for written in log
                .written
                .iter_mut()
                .filter(|written| written.fate == Fate::Open(who))
            {
                written.fate = fate;
            }
            // The marker.
            log.end += 1;
        }
        if let (true, Some(staged)) = (commit, open.staged) {
            // What was written last counts, whatever is committed first.
            let is_newer = self.committed.is_none_or(|known| known.write < staged.write);
            self.committed = if is_newer { Some(staged) } else { self.committed };
        }
    }
}

impl Id {
    /// An id that has just got its first producer.
    pub(super) fn new(name: &'static str, timeout: Duration, producer_id: i64, epoch: i16) -> Self {
        Self {
            name,
            timeout,
            producer_id,
            epoch,
            last_epoch: None,
            open: None,
            ended: None,
            sequences: BTreeMap::new(),
        }
    }
}
