//! From declarations to the checked graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::problems::Problems;
use super::{AgentNode, TableNode, TopicNode, Topology, agree, counts, group, mentions, names};
use crate::agent::AgentDef;
use crate::error::Result;
use crate::record::topic::{Ownership, TopicDef};
use crate::table::TableEntry;

const NO_AGENTS: &str = "this program has no agents. If they are in a library crate, the linker leaves out \
    what nobody mentions: write `use your_crate as _;` in `main.rs`. If there are none yet, an agent is an \
    `async fn` under `#[agent(topic = \"…\")]`";

impl Topology {
    /// Connects and checks what was declared; the order of the declarations does not matter.
    ///
    /// # Errors
    /// When anything does not fit together: one error that lists everything.
    pub(crate) fn build(
        app: &str,
        agents: &[&'static AgentDef],
        topics: &[&'static TopicDef],
        tables: &[TableEntry],
    ) -> Result<Self> {
        let mut problems = Problems::default();
        names::check_app(app, &mut problems);
        if agents.is_empty() {
            problems.report(NO_AGENTS);
        }
        let mut agents = agents.to_vec();
        agents.sort_unstable_by_key(|agent| (agent.name, agent.location));
        let uses = agree::gather(&agents, topics);
        agree::check(&uses, &agents, &mut problems);

        let topics: Vec<TopicNode> = uses.iter().map(|uses| topic_node(app, uses)).collect();
        let tables = table_nodes(app, tables);
        let agents = agent_nodes(&agents, &topics, &tables);
        names::check_agents(&agents, &mut problems);
        names::check_tables(&tables, &mut problems);
        names::check_on_broker(app, &topics, &tables, &mut problems);
        agree::check_forwarded_keys(&agents, &topics, &mut problems);
        agree::check_dead_letters(&agents, &topics, &mut problems);

        let mut topology = Self {
            app: app.into(),
            topics,
            agents,
            tables,
            sub_topologies: Vec::new(),
        };
        topology.connect();
        group::into_sub_topologies(&mut topology, &mut problems);
        counts::check_declared(&topology, &mut problems);
        problems.into_result()?;
        Ok(topology)
    }

    /// Writes the agents into the topics that they read and write.
    fn connect(&mut self) {
        for (at, agent) in self.agents.iter().enumerate() {
            self.topics[agent.input].read_by.push(at);
            for &topic in agent.sinks.iter().chain(&agent.sends).chain(&agent.dead_letters) {
                let written_by = &mut self.topics[topic].written_by;
                if written_by.last() != Some(&at) {
                    written_by.push(at);
                }
            }
        }
    }
}

fn topic_node(app: &str, uses: &agree::Uses) -> TopicNode {
    let def = uses.best();
    let name = match def.ownership {
        Ownership::External => Arc::from(def.name),
        Ownership::Internal => names::internal_topic(app, def.name).into(),
    };
    TopicNode {
        name,
        declared: def.name,
        ownership: def.ownership,
        def,
        read_by: Vec::new(),
        written_by: Vec::new(),
    }
}

fn table_nodes(app: &str, entries: &[TableEntry]) -> Vec<TableNode> {
    let mut tables: Vec<TableNode> = entries
        .iter()
        .map(|&entry| {
            let def = (entry.def)();
            TableNode {
                entry,
                def,
                changelog: names::changelog(app, def.name).into(),
                sub_topology: 0,
            }
        })
        .collect();
    tables.sort_by_key(|table| (table.def.name, table.def.location));
    tables
}

fn agent_nodes(agents: &[&'static AgentDef], topics: &[TopicNode], tables: &[TableNode]) -> Vec<AgentNode> {
    let by_name: BTreeMap<&str, usize> = topics
        .iter()
        .enumerate()
        .map(|(at, topic)| (topic.declared, at))
        .collect();
    let topic_statics: Vec<_> = topics
        .iter()
        .map(|topic| (topic.def.ident, topic.def.location.module))
        .collect();
    let table_statics: Vec<_> = tables
        .iter()
        .map(|table| (table.def.ident, table.def.location.module))
        .collect();
    agents
        .iter()
        .map(|&def| {
            let named_tables = def.tables.iter().filter_map(|table| {
                let table = table();
                tables.iter().position(|node| std::ptr::eq(node.def, table))
            });
            AgentNode {
                def,
                input: by_name[(def.input)().name],
                sinks: sorted(def.sinks.iter().map(|sink| by_name[sink().name])),
                sends: sorted(mentioned(def, &topic_statics)),
                tables: sorted(mentioned(def, &table_statics).chain(named_tables)),
                dead_letters: def.on_error.then.dead_letters().map(|topic| by_name[topic.name]),
                sub_topology: 0,
            }
        })
        .collect()
}

/// Which of these statics (identifier and module) the agent's body mentions.
fn mentioned(
    agent: &'static AgentDef,
    statics: &[(&'static str, &'static str)],
) -> impl Iterator<Item = usize> {
    let module = agent.location.module;
    let mentions = agent.mentions.iter();
    mentions.flat_map(move |mention| mentions::resolve(mention, module, statics))
}

fn sorted(indices: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut indices: Vec<usize> = indices.collect();
    indices.sort_unstable();
    indices.dedup();
    indices
}
