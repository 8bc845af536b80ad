//! How far a program has come with what is in its inputs.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::kafka::{Admin, TopicPartition};
use crate::topology::{TopicPlan, Topology};

/// The longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);

/// How far the group has come.
pub(crate) struct Progress {
    group: String,
    admin: Arc<dyn Admin>,
    inputs: Vec<TopicPartition>,
}

impl Progress {
    /// Of the inputs of a program.
    pub(crate) fn new(group: &str, topology: &Topology, plan: &TopicPlan, admin: Arc<dyn Admin>) -> Self {
        let subs = topology.sub_topologies.iter().zip(&plan.partitions);
        let inputs = subs
            .flat_map(|(sub, count)| sub.inputs.iter().map(move |topic| (*topic, *count)))
            .flat_map(|(topic, count)| {
                let topic = Arc::clone(&topology.topics[topic].name);
                (0..count.cast_signed()).map(move |partition| TopicPartition {
                    topic: Arc::clone(&topic),
                    partition,
                })
            });
        Self {
            group: group.to_owned(),
            admin,
            inputs: inputs.collect(),
        }
    }

    /// Whether the group has committed all there is in the program's inputs.
    ///
    /// The ends are asked for after the offsets. An output is acknowledged before the offset of its input is
    /// committed, so a record that is still under way is missing from the offsets or adds to the ends.
    pub(crate) fn is_drained(&self) -> Result<bool> {
        Ok(self.left()?.is_empty())
    }

    /// What is not committed yet: how many offsets of each partition. See [`Self::is_drained`] for the order of the questions.
    pub(crate) fn left(&self) -> Result<Vec<(TopicPartition, i64)>> {
        let committed = self.admin.committed(&self.group, &self.inputs, ANSWER)?;
        let ranges = self.admin.offset_range(&self.inputs, ANSWER)?;
        let left = self.inputs.iter().zip(committed).zip(ranges);
        let left = left
            .map(|((at, committed), (first, end))| (at.clone(), end - committed.unwrap_or(first).max(first)));
        Ok(left.filter(|(_, left)| *left > 0).collect())
    }
}
