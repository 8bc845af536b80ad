//! The printed forms: one page in full, and names that mean something to the language they are printed in.

use super::*;
use crate::agent::Verdict;
use crate::agent::dead_letter::dead_letters;
use crate::record::topic::TopicDef;

/// The program that every introduction shows.
fn colors() -> Topology {
    let colors = topic!(COLORS, "colors", String => String, ownership: Ownership::Internal,
        doc: " Colours worth counting, keyed so that one\n partition sees all of one colour.\n\n More of it.");
    let count = table!(COLORS_COUNT, "colors-count", doc: " How many times each colour | hue has been seen.");
    let filter = AgentParts {
        doc: " Keeps red, green and blue.",
        form: Form::Stream,
        ..mentions(agent("filter_colors", topic!(named "input", String)), &["COLORS"])
    };
    let counter = AgentParts {
        doc: " Counts colours and reports every new count.\n\n It is shown in the guide.",
        ..mentions(
            sinks(agent("count_colors", colors), &[topic!(named "output", u64)]),
            &["COLORS_COUNT"],
        )
    };
    build_as("colors", &[filter, counter], &[colors], &[count]).expect("fits together")
}

/// Names as only a test would choose them; agents may have any.
fn nasty() -> Topology {
    let end = topic!(END, "end", () => Option<u64>, ownership: Ownership::Internal, partitions: Some(1));
    let dotted = topic!(DOTTED, "__a.b__", String => String);
    let dashed = topic!(DASHED, "a-b-", String => String);
    let one_agent = |name, input| AgentParts {
        on_error: OnError {
            retries: 0,
            then: Verdict::Skip,
            ..OnError::DEFAULT
        },
        ..agent(name, input)
    };
    let agents = [
        mentions(one_agent("end", end), &["END", "CLASS"]),
        one_agent("1. **x** <script>\"`&#35;|\\", dotted),
        mentions(one_agent("subgraph", dashed), &["GRAPH", "END"]),
        one_agent("- größe % --> }", topic!(named "1.", String)),
    ];
    let tables = [
        table!(GRAPH, "graph"),
        table!(CLASS, "class", doc: "```\ncode\n```"),
    ];
    build(&agents, &[end, dotted, dashed], &tables)
}

#[test]
fn the_page_of_the_colors() {
    assert_eq!(colors().markdown(), include_str!("colors.md"));
}

#[test]
fn a_page_ends_with_one_newline() {
    for topology in [colors(), nasty()] {
        let page = topology.markdown();
        assert!(page.ends_with('\n') && !page.ends_with("\n\n"));
        assert!(page.lines().all(|line| line.trim_end() == line), "{page}");
    }
}

#[test]
fn bars_do_not_end_cells() {
    let page = nasty().markdown();
    let row = page.lines().find(|line| line.contains("__a.b__")).expect("a row");
    let bars = row.replace("\\|", "").matches('|').count();
    assert_eq!(bars, 9, "{row}");
}

#[test]
fn identifiers_in_drawings_are_words_and_differ() {
    let drawing = nasty().mermaid();
    let ids: Vec<&str> = drawing
        .lines()
        .filter_map(|line| line.trim().split_once(['[', '(']))
        .map(|(id, _)| id.trim_start_matches("subgraph "))
        .collect();
    assert!(
        ids.iter()
            .all(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')),
        "{ids:?}"
    );
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
}

#[test]
fn json_names_what_it_refers_to() {
    let json: serde_json::Value = serde_json::from_str(&colors().json()).expect("JSON");
    assert_eq!(json["topics"][0]["name"], "colors-colors");
    assert_eq!(json["topics"][0]["sub_topology"], "colors");
    assert_eq!(json["topics"][1]["key"], serde_json::Value::Null);
    assert_eq!(json["agents"][0]["sinks"][0], "output");
    assert_eq!(json["agents"][1]["sends"][0], "colors-colors");
    assert_eq!(json["tables"][0]["changelog"], "colors-colors-count-changelog");
    assert_eq!(json["sub_topologies"][1]["lead"], "input");
}

#[test]
fn json_text_has_the_order_of_the_declarations() {
    let text = colors().json();
    assert!(
        text.starts_with("{\n  \"app\": \"colors\",\n  \"topics\": ["),
        "{text}"
    );
}

#[test]
fn dot_draws_a_box_around_each_sub_topology() {
    let dot = colors().dot();
    assert!(
        dot.starts_with("digraph \"colors\" {\n") && dot.ends_with("}\n"),
        "{dot}"
    );
    assert_eq!(dot.matches("subgraph cluster_").count(), 2, "{dot}");
    assert!(dot.contains("  agent_filter_colors -> topic_colors;\n"), "{dot}");
    assert!(
        dot.contains("  agent_count_colors -> table_colors_count [dir=none, style=dashed];\n"),
        "{dot}"
    );
}

/// One agent with the program's own topic for its dead letters, one with a topic of others.
fn with_dead_letters() -> Topology {
    let failed = || {
        static FAILED: TopicDef = TopicDef::__dead_letters("orders-failed", at("src/ship.rs", 1));
        &FAILED
    };
    let giving_up = |name, topic: TopicUse| AgentParts {
        on_error: OnError {
            retries: 2,
            then: Verdict::DeadLetter(topic),
            ..OnError::DEFAULT
        },
        ..agent(name, topic!(named "orders", String))
    };
    build(
        &[giving_up("bill", dead_letters), giving_up("ship", failed)],
        &[],
        &[],
    )
}

#[test]
fn dead_letters_are_topics_and_lines_of_their_own() {
    let topology = with_dead_letters();
    let page = topology.markdown();
    for part in [
        "- on error: 2 retries, the first after 100ms, then the record goes to the dead letters\n\
         - dead letters to: `app-dead-letters`\n",
        "- dead letters to: `orders-failed`\n",
        "| `app-dead-letters` | this program | the program's default |",
        "| `orders-failed`    | others       | as on the broker      |",
        "  agent_bill -. dead letters .-> topic_dead_letters\n",
    ] {
        assert!(page.contains(part), "no {part} in\n{page}");
    }
    let dot = topology.dot();
    let line = "  agent_ship -> topic_orders_failed [style=dashed, label=\"dead letters\", fontsize=9];\n";
    assert!(dot.contains(line), "{dot}");
    let json: serde_json::Value = serde_json::from_str(&topology.json()).expect("JSON");
    assert_eq!(json["agents"][0]["dead_letters"], "app-dead-letters");
    assert_eq!(json["agents"][0]["on_error"]["then"], "dead_letter");
    assert_eq!(json["agents"][1]["dead_letters"], "orders-failed");
    assert_eq!(json["topics"][0]["written_by"][0], "bill");
}
