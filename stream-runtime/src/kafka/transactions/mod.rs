//! [`TransactionalProducer`] over rdkafka.
//!
//! Invariants: one step at a time, each on the producer's own thread, since librdkafka's calls wait for brokers; a
//! transaction is aborted with its batches on the wire awaited, so that none is written behind its end; once the end
//! of a transaction was asked for, no error counts as an answer.

pub(crate) mod judge;
mod steps;

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

use self::steps::{State, Step, Steps};
use super::diagnostics::Diagnostics;
use super::native::{Member, Refusal, Transactions};
use super::producer::RdKafkaProducer;
use super::{
    ClientSettings, CommitOffset, GroupMembership, KeyedValues, OutgoingRecord, Producer, SendOutcome,
    TransactionOutcome, TransactionalProducer, config,
};
use crate::error::{Error, Result};

/// The producer of a worker thread under exactly-once.
pub(super) struct RdKafkaTransactionalProducer {
    producer: RdKafkaProducer,
    state: Arc<State>,
    steps: mpsc::Sender<Step>,
    outcomes: mpsc::Receiver<TransactionOutcome>,
    /// An outcome that needed no step.
    at_once: Option<TransactionOutcome>,
    running: bool,
    /// The transaction is to be aborted, by [`Producer::purge`].
    given_up: bool,
    wake: Arc<Notify>,
}

impl RdKafkaTransactionalProducer {
    pub(super) fn new(
        settings: &ClientSettings,
        diagnostics: &Arc<Diagnostics>,
        id: &str,
        timeout: Duration,
        wake: Arc<Notify>,
    ) -> Result<Self> {
        let config = config::transactional_producer(settings, id, timeout);
        let producer = RdKafkaProducer::with(&config, diagnostics, Arc::clone(&wake))?;
        let (steps, to_do) = mpsc::channel();
        let (done, outcomes) = mpsc::channel();
        let state = Arc::new(State::default());
        let thread = Steps {
            client: Arc::clone(producer.client()),
            reports: Arc::clone(producer.shared_reports()),
            state: Arc::clone(&state),
            steps: to_do,
            outcomes: done,
            wake: Arc::clone(&wake),
        };
        thread::Builder::new()
            .name("kafka-transactions".to_owned())
            .spawn(move || thread.run())
            .map_err(|error| Error::broker("no thread for transactions").with_source(error))?;
        Ok(Self {
            producer,
            state,
            steps,
            outcomes,
            at_once: None,
            running: false,
            given_up: false,
            wake,
        })
    }

    fn start(&mut self, step: Step) {
        if self.running {
            self.end(TransactionOutcome::Failed(
                "a step of the transaction is under way: wait for its outcome".to_owned(),
            ));
        } else if self.steps.send(step).is_ok() {
            self.running = true;
        } else {
            self.end(TransactionOutcome::Failed(
                "the thread of the transactions has ended".to_owned(),
            ));
        }
    }

    fn end(&mut self, outcome: TransactionOutcome) {
        self.at_once = Some(outcome);
        self.wake.notify_one();
    }

    fn is_open(&self) -> bool {
        self.state.open.load(Ordering::Acquire)
    }

    fn transactions(&self) -> Transactions<super::context::Context> {
        Transactions::of(self.producer.client())
    }
}

impl TransactionalProducer for RdKafkaTransactionalProducer {
    fn init(&mut self) {
        self.start(Step::Init);
    }

    fn begin(&mut self) -> Result<()> {
        if self.running || self.is_open() {
            return Err(Error::usage(
                "a transaction begins after the one before has ended",
            ));
        }
        self.transactions()
            .begin()
            .map_err(|complaint| Error::broker(format!("no transaction can begin: {}", complaint.text)))?;
        self.state.open.store(true, Ordering::Release);
        self.given_up = false;
        let mut reports = self.producer.reports();
        reports.taken_back_is_failure = true;
        reports.delivered = false;
        if !reports.broken {
            // It was of the transaction before.
            reports.failure = None;
        }
        Ok(())
    }

    fn commit(&mut self, offsets: &[CommitOffset], member: GroupMembership) {
        self.producer.poll();
        let failure = self.producer.reports().failure.clone();
        match (member.0.downcast::<Member>(), failure) {
            _ if !self.is_open() => {
                self.end(TransactionOutcome::Failed("no transaction has begun".to_owned()));
            }
            (Err(_), _) => self.end(TransactionOutcome::Failed(
                "the membership is of another kind of client".to_owned(),
            )),
            _ if self.given_up => self.end(TransactionOutcome::Abort(
                "its records were taken back".to_owned(),
            )),
            (_, Some(failure)) => self.end(TransactionOutcome::Abort(failure)),
            (Ok(member), None) => self.start(Step::Commit {
                offsets: offsets.to_vec(),
                member: *member,
            }),
        }
    }

    fn abort(&mut self) {
        let mut reports = self.producer.reports();
        reports.taken_back_is_failure = false;
        let broken = reports.broken;
        drop(reports);
        if self.is_open() || self.running {
            self.start(Step::Abort);
        } else if broken {
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
        let outcome = self.outcomes.try_recv().ok()?;
        self.running = false;
        if let TransactionOutcome::Fenced(reason)
        | TransactionOutcome::Unknown(reason)
        | TransactionOutcome::Failed(reason) = &outcome
        {
            self.producer.reports().broken(reason);
        }
        Some(outcome)
    }

    fn is_broken(&self) -> bool {
        self.producer.reports().broken
    }
}

impl Producer for RdKafkaTransactionalProducer {
    /// A record that the client does not take because its transaction has failed counts as one whose delivery
    /// fails: that is no fault of the record.
    fn send(&mut self, record: OutgoingRecord<'_>) -> SendOutcome {
        let Err((refusal, outcome)) = self.producer.try_send(&record) else {
            return SendOutcome::Queued;
        };
        let (
            Refusal::Code(code @ (RDKafkaErrorCode::Fatal | RDKafkaErrorCode::State)),
            SendOutcome::Refused(reason),
        ) = (refusal, &outcome)
        else {
            return outcome;
        };
        if !self.is_open() {
            return outcome;
        }
        let mut reports = self.producer.reports();
        if code == RDKafkaErrorCode::Fatal {
            reports.broken(reason);
        } else {
            reports.failure.get_or_insert_with(|| {
                format!("{reason} (the transaction has failed, the client's log says why)")
            });
        }
        SendOutcome::Queued
    }

    fn send_many(&mut self, topic: &Arc<str>, partition: i32, records: &mut KeyedValues<'_>) -> usize {
        self.producer.send_many(topic, partition, records)
    }

    fn poll(&mut self) {
        self.producer.poll();
    }

    fn in_flight(&self) -> usize {
        self.producer.in_flight()
    }

    fn take_failure(&mut self) -> Option<String> {
        self.producer.take_failure()
    }

    fn follow(&mut self, topic: &Arc<str>) {
        self.producer.follow(topic);
    }

    fn acknowledged(&self, topic: &str, partition: i32) -> Option<i64> {
        self.producer.acknowledged(topic, partition)
    }

    /// Nothing of the transaction will be seen, so its abort can take back what is still there: it knows when.
    fn purge(&mut self) {
        self.given_up = true;
    }

    fn flush(&mut self, deadline: Duration) -> bool {
        self.producer.flush(deadline)
    }
}

impl Drop for RdKafkaTransactionalProducer {
    /// The thread aborts what is open, unless a step is under way whose end nobody knows, and ends the client; nothing
    /// that waits to be sent is sent any more.
    fn drop(&mut self) {
        self.state.dropped.store(true, Ordering::Relaxed);
        self.transactions().purge(false);
    }
}
