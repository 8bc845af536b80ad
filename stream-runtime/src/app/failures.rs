//! How the agents of a worker fared.

use std::collections::BTreeMap;

use super::Running;
use crate::cluster::pulse::FailureCounts;

/// How an agent fared on one worker, since that started.
///
/// What happens is counted as it happens: a record that is processed again, after a crash or a stop, counts again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentFailures {
    /// The agent's name.
    pub agent: String,
    /// How often it failed on a record, every try counted: errors, panics, records that did not decode.
    pub errors: u64,
    /// How often a record was to be tried again.
    pub retries: u64,
    /// Records that were skipped.
    pub skipped: u64,
    /// Records that went to the dead letters.
    pub dead_letters: u64,
}

impl Running {
    /// How the agents that have run here fared, sorted by their names.
    ///
    /// ```no_run
    /// # let running = stream_runtime::App::new("shop").start()?;
    /// for agent in running.failures() {
    ///     println!("{} gave up {} records", agent.agent, agent.skipped + agent.dead_letters);
    /// }
    /// # Ok::<(), stream_runtime::Error>(())
    /// ```
    pub fn failures(&self) -> Vec<AgentFailures> {
        let mut all: BTreeMap<&str, FailureCounts> = BTreeMap::new();
        for thread in &self.parts().threads {
            for (agent, counts) in thread.status().failures() {
                *all.entry(agent).or_default() += counts;
            }
        }
        let agents = all.into_iter().map(|(agent, counts)| AgentFailures {
            agent: agent.to_owned(),
            errors: counts.errors,
            retries: counts.retries,
            skipped: counts.skipped,
            dead_letters: counts.dead_letters,
        });
        agents.collect()
    }
}
