//! The topology in Graphviz's language.

use super::Topology;
use super::drawing::{Line, Node, Shape};

impl Topology {
    /// The topology in the language of [Graphviz](https://graphviz.org): `… | dot -Tsvg > topology.svg`.
    pub fn dot(&self) -> String {
        let drawing = self.drawing();
        let mut text = format!("digraph {} {{\n", quote(&self.app));
        text += "  rankdir=LR;\n";
        text += "  node [fontname=\"Helvetica\", fontsize=11, style=filled];\n";
        text += "  graph [fontname=\"Helvetica\", fontsize=11, style=rounded, color=gray];\n";
        for sub in &drawing.boxes {
            // Graphviz draws a box around those that are named so.
            text += &format!("  subgraph cluster_{} {{\n", sub.id);
            text += &format!("    label={};\n", quote(&format!("sub-topology {}", sub.title)));
            for node in &sub.nodes {
                text += &format!("    {}\n", show_node(node));
            }
            text += "  }\n";
        }
        for node in &drawing.outside {
            text += &format!("  {}\n", show_node(node));
        }
        for line in &drawing.lines {
            text += &match line {
                Line::Flow(from, to) => format!("  {from} -> {to};\n"),
                Line::DeadLetters(from, to) => {
                    format!("  {from} -> {to} [style=dashed, label=\"dead letters\", fontsize=9];\n")
                }
                Line::State(agent, table) => format!("  {agent} -> {table} [dir=none, style=dashed];\n"),
            };
        }
        text + "}\n"
    }
}

fn show_node(node: &Node) -> String {
    let looks = match node.shape {
        Shape::ExternalTopic => "shape=parallelogram, style=\"filled,dashed\", fillcolor=\"#f3f4f6\"",
        Shape::InternalTopic => "shape=parallelogram, fillcolor=\"#dbeafe\"",
        Shape::Agent => "shape=box, style=\"filled,rounded\", fillcolor=\"#dcfce7\"",
        Shape::Table => "shape=cylinder, fillcolor=\"#fef3c7\"",
    };
    format!("{} [label={}, {looks}];", node.id, quote(&node.label))
}

/// In a quoted string only the quote is special to the language, but labels give a meaning to backslashes and,
/// like HTML, to `&`.
fn quote(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '&' => quoted += "&amp;",
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn labels_are_text() {
        assert_eq!(quote("app-colors"), "\"app-colors\"");
        assert_eq!(quote("\"\\N&\n"), "\"\\\"\\\\N&amp; \"");
    }
}
