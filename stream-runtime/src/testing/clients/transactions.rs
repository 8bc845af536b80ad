//! [`TransactionalProducer`] over the simulated network.
//!
//! Not here: the steps of a transaction ([`steps`]), and how records are delivered ([`super::delivery`]).

mod requests;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::TransactionalId;
use tokio::sync::Notify;

use self::steps::{Stage, Transactions};
use super::delivery::{Delivery, Limits};
use super::membership::Member;
use super::network::{Net, Port, Process, SharedNetwork};
use super::producer::{flush, send_each};
use crate::broker::api::text;
use crate::error::{Error, Result};
use crate::kafka::{
    ClientSettings, CommitOffset, GroupMembership, KeyedValues, OutgoingRecord, Producer, SendOutcome,
    TransactionOutcome, TransactionalProducer,
};

/// The producer of a worker thread under exactly-once.
pub(crate) struct VirtualTransactionalProducer {
    port: Port<Transactions>,
    /// An outcome that needed no step.
    at_once: Option<TransactionOutcome>,
    /// The transaction is to be aborted, by [`Producer::purge`].
    given_up: bool,
    wake: Arc<Notify>,
}

impl VirtualTransactionalProducer {
    pub(crate) fn new(
        network: &SharedNetwork,
        process: Process,
        settings: &ClientSettings,
        id: &str,
        timeout: Duration,
        wake: Arc<Notify>,
    ) -> Self {
        let mut limits = Limits::new(settings);
        // A record does not count that is delivered after its transaction was ended by the broker.
        limits.timeout = Some(limits.timeout.map_or(timeout, |set| set.min(timeout)));
        let id = TransactionalId(text(id));
        let delivery = Delivery::new(limits, Some(id.clone()));
        let transactions = Transactions::new(id, timeout, delivery, Arc::clone(&wake));
        Self {
            port: network.connect(process, &settings.client_id, transactions),
            at_once: None,
            given_up: false,
            wake,
        }
    }

    fn with<R>(&self, act: impl FnOnce(&mut Transactions, &mut Net<'_>) -> R) -> R {
        self.port.with(act)
    }

    fn start(&mut self, stage: Stage) {
        let started = self.with(|transactions, net| {
            if transactions.is_running() {
                return false;
            }
            transactions.start(stage, net);
            true
        });
        if !started {
            let reason = "a step of the transaction is under way: wait for its outcome";
            self.end(TransactionOutcome::Failed(reason.to_owned()));
        }
    }

    fn end(&mut self, outcome: TransactionOutcome) {
        self.at_once = Some(outcome);
        self.wake.notify_one();
    }
}

impl TransactionalProducer for VirtualTransactionalProducer {
    fn init(&mut self) {
        self.start(Stage::Init);
    }

    fn begin(&mut self) -> Result<()> {
        self.given_up = false;
        self.with(|transactions, _| {
            if transactions.is_running() || transactions.is_open {
                return Err(Error::usage(
                    "a transaction begins after the one before has ended",
                ));
            }
            if transactions.delivery.reports().is_broken || !transactions.begin() {
                return Err(Error::broker(
                    "no transaction can begin: the producer is not ready, or of no more use",
                ));
            }
            let reports = transactions.delivery.reports();
            reports.taken_back_is_failure = true;
            // It was of the transaction before.
            reports.failure = None;
            Ok(())
        })
    }

    fn commit(&mut self, offsets: &[CommitOffset], member: GroupMembership) {
        self.poll();
        let given_up = self.given_up;
        let (is_open, failure) = self.with(|transactions, _| {
            let failure = transactions.delivery.reports().failure.clone();
            (transactions.is_open, failure)
        });
        match (member.0.downcast::<Member>(), failure) {
            _ if !is_open => self.end(TransactionOutcome::Failed("no transaction has begun".to_owned())),
            (Err(_), _) => self.end(TransactionOutcome::Failed(
                "the membership is of another kind of client".to_owned(),
            )),
            _ if given_up => self.end(TransactionOutcome::Abort(
                "its records were taken back".to_owned(),
            )),
            (_, Some(failure)) => self.end(TransactionOutcome::Abort(failure)),
            (Ok(_), None) if offsets.is_empty() => self.start(Stage::Commit),
            (Ok(member), None) => self.start(Stage::AddOffsets {
                offsets: offsets.to_vec(),
                member: *member,
            }),
        }
    }

    fn abort(&mut self) {
        let (is_under_way, is_broken) = self.with(|transactions, _| {
            let is_under_way = transactions.is_open || transactions.is_running();
            let reports = transactions.delivery.reports();
            reports.taken_back_is_failure = false;
            (is_under_way, reports.is_broken)
        });
        if is_under_way {
            self.start(Stage::Drain);
        } else if is_broken {
            self.end(TransactionOutcome::Unknown(
                "the producer is of no more use".to_owned(),
            ));
        } else {
            self.end(TransactionOutcome::Done);
        }
    }

    fn outcome(&mut self) -> Option<TransactionOutcome> {
        if let Some(outcome) = self.at_once.take() {
            return Some(outcome);
        }
        self.with(|transactions, _| {
            let outcome = transactions.take_outcome()?;
            if let TransactionOutcome::Fenced(reason)
            | TransactionOutcome::Unknown(reason)
            | TransactionOutcome::Failed(reason) = &outcome
            {
                transactions.delivery.reports().broken(reason);
            }
            Some(outcome)
        })
    }

    fn is_broken(&self) -> bool {
        self.with(|transactions, _| transactions.delivery.reports().is_broken)
    }
}

impl Producer for VirtualTransactionalProducer {
    /// A record that cannot be sent because its transaction has failed counts as one whose delivery fails.
    fn send(&mut self, record: OutgoingRecord<'_>) -> SendOutcome {
        self.with(|transactions, net| {
            if !transactions.is_open {
                let topic = record.topic;
                return SendOutcome::Refused(format!(
                    "a record for {topic} cannot be sent: no transaction has begun"
                ));
            }
            if let Some(obstacle) = transactions.obstacle() {
                let topic = record.topic;
                let reason =
                    format!("a record for {topic} cannot be sent, the transaction has failed: {obstacle}");
                let is_fatal = transactions.is_fatal();
                let reports = transactions.delivery.reports();
                if is_fatal {
                    reports.broken(&reason);
                } else {
                    reports.failure.get_or_insert(reason);
                }
                return SendOutcome::Queued;
            }
            let outcome = transactions.delivery.send(&record, None, net);
            transactions.has_sent(net);
            outcome
        })
    }

    fn send_many(&mut self, topic: &Arc<str>, partition: i32, records: &mut KeyedValues<'_>) -> usize {
        self.with(|transactions, net| {
            if !transactions.is_open || transactions.obstacle().is_some() {
                return 0;
            }
            let taken = send_each(topic, partition, records, |record| {
                transactions.delivery.send(&record, None, net)
            });
            transactions.has_sent(net);
            taken
        })
    }

    fn poll(&mut self) {
        self.with(|transactions, _| transactions.delivery.reports().serve());
    }

    fn in_flight(&self) -> usize {
        self.with(|transactions, _| transactions.delivery.in_flight())
    }

    fn take_failure(&mut self) -> Option<String> {
        self.with(|transactions, _| transactions.delivery.reports().failure.take())
    }

    fn follow(&mut self, topic: &Arc<str>) {
        self.with(|transactions, _| transactions.delivery.reports().acknowledged.follow(topic));
    }

    fn acknowledged(&self, topic: &str, partition: i32) -> Option<i64> {
        self.with(|transactions, _| transactions.delivery.reports().acknowledged.of(topic, partition))
    }

    /// Nothing of the transaction will be seen, so its abort can take back what is still there: it knows when.
    fn purge(&mut self) {
        self.given_up = true;
    }

    fn flush(&mut self, deadline: Duration) -> bool {
        flush(&self.port, deadline, |transactions| {
            transactions.delivery.reports().serve();
            transactions.delivery.in_flight() == 0
        })
    }
}

impl Drop for VirtualTransactionalProducer {
    /// What is open is aborted in the background; nothing that waits to be sent is sent any more.
    fn drop(&mut self) {
        let goes_on = self.port.with_rest(|transactions, net| transactions.abandon(net));
        if goes_on == Some(true) {
            self.port.leave_running();
        }
    }
}
