//! What the broker says of the changelogs: facts that restores rest on.

use std::time::Duration;

use tracing::warn;

use crate::cluster::plan::Changelog;
use crate::error::Result;
use crate::kafka::Admin;
use crate::topology::Topology;

/// The longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);

/// The changelogs of all tables, in the order of the topology's. The topics are there.
pub(super) fn facts(topology: &Topology, admin: &dyn Admin) -> Result<Vec<Changelog>> {
    let names: Vec<_> = topology
        .tables
        .iter()
        .map(|table| table.changelog.to_string())
        .collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let ids = admin.topic_ids(&names, ANSWER)?;
    let facts = topology.tables.iter().zip(ids).map(|(table, id)| {
        let config = admin.topic_config(&table.changelog, ANSWER)?;
        let millis = |name: &str| {
            let (_, value) = config.iter().find(|(found, _)| found == name)?;
            value.parse().ok().map(Duration::from_millis)
        };
        let changelog = Changelog {
            topic: table.changelog.clone(),
            id,
            versions_kept: millis("min.compaction.lag.ms").unwrap_or_default(),
            tombstones_kept: millis("delete.retention.ms").unwrap_or_default(),
        };
        if changelog.versions_kept.is_zero() {
            warn!(
                topic = &*changelog.topic,
                "`min.compaction.lag.ms` is 0: after a crash changes that were not committed cannot be taken back, so \
                 records may count twice under at_least_once. Set it to a day: `kafka-configs.sh --alter --entity-type \
                 topics --entity-name {} --add-config min.compaction.lag.ms=86400000`",
                changelog.topic
            );
        }
        Ok(changelog)
    });
    facts.collect()
}
