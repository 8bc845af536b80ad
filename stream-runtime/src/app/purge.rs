//! Deleting what has been processed from the topics that a program passes records on in.
//!
//! Such topics have no retention of their own: a record has the time of its event, and one of long ago would be deleted
//! before it is read. So each worker has the broker delete what its tasks have committed, now and then, as Kafka Streams
//! does with its repartition topics.
//!
//! Not here: topics that are declared with a retention, or that nobody of the program reads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use super::ticker::Ticker;
use crate::cluster::status::{Stage, ThreadStatus};
use crate::error::Result;
use crate::kafka::{Admin, TopicPartition};
use crate::topology::Topology;

/// The longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(5);

/// The topics that a program passes records on in.
pub(crate) struct PassedOn {
    group: String,
    admin: Arc<dyn Admin>,
    /// The name of the sub-topology that reads it, and its name on the broker.
    topics: Vec<(String, Arc<str>)>,
}

impl PassedOn {
    pub(crate) fn new(group: &str, topology: &Topology, admin: &Arc<dyn Admin>) -> Self {
        let topics = topology.topics.iter().filter(|topic| topic.is_passed_on());
        let topics = topics.filter_map(|topic| {
            let reader = &topology.agents[*topic.read_by.first()?];
            let sub = &topology.sub_topologies[reader.sub_topology];
            Some((sub.name.clone(), Arc::clone(&topic.name)))
        });
        Self {
            group: group.to_owned(),
            admin: Arc::clone(admin),
            topics: topics.collect(),
        }
    }

    /// The partitions of these tasks, which are named `<sub-topology>/<partition>`.
    fn partitions_of(&self, tasks: &BTreeSet<String>) -> Vec<TopicPartition> {
        let places = tasks.iter().filter_map(|task| task.rsplit_once('/'));
        let places = places.flat_map(|(sub, partition)| {
            let of_sub = self.topics.iter().filter(move |(reader, _)| reader == sub);
            of_sub.filter_map(move |(_, topic)| {
                Some(TopicPartition {
                    topic: Arc::clone(topic),
                    partition: partition.parse().ok()?,
                })
            })
        });
        places.collect()
    }

    /// Deletes what is committed of these tasks' partitions.
    fn purge(&self, tasks: &BTreeSet<String>) -> Result<()> {
        let partitions = self.partitions_of(tasks);
        let committed = self.admin.committed(&self.group, &partitions, ANSWER)?;
        let before = partitions.into_iter().zip(committed);
        let before: Vec<_> = before
            .filter_map(|(at, committed)| Some((at, committed?)))
            .filter(|(_, offset)| *offset > 0)
            .collect();
        self.admin.delete_records(&before, ANSWER)
    }
}

/// Deletes now and then what the tasks of these threads have committed. `None` where nothing is passed on.
pub(super) fn start(
    passed_on: PassedOn,
    every: Duration,
    threads: Vec<ThreadStatus>,
) -> Result<Option<Ticker>> {
    let round = rounds(passed_on, every, threads);
    round
        .map(|round| Ticker::start("purge", every, round))
        .transpose()
}

/// What is done every time. `None` where nothing is passed on.
pub(crate) fn rounds(
    passed_on: PassedOn,
    every: Duration,
    threads: Vec<ThreadStatus>,
) -> Option<impl FnMut() + Send + 'static> {
    if passed_on.topics.is_empty() {
        return None;
    }
    let mut complained = false;
    Some(move || {
        let tasks = threads.iter().flat_map(ThreadStatus::get);
        let running = tasks.filter(|task| task.stage == Stage::Running);
        match passed_on.purge(&running.map(|task| task.name).collect()) {
            Ok(()) => complained = false,
            Err(error) if complained => debug!("{error}"),
            // Nothing is lost by it but room on the broker.
            Err(error) => {
                info!("it is tried again every {every:?}: {error}");
                complained = true;
            }
        }
    })
}
