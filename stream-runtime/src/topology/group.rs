//! Sub-topologies: what must share a partition number.
//!
//! Agents that read one topic, or use one table, belong together: a record and the state it meets are on one
//! task. So sub-topologies are the connected components of agents over their inputs and their tables.

use std::collections::BTreeMap;

use super::problems::Problems;
use super::{SubTopology, Topology};
use crate::record::topic::Ownership;

/// Fills in `sub_topologies` and every node's place in them.
pub(super) fn into_sub_topologies(topology: &mut Topology, problems: &mut Problems) {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let roots = roots(topology);
    for (agent, &root) in roots.iter().enumerate() {
        groups.entry(root).or_default().push(agent);
    }
    let mut subs: Vec<SubTopology> = groups
        .into_values()
        .map(|agents| sub_topology(topology, agents))
        .collect();
    subs.sort_by(|a, b| a.name.cmp(&b.name));
    place_unused_tables(topology, &mut subs, problems);
    for (at, sub) in subs.iter().enumerate() {
        for &agent in &sub.agents {
            topology.agents[agent].sub_topology = at;
        }
        for &table in &sub.tables {
            topology.tables[table].sub_topology = at;
        }
    }
    topology.sub_topologies = subs;
}

/// For each agent one that stands for its component.
fn roots(topology: &Topology) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..topology.agents.len()).collect();
    let mut topic_agents = vec![None; topology.topics.len()];
    let mut table_agents = vec![None; topology.tables.len()];
    for (at, agent) in topology.agents.iter().enumerate() {
        let first = *topic_agents[agent.input].get_or_insert(at);
        unite(&mut parents, first, at);
        for &table in &agent.tables {
            let first = *table_agents[table].get_or_insert(at);
            unite(&mut parents, first, at);
        }
    }
    (0..parents.len()).map(|agent| root(&parents, agent)).collect()
}

fn root(parents: &[usize], mut at: usize) -> usize {
    while parents[at] != at {
        at = parents[at];
    }
    at
}

fn unite(parents: &mut [usize], one: usize, two: usize) {
    let (one, two) = (root(parents, one), root(parents, two));
    parents[one.max(two)] = one.min(two);
}

fn sub_topology(topology: &Topology, agents: Vec<usize>) -> SubTopology {
    let mut inputs: Vec<usize> = agents.iter().map(|&at| topology.agents[at].input).collect();
    inputs.sort_unstable();
    inputs.dedup();
    // Topics are sorted by name, so the first external one is the first by name.
    let lead = inputs
        .iter()
        .position(|&input| topology.topics[input].ownership == Ownership::External);
    inputs[..=lead.unwrap_or(0)].rotate_right(1);
    let mut tables: Vec<usize> = agents
        .iter()
        .flat_map(|&at| topology.agents[at].tables.iter().copied())
        .collect();
    tables.sort_unstable();
    tables.dedup();
    SubTopology {
        name: topology.topics[inputs[0]].declared.to_owned(),
        lead: inputs[0],
        inputs,
        agents,
        tables,
    }
}

/// A table that no agent names belongs to the only sub-topology there is.
fn place_unused_tables(topology: &Topology, subs: &mut [SubTopology], problems: &mut Problems) {
    for (at, table) in topology.tables.iter().enumerate() {
        if topology.agents.iter().any(|agent| agent.tables.contains(&at)) {
            continue;
        }
        match &mut *subs {
            [] => {}
            [only] => {
                only.tables.push(at);
                only.tables.sort_unstable();
            }
            several => problems.report(format!(
                "table `{}` ({}) is used by no agent that says so, and the program has {} sub-topologies it \
                 could belong to: name it in the attribute of the agents whose helper functions use it, \
                 `tables = [{}]`",
                table.def.name,
                table.def.location,
                several.len(),
                table.def.ident
            )),
        }
    }
}
