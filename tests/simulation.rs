//! The runtime under simulated faults: keyed sums over a repartition topic, with failing agents and deletions, checked by
//! arithmetic on the input. `docs/TESTING.md` says how to run more seeds and how to replay one.

#[path = "simulation/effects.rs"]
mod effects;
#[path = "simulation/long_ago.rs"]
mod long_ago;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/pace.rs"]
mod pace;
#[path = "simulation/program.rs"]
mod program;
#[path = "simulation/runs.rs"]
mod runs;
#[path = "simulation/shared.rs"]
mod shared;
