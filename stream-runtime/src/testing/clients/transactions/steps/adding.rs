//! Adding partitions to the open transaction, before anything is sent to them.

use std::time::Duration;

use super::super::requests::{self, Asked};
use super::Transactions;
use crate::broker::api::Response;
use crate::testing::clients::delivery::{COORDINATOR, Place};
use crate::testing::clients::network::{Call, Net, NoAnswer};

/// Partitions that are being added.
#[derive(Debug)]
pub(super) struct Adding {
    places: Vec<Place>,
    pub(super) asked: Option<Call>,
    pub(super) again_at: Duration,
    /// A request was lost, so that the broker may have opened the transaction.
    is_unsure: bool,
}

impl Transactions {
    pub(super) fn add_partitions(&mut self, net: &mut Net<'_>) {
        let Some(identity) = self.delivery.identity() else {
            return;
        };
        let takes_more = self.is_open && self.fatal.is_none() && self.doomed.is_none();
        if self.adding.is_none() && takes_more {
            let places = self.delivery.to_be_added();
            self.adding = (!places.is_empty()).then(|| Adding {
                places,
                asked: None,
                again_at: net.now(),
                is_unsure: false,
            });
        }
        if let Some(adding) = &mut self.adding
            && adding.asked.is_none()
            && adding.again_at <= net.now()
        {
            let request = requests::add_partitions(&self.id, identity, &adding.places);
            adding.asked = Some(net.call(COORDINATOR, requests::ADD_PARTITIONS_VERSION, request));
        }
    }

    /// Takes the answer to the request that adds partitions.
    pub(super) fn added(&mut self, answer: Result<Response, NoAnswer>, net: &mut Net<'_>) {
        let Some(mut adding) = self.adding.take() else {
            return;
        };
        adding.asked = None;
        adding.again_at = net.now() + net.back_off();
        let Ok(Response::AddPartitionsToTxn(response)) = answer else {
            adding.is_unsure = true;
            self.adding = Some(adding);
            return;
        };
        let Some(error) = requests::not_added(&response) else {
            self.is_known = true;
            self.delivery.added(&adding.places);
            return;
        };
        self.needs_epoch |= requests::requires_new_epoch(error);
        let complaint = requests::complaint(Asked::AddPartitions, error);
        // librdkafka takes every attempt that is to be repeated for one that the broker may know of. An abort that comes
        // before it has succeeded then ends what the broker does not know, and the producer is of no more use.
        self.is_known |= adding.is_unsure || complaint.retriable;
        if complaint.fatal {
            self.breaks(complaint, net);
        } else if !complaint.retriable {
            self.doom(complaint);
        } else if self.doomed.is_none() && !self.is_aborting() {
            self.adding = Some(adding);
        }
    }
}
