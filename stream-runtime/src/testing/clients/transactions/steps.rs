//! What a transactional producer does in the background: the steps of its transactions, one request after the other.
//!
//! Invariants: one step at a time, and each ends at its deadline; a partition is added before anything is sent to it; a
//! transaction is aborted when nothing of it is on the wire any more; nothing is asked of a broker for a transaction that
//! librdkafka takes for one that it cannot know of.

mod adding;
mod asking;

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::TransactionalId;
use tokio::sync::Notify;

use self::adding::Adding;
use super::requests;
use crate::broker::api::Response;
use crate::kafka::judge::{self, judge, overdue};
use crate::kafka::{CommitOffset, Complaint, TransactionOutcome};
use crate::testing::clients::alarm::Alarm;
use crate::testing::clients::delivery::Delivery;
use crate::testing::clients::membership::Member;
use crate::testing::clients::network::{Call, Client, Net, NoAnswer};
use crate::testing::effects;

/// How long a producer that was dropped in the middle of a transaction tries to abort it.
const LAST_ABORT: Duration = Duration::from_secs(5);

/// Where a step is.
#[derive(Debug)]
pub(super) enum Stage {
    Init,
    AddOffsets {
        offsets: Vec<CommitOffset>,
        member: Member,
    },
    CommitOffsets {
        offsets: Vec<CommitOffset>,
        member: Member,
    },
    /// Everything is delivered, and then the transaction is committed.
    Commit,
    /// What is on the wire is awaited.
    Drain,
    Abort,
    /// The transaction is aborted by going on under the next epoch.
    Renew,
}

impl Stage {
    /// The call of librdkafka's that it is part of.
    fn call(&self) -> judge::Call {
        match self {
            Self::Init => judge::Call::Init,
            Self::AddOffsets { .. } | Self::CommitOffsets { .. } => judge::Call::SendOffsets,
            Self::Commit => judge::Call::Commit,
            Self::Drain | Self::Abort | Self::Renew => judge::Call::Abort,
        }
    }
}

#[derive(Debug)]
struct Step {
    stage: Stage,
    deadline: Duration,
    /// The request on the wire.
    asked: Option<Call>,
    /// Nothing is asked before then.
    again_at: Duration,
    /// Why the last attempt did not succeed.
    complaint: Complaint,
}

/// The transactions of one producer.
pub(super) struct Transactions {
    id: TransactionalId,
    timeout_ms: i32,
    pub(super) delivery: Delivery,
    alarm: Alarm,
    wake: Arc<Notify>,
    step: Option<Step>,
    /// How the last step ended.
    ended: Option<TransactionOutcome>,
    /// A transaction has begun and not ended.
    pub(super) is_open: bool,
    /// The broker knows of it, or may.
    is_known: bool,
    adding: Option<Adding>,
    /// Records of it were given up.
    is_incomplete: bool,
    /// It can only be aborted.
    doomed: Option<Complaint>,
    /// The producer is broken for good.
    fatal: Option<Complaint>,
    /// The broker takes nothing more under this epoch.
    needs_epoch: bool,
    /// The owner is gone.
    is_abandoned: bool,
}

impl Transactions {
    pub(super) fn new(id: TransactionalId, timeout: Duration, delivery: Delivery, wake: Arc<Notify>) -> Self {
        Self {
            id,
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            delivery,
            alarm: Alarm::default(),
            wake,
            step: None,
            ended: None,
            is_open: false,
            is_known: false,
            adding: None,
            is_incomplete: false,
            doomed: None,
            fatal: None,
            needs_epoch: false,
            is_abandoned: false,
        }
    }

    /// Whether a step is under way, or its outcome was not taken.
    pub(super) fn is_running(&self) -> bool {
        self.step.is_some() || self.ended.is_some()
    }

    pub(super) fn take_outcome(&mut self) -> Option<TransactionOutcome> {
        self.ended.take()
    }

    /// Why records cannot be sent in the open transaction.
    pub(super) fn obstacle(&self) -> Option<&str> {
        let complaint = self.fatal.as_ref().or(self.doomed.as_ref());
        let is_ending = self.step.is_some().then_some("it is being ended");
        complaint.map(|complaint| complaint.text.as_str()).or(is_ending)
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.fatal.is_some()
    }

    /// Begins a transaction, of which the broker learns when there is something in it. False when it cannot.
    pub(super) fn begin(&mut self) -> bool {
        let is_ready = self.delivery.identity().is_some() && self.fatal.is_none();
        self.is_open = is_ready;
        is_ready
    }

    /// Something was queued: it is sent when the owner has done its turn.
    pub(super) fn has_sent(&mut self, net: &mut Net<'_>) {
        self.alarm.set([Some(net.now())], net);
    }

    pub(super) fn start(&mut self, stage: Stage, net: &mut Net<'_>) {
        self.start_within(stage, net.behaviour().step_deadline, net);
    }

    fn start_within(&mut self, stage: Stage, time: Duration, net: &mut Net<'_>) {
        if let Stage::Drain = stage {
            self.delivery.drop_unsent();
        }
        self.step = Some(Step {
            stage,
            deadline: net.now() + time,
            asked: None,
            again_at: net.now(),
            complaint: requests::lost(),
        });
        self.go_on(net);
    }

    /// The owner is gone: what is open is aborted. False when there is nothing to do.
    pub(super) fn abandon(&mut self, net: &mut Net<'_>) -> bool {
        self.is_abandoned = true;
        self.delivery.drop_unsent();
        match self.step.take() {
            Some(step) if matches!(step.stage, Stage::Drain | Stage::Abort | Stage::Renew) => {
                self.step = Some(step);
                true
            }
            // Nobody can tell how these end.
            Some(step)
                if matches!(
                    step.stage,
                    Stage::Init | Stage::AddOffsets { .. } | Stage::CommitOffsets { .. } | Stage::Commit
                ) =>
            {
                false
            }
            _ if self.is_open && self.fatal.is_none() => {
                self.start_within(Stage::Drain, LAST_ABORT, net);
                self.step.is_some()
            }
            _ => false,
        }
    }

    /// Does what can be done.
    pub(super) fn go_on(&mut self, net: &mut Net<'_>) {
        self.add_partitions(net);
        self.delivery.pump(net);
        self.learn_of_failures(net);
        self.take_step(net);
        if self.delivery.reports().is_news() {
            self.wake.notify_one();
        }
        let step = self.step.as_ref().map(|step| {
            let again = step.asked.is_none().then_some(step.again_at);
            let again = again.filter(|at| *at > net.now());
            again.map_or(step.deadline, |again| again.min(step.deadline))
        });
        let adding = self.adding.as_ref();
        let adding = adding.and_then(|adding| adding.asked.is_none().then_some(adding.again_at));
        let delivery = self.delivery.next_time(net);
        self.alarm.set([step, adding, delivery], net);
    }

    fn learn_of_failures(&mut self, net: &mut Net<'_>) {
        if let Some(text) = self.delivery.fenced().map(str::to_owned) {
            self.breaks(requests::fenced(&text), net);
        }
        if let Some(failed) = self.delivery.take_failed() {
            effects::count("records given up");
            // What the client itself gives up lets a transaction go on until its end, unless a gap is left.
            if failed.code < 0 && !self.delivery.is_torn() {
                self.is_incomplete = true;
            } else {
                let complaint = Complaint::new(failed.code, failed.text);
                self.doom(Complaint {
                    requires_abort: true,
                    ..complaint
                });
            }
        }
        if self.fatal.is_some() || self.doomed.is_some() {
            self.delivery.drop_unsent();
        }
    }

    fn is_aborting(&self) -> bool {
        let stage = self.step.as_ref().map(|step| step.stage.call());
        stage == Some(judge::Call::Abort)
    }

    /// Goes on with the step that is under way.
    fn take_step(&mut self, net: &mut Net<'_>) {
        let Some(step) = &self.step else {
            return;
        };
        if net.now() >= step.deadline {
            effects::count("step of a transaction overdue");
            let outcome = overdue(&step.complaint);
            if let (Stage::Commit, None, true) = (&step.stage, step.asked, self.is_known) {
                // librdkafka goes on with it until it is destroyed.
                self.ask(net);
            }
            self.finish(outcome, net);
            return;
        }
        if step.asked.is_some() {
            return;
        }
        let obstacle = match &step.stage {
            Stage::Init => None,
            Stage::Drain | Stage::Abort | Stage::Renew => self.fatal.clone(),
            Stage::AddOffsets { .. } | Stage::CommitOffsets { .. } => {
                self.fatal.clone().or_else(|| self.doomed.clone())
            }
            Stage::Commit => {
                let complaint = self.fatal.clone().or_else(|| self.doomed.clone());
                complaint.or_else(|| self.is_incomplete.then(requests::incomplete))
            }
        };
        if let Some(complaint) = obstacle {
            self.complain(complaint, net);
        } else if net.now() >= step.again_at {
            self.ask(net);
        }
    }

    /// The step has met this; what follows is judged as in production.
    fn complain(&mut self, complaint: Complaint, net: &mut Net<'_>) {
        let Some(step) = &mut self.step else {
            return;
        };
        let call = step.stage.call();
        if complaint.fatal && self.fatal.is_none() {
            self.fatal = Some(complaint.clone());
            self.delivery.reports().breaks(&complaint.text);
        }
        match judge(call, &complaint) {
            Some(outcome) => {
                if call == judge::Call::SendOffsets && !complaint.fatal {
                    self.doom(complaint);
                }
                self.finish(outcome, net);
            }
            None => {
                step.again_at = net.now() + net.back_off();
                if complaint.requires_abort {
                    // An abort that was refused begins anew.
                    step.stage = Stage::Drain;
                }
                step.complaint = complaint;
            }
        }
    }

    /// The producer is broken for good.
    fn breaks(&mut self, complaint: Complaint, net: &mut Net<'_>) {
        if self.fatal.is_some() {
            return;
        }
        self.delivery.reports().breaks(&complaint.text);
        self.fatal = Some(complaint.clone());
        if self.step.is_some() {
            self.complain(complaint, net);
        }
    }

    /// The transaction can only be aborted.
    fn doom(&mut self, complaint: Complaint) {
        if self.is_open {
            self.doomed.get_or_insert(complaint);
        }
    }

    fn finish(&mut self, outcome: TransactionOutcome, net: &mut Net<'_>) {
        let Some(step) = self.step.take() else {
            return;
        };
        match (step.stage.call(), &outcome) {
            (judge::Call::Abort, TransactionOutcome::Done) if self.is_known => {
                effects::count("transaction aborted");
            }
            (judge::Call::Commit, TransactionOutcome::Unknown(_)) => {
                effects::count("transaction of unknown outcome");
            }
            (_, TransactionOutcome::Fenced(_)) => effects::count("member fenced"),
            _ => {}
        }
        let is_over = match &outcome {
            TransactionOutcome::Done | TransactionOutcome::Unknown(_) => true,
            // A member that was left behind has left its transaction open.
            TransactionOutcome::Fenced(_) => self.fatal.is_some(),
            TransactionOutcome::Abort(_) | TransactionOutcome::Failed(_) => false,
        };
        if step.stage.call() == judge::Call::Abort {
            self.delivery.drop_unsent();
            self.delivery.reports().serve();
        }
        if is_over {
            self.is_open = false;
        }
        if matches!(outcome, TransactionOutcome::Done) {
            self.is_known = false;
            self.needs_epoch = false;
            self.is_incomplete = false;
            self.doomed = None;
            self.delivery.none_is_added();
        }
        if self.is_abandoned {
            net.retire();
            return;
        }
        self.ended = Some(outcome);
        self.wake.notify_one();
    }
}

impl Client for Transactions {
    fn answered(&mut self, call: Call, answer: Result<Response, NoAnswer>, net: &mut Net<'_>) {
        if self
            .adding
            .as_ref()
            .is_some_and(|adding| adding.asked == Some(call))
        {
            self.added(answer, net);
        } else if self.step.as_ref().is_some_and(|step| step.asked == Some(call)) {
            self.stepped(answer, net);
        } else {
            self.delivery.answered(call, answer, net);
        }
        self.go_on(net);
    }

    fn alarm(&mut self, _: u64, net: &mut Net<'_>) {
        self.alarm.went_off(net);
        self.go_on(net);
    }
}
