//! What a producer's owner is told: as with librdkafka it is noted when it happens, and counts once the owner polls.

use std::sync::Arc;

use super::queue::Cargo;
use crate::error::{Error, Result};
use crate::kafka::acknowledged::Acknowledged;

/// What became of some records.
#[derive(Debug)]
pub(super) enum Fate {
    /// The broker has them, up to this offset if it told.
    Delivered {
        next: Option<i64>,
    },
    Failed(String),
    /// The client itself has dropped them.
    TakenBack,
}

#[derive(Debug)]
struct Report {
    topic: Arc<str>,
    partition: i32,
    records: usize,
    weight: usize,
    fate: Fate,
}

/// The reports of one producer.
#[derive(Debug, Default)]
pub(in crate::testing::clients) struct Reports {
    waiting: Vec<Report>,
    /// Records that were taken and not reported of, and their size.
    pub(super) in_flight: usize,
    pub(super) weight: usize,
    pub(in crate::testing::clients) failure: Option<String>,
    /// The producer is of no more use, and why: told when the owner polls.
    breaking: Option<String>,
    pub(in crate::testing::clients) is_broken: bool,
    /// Records are taken back only because their transaction has failed.
    pub(in crate::testing::clients) taken_back_is_failure: bool,
    pub(in crate::testing::clients) acknowledged: Acknowledged,
}

impl Reports {
    pub(super) fn note(&mut self, topic: &Arc<str>, partition: i32, cargo: Cargo, fate: Fate) {
        let Cargo {
            records,
            weight,
            answers,
            ..
        } = cargo;
        for (number, answer) in (0..).zip(answers) {
            let base = match &fate {
                Fate::Delivered { next } => next.map(|next| next - count(records)),
                Fate::Failed(_) | Fate::TakenBack => None,
            };
            let outcome: Result<_> = match &fate {
                Fate::Delivered { .. } => Ok((partition, base.map_or(-1, |base| base + number))),
                Fate::Failed(reason) => Err(Error::broker(reason.as_str())),
                Fate::TakenBack => Err(Error::broker("the record was taken back")),
            };
            // Who asked may have gone.
            let _ = answer.send(outcome);
        }
        self.waiting.push(Report {
            topic: Arc::clone(topic),
            partition,
            records,
            weight,
            fate,
        });
    }

    /// The producer is of no more use.
    pub(in crate::testing::clients) fn breaks(&mut self, reason: &str) {
        self.breaking.get_or_insert_with(|| reason.to_owned());
    }

    pub(in crate::testing::clients) fn broken(&mut self, reason: &str) {
        self.is_broken = true;
        self.failure.get_or_insert_with(|| reason.to_owned());
    }

    /// Whether there is anything that the owner was not told.
    pub(in crate::testing::clients) fn is_news(&self) -> bool {
        !self.waiting.is_empty() || (self.breaking.is_some() && !self.is_broken)
    }

    /// Tells the owner.
    pub(in crate::testing::clients) fn serve(&mut self) {
        for report in std::mem::take(&mut self.waiting) {
            self.in_flight -= report.records;
            self.weight -= report.weight;
            match report.fate {
                Fate::Delivered { next } => self.acknowledged.note(&report.topic, report.partition, next),
                Fate::Failed(reason) => drop(self.failure.get_or_insert(reason)),
                Fate::TakenBack if self.taken_back_is_failure => {
                    self.failure.get_or_insert_with(|| {
                        format!(
                            "{} records for {}[{}] were not sent, since their transaction has failed",
                            report.records, report.topic, report.partition
                        )
                    });
                }
                Fate::TakenBack => {}
            }
        }
        if let Some(reason) = self.breaking.clone() {
            self.broken(&reason);
        }
    }
}

pub(super) fn count(records: usize) -> i64 {
    i64::try_from(records).expect("what is in memory is smaller")
}
