//! Requests with batches, and what their answers mean.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProducerId, TransactionalId,
};

use super::queue::{Identity, OutOfOrder};
use super::reports::{Fate, count};
use super::topics::{Known, not_delivered};
use super::{Call, DATA, Delivery, Failed, MOST_REQUESTS, Net, Place};
use crate::broker::api::Response;
use crate::testing::clients::network::NoAnswer;

const PRODUCE_VERSION: i16 = 9;
const INIT_VERSION: i16 = 4;
/// From all replicas.
const ALL: i16 = -1;

/// Asks for a producer id, or for the next epoch of one.
pub(in crate::testing::clients) fn ask_identity(
    id: Option<&TransactionalId>,
    timeout_ms: i32,
    current: Option<Identity>,
) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(id.cloned())
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(current.map_or(-1, |identity| identity.id)))
        .with_producer_epoch(current.map_or(-1, |identity| identity.epoch))
}

/// The answer.
pub(in crate::testing::clients) fn identity(
    response: &InitProducerIdResponse,
) -> Result<Identity, ResponseError> {
    match ResponseError::try_from_code(response.error_code) {
        None => Ok(Identity {
            id: response.producer_id.0,
            epoch: response.producer_epoch,
        }),
        Some(error) => Err(error),
    }
}

impl Delivery {
    /// Does what is due.
    pub(in crate::testing::clients) fn pump(&mut self, net: &mut Net<'_>) {
        self.expire(net.now());
        self.ask_for_topics(net);
        if self.asking.is_none() && self.wants_identity() && net.now() >= self.ask_at {
            self.asking = Some(net.call(DATA, INIT_VERSION, ask_identity(None, 0, None)));
        }
        while self.calls.len() < MOST_REQUESTS && self.transmit(net) {}
    }

    /// Whether a producer without transactions needs an id to go on; one with them gets its own elsewhere.
    pub(super) fn wants_identity(&self) -> bool {
        let is_needed = self.identity.is_none() || (self.torn && self.is_settled());
        self.transactional_id.is_none() && is_needed
    }

    /// Sends one request. False when there is nothing to send.
    fn transmit(&mut self, net: &mut Net<'_>) -> bool {
        let Some(identity) = self.identity else {
            return false;
        };
        let now = net.now();
        let is_transactional = self.transactional_id.is_some();
        let mut ready: Vec<Place> = Vec::new();
        for topic in self.topics.values().filter(|topic| topic.known == Known::Here) {
            for (number, queue) in (0..).zip(&topic.queues) {
                let takes_new = !self.torn && (queue.is_added || !is_transactional);
                if queue.is_ready(now, takes_new) {
                    ready.push((Arc::clone(&topic.name), number));
                }
            }
        }
        if ready.is_empty() {
            return false;
        }
        let most = net.behaviour().request_batches;
        let most = usize::try_from(net.random().within(most)).unwrap_or(usize::MAX);
        if most < ready.len() {
            // Everybody's turn comes.
            let first = net.random().index(ready.len());
            ready.rotate_left(first);
            ready.truncate(most.max(1));
            ready.sort();
        }
        let mut topics: Vec<TopicProduceData> = Vec::new();
        for (name, number) in &ready {
            let Some(topic) = self.topics.get_mut(name) else {
                continue;
            };
            let queue = usize::try_from(*number)
                .ok()
                .and_then(|number| topic.queues.get_mut(number));
            let bytes = queue.and_then(|queue| queue.take(identity, is_transactional));
            let data = PartitionProduceData::default()
                .with_index(*number)
                .with_records(bytes);
            match topics.last_mut() {
                Some(last) if last.name == topic.wire => last.partition_data.push(data),
                _ => topics.push(
                    TopicProduceData::default()
                        .with_name(topic.wire.clone())
                        .with_partition_data(vec![data]),
                ),
            }
        }
        let request = ProduceRequest::default()
            .with_acks(ALL)
            .with_transactional_id(self.transactional_id.clone())
            .with_topic_data(topics);
        let call = net.call(DATA, PRODUCE_VERSION, request);
        for (name, number) in &ready {
            if let Some(queue) = self.queue(name, *number) {
                queue.is_sent_by(call);
            }
        }
        self.calls.insert(call, ready);
        true
    }

    /// Takes an answer, if it is to one of its requests.
    pub(in crate::testing::clients) fn answered(
        &mut self,
        call: Call,
        answer: Result<Response, NoAnswer>,
        net: &mut Net<'_>,
    ) -> Option<Result<Response, NoAnswer>> {
        let is_own =
            self.metadata == Some(call) || self.asking == Some(call) || self.calls.contains_key(&call);
        if !is_own {
            return Some(answer);
        }
        match answer {
            Err(NoAnswer) => self.lose_all(net),
            Ok(Response::Metadata(response)) => {
                self.metadata = None;
                self.learn(&response, net);
            }
            Ok(Response::InitProducerId(response)) => {
                self.asking = None;
                match identity(&response) {
                    Ok(identity) => self.begin_anew(identity, net.now()),
                    Err(_) => self.ask_at = net.now() + net.back_off(),
                }
            }
            Ok(Response::Produce(response)) => {
                self.calls.remove(&call);
                for topic in &response.responses {
                    for partition in &topic.partition_responses {
                        self.settle(call, topic.name.as_str(), partition, net);
                    }
                }
            }
            Ok(_) => {}
        }
        None
    }

    /// The connection has broken: nothing that is on it will be answered. All of it is noted at once, so that nothing
    /// is sent past a batch that has to be sent again.
    fn lose_all(&mut self, net: &mut Net<'_>) {
        let at = net.now() + net.back_off();
        if self.metadata.take().is_some() {
            self.ask_for_topics_again(at);
        }
        if self.asking.take().is_some() {
            self.ask_at = at;
        }
        for (call, places) in std::mem::take(&mut self.calls) {
            for (topic, partition) in places {
                if let Some(queue) = self.queue(&topic, partition) {
                    queue.again(call, at);
                }
            }
        }
    }

    /// One partition has been answered.
    fn settle(&mut self, call: Call, name: &str, response: &PartitionProduceResponse, net: &mut Net<'_>) {
        let now = net.now();
        let again_at = now + net.back_off();
        let is_forgotten = {
            let times = net.behaviour().unknown_offsets;
            net.random().one_in(times)
        };
        let number = response.index;
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        let (topic_name, index) = (Arc::clone(&topic.name), usize::try_from(number));
        let Some(queue) = index.ok().and_then(|index| topic.queues.get_mut(index)) else {
            return;
        };
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            if let Some((cargo, is_repeated)) = queue.finish(call) {
                let next = response.base_offset + count(cargo.records);
                let next = Some(next).filter(|_| !(is_repeated && is_forgotten));
                self.reports
                    .note(&topic_name, number, cargo, Fate::Delivered { next });
                topic.is_found();
            }
            return;
        };
        match error {
            ResponseError::OutOfOrderSequenceNumber => {
                if queue.out_of_order(call, again_at) == OutOfOrder::Torn {
                    self.tear(error, "a batch is missing before one that was sent");
                }
            }
            ResponseError::UnknownTopicOrPartition => {
                queue.again(call, again_at);
                topic.is_missed(now);
            }
            error if error.is_retriable() => queue.again(call, again_at),
            error => {
                let is_fenced = matches!(
                    error,
                    ResponseError::InvalidProducerEpoch | ResponseError::ProducerFenced
                );
                if let Some((cargo, _)) = queue.finish(call) {
                    let text = not_delivered(cargo.records, name, number, &reason(error));
                    self.reports
                        .note(&topic_name, number, cargo, Fate::Failed(text.clone()));
                    if is_fenced && self.transactional_id.is_some() {
                        self.fenced.get_or_insert(text);
                    } else {
                        self.tear(error, &text);
                    }
                }
            }
        }
    }

    /// The sequences of a partition have a gap.
    fn tear(&mut self, error: ResponseError, text: &str) {
        self.torn = true;
        self.failed.get_or_insert_with(|| Failed {
            code: i32::from(error.code()),
            text: text.to_owned(),
        });
    }
}

fn reason(error: ResponseError) -> String {
    let way_out = match error {
        ResponseError::MessageTooLarge => {
            ". The topic takes smaller batches than this program sends: raise `max.message.bytes` of the topic, or \
             lower `message.max.bytes` here, and such records fail under their agents' policies"
        }
        _ => "",
    };
    format!("{error}{way_out}")
}
