//! Any declarations, against connected components and counts that are found another way.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::drawn::{Drawn, DrawnAgent, TABLES, build_in, tidy, untidy};
use super::*;
use crate::tests::property::holds;
use crate::topology::PlanDefaults;

/// What must share a partition number: numbers of agents, topics and tables, by spreading from each agent to all that
/// it touches until nothing changes.
#[derive(Debug)]
struct Component {
    agents: BTreeSet<usize>,
    inputs: BTreeSet<usize>,
    tables: BTreeSet<usize>,
}

fn components(drawn: &Drawn) -> Vec<Component> {
    let tables_of = |agent: &DrawnAgent| -> BTreeSet<usize> { &agent.mentioned | &agent.wired };
    let mut components: Vec<Component> = Vec::new();
    for first in 0..drawn.agents.len() {
        if components
            .iter()
            .any(|component| component.agents.contains(&first))
        {
            continue;
        }
        let mut component = Component {
            agents: BTreeSet::from([first]),
            inputs: BTreeSet::new(),
            tables: BTreeSet::new(),
        };
        loop {
            let size = component.agents.len();
            for agent in &component.agents {
                component.inputs.insert(drawn.agents[*agent].input);
                component.tables.extend(tables_of(&drawn.agents[*agent]));
            }
            for (at, agent) in drawn.agents.iter().enumerate() {
                let touches = component.inputs.contains(&agent.input)
                    || !component.tables.is_disjoint(&tables_of(agent));
                if touches {
                    component.agents.insert(at);
                }
            }
            if component.agents.len() == size {
                break;
            }
        }
        components.push(component);
    }
    components
}

/// The tables that no agent names.
fn unused_tables(drawn: &Drawn, components: &[Component]) -> BTreeSet<usize> {
    let there = (0..TABLES).filter(|table| drawn.tables[*table].is_some());
    let used = |table: &usize| {
        components
            .iter()
            .any(|component| component.tables.contains(table))
    };
    there.filter(|table| !used(table)).collect()
}

/// The topics of a component whose counts are given, and these counts.
fn given_counts<'a>(
    drawn: &'a Drawn,
    component: &Component,
    existing: &BTreeMap<String, u32>,
) -> Vec<(&'a str, u32)> {
    let inputs = component.inputs.iter().map(|input| &drawn.topics[*input]);
    inputs
        .filter_map(|topic| {
            let there = existing.get(topic.name).copied().filter(|_| !topic.internal);
            Some((topic.name, there.or(topic.partitions)?))
        })
        .collect()
}

fn differ(counts: &[(&str, u32)]) -> bool {
    counts
        .iter()
        .map(|(_, count)| count)
        .collect::<BTreeSet<_>>()
        .len()
        > 1
}

/// The names at these places, sorted.
fn names_at<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

fn check_components(
    topology: &Topology,
    drawn: &Drawn,
    components: &[Component],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(topology.sub_topologies.len(), components.len());
    for component in components {
        let first = component.agents.first().expect("a component has an agent");
        let by_name = |at: &usize| topology.agents[*at].def.name == drawn.agents[*first].name;
        let sub = topology
            .sub_topologies
            .iter()
            .find(|sub| sub.agents.iter().any(by_name));
        let sub = sub.expect("every agent is in a sub-topology");

        let agents = names_at(sub.agents.iter().map(|at| topology.agents[*at].def.name));
        prop_assert_eq!(
            agents,
            names_at(component.agents.iter().map(|at| drawn.agents[*at].name))
        );
        let inputs = names_at(component.inputs.iter().map(|at| drawn.topics[*at].name));
        let found: Vec<_> = sub
            .inputs
            .iter()
            .map(|at| topology.topics[*at].declared)
            .collect();
        prop_assert_eq!(names_at(found.iter().copied()), inputs.clone());
        let is_external = |name: &&&str| {
            let topic = drawn.topics.iter().find(|topic| topic.name == **name);
            topic.is_some_and(|topic| !topic.internal)
        };
        let lead = inputs.iter().find(is_external).unwrap_or(&inputs[0]);
        prop_assert_eq!(found[0], *lead, "the lead comes first");
        prop_assert!(found[1..].is_sorted(), "the others by name: {found:?}");
        prop_assert_eq!(&sub.name, lead);
        prop_assert_eq!(topology.topics[sub.lead].declared, *lead);

        let unused = match components.len() {
            1 => unused_tables(drawn, components),
            _ => BTreeSet::new(),
        };
        let tables = component.tables.union(&unused);
        let tables = names_at(tables.filter_map(|at| drawn.tables[*at]));
        let found = names_at(sub.tables.iter().map(|at| topology.tables[*at].def.name));
        prop_assert_eq!(found, tables);
    }
    for (at, agent) in topology.agents.iter().enumerate() {
        prop_assert!(topology.sub_topologies[agent.sub_topology].agents.contains(&at));
    }
    for (at, table) in topology.tables.iter().enumerate() {
        prop_assert!(topology.sub_topologies[table.sub_topology].tables.contains(&at));
    }
    Ok(())
}

#[test]
fn sub_topologies_are_the_connected_components() {
    holds(tidy(), |drawn| {
        let components = components(&drawn);
        let mut wrong: Vec<String> = Vec::new();
        for component in &components {
            let counts = given_counts(&drawn, component, &BTreeMap::new());
            if differ(&counts) {
                wrong.extend(
                    counts
                        .iter()
                        .map(|(name, _)| format!("topic `{name}` is declared with")),
                );
            }
        }
        let unused = unused_tables(&drawn, &components);
        if components.len() > 1 {
            let names = unused.iter().filter_map(|table| drawn.tables[*table]);
            wrong.extend(names.map(|name| format!("table `{name}`")));
        }
        if drawn.agents.is_empty() {
            wrong.push("no agents".to_owned());
        }
        match build_in(&drawn, &drawn.order) {
            Ok(topology) => {
                prop_assert!(wrong.is_empty(), "not refused: {wrong:?}");
                check_components(&topology, &drawn, &components)?;
            }
            Err(error) => {
                let message = error.to_string();
                prop_assert!(!wrong.is_empty(), "refused: {message}");
                let unsaid: Vec<_> = wrong.iter().filter(|part| !message.contains(*part)).collect();
                prop_assert!(unsaid.is_empty(), "{unsaid:?} not in {message}");
            }
        }
        Ok(())
    });
}

/// Topics that the broker has: of the program's, or of others.
fn on_broker() -> impl Strategy<Value = BTreeMap<String, u32>> {
    let name = prop_oneof![
        6 => "[a-f]",
        2 => "app-[a-f]",
        2 => "app-[w-z]-changelog",
        1 => "[g-i]"
    ];
    proptest::collection::btree_map(name, 1_u32..4, 0..12)
}

#[test]
fn counts_agree_or_are_refused_with_the_names_of_their_topics() {
    holds((tidy(), on_broker()), |(drawn, existing)| {
        let Ok(topology) = build_in(&drawn, &drawn.order) else {
            return Ok(());
        };
        let components = components(&drawn);
        let counts: Vec<_> = components
            .iter()
            .map(|component| given_counts(&drawn, component, &existing))
            .collect();
        let plan = match topology.plan(&existing, &PlanDefaults::default()) {
            Ok(plan) => plan,
            Err(error) => {
                let message = error.to_string();
                prop_assert!(counts.iter().any(|counts| differ(counts)), "refused: {message}");
                for (name, count) in counts.iter().filter(|counts| differ(counts)).flatten() {
                    let said = message.lines().any(|line| {
                        line.contains(&format!("topic `{name}`"))
                            && line.contains(&format!(" {count} partition"))
                    });
                    prop_assert!(said, "{name} with {count} not in {message}");
                }
                return Ok(());
            }
        };
        prop_assert!(
            !counts.iter().any(|counts| differ(counts)),
            "not refused: {counts:?}"
        );
        let mut of_topics = BTreeMap::new();
        for (component, counts) in components.iter().zip(&counts) {
            let count = counts.first().map_or(8, |(_, count)| *count);
            let agent = drawn.agents[*component.agents.first().expect("has one")].name;
            let node = topology.agents.iter().find(|node| node.def.name == agent);
            prop_assert_eq!(plan.partitions[node.expect("is there").sub_topology], count);
            of_topics.extend(component.inputs.iter().map(|input| (*input, count)));
        }
        let mut missing = BTreeSet::new();
        let mut ours = BTreeSet::new();
        for (at, topic) in drawn.topics.iter().enumerate() {
            let place = topology
                .topics
                .iter()
                .position(|node| node.declared == topic.name);
            let is_written = drawn
                .agents
                .iter()
                .any(|agent| agent.sinks.contains(&at) || (agent.sends.contains(&at) && !topic.by_string));
            let is_read = of_topics.contains_key(&at);
            let Some(place) = place else {
                prop_assert!(topic.by_string && !is_read && !is_written);
                continue;
            };
            let there = existing.get(topic.name).copied().filter(|_| !topic.internal);
            let count = there
                .or(of_topics.get(&at).copied())
                .or(topic.partitions)
                .unwrap_or(8);
            prop_assert_eq!(plan.topic_partitions[place], count);
            if topic.internal {
                ours.insert((format!("app-{}", topic.name), count));
            } else if there.is_none() && (is_read || is_written) {
                missing.insert(place);
            }
        }
        for table in &topology.tables {
            let name = format!("app-{}-changelog", table.def.name);
            ours.insert((name, plan.partitions[table.sub_topology]));
        }
        prop_assert!(plan.missing_external.iter().copied().eq(missing));
        let listed = |specs: &[crate::kafka::TopicSpec]| -> BTreeSet<(String, u32)> {
            specs
                .iter()
                .map(|spec| (spec.name.clone(), spec.partitions))
                .collect()
        };
        let (there, absent): (BTreeSet<_>, BTreeSet<_>) = ours
            .into_iter()
            .partition(|(name, _)| existing.contains_key(name));
        prop_assert_eq!(listed(&plan.check), there);
        prop_assert_eq!(listed(&plan.create), absent);
        Ok(())
    });
}

/// Some of what is wrong, as the message has to say it.
fn mistakes(drawn: &Drawn) -> Vec<String> {
    let mut mistakes = Vec::new();
    if drawn.app != "app" {
        mistakes.push(format!("the program's id {:?}", drawn.app));
    }
    if drawn.agents.is_empty() {
        mistakes.push("this program has no agents".to_owned());
    }
    let mut twice = |what: &str, names: &[&str]| {
        for name in names {
            if names.iter().filter(|other| *other == name).count() > 1 {
                mistakes.push(format!("{what} are named `{name}`"));
            }
        }
    };
    twice(
        "agents",
        &drawn.agents.iter().map(|agent| agent.name).collect::<Vec<_>>(),
    );
    twice(
        "tables",
        &drawn.tables.iter().flatten().copied().collect::<Vec<_>>(),
    );
    let declared = || drawn.topics.iter().filter(|topic| !topic.by_string);
    twice("topics", &declared().map(|topic| topic.name).collect::<Vec<_>>());
    for agent in &drawn.agents {
        let input = &drawn.topics[agent.input];
        if let Some(letters) = agent.dead_letters.map(|topic| &drawn.topics[topic])
            && letters.name == input.name
        {
            mistakes.push(format!("agent `{}`", agent.name));
            mistakes.push("would fail on them for ever".to_owned());
        }
        let declarations = declared().filter(|topic| topic.name == input.name).count();
        for sink in agent.sinks.iter().map(|sink| &drawn.topics[*sink]) {
            let differs = sink.name == input.name && sink.value != input.value;
            if differs && declarations < 2 {
                mistakes.push(format!("topic `{}` is used with two value", input.name));
            }
        }
        // A table's or a topic's own name that no broker takes.
        if input.name == "ä" && drawn.app == "app" {
            mistakes.push("contains 'ä'".to_owned());
        }
    }
    mistakes
}

#[test]
fn whatever_is_declared_everything_that_is_wrong_is_said_in_any_order() {
    holds((untidy(), any::<[u32; 16]>()), |(drawn, other_order)| {
        let told = |built: Result<Topology>| match built {
            Ok(topology) => (true, format!("{topology:?}")),
            Err(error) => (false, error.to_string()),
        };
        let (is_right, one) = told(build_in(&drawn, &drawn.order));
        let (_, other) = told(build_in(&drawn, &other_order));
        // Each leaks its own descriptors: the addresses of functions are the same in both.
        prop_assert_eq!(&one, &other);
        let mistakes = mistakes(&drawn);
        prop_assert!(!is_right || mistakes.is_empty(), "not refused: {mistakes:?}");
        let unsaid: Vec<_> = mistakes.iter().filter(|part| !one.contains(*part)).collect();
        prop_assert!(unsaid.is_empty(), "{unsaid:?} not in {one}");
        Ok(())
    });
}

#[test]
fn the_order_of_right_declarations_does_not_matter() {
    holds((tidy(), any::<[u32; 16]>()), |(drawn, other_order)| {
        let one = build_in(&drawn, &drawn.order).map(|topology| format!("{topology:?}"));
        let other = build_in(&drawn, &other_order).map(|topology| format!("{topology:?}"));
        prop_assert_eq!(
            one.map_err(|error| error.to_string()),
            other.map_err(|error| error.to_string())
        );
        Ok(())
    });
}
