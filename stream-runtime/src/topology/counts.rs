//! Partition counts: the inputs of a sub-topology share partition numbers, so they must have equal counts.

use std::collections::{BTreeMap, BTreeSet};

use super::agree::agent_at;
use super::problems::Problems;
use super::prose::join;
use super::{SubTopology, Topology};
use crate::record::topic::Ownership;

/// A count that is not ours to choose.
#[derive(Debug, Clone, Copy)]
struct Known {
    topic: usize,
    count: u32,
    from: From,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Broker,
    Declaration,
}

/// Reports declared counts that cannot agree whatever the broker has.
pub(super) fn check_declared(topology: &Topology, problems: &mut Problems) {
    let nothing = BTreeMap::new();
    for sub in &topology.sub_topologies {
        of_sub_topology(topology, sub, &nothing, problems);
    }
}

/// The partition count of a sub-topology, if anything says what it must be: its external topics on the
/// broker, else declarations. Reports what does not agree.
pub(super) fn of_sub_topology(
    topology: &Topology,
    sub: &SubTopology,
    existing: &BTreeMap<String, u32>,
    problems: &mut Problems,
) -> Option<u32> {
    let known: Vec<Known> = sub
        .inputs
        .iter()
        .filter_map(|&topic| known(topology, topic, existing))
        .collect();
    if known.iter().any(|one| one.count != known[0].count) {
        problems.report(disagreement(topology, sub, &known));
    }
    let on_broker = known.iter().find(|one| one.from == From::Broker);
    on_broker.or(known.first()).map(|one| one.count)
}

/// What an external topic has on the broker counts more than what is declared of it.
fn known(topology: &Topology, topic: usize, existing: &BTreeMap<String, u32>) -> Option<Known> {
    let node = &topology.topics[topic];
    let on_broker = match node.ownership {
        Ownership::External => existing.get(&*node.name).map(|&count| (count, From::Broker)),
        Ownership::Internal => None,
    };
    let declared = node.def.partitions.map(|count| (count, From::Declaration));
    on_broker
        .or(declared)
        .map(|(count, from)| Known { topic, count, from })
}

/// Agents have one input each, so what joins two inputs is always a table.
fn disagreement(topology: &Topology, sub: &SubTopology, known: &[Known]) -> String {
    let tables = joining_tables(topology, sub, known);
    let mut message = format!(
        "the agents of sub-topology `{}` share state, so their input topics need equal partition counts, and \
         those differ:",
        sub.name
    );
    for &table in &tables {
        let users: Vec<String> = sub
            .agents
            .iter()
            .map(|&agent| &topology.agents[agent])
            .filter(|agent| agent.tables.contains(&table))
            .map(|agent| {
                let input = topology.topics[agent.input].declared;
                format!(
                    "{} reading `{input}`",
                    agent_at(agent.def.name, agent.def.location)
                )
            })
            .collect();
        message += &format!(
            "\n  table `{}` is used by {}",
            topology.tables[table].def.name,
            join(&users)
        );
    }
    for one in known {
        message += &format!("\n  {}", show(topology, one));
    }
    message
        + "\ngive the topics equal counts, or re-key one input through an internal topic of this program and \
           use the table in the agent that reads that one"
}

/// The tables whose agents read topics of different counts; where counts differ only over several tables,
/// all that join different inputs.
fn joining_tables(topology: &Topology, sub: &SubTopology, known: &[Known]) -> Vec<usize> {
    let inputs_of = |table: usize| -> BTreeSet<usize> {
        let agents = sub.agents.iter().map(|&agent| &topology.agents[agent]);
        let users = agents.filter(|agent| agent.tables.contains(&table));
        users.map(|agent| agent.input).collect()
    };
    let joining: Vec<usize> = (sub.tables.iter().copied())
        .filter(|&table| inputs_of(table).len() > 1)
        .collect();
    let differing: Vec<usize> = (joining.iter().copied())
        .filter(|&table| {
            let inputs = inputs_of(table);
            let of_table = known.iter().filter(|one| inputs.contains(&one.topic));
            of_table.map(|one| one.count).collect::<BTreeSet<_>>().len() > 1
        })
        .collect();
    if differing.is_empty() { joining } else { differing }
}

fn show(topology: &Topology, known: &Known) -> String {
    let topic = &topology.topics[known.topic];
    match known.from {
        From::Broker => format!(
            "topic `{}` has {} on the broker",
            topic.name,
            partitions(known.count)
        ),
        From::Declaration => format!(
            "topic `{}` is declared with {} ({})",
            topic.declared,
            partitions(known.count),
            topic.def.location
        ),
    }
}

/// `1 partition`, `8 partitions`.
pub(super) fn partitions(count: u32) -> String {
    match count {
        1 => "1 partition".to_owned(),
        _ => format!("{count} partitions"),
    }
}
