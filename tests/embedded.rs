//! What programs are promised, each promise a test: workers in this process on embedded brokers.
//!
//! A test has a broker, a program id and agents of its own; the names of the tests are the promises. Waiting
//! is for conditions, and no test depends on how long anything takes.

#[path = "support/mod.rs"]
mod support;

#[path = "embedded/agents.rs"]
mod agents;
#[path = "embedded/atomicity.rs"]
mod atomicity;
#[path = "embedded/broker_away.rs"]
mod broker_away;
#[path = "embedded/codecs.rs"]
mod codecs;
#[path = "embedded/commits.rs"]
mod commits;
#[path = "embedded/dead_letters.rs"]
mod dead_letters;
#[path = "embedded/errors.rs"]
mod errors;
#[path = "embedded/exactly_once.rs"]
mod exactly_once;
#[path = "embedded/flow.rs"]
mod flow;
#[path = "embedded/functions.rs"]
mod functions;
#[path = "embedded/places.rs"]
mod places;
#[path = "embedded/progress.rs"]
mod progress;
#[path = "embedded/rebalances.rs"]
mod rebalances;
#[path = "embedded/restores.rs"]
mod restores;
#[path = "embedded/sizes.rs"]
mod sizes;
#[path = "embedded/standbys.rs"]
mod standbys;
#[path = "embedded/startup.rs"]
mod startup;
#[path = "embedded/stores.rs"]
mod stores;
#[path = "embedded/topologies.rs"]
mod topologies;
#[path = "embedded/transactions.rs"]
mod transactions;
#[path = "embedded/watchdog.rs"]
mod watchdog;
