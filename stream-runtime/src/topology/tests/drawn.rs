//! Programs drawn at random, and how they are declared.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::agent::Verdict;
use crate::record::TypeInfo;
use crate::record::topic::{AnyKey, Ownership, TopicDef};
use crate::table::TableDef;
use crate::topology::Topology;

pub(super) const TOPICS: usize = 6;
pub(super) const TABLES: usize = 4;

thread_local! {
    /// What the functions below name: they cannot capture anything.
    static TOPIC_DEFS: Cell<[Option<&'static TopicDef>; TOPICS]> = const { Cell::new([None; TOPICS]) };
    static TABLE_DEFS: Cell<[Option<&'static TableDef>; TABLES]> = const { Cell::new([None; TABLES]) };
}

const TOPIC_USES: [TopicUse; TOPICS] = [
    || topic_def(0),
    || topic_def(1),
    || topic_def(2),
    || topic_def(3),
    || topic_def(4),
    || topic_def(5),
];

const TABLE_USES: [fn() -> &'static TableDef; TABLES] =
    [|| table_def(0), || table_def(1), || table_def(2), || table_def(3)];

const TOPIC_IDENTS: [&str; TOPICS] = ["T0", "T1", "T2", "T3", "T4", "T5"];
const TABLE_IDENTS: [&str; TABLES] = ["S0", "S1", "S2", "S3"];

fn topic_def(at: usize) -> &'static TopicDef {
    TOPIC_DEFS.get()[at].expect("every topic is declared")
}

fn table_def(at: usize) -> &'static TableDef {
    TABLE_DEFS.get()[at].expect("every table is declared")
}

/// A topic as drawn.
#[derive(Debug, Clone)]
pub(super) struct DrawnTopic {
    pub(super) name: &'static str,
    /// Named by strings, without a declaration.
    pub(super) by_string: bool,
    pub(super) internal: bool,
    pub(super) partitions: Option<u32>,
    pub(super) compact: bool,
    pub(super) key: usize,
    pub(super) value: usize,
}

#[derive(Debug, Clone)]
pub(super) struct DrawnAgent {
    pub(super) name: &'static str,
    pub(super) input: usize,
    pub(super) sinks: BTreeSet<usize>,
    pub(super) sends: BTreeSet<usize>,
    /// In its body.
    pub(super) mentioned: BTreeSet<usize>,
    /// In its attribute.
    pub(super) wired: BTreeSet<usize>,
    pub(super) dead_letters: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Drawn {
    pub(super) app: &'static str,
    pub(super) topics: Vec<DrawnTopic>,
    pub(super) agents: Vec<DrawnAgent>,
    /// The names of the tables that there are.
    pub(super) tables: Vec<Option<&'static str>>,
    /// In which order things are declared.
    pub(super) order: [u32; 16],
}

/// What is told of a program in its parts.
struct Names {
    apps: &'static [&'static str],
    agents: BoxedStrategy<Vec<&'static str>>,
    topics: BoxedStrategy<Vec<&'static str>>,
    tables: BoxedStrategy<Vec<&'static str>>,
    /// How many types keys and values have.
    types: usize,
    dead_letters: bool,
}

const AGENT_NAMES: [&str; 7] = ["h", "i", "j", "k", "l", "m", "n"];

fn drawn(names: &Names) -> impl Strategy<Value = Drawn> + use<> {
    let topic = (
        prop::bool::weighted(0.3),
        any::<bool>(),
        option::of(1_u32..3),
        any::<bool>(),
    );
    let topics = vec((topic, 0..names.types, 0..names.types), TOPICS);
    let slots = |most: usize| btree_set(0..TOPICS, 0..most);
    let tables = |most: usize| btree_set(0..TABLES, 0..most);
    let dead_letters = match names.dead_letters {
        true => option::weighted(0.2, 0..TOPICS).boxed(),
        false => Just(None).boxed(),
    };
    let agent = (0..TOPICS, slots(3), slots(2), tables(3), tables(2), dead_letters);
    let agents = vec(agent, 0..AGENT_NAMES.len());
    let all_names = (names.agents.clone(), names.topics.clone(), names.tables.clone());
    let has_tables = vec(prop::bool::weighted(0.7), TABLES);
    let app = prop::sample::select(names.apps);
    (app, all_names, topics, agents, has_tables, any::<[u32; 16]>()).prop_map(
        |(app, (agent_names, topic_names, table_names), topics, agents, has_tables, order)| {
            let tables: Vec<_> = has_tables
                .iter()
                .zip(table_names)
                .map(|(is_there, name)| is_there.then_some(name))
                .collect();
            let there = |wanted: BTreeSet<usize>| -> BTreeSet<usize> {
                wanted.into_iter().filter(|table| has_tables[*table]).collect()
            };
            let topics = topics.into_iter().zip(topic_names);
            let agents = agents.into_iter().zip(agent_names);
            Drawn {
                app,
                topics: topics
                    .map(
                        |(((by_string, internal, partitions, compact), key, value), name)| DrawnTopic {
                            name,
                            by_string,
                            internal: internal && !by_string,
                            partitions: partitions.filter(|_| !by_string),
                            compact: compact && !by_string,
                            key,
                            value,
                        },
                    )
                    .collect(),
                agents: agents
                    .map(
                        |((input, sinks, sends, mentioned, wired, dead_letters), name)| DrawnAgent {
                            name,
                            input,
                            sinks,
                            sends,
                            mentioned: there(mentioned),
                            wired: there(wired),
                            dead_letters,
                        },
                    )
                    .collect(),
                tables,
                order,
            }
        },
    )
}

/// Programs with nothing wrong but counts that differ and tables that nobody uses.
pub(super) fn tidy() -> impl Strategy<Value = Drawn> {
    drawn(&Names {
        apps: &["app"],
        agents: Just(AGENT_NAMES.to_vec()).prop_shuffle().boxed(),
        topics: Just(vec!["a", "b", "c", "d", "e", "f"]).prop_shuffle().boxed(),
        tables: Just(vec!["w", "x", "y", "z"]).prop_shuffle().boxed(),
        types: 1,
        dead_letters: false,
    })
}

/// Programs with all kinds of mistakes.
pub(super) fn untidy() -> impl Strategy<Value = Drawn> {
    let few = |names: &'static [&'static str], count: usize| vec(prop::sample::select(names), count).boxed();
    drawn(&Names {
        apps: &["app", "app", "app", "", "a b", "."],
        agents: few(&["h", "i", "j", "k", "l", "m", "n", "o"], AGENT_NAMES.len()),
        topics: few(
            &["a", "b", "c", "d", "e", "x-changelog", "a.b", "a_b", "ä"],
            TOPICS,
        ),
        tables: few(&["w", "x", "y", "z", "w w"], TABLES),
        types: 3,
        dead_letters: true,
    })
}

fn declare(drawn: &Drawn) {
    let mut topics = [None; TOPICS];
    for (at, topic) in drawn.topics.iter().enumerate() {
        let types = [
            TypeInfo::of::<AnyKey>(),
            TypeInfo::of::<String>(),
            TypeInfo::of::<u64>(),
        ];
        topics[at] = Some(leak(TopicDef {
            ident: if topic.by_string { "" } else { TOPIC_IDENTS[at] },
            ownership: match topic.internal {
                true => Ownership::Internal,
                false => Ownership::External,
            },
            partitions: topic.partitions,
            compact: topic.compact,
            key: types[topic.key],
            value: types[topic.value],
            ..TopicDef::__dead_letters(topic.name, location("src/topics.rs", at))
        }) as &TopicDef);
    }
    let mut tables = [None; TABLES];
    for (at, name) in drawn.tables.iter().enumerate() {
        tables[at] = name.map(|name| {
            leak(TableDef {
                name,
                ident: TABLE_IDENTS[at],
                key: TypeInfo::of::<String>(),
                value: TypeInfo::of::<u64>(),
                value_codec: "postcard",
                config: &[],
                doc: "",
                location: location("src/tables.rs", at),
            }) as &TableDef
        });
    }
    TOPIC_DEFS.set(topics);
    TABLE_DEFS.set(tables);
}

fn location(file: &'static str, at: usize) -> Location {
    super::at(file, u32::try_from(at).expect("few"))
}

/// Builds the topology with everything in the order that these numbers sort it into.
pub(super) fn build_in(drawn: &Drawn, order: &[u32]) -> Result<Topology> {
    declare(drawn);
    let mut agents: Vec<AgentParts> = drawn.agents.iter().enumerate().map(parts).collect();
    let declared = (0..TOPICS).filter(|topic| !drawn.topics[*topic].by_string);
    let mut topics: Vec<TopicUse> = declared.map(|topic| TOPIC_USES[topic]).collect();
    let there = (0..TABLES).filter(|table| drawn.tables[*table].is_some());
    let mut tables: Vec<TableEntry> = there
        .map(|table| TableEntry::__new(TABLE_USES[table], || unreachable!("nothing runs")))
        .collect();
    sort(&mut agents, order);
    sort(&mut topics, order);
    sort(&mut tables, order);
    build_as(drawn.app, &agents, &topics, &tables)
}

fn sort<T>(items: &mut Vec<T>, order: &[u32]) {
    let mut keyed: Vec<_> = order.iter().zip(std::mem::take(items)).collect();
    keyed.sort_by_key(|(key, _)| **key);
    items.extend(keyed.into_iter().map(|(_, item)| item));
}

fn parts((at, drawn): (usize, &DrawnAgent)) -> AgentParts {
    let named = |idents: &'static [&'static str], which: &BTreeSet<usize>| -> Vec<&'static str> {
        which.iter().map(|at| idents[*at]).collect()
    };
    let mut mentions = named(&TOPIC_IDENTS, &drawn.sends);
    mentions.extend(named(&TABLE_IDENTS, &drawn.mentioned));
    let sinks: Vec<TopicUse> = drawn.sinks.iter().map(|topic| TOPIC_USES[*topic]).collect();
    let wired: Vec<_> = drawn.wired.iter().map(|table| TABLE_USES[*table]).collect();
    let then = drawn
        .dead_letters
        .map_or(Verdict::Stop, |topic| Verdict::DeadLetter(TOPIC_USES[topic]));
    AgentParts {
        location: location("src/agents.rs", at),
        sinks: leak(sinks),
        mentions: leak(mentions),
        tables: leak(wired),
        on_error: OnError {
            then,
            ..OnError::DEFAULT
        },
        ..agent(drawn.name, TOPIC_USES[drawn.input])
    }
}
