//! Collects what the macros registered: the only user of `inventory`.

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
