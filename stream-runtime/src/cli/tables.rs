//! `tables`: what is kept, by whom, and in which changelog.

use super::listing::{Flags, Listing, description};
use super::{Program, Screen};
use crate::error::Result;
use crate::topology::Topology;

pub(super) fn run<P: Program>(program: &P, flags: Flags, screen: &mut Screen<'_>) -> Result<()> {
    listing(&program.topology()?).show(flags, screen)
}

pub(super) fn listing(topology: &Topology) -> Listing {
    let mut listing = Listing::new(
        "Tables",
        &["table", "key", "value", "agents", "changelog", "description"],
    );
    for (at, table) in topology.tables.iter().enumerate() {
        let users = topology.agents.iter().filter(|agent| agent.tables.contains(&at));
        listing.row([
            table.def.name.into(),
            table.def.key.short_name().into(),
            table.def.value.short_name().into(),
            users.map(|agent| agent.def.name).collect(),
            (*table.changelog).into(),
            description(table.def.doc),
        ]);
    }
    listing
}
