//! Dead letters from outside: those that lie in a topic, and sending them back to where they came from.

mod replay;
mod replayed;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

pub(crate) use self::replay::{Replay, ReplayReport, replay};
use self::replayed::Replayed;
use super::Connection;
use crate::agent::dead_letter::Provenance;
use crate::clock;
use crate::error::{Error, Result};
use crate::kafka::{Admin, Cluster, PartitionReader, RecordSink, StartOffset, TopicPartition};
use crate::record::RecordRef;

/// The longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest silence of a partition that is being read.
const SILENCE: Duration = Duration::from_secs(30);
/// Records that are read at a time.
const FETCH: usize = 500;

/// A dead letter as it lies in its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub provenance: Provenance,
    /// A replay has sent it, and that is remembered.
    pub replayed: bool,
}

/// What a topic has of a program's dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Letters {
    /// The newest, and the newest of them first.
    pub letters: Vec<Letter>,
    /// How many records were not looked at.
    pub older: u64,
    /// How many records were no dead letters of this program.
    pub strangers: u64,
}

/// The newest dead letters of the program `app` in a topic, `limit` at most.
///
/// # Errors
/// When there is no such topic, or the broker does not answer.
pub(crate) fn list(connection: &Connection, app: &str, topic: &Arc<str>, limit: usize) -> Result<Letters> {
    let admin = connection.cluster.admin()?;
    let places = places(admin.as_ref(), topic)?;
    let mut found = Letters::default();
    let mut reader = Reader::new(connection.cluster.as_ref())?;
    for place in places_with_memory(admin.as_ref(), app, places)? {
        // The newest of the topic are among the newest of each partition.
        let from = place
            .end
            .saturating_sub(i64::try_from(limit).unwrap_or(i64::MAX))
            .max(place.first);
        found.older += (from - place.first).unsigned_abs();
        reader.read(&place.at, from, place.end, |record| {
            match Provenance::read(record.headers).filter(|provenance| provenance.app == app) {
                None => found.strangers += 1,
                Some(provenance) => found.letters.push(Letter {
                    partition: record.partition,
                    offset: record.offset,
                    key: record.key.map(<[u8]>::to_vec),
                    provenance,
                    replayed: place.replayed.has(record.offset),
                }),
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    found.letters.sort_by_key(|letter| {
        (
            Reverse(letter.provenance.failed_at),
            letter.partition,
            Reverse(letter.offset),
        )
    });
    found.older += found.letters.len().saturating_sub(limit) as u64;
    found.letters.truncate(limit);
    Ok(found)
}

/// The group whose offsets say what was replayed.
fn group_of(app: &str) -> String {
    format!("{app}-dlq-replay")
}

/// A partition of dead letters.
struct Place {
    at: TopicPartition,
    first: i64,
    end: i64,
    replayed: Replayed,
    /// Whether anything was committed for it.
    known: bool,
}

/// Partitions with their first offset and their end.
fn places(admin: &dyn Admin, topic: &Arc<str>) -> Result<Vec<(TopicPartition, (i64, i64))>> {
    let described = admin.topics(Some(&[topic.to_string()]), ANSWER)?;
    let Some(described) = described.first() else {
        return Err(Error::topology(format!(
            "there is no topic `{topic}` on the broker: a worker creates the program's own when it starts, \
             `topics --check` tells whose the others are to create"
        )));
    };
    let partitions: Vec<_> = (0..described.partitions.cast_signed())
        .map(|partition| TopicPartition {
            topic: Arc::clone(topic),
            partition,
        })
        .collect();
    let ranges = admin.offset_range(&partitions, ANSWER)?;
    Ok(partitions.into_iter().zip(ranges).collect())
}

/// The same with what is remembered of earlier replays.
fn places_with_memory(
    admin: &dyn Admin,
    app: &str,
    places: Vec<(TopicPartition, (i64, i64))>,
) -> Result<Vec<Place>> {
    let partitions: Vec<_> = places.iter().map(|(at, _)| at.clone()).collect();
    let committed = admin.committed_offsets(&group_of(app), &partitions, ANSWER)?;
    let places = places.into_iter().zip(committed);
    let places = places.map(|((at, (first, end)), committed)| {
        let mut replayed = match &committed {
            Some(committed) => Replayed::decode(committed.offset, &committed.metadata)?,
            None => Replayed::nothing(first),
        };
        // What the broker has deleted needs no replay.
        replayed.add(replayed.next(), first);
        Ok(Place {
            at,
            first,
            end,
            replayed,
            known: committed.is_some(),
        })
    });
    places.collect()
}

/// Reads partitions one after the other.
struct Reader {
    reader: Box<dyn PartitionReader>,
}

impl Reader {
    fn new(cluster: &dyn Cluster) -> Result<Self> {
        Ok(Self {
            reader: cluster.partition_reader(Arc::new(Notify::new()))?,
        })
    }

    /// Calls `each` with every record from offset `from` up to `end`, without it, until that fails or has enough.
    fn read(
        &mut self,
        at: &TopicPartition,
        from: i64,
        end: i64,
        each: impl FnMut(RecordRef<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        if from >= end {
            return Ok(());
        }
        self.reader.add(&[(at.clone(), StartOffset::At(from))])?;
        let mut sink = Sink {
            each,
            partition: at.partition,
            end,
            outcome: Ok(ControlFlow::Continue(())),
            reached: false,
        };
        let mut heard = clock::now();
        while !sink.reached {
            let records = self.reader.poll(&mut sink, FETCH)?;
            match records {
                0 if clock::now() >= heard + SILENCE => {
                    return Err(Error::broker(format!(
                        "{at} was not read to its end: nothing came for {SILENCE:?}"
                    )));
                }
                0 => std::thread::sleep(Duration::from_millis(5)),
                _ => heard = clock::now(),
            }
        }
        self.reader.remove(std::slice::from_ref(at))?;
        sink.outcome.map(drop)
    }
}

/// Takes the records of one partition.
struct Sink<F> {
    each: F,
    /// What was fetched of another before may still come.
    partition: i32,
    end: i64,
    outcome: Result<ControlFlow<()>>,
    /// There is nothing more to come.
    reached: bool,
}

impl<F: FnMut(RecordRef<'_>) -> Result<ControlFlow<()>>> RecordSink for Sink<F> {
    fn record(&mut self, record: RecordRef<'_>) {
        if record.partition != self.partition {
            return;
        }
        let offset = record.offset;
        let goes_on = |outcome: &Result<ControlFlow<()>>| matches!(outcome, Ok(ControlFlow::Continue(())));
        if goes_on(&self.outcome) && offset < self.end {
            self.outcome = (self.each)(record);
        }
        self.reached |= !goes_on(&self.outcome) || offset + 1 >= self.end;
    }

    fn end_of_partition(&mut self, _: &str, partition: i32, offset: i64) {
        self.reached |= partition == self.partition && offset >= self.end;
    }
}
