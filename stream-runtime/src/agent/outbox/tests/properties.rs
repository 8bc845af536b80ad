//! Sends, seals and undoings in any order, against three plain lists.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::{Entry, Outbox};
use crate::kafka::OutgoingRecord;
use crate::tests::property::holds;

#[derive(Debug, Clone, PartialEq)]
struct Sent {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<u8>,
    partition: Option<i32>,
    timestamp: Option<i64>,
}

#[derive(Debug, Clone)]
enum Step {
    Send(Sent),
    /// A part of it does not encode.
    Abandon(Sent),
    SealAgent,
    SealRecord,
    UndoAgent,
    UndoRecord,
    /// The producer takes so many.
    Drain(usize),
}

fn sent() -> impl Strategy<Value = Sent> {
    let bytes = || vec(any::<u8>(), 0..6);
    let parts = (option::of(bytes()), option::of(bytes()), bytes());
    (parts, option::of(0..9), option::of(any::<i64>())).prop_map(
        |((key, value, headers), partition, timestamp)| Sent {
            key,
            value,
            headers,
            partition,
            timestamp,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => sent().prop_map(Step::Send),
        1 => sent().prop_map(Step::Abandon),
        2 => Just(Step::SealAgent),
        2 => Just(Step::SealRecord),
        1 => Just(Step::UndoAgent),
        1 => Just(Step::UndoRecord),
        2 => (0_usize..6).prop_map(Step::Drain),
    ]
}

fn stage(outbox: &mut Outbox, sent: &Sent, finish: bool) {
    let mut staging = outbox.stage("t".into());
    let part = |part: &Option<Vec<u8>>, bytes: &mut Vec<u8>| {
        bytes.extend_from_slice(part.as_deref().unwrap_or_default());
        part.is_some()
    };
    staging.key(|bytes| part(&sent.key, bytes));
    staging.value(|bytes| part(&sent.value, bytes));
    staging
        .headers(&sent.headers)
        .partition(sent.partition)
        .timestamp(sent.timestamp);
    if finish {
        staging.finish();
    } else {
        staging.abandon();
    }
}

fn owned(record: &OutgoingRecord<'_>) -> Sent {
    Sent {
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record.headers.to_vec(),
        partition: record.partition,
        timestamp: record.timestamp,
    }
}

#[test]
fn what_is_sent_is_what_finished_records_sent_in_their_order() {
    holds(vec(step(), 0..60), |steps| {
        let mut outbox = Outbox::default();
        let (mut sealed, mut of_agents, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Send(sent) => {
                    stage(&mut outbox, &sent, true);
                    open.push(sent);
                }
                Step::Abandon(sent) => stage(&mut outbox, &sent, false),
                Step::SealAgent => {
                    outbox.seal_agent();
                    of_agents.append(&mut open);
                }
                Step::SealRecord => {
                    outbox.seal();
                    sealed.append(&mut of_agents);
                    sealed.append(&mut open);
                }
                Step::UndoAgent => {
                    outbox.undo_agent();
                    open.clear();
                }
                Step::UndoRecord => {
                    outbox.undo();
                    of_agents.clear();
                    open.clear();
                }
                Step::Drain(most) => {
                    let mut drained = Vec::new();
                    outbox.drain(|record| {
                        let takes = drained.len() < most;
                        if takes {
                            drained.push(owned(&record));
                        }
                        takes
                    });
                    let expected: Vec<_> = sealed.drain(..most.min(sealed.len())).collect();
                    prop_assert_eq!(drained, expected);
                }
            }
            prop_assert_eq!(outbox.has_sealed(), !sealed.is_empty());
            let size = |sent: &Sent| {
                let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
                length(&sent.key) + length(&sent.value) + sent.headers.len()
            };
            let waiting: usize = sealed.iter().chain(&of_agents).chain(&open).map(size).sum();
            let waiting = waiting + (sealed.len() + of_agents.len() + open.len()) * size_of::<Entry>();
            prop_assert!(outbox.bytes() >= waiting, "{} for {waiting}", outbox.bytes());
            prop_assert!(outbox.has_sealed() || outbox.bytes() == waiting);
        }
        outbox.undo();
        let mut rest = Vec::new();
        outbox.drain(|record| {
            rest.push(owned(&record));
            true
        });
        prop_assert_eq!(rest, sealed);
        prop_assert_eq!(outbox.bytes(), 0);
        Ok(())
    });
}
