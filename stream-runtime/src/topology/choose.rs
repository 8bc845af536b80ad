//! What belongs to a program of some agents only, out of all that is declared in the binary.

use std::ptr;

use super::mentions;
use crate::agent::AgentDef;
use crate::record::topic::TopicDef;
use crate::table::TableEntry;

/// The topics and tables that `agents` name, as they name them.
///
/// Two programs in one binary may each have a static of one identifier, or a topic of one name: a static that
/// an agent means leaves out the others of its name, and only what a string names may be declared anywhere.
pub(crate) fn used_by(
    agents: &[&'static AgentDef],
    topics: &[&'static TopicDef],
    tables: &[TableEntry],
) -> (Vec<&'static TopicDef>, Vec<TableEntry>) {
    let named = || {
        agents.iter().flat_map(|agent| {
            std::iter::once(&agent.input)
                .chain(agent.sinks)
                .map(|topic| topic())
                .chain(agent.on_error.then.dead_letters())
        })
    };
    let mentioned = mentioned(agents, topics.iter().map(|def| (def.ident, def.location.module)));
    let is_meant = |at: usize| mentioned[at] || named().any(|def| ptr::eq(def, topics[at]));
    let meant: Vec<_> = (0..topics.len()).map(is_meant).collect();
    let has_meant = |name: &str| (0..topics.len()).any(|at| meant[at] && topics[at].name == name);
    let used_topics = topics
        .iter()
        .enumerate()
        .filter(|(at, def)| meant[*at] || (!has_meant(def.name) && named().any(|used| used.name == def.name)))
        .map(|(_, def)| *def)
        .collect();

    let statics = tables.iter().map(|entry| {
        let def = (entry.def)();
        (def.ident, def.location.module)
    });
    let mentioned = self::mentioned(agents, statics);
    let wired = agents.iter().flat_map(|agent| agent.tables).map(|table| table());
    let used_tables = tables
        .iter()
        .zip(mentioned)
        .filter(|(entry, mentioned)| *mentioned || wired.clone().any(|def| ptr::eq(def, (entry.def)())))
        .map(|(entry, _)| *entry)
        .collect();
    (used_topics, used_tables)
}

/// Which of these statics (identifier and module) the bodies of the agents mention.
fn mentioned(
    agents: &[&'static AgentDef],
    statics: impl Iterator<Item = (&'static str, &'static str)>,
) -> Vec<bool> {
    let statics: Vec<_> = statics.collect();
    let mut mentioned = vec![false; statics.len()];
    for agent in agents {
        for mention in agent.mentions {
            for at in mentions::resolve(mention, agent.location.module, &statics) {
                mentioned[at] = true;
            }
        }
    }
    mentioned
}
