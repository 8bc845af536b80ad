//! The checked graph of a program as a plain value: topics, agents, tables and the sub-topologies they form.
//!
//! Worker, command line, documentation and tests all read this one; nobody derives it a second time. It is
//! [built](Topology::build) from declarations alone, whatever order they come in, and everything that is wrong with
//! them is said at once. What depends on the broker is a [plan]: still a pure function, of the
//! partition counts that the broker has.
//!
//! Not here: collecting the declarations (`registry`), asking the broker and making topics (`kafka`, `app`),
//! running anything (`cluster`).

mod agree;
mod build;
mod choose;
mod counts;
mod dot;
mod drawing;
mod group;
mod json;
mod markdown;
mod mentions;
mod mermaid;
mod names;
mod plan;
mod problems;
mod prose;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use choose::used_by;
pub(crate) use plan::{PlanDefaults, TopicPlan, check_existing};

use crate::agent::AgentDef;
use crate::record::TypeInfo;
use crate::record::topic::{AnyKey, Ownership, TopicDef};
use crate::table::{TableDef, TableEntry};

/// What a program consists of and how its parts are connected.
///
/// Topics, agents and tables are sorted by name, so that the same program gives the same value however its
/// declarations are ordered.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The program's id.
    pub(crate) app: Arc<str>,
    pub(crate) topics: Vec<TopicNode>,
    pub(crate) agents: Vec<AgentNode>,
    pub(crate) tables: Vec<TableNode>,
    pub(crate) sub_topologies: Vec<SubTopology>,
}

/// A topic and who uses it.
#[derive(Debug, Clone)]
pub(crate) struct TopicNode {
    /// The name on the broker.
    pub name: Arc<str>,
    pub declared: &'static str,
    pub ownership: Ownership,
    /// The `#[topic]` declaration; where there is none, a use that knows the type of the keys, if one does.
    pub def: &'static TopicDef,
    /// The agents whose input it is.
    pub read_by: Vec<usize>,
    /// The agents that write to it: as a sink, from their bodies, or dead letters.
    pub written_by: Vec<usize>,
}

/// An agent and what it is connected to.
#[derive(Debug, Clone)]
pub(crate) struct AgentNode {
    pub def: &'static AgentDef,
    /// A topic.
    pub input: usize,
    /// Topics that get what it returns.
    pub sinks: Vec<usize>,
    /// Topics that its body mentions.
    pub sends: Vec<usize>,
    pub tables: Vec<usize>,
    /// The topic of its dead letters.
    pub dead_letters: Option<usize>,
    pub sub_topology: usize,
}

/// A table and where it belongs.
#[derive(Debug, Clone)]
pub(crate) struct TableNode {
    pub entry: TableEntry,
    pub def: &'static TableDef,
    /// The name of its changelog topic on the broker.
    pub changelog: Arc<str>,
    pub sub_topology: usize,
}

/// Topics, agents and tables that must share a partition number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubTopology {
    /// The lead topic's declared name; the names of its tasks are `<name>/<partition>`.
    pub name: String,
    /// The topic that the group subscribes to; the others follow its partitions.
    pub lead: usize,
    /// The topics that its agents read: the lead first, then by name.
    pub inputs: Vec<usize>,
    pub agents: Vec<usize>,
    pub tables: Vec<usize>,
}

impl TopicNode {
    /// Whether an agent reads or writes it.
    pub(crate) fn is_used(&self) -> bool {
        !self.read_by.is_empty() || !self.written_by.is_empty()
    }

    /// Whether anything in the program can tell the type of the keys.
    pub(crate) fn knows_keys(&self) -> bool {
        knows_keys(self.def)
    }
}

/// Whether this use of a topic looks at its keys.
fn knows_keys(def: &TopicDef) -> bool {
    def.key != TypeInfo::of::<AnyKey>()
}
