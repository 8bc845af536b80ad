//! The thread of a transactional producer, on which the calls are made that wait for brokers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

use super::judge::{Call, judge, overdue};
use crate::clock;
use crate::kafka::context::Context;
use crate::kafka::lists::list_with;
use crate::kafka::native::{Complaint, EventQueue, Member, Transactions};
use crate::kafka::producer::{Reports, lock};
use crate::kafka::{CommitOffset, TransactionOutcome};

/// When a step ends at the latest, whatever the brokers do (a call that waits for a broker may take up to
/// `socket.timeout.ms` more).
const DEADLINE: Duration = Duration::from_secs(30);

/// How long one call waits before it is made again, which resumes it.
const SLICE: Duration = Duration::from_secs(1);

/// The same for aborts, between which the reports of records are read: until somebody has, an abort waits.
const ABORT_SLICE: Duration = Duration::from_millis(500);

/// librdkafka does not resume this call, but begins it anew: once it has waited this long, it is overdue.
const OFFSETS_SLICE: Duration = Duration::from_secs(10);

/// How long a producer that was dropped in the middle of a transaction tries to abort it, so that readers need not
/// wait for its time-out. It does not when a step was under way whose end nobody knows.
const LAST_ABORT: Duration = Duration::from_secs(5);

/// How long an abort waits for the first record of its transaction to be delivered.
const FIRST_RECORD: Duration = Duration::from_secs(1);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How soon a call is made again that failed at once.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What the thread is to do.
pub(super) enum Step {
    Init,
    Commit {
        offsets: Vec<CommitOffset>,
        member: Member,
    },
    Abort,
}

/// What the thread and the owner both know.
#[derive(Default)]
pub(super) struct State {
    /// A transaction has begun and not ended.
    pub(super) open: AtomicBool,
    /// The owner has dropped its end.
    pub(super) dropped: AtomicBool,
}

/// The thread's end.
pub(super) struct Steps {
    pub(super) client: Arc<BaseProducer<Context>>,
    pub(super) reports: Arc<Mutex<Reports>>,
    pub(super) state: Arc<State>,
    pub(super) steps: mpsc::Receiver<Step>,
    pub(super) outcomes: mpsc::Sender<TransactionOutcome>,
    pub(super) wake: Arc<Notify>,
}

impl Steps {
    /// Does steps until the owner is gone, and then ends the client, which takes a while.
    pub(super) fn run(self) {
        let transactions = Transactions::of(&self.client);
        while let Ok(step) = self.steps.recv() {
            let outcome = match step {
                Step::Init => self.repeat(Call::Init, DEADLINE, || transactions.init(SLICE)),
                Step::Commit { offsets, member } => self.commit(&transactions, &offsets, &member),
                Step::Abort => self.abort(&transactions, DEADLINE),
            };
            if self.is_over(&outcome) {
                self.state.open.store(false, Ordering::Release);
            }
            if self.outcomes.send(outcome).is_err() {
                break;
            }
            self.wake.notify_one();
        }
        if self.state.open.load(Ordering::Acquire) {
            let _ = self.abort(&transactions, LAST_ABORT);
        }
    }

    /// Whether nothing is left that may be aborted. After the offsets of a member that was left behind, the transaction
    /// is still open; where offsets may still be on their way, it is left to the next producer of this id or to its
    /// time-out, since only these have the late ones refused.
    fn is_over(&self, outcome: &TransactionOutcome) -> bool {
        match outcome {
            TransactionOutcome::Done | TransactionOutcome::Unknown(_) => true,
            TransactionOutcome::Fenced(_) => self.client.client().fatal_error().is_some(),
            TransactionOutcome::Abort(_) | TransactionOutcome::Failed(_) => false,
        }
    }

    fn commit(
        &self,
        transactions: &Transactions<Context>,
        offsets: &[CommitOffset],
        member: &Member,
    ) -> TransactionOutcome {
        let start = clock::now();
        if !offsets.is_empty() {
            let Ok(list) = list_with(offsets) else {
                return TransactionOutcome::Failed("an offset to commit is negative".to_owned());
            };
            let sent = self.repeat(Call::SendOffsets, DEADLINE, || {
                transactions.send_offsets(&list, member, OFFSETS_SLICE)
            });
            if !matches!(sent, TransactionOutcome::Done) {
                return sent;
            }
        }
        let left = DEADLINE.saturating_sub(clock::now().duration_since(start));
        self.repeat(Call::Commit, left, || transactions.commit(SLICE))
    }

    fn abort(&self, transactions: &Transactions<Context>, within: Duration) -> TransactionOutcome {
        let mut queue =
            EventQueue::of_producer(Arc::clone(&self.client)).expect("a producer has a main queue");
        let mut serve = || while queue.next(|event| lock(&self.reports).note(&event)) {};
        // Until a record is delivered, the broker may know nothing of this transaction yet, being busy with the end of
        // the one before. It would refuse to abort that one, and librdkafka would take the refusal for fatal.
        let end = clock::now() + FIRST_RECORD;
        loop {
            serve();
            let begun = lock(&self.reports).delivered;
            if begun || self.client.in_flight_count() == 0 || clock::now() >= end {
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
        transactions.purge(true);
        serve();
        self.repeat(Call::Abort, within, || {
            let outcome = transactions.abort(ABORT_SLICE);
            serve();
            outcome
        })
    }

    /// Makes a call until it succeeds, fails for good, or the deadline passes.
    fn repeat(
        &self,
        call: Call,
        within: Duration,
        mut make: impl FnMut() -> Result<(), Complaint>,
    ) -> TransactionOutcome {
        let end = clock::now() + within;
        loop {
            let start = clock::now();
            let Err(complaint) = make() else {
                return TransactionOutcome::Done;
            };
            tracing::debug!(target: "stream_runtime::kafka", "{call:?}: {complaint:?}");
            if let Some(outcome) = judge(call, &complaint) {
                return outcome;
            }
            let abandoned = call != Call::Abort && self.state.dropped.load(Ordering::Relaxed);
            // Another attempt would not be the only one on its way.
            let is_late = call == Call::SendOffsets && complaint.code == RDKafkaErrorCode::OperationTimedOut;
            if abandoned || is_late || clock::now() >= end {
                return overdue(&complaint);
            }
            pause(start);
        }
    }
}

/// Keeps calls apart that fail at once.
fn pause(start: Instant) {
    let spent = clock::now().duration_since(start);
    thread::sleep(AGAIN_AFTER.saturating_sub(spent));
}
