//! The model of idempotent producers in one partition: which batch is new, which came before, which has a gap.

use kafka_protocol::ResponseError;

/// How many batches of a producer are recognised when they come again.
const RECOGNISED: usize = 5;

/// What a producer sends next, seen from what it sent before.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    /// The next batch.
    Next,
    /// The batch before the last, and so on, with as many records as it had.
    Again(usize),
    /// One that leaves so many sequences out.
    Gap(i32),
    /// The next batch after the epoch was raised, from sequence 0 or from this one.
    NewEpoch(i32),
    /// A batch of the epoch before.
    OldEpoch,
}

/// What the broker has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Append,
    /// Nothing is appended, and this is the offset.
    At(i64),
    Refused(ResponseError),
}

/// A producer as it is known to the partition.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) id: i64,
    epoch: i16,
    next: i32,
    is_known: bool,
    /// First sequence, count and offset.
    sent: Vec<(i32, usize, i64)>,
}

/// A batch about to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) epoch: i16,
    pub(super) sequence: i32,
    pub(super) records: usize,
    pub(super) expected: Expected,
}

impl Writer {
    /// A producer that the partition has not heard of; its first sequence may be any.
    pub(super) fn new(id: i64, first: i32) -> Self {
        Self {
            id,
            epoch: 0,
            next: first,
            is_known: false,
            sent: Vec::new(),
        }
    }

    /// A batch of so many records (unless it is one that came before) and what becomes of it.
    pub(super) fn attempt(&self, turn: Turn, records: usize) -> Attempt {
        let attempt = |epoch, sequence, records, expected| Attempt {
            epoch,
            sequence,
            records,
            expected,
        };
        let known = |expected| if self.is_known { expected } else { Expected::Append };
        let gap = Expected::Refused(ResponseError::OutOfOrderSequenceNumber);
        match turn {
            Turn::Again(back) if back < self.sent.len() => {
                let (sequence, records, offset) = self.sent[self.sent.len() - 1 - back];
                let expected = if back < RECOGNISED {
                    Expected::At(offset)
                } else {
                    gap
                };
                attempt(self.epoch, sequence, records, expected)
            }
            Turn::Next | Turn::Again(_) => attempt(self.epoch, self.next, records, Expected::Append),
            Turn::Gap(width) => attempt(self.epoch, after(self.next, width), records, known(gap)),
            Turn::NewEpoch(sequence) => {
                let expected = if sequence == 0 {
                    Expected::Append
                } else {
                    known(gap)
                };
                attempt(self.epoch + 1, sequence, records, expected)
            }
            Turn::OldEpoch if self.is_known && self.epoch > 0 => {
                let fenced = Expected::Refused(ResponseError::InvalidProducerEpoch);
                attempt(self.epoch - 1, self.next, records, fenced)
            }
            Turn::OldEpoch => attempt(self.epoch, self.next, records, Expected::Append),
        }
    }

    /// A batch was appended.
    pub(super) fn appended(&mut self, attempt: Attempt, offset: i64) {
        if attempt.epoch != self.epoch {
            self.sent.clear();
        }
        self.epoch = attempt.epoch;
        self.is_known = true;
        self.sent.push((attempt.sequence, attempt.records, offset));
        self.next = after(
            attempt.sequence,
            i32::try_from(attempt.records).expect("a batch is small"),
        );
    }
}

/// The sequence so many later: behind the largest comes 0.
fn after(sequence: i32, count: i32) -> i32 {
    let next = (i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1);
    i32::try_from(next).expect("it was wrapped")
}
