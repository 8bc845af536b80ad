//! [`Producer`] over the simulated network.
//!
//! Not here: how records are delivered ([`super::delivery`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::alarm::Alarm;
use super::delivery::{Answer, Delivery, Limits};
use super::network::{Call, Client, Net, NoAnswer, Port, Process, SharedNetwork};
use crate::broker::api::Response;
use crate::kafka::{ClientSettings, KeyedValues, OutgoingRecord, Producer, SendOutcome};

/// What delivers in the background.
pub(super) struct Courier {
    delivery: Delivery,
    alarm: Alarm,
    /// Who is told of news; nobody polls without an owner.
    owner: Option<Arc<Notify>>,
}

impl Courier {
    /// Begins to deliver for a process.
    pub(super) fn start(
        network: &SharedNetwork,
        process: Process,
        name: &str,
        limits: Limits,
        owner: Option<Arc<Notify>>,
    ) -> Port<Self> {
        let courier = Self {
            delivery: Delivery::new(limits, None),
            alarm: Alarm::default(),
            owner,
        };
        let port = network.connect(process, name, courier);
        port.with(Self::go_on);
        port
    }

    /// Queues a record; it is sent when its owner has done its turn.
    pub(super) fn send(
        &mut self,
        record: &OutgoingRecord<'_>,
        answer: Option<Answer>,
        net: &mut Net<'_>,
    ) -> SendOutcome {
        let outcome = self.delivery.send(record, answer, net);
        self.alarm.set([Some(net.now())], net);
        outcome
    }

    fn go_on(&mut self, net: &mut Net<'_>) {
        self.delivery.pump(net);
        match &self.owner {
            None => self.delivery.reports().serve(),
            Some(owner) if self.delivery.reports().is_news() => owner.notify_one(),
            Some(_) => {}
        }
        self.alarm.set([self.delivery.next_time(net)], net);
    }
}

impl Client for Courier {
    fn answered(&mut self, call: Call, answer: Result<Response, NoAnswer>, net: &mut Net<'_>) {
        self.delivery.answered(call, answer, net);
        self.go_on(net);
    }

    fn alarm(&mut self, _: u64, net: &mut Net<'_>) {
        self.alarm.went_off(net);
        self.go_on(net);
    }
}

/// The producer of a worker thread.
pub(crate) struct VirtualProducer(Port<Courier>);

impl VirtualProducer {
    pub(crate) fn new(
        network: &SharedNetwork,
        process: Process,
        settings: &ClientSettings,
        wake: Arc<Notify>,
    ) -> Self {
        let limits = Limits::new(settings);
        let name = &settings.client_id;
        Self(Courier::start(network, process, name, limits, Some(wake)))
    }
}

impl Producer for VirtualProducer {
    fn send(&mut self, record: OutgoingRecord<'_>) -> SendOutcome {
        self.0.with(|courier, net| courier.send(&record, None, net))
    }

    fn send_many(&mut self, topic: &Arc<str>, partition: i32, records: &mut KeyedValues<'_>) -> usize {
        self.0.with(|courier, net| {
            send_each(topic, partition, records, |record| {
                courier.send(&record, None, net)
            })
        })
    }

    fn poll(&mut self) {
        self.0.with(|courier, _| courier.delivery.reports().serve());
    }

    fn in_flight(&self) -> usize {
        self.0.with(|courier, _| courier.delivery.in_flight())
    }

    fn take_failure(&mut self) -> Option<String> {
        self.0
            .with(|courier, _| courier.delivery.reports().failure.take())
    }

    fn follow(&mut self, topic: &Arc<str>) {
        self.0
            .with(|courier, _| courier.delivery.reports().acknowledged.follow(topic));
    }

    fn acknowledged(&self, topic: &str, partition: i32) -> Option<i64> {
        self.0
            .with(|courier, _| courier.delivery.reports().acknowledged.of(topic, partition))
    }

    fn purge(&mut self) {
        self.0.with(|courier, net| {
            courier.delivery.purge();
            courier.delivery.reports().serve();
            courier.go_on(net);
        });
    }

    fn flush(&mut self, deadline: Duration) -> bool {
        flush(&self.0, deadline, |courier| {
            courier.delivery.reports().serve();
            courier.delivery.in_flight() == 0
        })
    }
}

/// Sends records for one partition up to the first that is not taken; gives how many were.
pub(in crate::testing) fn send_each(
    topic: &Arc<str>,
    partition: i32,
    records: &mut KeyedValues<'_>,
    mut send: impl FnMut(OutgoingRecord<'_>) -> SendOutcome,
) -> usize {
    let taken = records.take_while(|(key, value)| {
        let record = OutgoingRecord {
            topic,
            partition: Some(partition),
            key: Some(key),
            value: *value,
            headers: &[],
            timestamp: None,
        };
        matches!(send(record), SendOutcome::Queued)
    });
    taken.count()
}

/// Lets time pass until a client is done, at most this long.
pub(super) fn flush<C: Client>(
    port: &Port<C>,
    deadline: Duration,
    mut is_done: impl FnMut(&mut C) -> bool,
) -> bool {
    let end = port.with(|_, net| net.now()) + deadline;
    let done = || port.with(|client, _| is_done(client));
    port.network().pass_until(end, done)
}
