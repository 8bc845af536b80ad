//! Tasks on threads: assign → restore → run → commit → revoke.
//!
//! A [thread](thread) owns a group member, a producer and its tasks, and nothing of them is shared: no lock
//! and no hop to another thread stands between a record and its agent. What to do is decided by functions of
//! values ([`plan`], [`commit`]) and done in the thread's loop.
//!
//! Invariants (design and tests: `docs/GUARANTEES.md`):
//! * a commit covers a consistent cut of each task: finished records and all they did, nothing of the open one;
//! * outputs and changelog are acknowledged before offsets are committed, and only then the store is written;
//! * after a revoke nothing of the task is written; of lost partitions nothing is committed.

mod commit;
pub(crate) mod crash;
mod cut;
mod failures;
mod last_found;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod pulse;
mod restore;
mod routes;
pub(crate) mod standby;
pub(crate) mod status;
pub(crate) mod task;
#[cfg(test)]
mod tests;
pub(crate) mod thread;
pub(crate) mod turn;
mod waker;
pub(crate) mod watchdog;
