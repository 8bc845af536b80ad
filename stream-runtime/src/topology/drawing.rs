//! What a drawing of a topology consists of, whatever language it is written in.

use std::collections::BTreeSet;

use super::Topology;
use crate::record::topic::Ownership;

/// Sub-topologies as boxes, what belongs to none of them, and the lines between the nodes.
#[derive(Debug)]
pub(super) struct Drawing {
    pub boxes: Vec<SubTopologyBox>,
    /// Topics that no agent reads.
    pub outside: Vec<Node>,
    pub lines: Vec<Line>,
}

#[derive(Debug)]
pub(super) struct SubTopologyBox {
    pub id: String,
    pub title: String,
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Letters, digits and `_`, made of the name, so that it stays when other parts come and go.
    pub id: String,
    pub label: String,
    pub shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    ExternalTopic,
    InternalTopic,
    Agent,
    Table,
}

/// From one node's id to another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    /// Records flow.
    Flow(String, String),
    /// Records go that an agent gave up.
    DeadLetters(String, String),
    /// An agent uses a table.
    State(String, String),
}

impl Topology {
    pub(super) fn drawing(&self) -> Drawing {
        let mut ids = Ids::default();
        let topics: Vec<Node> = self
            .topics
            .iter()
            .map(|topic| {
                let shape = match topic.ownership {
                    Ownership::External => Shape::ExternalTopic,
                    Ownership::Internal => Shape::InternalTopic,
                };
                ids.node("topic", topic.declared, &topic.name, shape)
            })
            .collect();
        let agents: Vec<Node> = (self.agents.iter())
            .map(|agent| ids.node("agent", agent.def.name, agent.def.name, Shape::Agent))
            .collect();
        let tables: Vec<Node> = (self.tables.iter())
            .map(|table| ids.node("table", table.def.name, table.def.name, Shape::Table))
            .collect();
        let boxes = self.sub_topologies.iter().map(|sub| SubTopologyBox {
            id: ids.make("sub", &sub.name),
            title: sub.name.clone(),
            nodes: (sub.inputs.iter().map(|&at| &topics[at]))
                .chain(sub.agents.iter().map(|&at| &agents[at]))
                .chain(sub.tables.iter().map(|&at| &tables[at]))
                .cloned()
                .collect(),
        });
        let boxes = boxes.collect();
        let unread = self
            .topics
            .iter()
            .zip(&topics)
            .filter(|(topic, _)| topic.read_by.is_empty());
        Drawing {
            boxes,
            outside: unread.map(|(_, node)| node.clone()).collect(),
            lines: self.lines(&topics, &agents, &tables),
        }
    }

    /// By agent: what it reads, what it writes, what it gives up, what it keeps.
    fn lines(&self, topics: &[Node], agents: &[Node], tables: &[Node]) -> Vec<Line> {
        let mut lines = Vec::new();
        for (agent, node) in self.agents.iter().zip(agents) {
            let id = || node.id.clone();
            lines.push(Line::Flow(topics[agent.input].id.clone(), id()));
            let written: BTreeSet<usize> = agent.sinks.iter().chain(&agent.sends).copied().collect();
            lines.extend(
                written
                    .into_iter()
                    .map(|at| Line::Flow(id(), topics[at].id.clone())),
            );
            let dead_letters = agent.dead_letters.into_iter();
            lines.extend(dead_letters.map(|at| Line::DeadLetters(id(), topics[at].id.clone())));
            lines.extend(
                agent
                    .tables
                    .iter()
                    .map(|&at| Line::State(id(), tables[at].id.clone())),
            );
        }
        lines
    }
}

/// The identifiers that are taken.
#[derive(Debug, Default)]
struct Ids(BTreeSet<String>);

impl Ids {
    fn node(&mut self, kind: &str, name: &str, label: &str, shape: Shape) -> Node {
        Node {
            id: self.make(kind, name),
            label: label.to_owned(),
            shape,
        }
    }

    /// `topic_a_b` for the topic `a-b`, and `topic_a_b_2` for `a.b` beside it.
    fn make(&mut self, kind: &str, name: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let wanted = format!("{kind}_{}", name.chars().map(plain).collect::<String>());
        let mut id = wanted.clone();
        let mut next = 2;
        while !self.0.insert(id.clone()) {
            id = format!("{wanted}_{next}");
            next += 1;
        }
        id
    }
}
