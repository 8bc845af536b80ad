//! Dead letters sent back to where they came from.
//!
//! A letter goes to the partition it came from, so that it meets the state of its key, whoever chose that partition.
//! What was sent is acknowledged by the broker before it is remembered: a replay that is interrupted repeats a few
//! letters, and loses none. Letters that come while it runs, those that fail once more among them, are left for
//! the next.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::Notify;

use super::replayed::Replayed;
use super::{ANSWER, Letter, Place, Reader, group_of, places, places_with_memory};
use crate::agent::dead_letter::{Provenance, headers_of_replay};
use crate::app::Connection;
use crate::app::feed::{deliver, queue};
use crate::error::{Error, Result};
use crate::kafka::{Admin, CommitOffset, OutgoingRecord, Producer, TopicPartition};
use crate::record::RecordRef;

/// Letters that are sent before they are waited for and remembered.
const BATCH: u64 = 200;

/// Which letters are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Replay {
    /// Of this agent alone.
    pub agent: Option<String>,
    /// From this topic alone.
    pub source: Option<String>,
    /// In this partition of the dead letters alone.
    pub partition: Option<i32>,
    /// From this offset on.
    pub from_offset: Option<i64>,
    /// So many at most.
    pub limit: Option<u64>,
    /// Also those that were replayed before.
    pub again: bool,
    /// None is sent; what would be is listed.
    pub dry_run: bool,
}

impl Replay {
    fn wants(&self, provenance: &Provenance) -> bool {
        self.agent.as_ref().is_none_or(|agent| *agent == provenance.agent)
            && self
                .source
                .as_ref()
                .is_none_or(|source| *source == provenance.topic)
    }
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReplayReport {
    /// How many were sent to each topic, or would have been.
    pub sent: BTreeMap<String, u64>,
    /// Those that would have been sent by a dry run.
    pub letters: Vec<Letter>,
    /// How many records had been done before.
    pub before: u64,
    /// How many were not asked for.
    pub unwanted: u64,
    /// How many records were no dead letters of this program.
    pub strangers: u64,
    /// Nothing was known of earlier replays, of any partition.
    pub no_memory: bool,
}

impl ReplayReport {
    /// How many were sent, or would have been.
    pub(crate) fn total(&self) -> u64 {
        self.sent.values().sum()
    }
}

/// Sends dead letters of the program `app` in `topic` to the topics that they came from.
///
/// # Errors
/// When a topic is not there, when a record is refused, or when the broker does not answer. What was sent before is
/// remembered.
pub(crate) fn replay(
    connection: &Connection,
    app: &str,
    topic: &Arc<str>,
    replay: &Replay,
) -> Result<ReplayReport> {
    let admin = connection.cluster.admin()?;
    let mut places = places(admin.as_ref(), topic)?;
    if let Some(partition) = replay.partition {
        let count = places.len();
        places.retain(|(at, _)| at.partition == partition);
        if places.is_empty() {
            return Err(Error::config(format!(
                "topic `{topic}` has no partition {partition}: it has {count}"
            )));
        }
    }
    let places = places_with_memory(admin.as_ref(), app, places)?;
    let mut run = Run {
        app,
        replay,
        group: group_of(app),
        sources: Sources {
            admin: admin.as_ref(),
            known: BTreeMap::new(),
        },
        admin: admin.as_ref(),
        producer: connection.cluster.producer(Arc::new(Notify::new()))?,
        report: ReplayReport {
            no_memory: places.iter().all(|place| !place.known),
            ..ReplayReport::default()
        },
    };
    let mut reader = Reader::new(connection.cluster.as_ref())?;
    for place in places {
        run.partition(&mut reader, place)?;
    }
    Ok(run.report)
}

/// A replay under way.
struct Run<'a> {
    app: &'a str,
    replay: &'a Replay,
    group: String,
    sources: Sources<'a>,
    admin: &'a dyn Admin,
    producer: Box<dyn Producer + Send>,
    report: ReplayReport,
}

/// How far a partition is done.
struct Progress {
    at: TopicPartition,
    replayed: Replayed,
    /// Everything before it was looked at.
    seen: i64,
    /// Letters that were sent and are not remembered yet.
    unremembered: u64,
}

impl Run<'_> {
    fn partition(&mut self, reader: &mut Reader, place: Place) -> Result<()> {
        let Place {
            at,
            first,
            end,
            replayed,
            known,
        } = place;
        let mut from = self.replay.from_offset.unwrap_or(first).max(first);
        if !self.replay.again {
            let passed = replayed.next().min(end) - from;
            self.report.before += passed.max(0).unsigned_abs();
            from = from.max(replayed.next());
        }
        let before = replayed.clone();
        let mut progress = Progress {
            at: at.clone(),
            replayed,
            seen: from,
            unremembered: 0,
        };
        let outcome = reader.read(&at, from, end, |record| {
            if self.is_full() {
                return Ok(ControlFlow::Break(()));
            }
            self.letter(record, &mut progress)?;
            Ok(ControlFlow::Continue(()))
        });
        if outcome.is_ok() && !self.is_full() {
            progress.passed(end);
        }
        // Offsets that are committed again are not forgotten so soon.
        let remembered = if known || progress.replayed != before {
            self.remember(&mut progress)
        } else {
            Ok(())
        };
        outcome.and(remembered)
    }

    fn is_full(&self) -> bool {
        self.replay
            .limit
            .is_some_and(|limit| self.report.total() >= limit)
    }

    fn letter(&mut self, record: RecordRef<'_>, progress: &mut Progress) -> Result<()> {
        progress.passed(record.offset);
        progress.seen = record.offset + 1;
        let provenance = Provenance::read(record.headers).filter(|provenance| provenance.app == self.app);
        let Some(provenance) = provenance else {
            self.report.strangers += 1;
            progress.replayed.add(record.offset, record.offset + 1);
            return Ok(());
        };
        if !self.replay.again && progress.replayed.has(record.offset) {
            self.report.before += 1;
            return Ok(());
        }
        if !self.replay.wants(&provenance) {
            self.report.unwanted += 1;
            return Ok(());
        }
        let mut with_this = progress.replayed.clone();
        with_this.add(record.offset, record.offset + 1);
        if !with_this.fits() {
            return Err(Error::usage(format!(
                "{} letters were picked from {} so far, with so many others between them that no more can be \
                 remembered: replay the others as well, or narrow it down by `--from-offset`",
                self.report.total(),
                progress.at
            )));
        }
        let source = self.sources.check(&provenance)?;
        if self.replay.dry_run {
            self.report.letters.push(Letter {
                partition: record.partition,
                offset: record.offset,
                key: record.key.map(<[u8]>::to_vec),
                replayed: progress.replayed.has(record.offset),
                provenance: provenance.clone(),
            });
        } else {
            let sent = OutgoingRecord {
                topic: &source,
                partition: Some(provenance.partition),
                key: record.key,
                value: record.value,
                headers: &headers_of_replay(record.headers),
                timestamp: Some(record.timestamp).filter(|timestamp| *timestamp >= 0),
            };
            queue(self.producer.as_mut(), sent)?;
        }
        progress.replayed = with_this;
        progress.unremembered += 1;
        *self.report.sent.entry(provenance.topic).or_default() += 1;
        if progress.unremembered >= BATCH {
            self.remember(progress)?;
        }
        Ok(())
    }

    /// Waits for what was sent, and then remembers it.
    fn remember(&mut self, progress: &mut Progress) -> Result<()> {
        progress.unremembered = 0;
        if self.replay.dry_run {
            return Ok(());
        }
        deliver(self.producer.as_mut())?;
        let (offset, metadata) = progress.replayed.encode();
        self.admin.commit_offsets(
            &self.group,
            &[CommitOffset {
                at: progress.at.clone(),
                offset,
                metadata,
            }],
        )
    }
}

impl Progress {
    /// There is no record between what was seen last and this offset: nothing is left to be done there.
    fn passed(&mut self, offset: i64) {
        self.replayed.add(self.seen, offset);
    }
}

/// The topics that letters go back to.
struct Sources<'a> {
    admin: &'a dyn Admin,
    /// With how many partitions they have.
    known: BTreeMap<String, (Arc<str>, u32)>,
}

impl Sources<'_> {
    /// The topic that a letter came from, if it and the partition are still there.
    fn check(&mut self, provenance: &Provenance) -> Result<Arc<str>> {
        let topic = &provenance.topic;
        let way_out = "name the topics whose letters are to be replayed by `--topic`";
        let (name, partitions) = match self.known.entry(topic.clone()) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(unknown) => {
                let found = self.admin.topics(Some(std::slice::from_ref(topic)), ANSWER)?;
                let Some(found) = found.first() else {
                    return Err(Error::topology(format!(
                        "topic `{topic}`, which letters came from, is not there any more: {way_out}"
                    )));
                };
                unknown.insert((topic.as_str().into(), found.partitions)).clone()
            }
        };
        match u32::try_from(provenance.partition) {
            Ok(partition) if partition < partitions => Ok(name),
            _ => Err(Error::topology(format!(
                "partition {} of topic `{topic}`, which a letter came from, is not there any more: the topic has \
                 {partitions}. {way_out}",
                provenance.partition
            ))),
        }
    }
}
