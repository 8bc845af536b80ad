//! The topology as a Mermaid flowchart, which GitHub draws.

use std::fmt::Write as _;

use super::Topology;
use super::drawing::{Line, Node, Shape};

/// Colours that can be read on a light and on a dark page.
const STYLES: &str = "  classDef topic fill:#dbeafe,stroke:#2563eb,color:#111827
  classDef external fill:#f3f4f6,stroke:#6b7280,color:#111827,stroke-dasharray:5 4
  classDef agent fill:#dcfce7,stroke:#16a34a,color:#111827
  classDef table fill:#fef3c7,stroke:#d97706,color:#111827
  classDef together fill:none,stroke:#9ca3af
";

impl Topology {
    /// The topology as a [Mermaid](https://mermaid.js.org) flowchart: topics, agents (rounded), tables
    /// (cylinders), a box around each sub-topology, and dashed outlines for topics that belong to others.
    pub fn mermaid(&self) -> String {
        let drawing = self.drawing();
        let mut text = "flowchart LR\n".to_owned();
        for sub in &drawing.boxes {
            text += &format!("  subgraph {}[\"sub-topology {}\"]\n", sub.id, escape(&sub.title));
            for node in &sub.nodes {
                text += &format!("    {}\n", show_node(node));
            }
            text += "  end\n";
        }
        for node in &drawing.outside {
            text += &format!("  {}\n", show_node(node));
        }
        for line in &drawing.lines {
            text += &match line {
                Line::Flow(from, to) => format!("  {from} --> {to}\n"),
                Line::DeadLetters(from, to) => format!("  {from} -. dead letters .-> {to}\n"),
                Line::State(agent, table) => format!("  {agent} -.- {table}\n"),
            };
        }
        text += STYLES;
        for sub in &drawing.boxes {
            text += &format!("  class {} together\n", sub.id);
        }
        text
    }
}

fn show_node(node: &Node) -> String {
    let (id, label) = (&node.id, escape(&node.label));
    match node.shape {
        Shape::ExternalTopic => format!("{id}[/\"{label}\"/]:::external"),
        Shape::InternalTopic => format!("{id}[/\"{label}\"/]:::topic"),
        Shape::Agent => format!("{id}(\"{label}\"):::agent"),
        Shape::Table => format!("{id}[(\"{label}\")]:::table"),
    }
}

/// Labels are Markdown and HTML to Mermaid, so letters and digits stay, and what stands alone between two of
/// them (`a-b`, `a b`); everything else becomes a character reference.
fn escape(label: &str) -> String {
    let chars: Vec<char> = label.chars().collect();
    let is_word = |at: Option<usize>| {
        at.and_then(|at| chars.get(at))
            .is_some_and(|c| c.is_alphanumeric())
    };
    let mut text = String::with_capacity(label.len());
    for (at, &c) in chars.iter().enumerate() {
        let inside = is_word(at.checked_sub(1)) && is_word(Some(at + 1));
        if c.is_alphanumeric() || (inside && matches!(c, '-' | '_' | '.' | ' ')) {
            text.push(c);
        } else if c.is_control() {
            text.push(' ');
        } else {
            let _ = write!(text, "#{};", u32::from(c));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        assert_eq!(escape("app-colors_count.v1"), "app-colors_count.v1");
        assert_eq!(escape("größe"), "größe");
    }

    #[test]
    fn nothing_reaches_markdown_or_html() {
        assert_eq!(escape("\"<b>"), "#34;#60;b#62;");
        assert_eq!(escape("__a__"), "#95;#95;a#95;#95;");
        assert_eq!(escape("1."), "1#46;");
        assert_eq!(escape("#35;"), "#35;35#59;");
    }
}
