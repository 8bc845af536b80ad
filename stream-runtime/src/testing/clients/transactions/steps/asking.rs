//! The requests of a step, and what their answers lead to.

use kafka_protocol::ResponseError;

use super::super::requests::{self, Asked};
use super::{Stage, Step, Transactions};
use crate::broker::api::Response;
use crate::kafka::TransactionOutcome;
use crate::testing::clients::delivery::{COORDINATOR, GROUP, ask_identity, identity};
use crate::testing::clients::network::{Net, NoAnswer};

impl Transactions {
    /// Sends the request of the stage, or goes on to the next one where there is nothing to ask.
    pub(super) fn ask(&mut self, net: &mut Net<'_>) {
        let Some(step) = &mut self.step else {
            return;
        };
        let identity = self.delivery.identity();
        if let Stage::Init = step.stage {
            let request = ask_identity(Some(&self.id), self.timeout_ms, None);
            step.asked = Some(net.call(COORDINATOR, requests::INIT_VERSION, request));
            return;
        }
        let Some(identity) = identity else {
            return;
        };
        let id = &self.id;
        let call = match &step.stage {
            Stage::Init => return,
            Stage::AddOffsets { member, .. } => {
                let request = requests::add_offsets(id, identity, &member.group);
                net.call(COORDINATOR, requests::ADD_OFFSETS_VERSION, request)
            }
            Stage::CommitOffsets { offsets, member } => {
                let request = requests::commit_offsets(id, identity, member, offsets);
                net.call(GROUP, requests::COMMIT_OFFSETS_VERSION, request)
            }
            Stage::Commit if !self.delivery.is_done() || self.adding.is_some() => return,
            Stage::Commit | Stage::Abort => {
                if !self.is_known {
                    self.finish(TransactionOutcome::Done, net);
                    return;
                }
                let commits = matches!(step.stage, Stage::Commit);
                net.call(
                    COORDINATOR,
                    requests::END_VERSION,
                    requests::end(id, identity, commits),
                )
            }
            Stage::Drain => {
                if self.delivery.is_settled() && self.adding.is_none() {
                    let renews = self.needs_epoch || self.delivery.is_torn();
                    step.stage = if renews { Stage::Renew } else { Stage::Abort };
                    self.ask(net);
                }
                return;
            }
            Stage::Renew => {
                let request = ask_identity(Some(id), self.timeout_ms, Some(identity));
                net.call(COORDINATOR, requests::INIT_VERSION, request)
            }
        };
        step.asked = Some(call);
    }

    /// Takes the answer to the request of the step.
    pub(super) fn stepped(&mut self, answer: Result<Response, NoAnswer>, net: &mut Net<'_>) {
        let Some(step) = &mut self.step else {
            return;
        };
        step.asked = None;
        let Ok(response) = answer else {
            self.is_known |= matches!(step.stage, Stage::AddOffsets { .. });
            self.complain(requests::lost(), net);
            return;
        };
        let (asked, error) = match &response {
            Response::InitProducerId(response) => match identity(response) {
                Ok(identity) => {
                    self.delivery.begin_anew(identity, net.now());
                    (Asked::Init, None)
                }
                Err(error) => (Asked::Init, Some(error)),
            },
            Response::AddOffsetsToTxn(response) => (
                Asked::AddOffsets,
                ResponseError::try_from_code(response.error_code),
            ),
            Response::TxnOffsetCommit(response) => (Asked::CommitOffsets, requests::not_staged(response)),
            Response::EndTxn(response) => (Asked::End, ResponseError::try_from_code(response.error_code)),
            _ => return,
        };
        let is_abort = matches!(step.stage, Stage::Abort);
        if let Some(error) = error {
            if asked == Asked::End && requests::requires_new_epoch(error) && is_abort {
                self.needs_epoch = true;
                step.stage = Stage::Drain;
            } else {
                self.complain(requests::complaint(asked, error), net);
            }
            return;
        }
        match self.step.take() {
            Some(Step {
                stage: Stage::AddOffsets { offsets, member },
                deadline,
                complaint,
                ..
            }) => {
                self.is_known = true;
                self.step = Some(Step {
                    stage: Stage::CommitOffsets { offsets, member },
                    deadline,
                    asked: None,
                    again_at: net.now(),
                    complaint,
                });
            }
            Some(step) if matches!(step.stage, Stage::CommitOffsets { .. }) => {
                self.step = Some(Step {
                    stage: Stage::Commit,
                    ..step
                });
            }
            step => {
                self.step = step;
                self.finish(TransactionOutcome::Done, net);
            }
        }
    }
}
