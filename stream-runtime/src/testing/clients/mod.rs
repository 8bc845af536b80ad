//! Clients of the broker's state machine without sockets and on virtual time: the ports of [`crate::kafka`], so that
//! everything above them runs as it does in production.
//!
//! They do what librdkafka does where it can be seen through the ports: batches, retries, idempotence, transactions,
//! cooperative rebalances, fetches ahead. Not here: compression, authentication, the wire.

#![allow(dead_code, reason = "being built")]

pub(crate) mod acknowledged;
pub(crate) mod admin;
pub(crate) mod cluster;
pub(crate) mod consumer;
pub(crate) mod membership;
pub(crate) mod network;
pub(crate) mod producer;
pub(crate) mod reader;
pub(crate) mod topics;
pub(crate) mod transactions;

mod alarm;
mod assignor;
mod batches;
mod census;
mod delivery;
mod fetcher;
mod identity;
mod offsets;
mod place;
mod records;

#[cfg(test)]
mod tests;
