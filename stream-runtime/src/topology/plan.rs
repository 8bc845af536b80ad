//! What the topics on the broker must be, decided from what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::counts::{self, partitions};
use super::names;
use super::problems::Problems;
use super::{TableNode, TopicNode, Topology};
use crate::error::{Error, Result};
use crate::kafka::TopicSpec;
use crate::record::topic::Ownership;

/// What holds for topics of which nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlanDefaults {
    pub partitions: u32,
    /// `None` takes the broker's default.
    pub replication: Option<u16>,
    /// Whether the workers tell each other what they hold, in a topic of the program.
    pub workers: bool,
}

impl Default for PlanDefaults {
    fn default() -> Self {
        Self {
            partitions: 8,
            replication: None,
            workers: false,
        }
    }
}

/// The partition counts of a program and the topics it needs made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicPlan {
    /// By sub-topology.
    pub partitions: Vec<u32>,
    /// By topic: what it has, or what it is to be created with.
    pub topic_partitions: Vec<u32>,
    /// External topics that agents read or write and the broker does not have. Those that are declared and
    /// not used, as in a crate that lists the topics of a whole company, are left out.
    pub missing_external: Vec<usize>,
    /// Internal topics and changelogs that the broker does not have.
    pub create: Vec<TopicSpec>,
    /// Internal topics and changelogs that it has, and what they must be: the count and the settings that
    /// the program relies on. See [`check_existing`].
    pub check: Vec<TopicSpec>,
}

impl Topology {
    /// Decides the partition counts; `existing` are those of the topics on the broker.
    ///
    /// # Errors
    /// When topics that share a sub-topology have different counts: one error that lists everything.
    pub(crate) fn plan(
        &self,
        existing: &BTreeMap<String, u32>,
        defaults: &PlanDefaults,
    ) -> Result<TopicPlan> {
        let mut problems = Problems::default();
        let of_subs: Vec<u32> = self
            .sub_topologies
            .iter()
            .map(|sub| {
                let known = counts::of_sub_topology(self, sub, existing, &mut problems);
                known.unwrap_or(defaults.partitions)
            })
            .collect();
        problems.into_result()?;

        let topic_partitions: Vec<u32> = (self.topics.iter())
            .map(|topic| self.count_of(topic, &of_subs, existing, defaults))
            .collect();
        let mut missing_external = Vec::new();
        let mut specs = Vec::new();
        for (at, topic) in self.topics.iter().enumerate() {
            match topic.ownership {
                Ownership::Internal => specs.push(topic_spec(topic, topic_partitions[at], defaults)),
                Ownership::External if existing.contains_key(&*topic.name) || !topic.is_used() => {}
                Ownership::External => missing_external.push(at),
            }
        }
        let changelogs = self.tables.iter();
        specs.extend(changelogs.map(|table| changelog_spec(table, of_subs[table.sub_topology], defaults)));
        if defaults.workers && !self.tables.is_empty() {
            specs.push(self.workers_spec(defaults)?);
        }
        let (there, create): (Vec<TopicSpec>, Vec<TopicSpec>) = specs
            .into_iter()
            .partition(|spec| existing.contains_key(&spec.name));
        Ok(TopicPlan {
            partitions: of_subs,
            topic_partitions,
            missing_external,
            create,
            check: there.into_iter().map(to_check).collect(),
        })
    }

    /// The name on the broker of the topic in which workers tell each other what they hold. It exists where
    /// [`PlanDefaults::workers`] says so and there are tables.
    pub(crate) fn workers_topic(&self) -> String {
        names::workers(&self.app)
    }

    fn workers_spec(&self, defaults: &PlanDefaults) -> Result<TopicSpec> {
        let name = self.workers_topic();
        if let Some(taken) = self
            .topics
            .iter()
            .find(|topic| topic.name.replace('.', "_") == name.replace('.', "_"))
        {
            return Err(Error::topology(format!(
                "topic `{}` ({}) is `{}` on the broker, and with `standby_replicas` or `restore_ahead` the workers tell \
                 each other in `{name}` what they hold: give the topic another name",
                taken.declared, taken.def.location, taken.name
            )));
        }
        Ok(TopicSpec {
            name,
            partitions: 1,
            replication: defaults.replication,
            // Each worker writes to it all the time; what was replaced is removed within hours rather than a week.
            config: vec![policy(true), ("segment.ms".to_owned(), "3600000".to_owned())],
        })
    }

    fn count_of(
        &self,
        topic: &TopicNode,
        of_subs: &[u32],
        existing: &BTreeMap<String, u32>,
        defaults: &PlanDefaults,
    ) -> u32 {
        let has = existing.get(&*topic.name).copied();
        match (topic.ownership, topic.read_by.first()) {
            (Ownership::External, _) if has.is_some() => has.unwrap_or_default(),
            (_, Some(&reader)) => of_subs[self.agents[reader].sub_topology],
            (_, None) => topic.def.partitions.unwrap_or(defaults.partitions),
        }
    }
}

fn topic_spec(topic: &TopicNode, partitions: u32, defaults: &PlanDefaults) -> TopicSpec {
    let mut config = vec![policy(topic.def.compact), create_time()];
    if topic.is_passed_on() {
        config.push((RETENTION.to_owned(), "-1".to_owned()));
    }
    if let Some(retention) = topic.def.retention_ms {
        config.push((RETENTION.to_owned(), retention.to_string()));
    }
    TopicSpec {
        name: topic.name.to_string(),
        partitions,
        replication: topic.def.replicas.or(defaults.replication),
        config: with_declared(config, topic.def.config),
    }
}

fn changelog_spec(table: &TableNode, partitions: u32, defaults: &PlanDefaults) -> TopicSpec {
    TopicSpec {
        name: table.changelog.to_string(),
        partitions,
        replication: defaults.replication,
        config: with_declared(
            vec![policy(true), create_time(), keep_versions()],
            table.def.config,
        ),
    }
}

const POLICY: &str = "cleanup.policy";
const RETENTION: &str = "retention.ms";

impl TopicNode {
    /// Whether records are in it only until they are processed: its agents get every one, however old, and then it goes.
    /// So it is with internal topics that agents read, unless the declaration says how long they keep their records.
    ///
    /// A retention would count from the time of the event: records of long ago would be gone before they are read.
    pub(crate) fn is_passed_on(&self) -> bool {
        let says_otherwise = self.def.compact
            || self.def.retention_ms.is_some()
            || self
                .def
                .config
                .iter()
                .any(|(name, _)| name.starts_with("retention.") || *name == POLICY);
        self.ownership == Ownership::Internal && !self.read_by.is_empty() && !says_otherwise
    }
}

fn policy(compact: bool) -> (String, String) {
    let policy = if compact { "compact" } else { "delete" };
    (POLICY.to_owned(), policy.to_owned())
}

/// A restore may have to go back behind the newest version of a key, to the one that was committed.
fn keep_versions() -> (String, String) {
    ("min.compaction.lag.ms".to_owned(), "86400000".to_owned())
}

/// Timestamps are event times, so the broker must not put its own in their place.
fn create_time() -> (String, String) {
    ("message.timestamp.type".to_owned(), "CreateTime".to_owned())
}

/// Settings of the declaration come before ours.
fn with_declared(ours: Vec<(String, String)>, declared: &[(&str, &str)]) -> Vec<(String, String)> {
    let declared = declared
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let all: BTreeMap<String, String> = ours.into_iter().chain(declared).collect();
    all.into_iter().collect()
}

/// Of a topic that exists only what the program relies on.
fn to_check(mut spec: TopicSpec) -> TopicSpec {
    spec.config.retain(|(name, _)| name == POLICY);
    spec
}

/// What is wrong with a topic that exists: `spec` comes from [`TopicPlan::check`], `count` and `config` from
/// the broker. Nothing when it is as it must be.
pub(crate) fn check_existing(spec: &TopicSpec, count: u32, config: &[(String, String)]) -> Vec<String> {
    let mut complaints = Vec::new();
    if count != spec.partitions {
        complaints.push(format!(
            "topic `{}` has {} on the broker and this program needs {}: a topic cannot be given fewer, and with \
             more its keys would move away from their state. Declare the count it has, or give up its records and \
             delete the topic, so that it is made anew",
            spec.name,
            partitions(count),
            partitions(spec.partitions)
        ));
    }
    let wanted = spec.config.iter().find(|(name, _)| name == POLICY);
    let found = config.iter().find(|(name, _)| name == POLICY);
    if let (Some((_, wanted)), Some((_, found))) = (wanted, found)
        && policies(wanted) != policies(found)
    {
        complaints.push(format!(
            "topic `{}` has `{POLICY}={found}` on the broker and this program needs `{wanted}`: alter it with \
             `kafka-configs.sh --alter --entity-type topics --entity-name {} --add-config {POLICY}=[{wanted}]`, \
             or declare it as it is",
            spec.name, spec.name
        ));
    }
    complaints
}

fn policies(list: &str) -> BTreeSet<&str> {
    list.split(',')
        .map(str::trim)
        .filter(|policy| !policy.is_empty())
        .collect()
}
