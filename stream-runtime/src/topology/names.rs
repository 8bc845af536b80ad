//! Names: what a broker takes, and what may not be there twice.

use std::collections::BTreeMap;

use super::problems::Problems;
use super::prose::join;
use super::{AgentNode, TableNode, TopicNode};
use crate::record::Location;
use crate::record::topic::Ownership;

/// The longest name of a topic that Kafka takes.
const LONGEST: usize = 249;

/// The name on the broker of an internal topic.
pub(super) fn internal_topic(app: &str, declared: &str) -> String {
    format!("{app}-{declared}")
}

/// The name of a table's changelog topic.
pub(super) fn changelog(app: &str, table: &str) -> String {
    format!("{app}-{table}-changelog")
}

/// The name of the topic in which workers tell each other what they hold.
pub(super) fn workers(app: &str) -> String {
    format!("{app}-workers")
}

/// The program's id is the beginning of topic names and the name of the consumer group.
pub(super) fn check_app(app: &str, problems: &mut Problems) {
    if let Some(fault) = fault_of(app) {
        problems.report(format!(
            "the program's id {app:?} {fault}: its topics are named after it, so take letters, digits, `-`, \
             `_` and `.`, as in `App::new(\"word-count\")`"
        ));
    }
}

/// What a broker has against this name of a topic.
fn fault_of(name: &str) -> Option<String> {
    let strange = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if name.is_empty() {
        Some("is empty".to_owned())
    } else if matches!(name, "." | "..") {
        Some("is a path, not a name".to_owned())
    } else if let Some(c) = name.chars().find(strange) {
        Some(format!("contains {c:?}"))
    } else if name.len() > LONGEST {
        Some(format!("has {} characters, {LONGEST} are possible", name.len()))
    } else {
        None
    }
}

/// The names of topics and changelogs as the broker will see them.
pub(super) fn check_on_broker(
    app: &str,
    topics: &[TopicNode],
    tables: &[TableNode],
    problems: &mut Problems,
) {
    if fault_of(app).is_some() {
        return;
    }
    let mut taken: BTreeMap<String, Vec<Owner<'_>>> = BTreeMap::new();
    let owners = (topics.iter().map(Owner::of_topic)).chain(tables.iter().map(Owner::of_table));
    for owner in owners {
        if let Some(fault) = fault_of(owner.name) {
            problems.report(format!(
                "{}: its name on the broker, `{}`, {fault}; topics are named with letters, digits, `-`, `_` \
                 and `.`, so give it another by `name = \"…\"`",
                owner.what, owner.name
            ));
        }
        // The broker's metrics write `.` as `_`, so it takes only one of two names that differ in that.
        taken.entry(owner.name.replace('.', "_")).or_default().push(owner);
    }
    for owners in taken.into_values() {
        check_collision(&owners, problems);
    }
}

fn check_collision(owners: &[Owner<'_>], problems: &mut Problems) {
    let [first, second, ..] = owners else { return };
    let same_declaration = owners.iter().all(|owner| owner.declared == first.declared);
    if same_declaration || !owners.iter().any(|owner| owner.is_ours) {
        return;
    }
    let all: Vec<String> = owners.iter().map(|owner| owner.what.clone()).collect();
    let clash = if first.name == second.name {
        let all = if owners.len() == 2 { "both" } else { "all" };
        format!("would {all} be `{}` on the broker", first.name)
    } else {
        let names: Vec<String> = owners.iter().map(|owner| format!("`{}`", owner.name)).collect();
        format!(
            "would be {} on the broker, which takes `.` and `_` for the same",
            join(&names)
        )
    };
    problems.report(format!(
        "{} {clash}: rename one by `name = \"…\"`, or name a topic of this program by its static instead of by \
         a string",
        join(&all)
    ));
}

/// A topic on the broker and what it is in the program.
struct Owner<'a> {
    name: &'a str,
    what: String,
    /// Kind and declared name.
    declared: (bool, &'static str),
    /// Whether the program makes it.
    is_ours: bool,
}

impl<'a> Owner<'a> {
    fn of_topic(topic: &'a TopicNode) -> Self {
        Self {
            name: &topic.name,
            what: format!("topic `{}` ({})", topic.declared, topic.def.location),
            declared: (false, topic.declared),
            is_ours: topic.ownership == Ownership::Internal,
        }
    }

    fn of_table(table: &'a TableNode) -> Self {
        Self {
            name: &table.changelog,
            what: format!(
                "the changelog of table `{}` ({})",
                table.def.name, table.def.location
            ),
            declared: (true, table.def.name),
            is_ours: true,
        }
    }
}

/// Two agents of one name.
pub(super) fn check_agents(agents: &[AgentNode], problems: &mut Problems) {
    check_twice(
        "agents",
        agents.iter().map(|agent| (agent.def.name, agent.def.location)),
        problems,
    );
}

/// Two tables of one name.
pub(super) fn check_tables(tables: &[TableNode], problems: &mut Problems) {
    check_twice(
        "tables",
        tables.iter().map(|table| (table.def.name, table.def.location)),
        problems,
    );
}

/// Declarations of one kind with one name; `what` is its plural.
pub(super) fn check_twice(
    what: &str,
    declared: impl Iterator<Item = (&'static str, Location)>,
    problems: &mut Problems,
) {
    let mut places: BTreeMap<&str, Vec<Location>> = BTreeMap::new();
    for (name, location) in declared {
        places.entry(name).or_default().push(location);
    }
    for (name, mut places) in places {
        if places.len() < 2 {
            continue;
        }
        places.sort_unstable();
        let count = match places.len() {
            2 => "two".to_owned(),
            more => more.to_string(),
        };
        let places: Vec<String> = places.iter().map(Location::to_string).collect();
        problems.report(format!(
            "{count} {what} are named `{name}`: {}; give one another name by `name = \"…\"`",
            join(&places)
        ));
    }
}
