//! What a task consists of, and which partitions go with an assigned one. Pure.
//!
//! The group subscribes to one *lead* topic per sub-topology. The partition of the same number of every
//! other input of that sub-topology goes along, so inputs are aligned by construction.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::cut::{self, Cut};
use crate::agent::AgentDef;
use crate::error::{Error, Result};
use crate::kafka::TopicPartition;
use crate::store::StoredTable;
use crate::table::TableEntry;

/// What each task of one sub-topology is made of.
#[derive(Debug, Clone)]
pub(crate) struct Blueprint {
    /// The sub-topology's name.
    pub name: String,
    /// How many tasks there are.
    pub partitions: u32,
    /// Names on the broker, the lead topic first.
    pub inputs: Vec<Arc<str>>,
    /// Each agent and which of the inputs it reads.
    pub agents: Vec<(&'static AgentDef, usize)>,
    pub tables: Vec<TablePlan>,
}

impl Blueprint {
    /// Whether what commits write beside the offsets fits where brokers keep it.
    pub(crate) fn check(&self) -> Result<()> {
        let longest = Cut::longest(self.tables.iter().map(TablePlan::name));
        if longest <= cut::MAX_BYTES {
            return Ok(());
        }
        Err(Error::topology(format!(
            "the names of the {} tables of sub-topology `{}` are too long together: commits write {longest} bytes beside \
             their offsets, and brokers keep {}. Shorten the names, or let fewer agents share their tables",
            self.tables.len(),
            self.name,
            cut::MAX_BYTES
        )))
    }
}

/// One table and its changelog.
#[derive(Debug, Clone)]
pub(crate) struct TablePlan {
    pub entry: TableEntry,
    pub changelog: Changelog,
}

impl TablePlan {
    pub(crate) fn name(&self) -> &'static str {
        (self.entry.def)().name
    }

    /// Its shard as stores know it.
    pub(crate) fn stored(&self) -> StoredTable {
        StoredTable {
            name: self.name().to_owned(),
            changelog_id: self.changelog.id.clone(),
            // Clocks and the cleaning of logs are not exact.
            max_age: self.changelog.tombstones_kept / 6 * 5,
        }
    }
}

/// The changelog of a table, as it is on the broker.
#[derive(Debug, Clone)]
pub(crate) struct Changelog {
    pub topic: Arc<str>,
    /// What tells it from another topic that had this name.
    pub id: Option<String>,
    /// How long it keeps versions of a key that a newer one replaces (`min.compaction.lag.ms`).
    pub versions_kept: Duration,
    /// How long it keeps tombstones (`delete.retention.ms`).
    pub tombstones_kept: Duration,
}

/// One task: a partition number of a sub-topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId {
    /// The number of the blueprint.
    pub sub_topology: usize,
    pub partition: i32,
}

/// All blueprints of a program.
#[derive(Debug, Clone)]
pub(crate) struct Blueprints(pub Vec<Blueprint>);

impl Blueprints {
    /// The topics to subscribe to.
    pub(crate) fn lead_topics(&self) -> Vec<Arc<str>> {
        self.0
            .iter()
            .filter_map(|blueprint| blueprint.inputs.first().cloned())
            .collect()
    }

    pub(crate) fn get(&self, task: TaskId) -> &Blueprint {
        &self.0[task.sub_topology]
    }

    /// The tasks whose lead partitions are among `partitions`, in order.
    pub(crate) fn tasks_led_by(&self, partitions: &[TopicPartition]) -> Vec<TaskId> {
        let mut tasks: Vec<_> = partitions
            .iter()
            .filter_map(|partition| {
                let leads = |blueprint: &Blueprint| blueprint.inputs.first() == Some(&partition.topic);
                let sub_topology = self.0.iter().position(leads)?;
                Some(TaskId {
                    sub_topology,
                    partition: partition.partition,
                })
            })
            .collect();
        tasks.sort_unstable();
        tasks.dedup();
        tasks
    }

    /// The input partitions of a task, the lead first.
    pub(crate) fn inputs_of(&self, task: TaskId) -> Vec<TopicPartition> {
        let at = |topic: &Arc<str>| TopicPartition {
            topic: Arc::clone(topic),
            partition: task.partition,
        };
        self.get(task).inputs.iter().map(at).collect()
    }

    /// Whether the headers of some record are ever looked at.
    pub(crate) fn need_headers(&self) -> bool {
        let mut agents = self.0.iter().flat_map(|blueprint| &blueprint.agents);
        agents.any(|(agent, _)| agent.needs_headers())
    }

    /// Every changelog.
    pub(crate) fn changelogs(&self) -> Vec<Arc<str>> {
        let tables = self.0.iter().flat_map(|blueprint| &blueprint.tables);
        tables.map(|table| Arc::clone(&table.changelog.topic)).collect()
    }

    /// The changelog partitions of a task, one a table.
    pub(crate) fn changelogs_of(&self, task: TaskId) -> Vec<TopicPartition> {
        let at = |table: &TablePlan| TopicPartition {
            topic: Arc::clone(&table.changelog.topic),
            partition: task.partition,
        };
        self.get(task).tables.iter().map(at).collect()
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Partitions in one line: `input 0 1 2, other 0`.
pub(crate) struct Listed<'a>(pub &'a [TopicPartition]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort();
        let mut last: Option<&TopicPartition> = None;
        for partition in sorted {
            match last {
                Some(last) if last.topic == partition.topic => write!(f, " {}", partition.partition)?,
                Some(_) => write!(f, ", {} {}", partition.topic, partition.partition)?,
                None => write!(f, "{} {}", partition.topic, partition.partition)?,
            }
            last = Some(partition);
        }
        match last {
            Some(_) => Ok(()),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    mod properties;

    use super::*;
    use crate::agent::def::AgentParts;
    use crate::agent::def::tests::PLAIN;
    use crate::agent::{OnError, Verdict};

    fn blueprint(name: &str, inputs: &[&str]) -> Blueprint {
        Blueprint {
            name: name.to_owned(),
            partitions: 8,
            inputs: inputs.iter().map(|topic| (*topic).into()).collect(),
            agents: Vec::new(),
            tables: Vec::new(),
        }
    }

    fn at(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }

    #[test]
    fn every_input_of_a_task_has_the_number_of_its_lead() {
        let blueprints = Blueprints(vec![blueprint("a", &["a", "x", "y"]), blueprint("b", &["b"])]);
        assert_eq!(blueprints.lead_topics(), ["a".into(), "b".into()]);
        let tasks = blueprints.tasks_led_by(&[at("b", 1), at("a", 3), at("b", 0), at("unknown", 0)]);
        let numbers: Vec<_> = tasks
            .iter()
            .map(|task| (task.sub_topology, task.partition))
            .collect();
        assert_eq!(numbers, [(0, 3), (1, 0), (1, 1)]);
        assert_eq!(
            blueprints.inputs_of(tasks[0]),
            [at("a", 3), at("x", 3), at("y", 3)]
        );
    }

    #[test]
    fn headers_are_needed_as_soon_as_one_agent_needs_them() {
        let agent = |takes_headers, then| -> &'static AgentDef {
            Box::leak(Box::new(AgentDef::__new(AgentParts {
                takes_headers,
                on_error: OnError {
                    then,
                    ..OnError::DEFAULT
                },
                ..PLAIN
            })))
        };
        let with = |agents: &[&'static AgentDef]| {
            let mut blueprint = blueprint("a", &["a"]);
            blueprint.agents = agents.iter().map(|agent| (*agent, 0)).collect();
            Blueprints(vec![blueprint]).need_headers()
        };
        assert!(!with(&[]));
        let plain = agent(false, Verdict::Stop);
        assert!(!with(&[plain, agent(false, Verdict::Skip)]));
        assert!(with(&[plain, agent(true, Verdict::Stop)]));
        assert!(with(&[plain, agent(false, Verdict::DeadLetter(PLAIN.input))]));
    }

    #[test]
    fn partitions_are_listed_by_topic() {
        assert_eq!(
            Listed(&[at("b", 1), at("a", 3), at("b", 0)]).to_string(),
            "a 3, b 0 1"
        );
        assert_eq!(Listed(&[]).to_string(), "none");
    }
}
