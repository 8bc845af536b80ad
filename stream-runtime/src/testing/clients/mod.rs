//! Clients of the broker's state machine without sockets and on virtual time: the ports of [`crate::kafka`], so that
//! everything above them runs as it does in production.
//!
//! They do what librdkafka does where it can be seen through the ports: batches, retries, idempotence, transactions,
//! cooperative rebalances, fetches ahead. Not here: compression, authentication, the wire.

#![allow(dead_code, reason = "being built")]

pub(crate) mod consumer;
pub(crate) mod membership;
pub(crate) mod network;
pub(crate) mod reader;

mod alarm;
mod assignor;
mod census;
mod fetcher;
mod identity;
mod offsets;
mod place;
mod records;

#[cfg(test)]
mod tests;
