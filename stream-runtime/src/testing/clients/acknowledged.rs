//! [`AcknowledgedProducer`] over the simulated network.

use std::time::Duration;

use tokio::sync::oneshot;

use super::delivery::Limits;
use super::network::{Port, Process, SharedNetwork};
use super::producer::Courier;
use crate::error::Error;
use crate::kafka::{AcknowledgedProducer, ClientSettings, DeliveryFuture, OutgoingRecord, SendOutcome};

/// How long a record is tried to be delivered, unless the settings say otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The producer for sends from outside agents. It never is full: its callers wait for each record.
pub(crate) struct VirtualAcknowledgedProducer(Port<Courier>);

impl VirtualAcknowledgedProducer {
    pub(crate) fn new(network: &SharedNetwork, process: Process, settings: &ClientSettings) -> Self {
        let mut limits = Limits::new(settings);
        limits.timeout.get_or_insert(TIMEOUT);
        limits.is_endless = true;
        let name = &settings.client_id;
        Self(Courier::start(network, process, name, limits, None))
    }
}

impl AcknowledgedProducer for VirtualAcknowledgedProducer {
    fn send<'a>(&'a self, record: OutgoingRecord<'a>) -> DeliveryFuture<'a> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let outcome = self
                .0
                .with(|courier, net| courier.send(&record, Some(answer), net));
            let reason = match outcome {
                SendOutcome::Queued => match answered.await {
                    Ok(Ok(place)) => return Ok(place),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "the producer has ended".to_owned(),
                },
                SendOutcome::Full => "the producer is full".to_owned(),
                SendOutcome::Refused(reason) => reason,
            };
            let topic = record.topic;
            Err(Error::broker(format!("a record for {topic} was not delivered")).with_source(reason))
        })
    }
}
