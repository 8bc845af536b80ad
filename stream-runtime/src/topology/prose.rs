//! How the parts of a topology are put into words, the same in every printed form.

use std::fmt::Write as _;

use super::{SubTopology, TopicNode, Topology};
use crate::agent::{Form, OnError, Verdict};
use crate::record::topic::Ownership;

/// `a`, `a and b`, `a, b and c`.
pub(super) fn join(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `no tables`, `1 table`, `2 tables`.
pub(super) fn count(count: usize, one: &str, many: &str) -> String {
    match count {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    }
}

/// The first paragraph of a doc comment as one line; empty if it begins with something else.
pub(super) fn summary(doc: &str) -> String {
    let lines = doc.lines().map(str::trim).skip_while(|line| line.is_empty());
    let paragraph: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    match paragraph.first() {
        Some(first) if first.starts_with("```") || first.starts_with("~~~") => String::new(),
        _ => paragraph.join(" ").trim_start_matches(['#', ' ']).to_owned(),
    }
}

/// Who makes a topic.
pub(super) fn owner(ownership: Ownership) -> &'static str {
    match ownership {
        Ownership::External => "others",
        Ownership::Internal => "this program",
    }
}

/// How an agent takes its records.
pub(super) fn form(form: Form) -> &'static str {
    match form {
        Form::Stream => "as a stream",
        Form::Record => "record by record",
    }
}

/// What becomes of a record that an agent fails on.
pub(super) fn on_error(policy: &OnError) -> String {
    let end = match policy.then {
        Verdict::Stop => "the task stops",
        Verdict::Skip => "the record is skipped",
        Verdict::DeadLetter(_) => "the record goes to the dead letters",
    };
    let OnError {
        backoff, max_backoff, ..
    } = policy;
    match policy.retries {
        0 => format!("{end} at once"),
        1 => format!("1 retry after {backoff:?}, then {end}"),
        retries if policy.wait_before(retries) < *max_backoff => {
            format!("{retries} retries, the first after {backoff:?}, then {end}")
        }
        retries => {
            format!(
                "{retries} retries, the first after {backoff:?}, none after more than {max_backoff:?}, then {end}"
            )
        }
    }
}

impl Topology {
    /// `2 agents, 3 topics and 1 table in 2 sub-topologies`.
    pub(super) fn sizes(&self) -> String {
        format!(
            "{}, {} and {} in {}",
            count(self.agents.len(), "agent", "agents"),
            count(self.topics.len(), "topic", "topics"),
            count(self.tables.len(), "table", "tables"),
            count(self.sub_topologies.len(), "sub-topology", "sub-topologies"),
        )
    }

    /// The sub-topology that reads a topic.
    pub(super) fn reader_of(&self, topic: &TopicNode) -> Option<&SubTopology> {
        let reader = &self.agents[*topic.read_by.first()?];
        Some(&self.sub_topologies[reader.sub_topology])
    }

    /// What decides how many partitions a topic has; `quote` makes names stand out.
    pub(super) fn partitions_of(&self, topic: &TopicNode, quote: impl Fn(&str) -> String) -> String {
        match (topic.ownership, topic.def.partitions, self.reader_of(topic)) {
            (Ownership::External, _, _) => "as on the broker".to_owned(),
            (Ownership::Internal, Some(count), _) => count.to_string(),
            (Ownership::Internal, None, Some(sub)) => format!("as sub-topology {}", quote(&sub.name)),
            (Ownership::Internal, None, None) => "the program's default".to_owned(),
        }
    }

    /// What decides how many partitions, and so tasks, a sub-topology has.
    pub(super) fn partitions_of_sub(&self, sub: &SubTopology, quote: impl Fn(&str) -> String) -> String {
        let inputs = || sub.inputs.iter().map(|&topic| &self.topics[topic]);
        let external = inputs().find(|topic| topic.ownership == Ownership::External);
        match (external, inputs().find_map(|topic| topic.def.partitions)) {
            (Some(topic), _) => format!("as {} on the broker", quote(&topic.name)),
            (None, Some(count)) => count.to_string(),
            (None, None) => "the program's default".to_owned(),
        }
    }

    /// The names of these topics on the broker.
    pub(super) fn topic_names(&self, topics: &[usize]) -> Vec<&str> {
        topics.iter().map(|&at| &*self.topics[at].name).collect()
    }

    pub(super) fn agent_names(&self, agents: &[usize]) -> Vec<&'static str> {
        agents.iter().map(|&at| self.agents[at].def.name).collect()
    }

    pub(super) fn table_names(&self, tables: &[usize]) -> Vec<&'static str> {
        tables.iter().map(|&at| self.tables[at].def.name).collect()
    }

    /// The agents that use a table.
    pub(super) fn users_of(&self, table: usize) -> Vec<usize> {
        (0..self.agents.len())
            .filter(|&agent| self.agents[agent].tables.contains(&table))
            .collect()
    }
}

/// Rows under a heading, written so that the source is as readable as the page: columns are padded, but the
/// last one, which holds the prose.
pub(super) fn markdown_table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(|column| if column + 1 == N { 0 } else { width(column) });
    let line = |cells: [&str; N]| {
        let padded = cells
            .iter()
            .zip(widths)
            .fold(String::new(), |mut line, (cell, width)| {
                let _ = write!(line, "| {cell:width$} ");
                line
            });
        format!("{padded}|\n")
    };
    let rules = widths.map(|width| "-".repeat(width.max(3)));
    let mut table = line(heading) + &line(rules.each_ref().map(|rule| rule.as_str()));
    for row in rows {
        table += &line(row.each_ref().map(|cell| cell.as_str()));
    }
    table
}
