//! What waits to be sent to one partition, and what was sent and is not acknowledged.
//!
//! Invariants: sequences follow one another without a gap until something fails for good; batches are sent in that order,
//! and none while an earlier one is to be sent again; a batch that is sent again is the same to the byte.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::Result;
use crate::testing::clients::batches::{Batch, Origin, Parts, resealed};
use crate::testing::clients::network::Call;

/// The broker remembers that many batches of a producer: what is sent twice is known by them.
const MOST_SENT: usize = 5;

/// Where one record's acknowledgement goes: its partition and offset.
pub(crate) type Answer = oneshot::Sender<Result<(i32, i64)>>;

/// Who sends, as the broker knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// Some records of one partition, whatever is done with them.
#[derive(Debug, Default)]
pub(super) struct Cargo {
    pub(super) records: usize,
    /// How many bytes they take of the producer's queue.
    pub(super) weight: usize,
    /// When the first was queued.
    pub(super) since: Duration,
    /// One for each, or none.
    pub(super) answers: Vec<Answer>,
}

/// A batch that was not sent.
#[derive(Debug)]
struct Load {
    cargo: Cargo,
    content: Content,
    /// It is sent from then on, even when there is room in it.
    due: Duration,
}

#[derive(Debug)]
enum Content {
    Open {
        batch: Batch,
        /// How many records it may have.
        room: usize,
    },
    /// It was sent by the same producer under another id, and refused.
    Sealed(Bytes),
}

/// A batch that was sent and is not acknowledged.
#[derive(Debug)]
struct Sent {
    cargo: Cargo,
    bytes: Bytes,
    state: State,
    /// It was sent more than once.
    is_repeated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    OnTheWire(Call),
    Again,
    /// One before it has failed, so the broker will never take it under this sequence.
    Refused,
}

/// What becomes of a batch that the broker has not taken because of its sequence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OutOfOrder {
    /// One before it will be sent again, and then so will this.
    Again,
    /// Nothing can fill the gap before it.
    Torn,
}

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Queue {
    sent: VecDeque<Sent>,
    waiting: VecDeque<Load>,
    next_sequence: i32,
    /// Nothing is sent before then.
    pub(super) again_at: Duration,
    /// It was added to the open transaction.
    pub(super) is_added: bool,
}

/// How batches are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Making {
    pub(super) room: usize,
    pub(super) due: Duration,
}

impl Queue {
    /// Takes a record. `making` is asked when it begins a batch. True when it has.
    pub(super) fn push(
        &mut self,
        record: &Parts<'_>,
        weight: usize,
        now: Duration,
        largest: usize,
        answer: Option<Answer>,
        making: impl FnOnce() -> Making,
    ) -> bool {
        let fits = |load: &Load| match &load.content {
            Content::Open { batch, room } => load.cargo.records < *room && batch.len() + weight < largest,
            Content::Sealed(_) => false,
        };
        let is_new = !self.waiting.back().is_some_and(fits);
        if is_new {
            let Making { room, due } = making();
            self.waiting.push_back(Load {
                cargo: Cargo {
                    since: now,
                    ..Cargo::default()
                },
                content: Content::Open {
                    batch: Batch::new(),
                    room,
                },
                due,
            });
        }
        if let Some(load) = self.waiting.back_mut()
            && let Content::Open { batch, .. } = &mut load.content
        {
            batch.push(record);
            load.cargo.records += 1;
            load.cargo.weight += weight;
            load.cargo.answers.extend(answer);
        }
        is_new
    }

    /// Whether there is anything that may be sent now. `takes_new`: batches may be sent that never were.
    pub(super) fn is_ready(&self, now: Duration, takes_new: bool) -> bool {
        if now < self.again_at {
            return false;
        }
        let is_on_wire = |sent: &Sent| matches!(sent.state, State::OnTheWire(_));
        match self.sent.iter().position(|sent| sent.state == State::Again) {
            Some(first) => !self.sent.iter().skip(first).any(is_on_wire),
            None => takes_new && self.sent.len() < MOST_SENT && self.has_due(now),
        }
    }

    fn has_due(&self, now: Duration) -> bool {
        let is_full = self.waiting.len() > 1;
        let first = self.waiting.front();
        first.is_some_and(|load| is_full || load.due <= now || !load.has_room())
    }

    /// The batch that [`is_ready`](Self::is_ready) has found.
    pub(super) fn take(&mut self, identity: Identity, is_transactional: bool) -> Option<Bytes> {
        let again = self.sent.iter_mut().find(|sent| sent.state == State::Again);
        if let Some(sent) = again {
            sent.is_repeated = true;
            return Some(sent.bytes.clone());
        }
        let Load { cargo, content, .. } = self.waiting.pop_front()?;
        let origin = Origin {
            producer_id: identity.id,
            epoch: identity.epoch,
            first_sequence: self.next_sequence,
            is_transactional,
        };
        self.next_sequence = behind(self.next_sequence, cargo.records);
        let bytes = match content {
            Content::Open { batch, .. } => batch.seal(&origin),
            Content::Sealed(bytes) => resealed(&bytes, &origin),
        };
        self.sent.push_back(Sent {
            cargo,
            bytes: bytes.clone(),
            state: State::Again,
            is_repeated: false,
        });
        Some(bytes)
    }

    /// What was taken is on its way.
    pub(super) fn is_sent_by(&mut self, call: Call) {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.state == State::Again) {
            sent.state = State::OnTheWire(call);
        }
    }

    fn place_of(&self, call: Call) -> Option<usize> {
        let mut sent = self.sent.iter();
        sent.position(|sent| sent.state == State::OnTheWire(call))
    }

    /// It has to be sent again.
    pub(super) fn again(&mut self, call: Call, at: Duration) {
        if let Some(place) = self.place_of(call) {
            self.sent[place].state = State::Again;
            self.again_at = self.again_at.max(at);
        }
    }

    /// It is acknowledged, or has failed for good. Also whether it was sent more than once.
    pub(super) fn finish(&mut self, call: Call) -> Option<(Cargo, bool)> {
        let place = self.place_of(call)?;
        let sent = self.sent.remove(place)?;
        Some((sent.cargo, sent.is_repeated))
    }

    /// The broker has not taken it because of its sequence.
    pub(super) fn out_of_order(&mut self, call: Call, again_at: Duration) -> OutOfOrder {
        match self.place_of(call) {
            Some(place)
                if self
                    .sent
                    .iter()
                    .take(place)
                    .all(|sent| sent.state == State::Refused) =>
            {
                self.sent[place].state = State::Refused;
                OutOfOrder::Torn
            }
            _ => {
                self.again(call, again_at);
                OutOfOrder::Again
            }
        }
    }

    /// Whether nothing that was sent waits for its fate.
    pub(super) fn is_settled(&self) -> bool {
        self.sent.iter().all(|sent| sent.state == State::Refused)
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The producer begins anew under another id; what was refused comes first.
    pub(super) fn begin_anew(&mut self, now: Duration) {
        self.next_sequence = 0;
        while let Some(sent) = self.sent.pop_back() {
            self.waiting.push_front(Load {
                cargo: sent.cargo,
                content: Content::Sealed(sent.bytes),
                due: now,
            });
        }
    }

    /// Takes what was never sent, or will never be taken.
    pub(super) fn take_unsent(&mut self) -> Vec<Cargo> {
        let is_refused = |sent: &Sent| sent.state == State::Refused;
        let (refused, sent) = self.sent.drain(..).partition(is_refused);
        self.sent = sent;
        let refused: VecDeque<Sent> = refused;
        let refused = refused.into_iter().map(|sent| sent.cargo);
        let waiting = self.waiting.drain(..).map(|load| load.cargo);
        refused.chain(waiting).collect()
    }

    /// Takes everything, on the wire or not.
    pub(super) fn take_all(&mut self) -> Vec<Cargo> {
        let sent = self.sent.drain(..).map(|sent| sent.cargo);
        let sent: Vec<_> = sent.collect();
        let mut all = self.take_unsent();
        all.splice(0..0, sent);
        all
    }

    /// Takes what was queued before then and is not on the wire. Also whether any of it was sent.
    pub(super) fn take_older(&mut self, than: Duration) -> (Vec<Cargo>, bool) {
        let mut older = Vec::new();
        let is_on_wire = |sent: &Sent| matches!(sent.state, State::OnTheWire(_));
        while let Some(sent) = self.sent.front()
            && !is_on_wire(sent)
            && sent.cargo.since <= than
        {
            older.extend(self.sent.pop_front().map(|sent| sent.cargo));
        }
        let was_sent = !older.is_empty();
        while let Some(load) = self.waiting.front()
            && load.cargo.since <= than
        {
            older.extend(self.waiting.pop_front().map(|load| load.cargo));
        }
        (older, was_sent)
    }

    /// When the oldest record was queued that is not on the wire.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let sent = self
            .sent
            .front()
            .filter(|sent| !matches!(sent.state, State::OnTheWire(_)));
        let sent = sent.map(|sent| sent.cargo.since);
        let waiting = self.waiting.front().map(|load| load.cargo.since);
        sent.into_iter().chain(waiting).min()
    }

    /// When something may be sent that may not be now.
    pub(super) fn next_time(&self, now: Duration) -> Option<Duration> {
        let has_anything = !self.sent.is_empty() || self.has_waiting();
        if has_anything && now < self.again_at {
            return Some(self.again_at);
        }
        let due = self.waiting.front().map(|load| load.due);
        due.filter(|due| now < *due)
    }
}

impl Load {
    fn has_room(&self) -> bool {
        match &self.content {
            Content::Open { room, .. } => self.cargo.records < *room,
            Content::Sealed(_) => false,
        }
    }
}

/// The sequence that follows so many records; it wraps at the largest `i32`.
fn behind(sequence: i32, records: usize) -> i32 {
    let next = i64::from(sequence) + i64::try_from(records).unwrap_or(i64::MAX - (1 << 32));
    i32::try_from(next % (i64::from(i32::MAX) + 1)).unwrap_or(0)
}
