//! `agents`: what each agent reads, writes and keeps.

use serde_json::Value;

use super::listing::{Flags, Listing, description};
use super::{Program, Screen};
use crate::error::Result;
use crate::topology::Topology;

pub(super) fn run<P: Program>(program: &P, flags: Flags, screen: &mut Screen<'_>) -> Result<()> {
    listing(&program.topology()?).show(flags, screen)
}

pub(super) fn listing(topology: &Topology) -> Listing {
    let topic = |at: &usize| Value::from(&*topology.topics[*at].name);
    let mut listing = Listing::new("Agents", &["agent", "reads", "writes", "tables", "description"]);
    for agent in &topology.agents {
        let writes = agent.sinks.iter().chain(&agent.sends).chain(&agent.dead_letters);
        let mut writes: Vec<usize> = writes.copied().collect();
        writes.sort_unstable();
        writes.dedup();
        let tables = agent.tables.iter().map(|table| topology.tables[*table].def.name);
        listing.row([
            agent.def.name.into(),
            topic(&agent.input),
            writes.iter().map(topic).collect(),
            tables.collect(),
            description(agent.def.doc),
        ]);
    }
    listing
}
