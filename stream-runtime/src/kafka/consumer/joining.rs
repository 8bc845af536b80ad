//! A broker that does not have the newer group protocol.
//!
//! librdkafka sends it nothing then, says nothing, and tries no more: the member would wait for ever. So when the
//! group's coordinator answers another question and the member still has no epoch a good while later, that is the
//! reason.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use tokio::sync::Notify;

use super::FIRST_GENERATION;
use crate::clock;
use crate::error::{Error, Result};
use crate::kafka::committed::{CommittedOffsets, Question};
use crate::kafka::context::Context;
use crate::kafka::native::EventQueue;
use crate::kafka::{ClientSettings, TopicPartition};

/// How long the coordinator has to take a member. It does so with the first heartbeat, within milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// Watches whether a member is taken into its group at all.
pub(super) enum Joining {
    /// There is nothing to watch (any more).
    Done,
    /// Whether the coordinator answers at all.
    Asking(Question),
    /// It does, so this is when it has to have taken the member.
    Until(Instant),
}

impl Joining {
    /// Begins to watch a member that joins under the newer protocol.
    pub(super) fn watch(
        settings: &ClientSettings,
        offsets: &CommittedOffsets,
        topics: &[Arc<str>],
        wake: &Arc<Notify>,
    ) -> Result<Self> {
        let Some(topic) = topics.first().filter(|_| settings.has_newer_group_protocol()) else {
            return Ok(Self::Done);
        };
        let any = TopicPartition {
            topic: Arc::clone(topic),
            partition: 0,
        };
        Ok(Self::Asking(offsets.ask(&[any], wake)?))
    }

    /// # Errors
    /// When the member was not taken.
    pub(super) fn step(
        &mut self,
        queue: &EventQueue<BaseConsumer<Context>>,
        bootstrap: &str,
        wake: &Arc<Notify>,
    ) -> Result<()> {
        match self {
            Self::Done => {}
            Self::Asking(question) => {
                if let Some(answer) = question.take() {
                    answer?;
                    *self = Self::Until(clock::now() + PATIENCE);
                    alarm(wake);
                }
            }
            Self::Until(end) if clock::now() < *end => {}
            Self::Until(_) => {
                *self = Self::Done;
                let member = queue.membership();
                if member.is_none_or(|member| member.generation() < FIRST_GENERATION) {
                    return Err(Error::broker(format!(
                        "{bootstrap} does not take this worker into its group under `group.protocol=consumer`, \
                         which needs Apache Kafka 4.0 or newer: use a newer broker, or leave the setting out"
                    )));
                }
            }
        }
        Ok(())
    }
}

fn alarm(wake: &Arc<Notify>) {
    let wake = Arc::clone(wake);
    let thread = thread::Builder::new().name("kafka-joining".to_owned());
    let alarm = thread.spawn(move || {
        thread::sleep(PATIENCE);
        wake.notify_one();
    });
    if let Err(error) = alarm {
        tracing::warn!(target: "stream_runtime::kafka", "no thread for an alarm: {error}");
    }
}
