//! The topology as a page for people: a drawing, and what the declarations say.
//!
//! It is made to be checked in and compared by a test, so it holds nothing that changes without the program:
//! no line numbers, no paths of a machine, no counts of a broker.

use super::prose::{self, join, markdown_table};
use super::{AgentNode, TopicNode, Topology};
use crate::record::TypeInfo;

impl Topology {
    /// The topology as a Markdown page with a Mermaid drawing, the same for the same program.
    ///
    /// It is made to be checked in; a test that compares it keeps it current.
    pub fn markdown(&self) -> String {
        let sections = [
            format!("# Topology of {}", code(&self.app)),
            "<!-- Printed from the program: change its declarations, not this file. -->".to_owned(),
            format!("{}.", self.sizes()),
            format!("```mermaid\n{}```", self.mermaid()),
            "Parallelograms are topics, dashed where they belong to others; rounded boxes are agents; cylinders are \
             tables."
                .to_owned(),
            format!("## Topics\n\n{}", self.topics_table()),
            format!("## Agents\n\n{}", self.agents_list()),
            self.tables_section(),
            format!(
                "## Sub-topologies\n\nThe topics of a sub-topology are co-partitioned: partition *n* of each, and \
                 shard *n* of each table, are on one task.\n\n{}",
                self.sub_topologies_table()
            ),
        ];
        let sections: Vec<&str> = sections.iter().map(|section| section.trim_end()).collect();
        let written: Vec<&str> = sections
            .into_iter()
            .filter(|section| !section.is_empty())
            .collect();
        written.join("\n\n") + "\n"
    }

    fn topics_table(&self) -> String {
        let rows: Vec<_> = (self.topics.iter())
            .map(|topic| {
                [
                    cell(&code(&topic.name)),
                    prose::owner(topic.ownership).to_owned(),
                    cell(&self.partitions_of(topic, code)),
                    cell(&key(topic)),
                    cell(&typed(topic.def.value, topic.def.value_codec)),
                    cell(&codes(&self.agent_names(&topic.written_by))),
                    cell(&codes(&self.agent_names(&topic.read_by))),
                    cell(&prose::summary(topic.def.doc)),
                ]
            })
            .collect();
        markdown_table(
            [
                "Topic",
                "Owner",
                "Partitions",
                "Key",
                "Value",
                "Written by",
                "Read by",
                "Description",
            ],
            &rows,
        )
    }

    fn agents_list(&self) -> String {
        let agents: Vec<String> = self.agents.iter().map(|agent| self.agent(agent)).collect();
        agents.join("\n")
    }

    fn agent(&self, agent: &AgentNode) -> String {
        let def = agent.def;
        let mut text = format!("### {}\n\n", code(def.name));
        let summary = prose::summary(def.doc);
        if !summary.is_empty() {
            text += &format!("{summary}\n\n");
        }
        let input = code(&self.topics[agent.input].name);
        let mut item = |what: &str, is: &str| {
            if !is.is_empty() {
                text += &format!("- {what}: {is}\n");
            }
        };
        item("reads", &format!("{input}, {}", prose::form(def.form)));
        item("returns to", &codes(&self.topic_names(&agent.sinks)));
        item("sends to", &codes(&self.topic_names(&agent.sends)));
        item("tables", &codes(&self.table_names(&agent.tables)));
        item("on error", &prose::on_error(&def.on_error));
        let dead_letters = agent.dead_letters.map(|at| code(&self.topics[at].name));
        item("dead letters to", &dead_letters.unwrap_or_default());
        item("declared in", &code(def.location.module));
        text
    }

    fn tables_section(&self) -> String {
        if self.tables.is_empty() {
            return String::new();
        }
        let rows: Vec<_> = (self.tables.iter().enumerate())
            .map(|(at, table)| {
                [
                    cell(&code(table.def.name)),
                    cell(&code(&table.def.key.short_name())),
                    cell(&typed(table.def.value, table.def.value_codec)),
                    cell(&code(&table.changelog)),
                    cell(&codes(&self.agent_names(&self.users_of(at)))),
                    cell(&prose::summary(table.def.doc)),
                ]
            })
            .collect();
        let heading = ["Table", "Key", "Value", "Changelog", "Used by", "Description"];
        format!("## Tables\n\n{}", markdown_table(heading, &rows))
    }

    fn sub_topologies_table(&self) -> String {
        let rows: Vec<_> = (self.sub_topologies.iter())
            .map(|sub| {
                [
                    cell(&code(&sub.name)),
                    cell(&self.partitions_of_sub(sub, code)),
                    cell(&code(&self.topics[sub.lead].name)),
                    cell(&codes(&self.topic_names(&sub.inputs[1..]))),
                    cell(&codes(&self.agent_names(&sub.agents))),
                    cell(&codes(&self.table_names(&sub.tables))),
                ]
            })
            .collect();
        let heading = [
            "Sub-topology",
            "Partitions",
            "Lead topic",
            "Other topics",
            "Agents",
            "Tables",
        ];
        markdown_table(heading, &rows)
    }
}

fn key(topic: &TopicNode) -> String {
    if topic.knows_keys() {
        typed(topic.def.key, topic.def.key_codec)
    } else {
        "any".to_owned()
    }
}

/// A type and its codec; the key type `()` means that there is none.
fn typed(of: TypeInfo, codec: &str) -> String {
    if of == TypeInfo::of::<()>() {
        "none".to_owned()
    } else {
        format!("{} ({codec})", code(&of.short_name()))
    }
}

fn codes(names: &[&str]) -> String {
    join(&names.iter().map(|name| code(name)).collect::<Vec<_>>())
}

/// Text as code, whatever it contains.
fn code(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if !text.contains('`') {
        return format!("`{text}`");
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    format!("{fence} {text} {fence}")
}

/// A cell of a table: a bar would end it, even in code.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::{cell, code};

    #[test]
    fn names_are_code_whatever_they_contain() {
        assert_eq!(code("a-b"), "`a-b`");
        assert_eq!(code("a``b\nc"), "``` a``b c ```");
        assert_eq!(cell(&code("a|b")), "`a\\|b`");
    }
}
