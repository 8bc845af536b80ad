//! The fetches that wait for records.
//!
//! A fetch is kept whole and read again when it is answered, so what waits holds no records. Partitions
//! know the tokens of the fetches that wait for them; both sides are cleared together.

use kafka_protocol::messages::FetchRequest;
use std::collections::HashMap;

use super::log::{Grown, Reads};
use super::state::Token;
use super::topics::Topics;

/// A fetch that found fewer bytes than it wants.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) request: FetchRequest,
    /// How many bytes are still missing.
    missing: usize,
}

/// The waiting fetches by token.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    by_token: HashMap<Token, Waiting>,
}

impl Fetches {
    /// Lets a fetch wait until `missing` more bytes have come to its partitions.
    pub(crate) fn wait(&mut self, topics: &mut Topics, token: Token, request: FetchRequest, missing: usize) {
        for_each_partition(topics, &request, |waiting| waiting.push(token));
        self.by_token.insert(token, Waiting { request, missing });
    }

    /// Counts what can be read more in a partition and says which of its fetches may have enough now.
    ///
    /// What lies before the offset of a fetch is counted too, so it has to be read to be sure.
    pub(crate) fn grown(&mut self, waiting: &[Token], grown: Grown) -> Vec<Token> {
        let has_enough = |token: &&Token| {
            self.by_token.get_mut(token).is_some_and(|fetch| {
                let bytes = match Reads::of(fetch.request.isolation_level) {
                    Reads::All => grown.all,
                    Reads::Committed => grown.stable,
                };
                fetch.missing = fetch.missing.saturating_sub(bytes);
                fetch.missing == 0
            })
        };
        waiting.iter().filter(has_enough).copied().collect()
    }

    /// The request of a fetch that waits.
    pub(crate) fn request(&self, token: Token) -> Option<&FetchRequest> {
        self.by_token.get(&token).map(|fetch| &fetch.request)
    }

    /// Lets a fetch wait on, until `missing` more bytes have come.
    pub(crate) fn wait_on(&mut self, token: Token, missing: usize) {
        if let Some(fetch) = self.by_token.get_mut(&token) {
            fetch.missing = missing;
        }
    }

    /// Ends the wait.
    pub(crate) fn take(&mut self, topics: &mut Topics, token: Token) -> Option<Waiting> {
        let fetch = self.by_token.remove(&token)?;
        for_each_partition(topics, &fetch.request, |waiting| {
            waiting.retain(|other| *other != token);
        });
        Some(fetch)
    }
}

fn for_each_partition(topics: &mut Topics, request: &FetchRequest, mut act: impl FnMut(&mut Vec<Token>)) {
    for topic in &request.topics {
        for partition in &topic.partitions {
            if let Ok((partition, _)) = topics.partition_mut(&topic.topic, partition.partition) {
                act(&mut partition.waiting);
            }
        }
    }
}
