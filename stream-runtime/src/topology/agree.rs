//! Types: all uses of one topic must agree on what its records are.
//!
//! A topic is used by its declaration, by the agents that name its static, and by those that name it by a
//! string. Rust checks the first two; the third is checked here.

use std::collections::BTreeMap;
use std::ptr;

use super::problems::Problems;
use super::{AgentNode, TopicNode, knows_keys, names};
use crate::agent::AgentDef;
use crate::agent::dead_letter::dead_letters;
use crate::record::topic::{Ownership, TopicDef};
use crate::record::{Location, TypeInfo};

/// All uses of one declared name; there is at least one.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// The `#[topic]` statics of this name: one, or there is an error.
    declarations: Vec<&'static TopicDef>,
    /// By strings: the agent and what it takes the topic for.
    by_string: Vec<(usize, &'static TopicDef)>,
    /// By agents whose dead letters go there: bytes, which agree with every type.
    dead_letters: Vec<&'static TopicDef>,
}

impl Uses {
    /// The declaration, else the program's own topic for dead letters, else a use by a string; one that knows the
    /// keys, if there is one.
    pub(super) fn best(&self) -> &'static TopicDef {
        let uses = || self.by_string.iter().map(|(_, def)| *def);
        let dead_letters = || self.dead_letters.iter().copied();
        self.declarations
            .first()
            .copied()
            .or_else(|| dead_letters().find(|def| def.ownership == Ownership::Internal))
            .or_else(|| uses().find(|def| knows_keys(def)))
            .or_else(|| uses().next())
            .or_else(|| dead_letters().next())
            .expect("a topic is in the list because something uses it")
    }
}

/// Every topic that is declared or named, by its declared name. `agents` are sorted.
pub(super) fn gather(agents: &[&'static AgentDef], topics: &[&'static TopicDef]) -> Vec<Uses> {
    let mut by_name: BTreeMap<&'static str, Uses> = BTreeMap::new();
    let of_agents = agents.iter().enumerate().flat_map(|(at, agent)| {
        let named = std::iter::once(&agent.input).chain(agent.sinks);
        named.map(move |topic| (Some(at), topic()))
    });
    let declared = topics.iter().map(|&def| (None, def));
    for (agent, def) in declared.chain(of_agents) {
        let uses = by_name.entry(def.name).or_default();
        match agent {
            Some(agent) if def.ident.is_empty() => uses.by_string.push((agent, def)),
            _ if uses.declarations.iter().any(|known| ptr::eq(*known, def)) => {}
            _ => uses.declarations.push(def),
        }
    }
    for def in agents
        .iter()
        .filter_map(|agent| agent.on_error.then.dead_letters())
    {
        let uses = by_name.entry(def.name).or_default();
        match def.ident {
            "" => uses.dead_letters.push(def),
            _ if uses.declarations.iter().any(|known| ptr::eq(*known, def)) => {}
            _ => uses.declarations.push(def),
        }
    }
    let mut topics: Vec<Uses> = by_name.into_values().collect();
    for uses in &mut topics {
        uses.declarations.sort_by_key(|def| def.location);
    }
    topics
}

/// Reports topics that are declared twice, and uses that disagree.
pub(super) fn check(topics: &[Uses], agents: &[&'static AgentDef], problems: &mut Problems) {
    let declarations = topics.iter().flat_map(|uses| &uses.declarations);
    names::check_twice(
        "topics",
        declarations.map(|def| (def.name, def.location)),
        problems,
    );
    for uses in topics {
        let all: Vec<Use> = match uses.declarations[..] {
            [] => Vec::new(),
            [declaration] => vec![Use::declared(declaration)],
            // Which of them a string means cannot be told.
            [_, _, ..] => continue,
        };
        let by_string = uses
            .by_string
            .iter()
            .map(|(agent, def)| Use::by(agents[*agent], def));
        let all: Vec<Use> = all.into_iter().chain(by_string).collect();
        check_one(&all, problems);
    }
}

/// Reports dead letters that would come back to the agent that gave them up, and those that were meant for the
/// program's own topic and would go to one of others.
pub(super) fn check_dead_letters(agents: &[AgentNode], topics: &[TopicNode], problems: &mut Problems) {
    for agent in agents {
        let Some(letters) = agent.dead_letters else {
            continue;
        };
        let who = agent_at(agent.def.name, agent.def.location);
        let topic = &topics[letters];
        if letters == agent.input {
            problems.report(format!(
                "{who} sends its dead letters to the topic that it reads, `{}`, and would fail on them for ever: name \
                 another, `on_error = dead_letter(\"…\")`",
                topic.declared
            ));
        }
        if topic.def.compact {
            problems.report(format!(
                "{who} sends its dead letters to topic `{}`, which is compacted ({}): of those of one key the last alone \
                 would be kept; declare it without `compact`",
                topic.declared, topic.def.location
            ));
        }
        let of_program = agent.def.on_error.then.dead_letters();
        if of_program.is_some_and(|def| ptr::eq(def, dead_letters()))
            && topic.ownership == Ownership::External
        {
            problems.report(format!(
                "{who} sends its dead letters to the program's own topic `{}`, which is declared as a topic of others \
                 ({}): declare it as `#[topic(internal)]`, or name it, `on_error = dead_letter(\"{0}\")`",
                topic.declared, topic.def.location
            ));
        }
    }
}

/// One place that says what a topic's records are.
struct Use {
    def: &'static TopicDef,
    who: String,
}

impl Use {
    fn declared(def: &'static TopicDef) -> Self {
        Self {
            def,
            who: format!("its declaration `{}` ({})", def.ident, def.location),
        }
    }

    fn by(agent: &AgentDef, def: &'static TopicDef) -> Self {
        Self {
            def,
            who: agent_at(agent.name, agent.location),
        }
    }
}

/// Compares every use with the first that knows.
fn check_one(uses: &[Use], problems: &mut Problems) {
    let Some((first, others)) = uses.split_first() else {
        return;
    };
    for other in others {
        report_difference(
            Part::value(first.def),
            Part::value(other.def),
            first,
            other,
            problems,
        );
    }
    let mut with_keys = uses.iter().filter(|one| knows_keys(one.def));
    let Some(first) = with_keys.next() else { return };
    for other in with_keys {
        report_difference(Part::key(first.def), Part::key(other.def), first, other, problems);
    }
}

/// The keys or the values of a topic, as one place declares them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Part {
    what: &'static str,
    of_type: TypeInfo,
    codec: &'static str,
}

impl Part {
    fn key(def: &TopicDef) -> Self {
        Self {
            what: "key",
            of_type: def.key,
            codec: def.key_codec,
        }
    }

    fn value(def: &TopicDef) -> Self {
        Self {
            what: "value",
            of_type: def.value,
            codec: def.value_codec,
        }
    }
}

fn report_difference(part: Part, other_part: Part, first: &Use, other: &Use, problems: &mut Problems) {
    if part == other_part {
        return;
    }
    let topic = first.def.name;
    let (one, two) = show_both(part, other_part);
    let disagree = if part.of_type == other_part.of_type {
        "codecs"
    } else {
        "types"
    };
    let way_out = if first.def.ident.is_empty() {
        format!(
            "one topic has one {} type and codec: change one of the two",
            part.what
        )
    } else {
        format!(
            "name it by its static, `{}`, or change one of the two",
            first.def.ident
        )
    };
    problems.report(format!(
        "topic `{topic}` is used with two {} {disagree}: {one} by {}, {two} by {}; {way_out}",
        part.what, first.who, other.who
    ));
}

/// Two types as a reader tells them apart: with their codecs, and in full where the short names are the same.
fn show_both(one: Part, two: Part) -> (String, String) {
    let short = |part: Part| part.of_type.short_name();
    let full = |part: Part| (part.of_type.name)().to_owned();
    let ambiguous = one.of_type != two.of_type && short(one) == short(two);
    let name: &dyn Fn(Part) -> String = if ambiguous { &full } else { &short };
    let show = |part: Part| format!("`{}` ({})", name(part), part.codec);
    (show(one), show(two))
}

/// What an agent returns goes to its sinks under the key of the record it was given, as bytes: the keys of
/// both topics must be of one type.
pub(super) fn check_forwarded_keys(agents: &[AgentNode], topics: &[TopicNode], problems: &mut Problems) {
    for agent in agents {
        let input = &topics[agent.input];
        for &sink in &agent.sinks {
            let sink = &topics[sink];
            if !input.knows_keys() || !sink.knows_keys() {
                continue;
            }
            let (from, to) = (Part::key(input.def), Part::key(sink.def));
            if from == to {
                continue;
            }
            let (from, to) = show_both(from, to);
            problems.report(format!(
                "{} forwards the keys of its input to its sink, and they differ: topic `{}` has keys {from}, \
                 topic `{}` has {to}; send it yourself with `{}.send(&key, &value)` instead of the sink",
                agent_at(agent.def.name, agent.def.location),
                input.declared,
                sink.declared,
                if sink.def.ident.is_empty() {
                    "TOPIC"
                } else {
                    sink.def.ident
                },
            ));
        }
    }
}

/// An agent in a message.
pub(super) fn agent_at(name: &str, location: Location) -> String {
    format!("agent `{name}` ({location})")
}
