//! How far one partition is read: where the owner stands, where fetching does, and what is asked.

use std::time::Duration;

use kafka_protocol::protocol::StrBytes;

use super::network::Call;
use crate::kafka::StartOffset;

/// How far a partition is read.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) topic: StrBytes,
    pub(super) stage: Stage,
    /// The offset of the next record for the owner.
    pub(super) given: i64,
    /// That of the next one to fetch.
    pub(super) fetched: i64,
    /// The question that it is in.
    pub(super) asked: Option<Call>,
    /// Not before this time after something went wrong.
    pub(super) again_at: Duration,
    /// Whether an answer has said how far it is to the end.
    pub(super) is_known: bool,
    /// The end that was noted last.
    pub(super) end: Option<i64>,
    /// The high watermark of the last answer.
    pub(super) high: Option<i64>,
    /// The high watermark that a reader waits for. It is the one that was first seen, since a log that is being written
    /// would always be a little ahead.
    target: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Where to begin is to be asked.
    Asking(Source),
    Reading,
    /// The offset to begin at is not there.
    OutOfRange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Committed,
    Beginning,
}

impl Place {
    pub(super) fn new(topic: StrBytes, start: StartOffset) -> Self {
        let (stage, offset) = match start {
            StartOffset::Committed => (Stage::Asking(Source::Committed), 0),
            StartOffset::Beginning => (Stage::Asking(Source::Beginning), 0),
            StartOffset::At(offset) => (Stage::Reading, offset.max(0)),
        };
        Self {
            topic,
            stage,
            given: offset,
            fetched: offset,
            asked: None,
            again_at: Duration::ZERO,
            is_known: false,
            end: None,
            high: None,
            target: None,
        }
    }

    pub(super) fn begin_at(&mut self, offset: i64) {
        self.stage = Stage::Reading;
        self.given = offset;
        self.fetched = offset;
    }

    /// Forgets what was fetched and not given.
    pub(super) fn rewind(&mut self) {
        self.fetched = self.given;
        self.asked = None;
        self.is_known = false;
        self.end = None;
    }

    pub(super) fn may_ask(&self, now: Duration) -> bool {
        self.asked.is_none() && self.again_at <= now
    }

    /// Whether a reader that has everything stable below `offset` has reached the end.
    pub(super) fn is_end(&mut self, offset: i64) -> bool {
        let target = self.target.or(self.high).unwrap_or(offset);
        if offset < target {
            self.target = Some(target);
            return false;
        }
        self.target = None;
        true
    }
}
