//! What becomes of declarations that fit together.

use super::*;
use crate::agent::Verdict;
use crate::agent::dead_letter::dead_letters;
use crate::record::topic::Ownership;

fn names_of_topics(topology: &Topology, topics: &[usize]) -> Vec<&'static str> {
    topics.iter().map(|&at| topology.topics[at].declared).collect()
}

fn names_of_agents(topology: &Topology, agents: &[usize]) -> Vec<&'static str> {
    agents.iter().map(|&at| topology.agents[at].def.name).collect()
}

/// `input` → filter → `COLORS` → count (with a table) → `output`.
fn colors() -> (Vec<AgentParts>, Vec<TopicUse>, Vec<TableEntry>) {
    let colors = topic!(COLORS, "colors", String => String, ownership: Ownership::Internal);
    let output = topic!(named "output", u64);
    let filter = mentions(
        agent("filter", topic!(named "input", String)),
        &["COLORS", "Limits::MAX"],
    );
    let count = mentions(
        sinks(agent("count", colors), &[output]),
        &["tables::COUNT", "u64::MAX"],
    );
    (
        vec![filter, count],
        vec![colors],
        vec![table!(COUNT, "colors-count")],
    )
}

#[test]
fn the_graph_of_the_colors() {
    let (agents, topics, tables) = colors();
    let topology = build(&agents, &topics, &tables);
    assert_eq!(
        names_of_topics(&topology, &[0, 1, 2]),
        ["colors", "input", "output"]
    );
    assert_eq!(names_of_agents(&topology, &[0, 1]), ["count", "filter"]);
    let [colors, input, output] = &topology.topics[..] else {
        panic!("three topics")
    };
    assert_eq!(
        (&*colors.name, colors.ownership),
        ("app-colors", Ownership::Internal)
    );
    assert_eq!((&*input.name, input.ownership), ("input", Ownership::External));
    assert_eq!(
        (&colors.read_by[..], &colors.written_by[..]),
        (&[0][..], &[1][..])
    );
    assert_eq!((&input.read_by[..], &input.written_by[..]), (&[1][..], &[][..]));
    assert_eq!((&output.read_by[..], &output.written_by[..]), (&[][..], &[0][..]));
    let [count, filter] = &topology.agents[..] else {
        panic!("two agents")
    };
    assert_eq!(
        (count.input, &count.sinks[..], &count.sends[..]),
        (0, &[2][..], &[][..])
    );
    assert_eq!(
        (filter.input, &filter.sinks[..], &filter.sends[..]),
        (1, &[][..], &[0][..])
    );
    assert_eq!((&count.tables[..], &filter.tables[..]), (&[0][..], &[][..]));
    assert_eq!(&*topology.tables[0].changelog, "app-colors-count-changelog");
    let subs: Vec<_> = topology
        .sub_topologies
        .iter()
        .map(|sub| (&*sub.name, sub.lead))
        .collect();
    assert_eq!(subs, [("colors", 0), ("input", 1)]);
    assert_eq!((count.sub_topology, filter.sub_topology), (0, 1));
    assert_eq!(topology.tables[0].sub_topology, 0);
}

#[test]
fn the_order_of_declarations_does_not_matter() {
    let (mut agents, mut topics, mut tables) = colors();
    topics.push(topic!(UNUSED, "a", String => u64));
    tables.push(table!(OTHER, "a"));
    agents.push(mentions(
        agent("a", topic!(named "b", String)),
        &["OTHER", "UNUSED"],
    ));
    let one = format!("{:?}", build(&agents, &topics, &tables));
    agents.reverse();
    topics.reverse();
    tables.reverse();
    assert_eq!(format!("{:?}", build(&agents, &topics, &tables)), one);
}

#[test]
fn a_string_names_the_static_of_that_name() {
    let declared = topic!(COLORS, "colors", String => String, ownership: Ownership::Internal);
    let topology = build(&[agent("a", topic!(named "colors", String))], &[declared], &[]);
    assert_eq!(topology.topics.len(), 1);
    assert_eq!(&*topology.topics[0].name, "app-colors");
    assert!(std::ptr::eq(topology.topics[0].def, declared()));
}

#[test]
fn the_use_that_knows_the_keys_describes_a_topic() {
    let blind = agent("a", topic!(named "input", String));
    let knowing = agent("b", topic!(named "input", u64 => String));
    let topology = build(&[blind, knowing], &[], &[]);
    assert!(topology.topics[0].knows_keys());
}

#[test]
fn agents_of_one_topic_or_one_table_are_one_sub_topology() {
    let shared = topic!(named "b", String);
    let agents = [
        mentions(agent("one", topic!(named "c", String)), &["SHARED"]),
        mentions(agent("two", shared), &["SHARED"]),
        agent("three", shared),
        agent("four", topic!(named "d", String)),
    ];
    let topology = build(&agents, &[], &[table!(SHARED, "shared")]);
    let [first, second] = &topology.sub_topologies[..] else {
        panic!("two sub-topologies")
    };
    assert_eq!((&*first.name, &*second.name), ("b", "d"));
    assert_eq!(names_of_topics(&topology, &first.inputs), ["b", "c"]);
    assert_eq!(names_of_agents(&topology, &first.agents), ["one", "three", "two"]);
    assert_eq!((&first.tables[..], &second.tables[..]), (&[0][..], &[][..]));
}

#[test]
fn an_external_topic_leads() {
    let internal = |topic| mentions(agent("internal", topic), &["SHARED"]);
    let external = mentions(agent("external", topic!(named "z", String)), &["SHARED"]);
    let a = topic!(A, "a", String => String, ownership: Ownership::Internal);
    let topology = build(&[internal(a), external], &[a], &[table!(SHARED, "shared")]);
    let sub = &topology.sub_topologies[0];
    assert_eq!((&*sub.name, topology.topics[sub.lead].declared), ("z", "z"));
    assert_eq!(names_of_topics(&topology, &sub.inputs), ["z", "a"]);
}

#[test]
fn a_table_can_be_named_by_the_attribute() {
    let counts = table!(COUNTS, "counts");
    let parts = AgentParts {
        tables: leak([counts.def]),
        ..agent("a", topic!(named "input", String))
    };
    let topology = build(
        &[parts, agent("b", topic!(named "other", String))],
        &[],
        &[counts],
    );
    assert_eq!(topology.agents[0].tables, [0]);
}

#[test]
fn a_table_that_no_agent_names_belongs_to_the_only_sub_topology() {
    let counts = table!(COUNTS, "counts");
    let topology = build(&[agent("a", topic!(named "input", String))], &[], &[counts]);
    assert_eq!(topology.sub_topologies[0].tables, [0]);
    assert_eq!(topology.tables[0].sub_topology, 0);
    assert!(topology.agents[0].tables.is_empty());
}

#[test]
fn an_agent_that_returns_and_sends_to_one_topic_writes_it_once() {
    let output = topic!(OUTPUT, "output", String => u64);
    let both = sinks(
        mentions(agent("a", topic!(named "input", String)), &["OUTPUT"]),
        &[output],
    );
    let topology = build(&[both], &[output], &[]);
    assert_eq!(topology.topics[1].written_by, [0]);
}

#[test]
fn dead_letters_meet_their_declaration_and_their_readers_whatever_the_types() {
    let declared =
        topic!(DEAD, "dead-letters", String => String, ownership: Ownership::Internal, partitions: Some(3));
    let ship = AgentParts {
        on_error: OnError {
            then: Verdict::DeadLetter(dead_letters),
            ..OnError::DEFAULT
        },
        ..agent("ship", topic!(named "orders", u64))
    };
    let report = agent("report", topic!(named "dead-letters", String));
    for declared in [&[][..], &[declared]] {
        let topology = build(&[ship, report], declared, &[]);
        let node = &topology.topics[0];
        assert_eq!(
            (&*node.name, node.ownership),
            ("app-dead-letters", Ownership::Internal)
        );
        assert_eq!((node.written_by.len(), node.read_by.len()), (1, 1));
        assert_eq!(node.def.partitions, declared.first().map(|_| 3));
        assert_eq!(topology.sub_topologies.len(), 2, "dead letters join nothing");
    }
}
