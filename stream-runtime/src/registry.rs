//! Collects what the macros registered: the only user of `inventory`.
//!
//! The linker decides the order in which it comes, so it is sorted here. Not here: what is wrong with it
//! ([`crate::topology`]).

use crate::agent::AgentDef;
use crate::record::topic::TopicDef;
use crate::table::TableEntry;

/// One registered agent.
#[derive(Debug)]
#[doc(hidden)]
pub struct AgentEntry(pub &'static AgentDef);

/// One registered topic.
#[derive(Debug)]
#[doc(hidden)]
pub struct TopicEntry(pub fn() -> &'static TopicDef);

inventory::collect!(AgentEntry);
inventory::collect!(TopicEntry);
inventory::collect!(TableEntry);

/// Everything that is declared in the crates that were linked.
#[derive(Debug)]
pub(crate) struct Registry {
    pub agents: Vec<&'static AgentDef>,
    pub topics: Vec<&'static TopicDef>,
    pub tables: Vec<TableEntry>,
}

impl Registry {
    /// What was registered, sorted by name, file and line.
    pub(crate) fn collect() -> Self {
        let mut registry = Self {
            agents: inventory::iter::<AgentEntry>().map(|entry| entry.0).collect(),
            topics: inventory::iter::<TopicEntry>().map(|entry| (entry.0)()).collect(),
            tables: inventory::iter::<TableEntry>().copied().collect(),
        };
        registry.agents.sort_by_key(|def| (def.name, def.location));
        registry.topics.sort_by_key(|def| (def.name, def.location));
        registry.tables.sort_by_key(|entry| {
            let def = (entry.def)();
            (def.name, def.location)
        });
        registry
    }
}
