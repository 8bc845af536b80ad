//! What a group has committed, asked without waiting for the answer.
//!
//! librdkafka's own asynchronous question (`ListConsumerGroupOffsets`) goes to the coordinator that its client found
//! once: when the group has moved, it is sent to the old one for ever, since only transactions make librdkafka forget
//! it. `rd_kafka_committed` follows the coordinator, but waits. So each question has a thread, for as long as it
//! takes, on a client that all members of a process share and that joins no group.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;
use tracing::warn;

use super::advice::advice;
use super::context::Context;
use super::diagnostics::Diagnostics;
use super::lists::{list_of, named};
use super::native::committed_in;
use super::{ClientSettings, CommitOffset, TopicPartition, config};
use crate::clock;
use crate::error::{Error, Result};

/// How long one request is waited for before the thread looks whether anybody still wants to know.
const SLICE: Duration = Duration::from_secs(1);

/// How soon a question is asked again that the broker could not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(75);

/// How often it is told that a question has no answer.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Answers questions for what one group has committed.
pub(super) struct CommittedOffsets {
    settings: ClientSettings,
    diagnostics: Arc<Diagnostics>,
    /// Made when first asked.
    client: Mutex<Option<Arc<BaseConsumer<Context>>>>,
}

/// A question under way; to drop it withdraws it.
pub(super) struct Question(Arc<Slip>);

#[derive(Default)]
struct Slip {
    answer: Mutex<Option<Result<Answer>>>,
    withdrawn: AtomicBool,
}

/// One for each partition, in the order of the question.
type Answer = Vec<Option<CommitOffset>>;

impl CommittedOffsets {
    pub(super) fn new(settings: &ClientSettings, diagnostics: &Arc<Diagnostics>) -> Self {
        Self {
            settings: settings.clone(),
            diagnostics: Arc::clone(diagnostics),
            client: Mutex::default(),
        }
    }

    /// Starts to ask; `wake` is notified when there is an answer.
    pub(super) fn ask(&self, partitions: &[TopicPartition], wake: &Arc<Notify>) -> Result<Question> {
        let slip = Arc::new(Slip::default());
        let question = Question(Arc::clone(&slip));
        if partitions.is_empty() {
            slip.put(Ok(Vec::new()));
            wake.notify_one();
            return Ok(question);
        }
        let asking = Asking {
            client: self.client()?,
            partitions: partitions.to_vec(),
            slip,
            diagnostics: Arc::clone(&self.diagnostics),
            wake: Arc::clone(wake),
        };
        let thread = thread::Builder::new().name("kafka-committed".to_owned());
        thread
            .spawn(move || asking.run())
            .map_err(|error| Error::broker("no thread to ask for committed offsets").with_source(error))?;
        Ok(question)
    }

    fn client(&self) -> Result<Arc<BaseConsumer<Context>>> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let fresh: BaseConsumer<Context> = config::offsets(&self.settings, &self.settings.group)
            .create_with_context(Context::new(&self.diagnostics))
            .map_err(config::refusal)?;
        Ok(Arc::clone(client.insert(Arc::new(fresh))))
    }
}

impl Question {
    /// The answer, once.
    pub(super) fn take(&mut self) -> Option<Result<Answer>> {
        self.0
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.0.withdrawn.store(true, Ordering::Relaxed);
    }
}

impl Slip {
    fn put(&self, answer: Result<Answer>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

struct Asking {
    client: Arc<BaseConsumer<Context>>,
    partitions: Vec<TopicPartition>,
    slip: Arc<Slip>,
    diagnostics: Arc<Diagnostics>,
    wake: Arc<Notify>,
}

impl Asking {
    fn run(self) {
        let began = clock::now();
        let mut complain_at = began + COMPLAIN_EVERY;
        while !self.slip.withdrawn.load(Ordering::Relaxed) {
            let answer = self.ask();
            // Nobody else reads what this client says of itself.
            while self.client.poll(Duration::ZERO).is_some() {}
            let code = match answer {
                Ok(answer) => {
                    self.slip.put(answer);
                    self.wake.notify_one();
                    return;
                }
                Err(code) => code,
            };
            let now = clock::now();
            if now >= complain_at {
                complain_at += COMPLAIN_EVERY;
                warn!(
                    "{} not read for {:?}, since it is not known what the group has committed; asked again: {code}",
                    named(&self.partitions),
                    now.duration_since(began)
                );
            }
            thread::sleep(AGAIN_AFTER);
        }
    }

    /// Asks once; an error when it is to be asked again.
    fn ask(&self) -> std::result::Result<Result<Answer>, RDKafkaErrorCode> {
        let asked = self.client.committed_offsets(list_of(&self.partitions), SLICE);
        let code = match asked {
            Ok(list) => match in_order(&self.partitions, &committed_in(&list)) {
                Ok(answer) => {
                    self.diagnostics.reached();
                    return Ok(Ok(answer));
                }
                Err(code) => code,
            },
            Err(error) => error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
        };
        match advice(code) {
            Some(advice) => {
                let places = named(&self.partitions);
                Ok(Err(Error::broker(format!(
                    "what the group has committed for {places} cannot be read: {code}: {advice}"
                ))))
            }
            None => {
                if !routine(code) {
                    let text = format!("the group's committed offsets are asked for again: {code}");
                    self.diagnostics.error(code, &text);
                }
                Err(code)
            }
        }
    }
}

/// Puts what came in the order of what was asked, or says what is wrong with one of them.
pub(super) fn in_order(
    partitions: &[TopicPartition],
    found: &[(CommitOffset, Option<RDKafkaErrorCode>)],
) -> std::result::Result<Answer, RDKafkaErrorCode> {
    let found = partitions
        .iter()
        .map(|at| match found.iter().find(|(offset, _)| offset.at == *at) {
            Some((_, Some(code))) => Err(*code),
            Some((offset, None)) if offset.offset >= 0 => Ok(Some(offset.clone())),
            _ => Ok(None),
        });
    found.collect()
}

/// What is worth no line in a log: open transactions, brokers that are away (of which others tell) or busy.
fn routine(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnstableOffsetCommit
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::WaitingForCoordinator
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::BrokerTransportFailure
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: Arc::from("orders"),
            partition,
        }
    }

    fn found(
        partition: i32,
        offset: i64,
        error: Option<RDKafkaErrorCode>,
    ) -> (CommitOffset, Option<RDKafkaErrorCode>) {
        let offset = CommitOffset {
            at: at(partition),
            offset,
            metadata: "note".to_owned(),
        };
        (offset, error)
    }

    #[test]
    fn answers_come_in_the_order_of_the_question() {
        let found = [found(0, 5, None), found(1, -1001, None), found(2, 7, None)];
        let answer = in_order(&[at(2), at(1), at(0), at(3)], &found).expect("no error");
        let offsets = answer
            .iter()
            .map(|found| found.as_ref().map(|found| found.offset));
        assert_eq!(offsets.collect::<Vec<_>>(), [Some(7), None, Some(5), None]);
    }

    #[test]
    fn one_unstable_partition_is_no_answer() {
        let unstable = Some(RDKafkaErrorCode::UnstableOffsetCommit);
        let found = [found(0, 5, None), found(1, -1001, unstable)];
        assert_eq!(
            in_order(&[at(0), at(1)], &found),
            Err(RDKafkaErrorCode::UnstableOffsetCommit)
        );
    }
}
