//! Arrivals, ends and finished records in any order, against a plain list of all that ever came.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::{InputBuffer, WORTH_READING_AHEAD};
use crate::record::{HeadersRef, RecordRef, pack_header};
use crate::tests::property::holds;

#[derive(Debug, Clone)]
enum Step {
    /// The group tells what it has committed, which is this far before the first offset. Heard once, before anything
    /// is done.
    Learn { before: i64 },
    /// A record comes, behind so many offsets that are none.
    Arrive { gap: i64, parts: Parts },
    /// The end of the partition is reached, behind so many offsets that are no records.
    End { gap: i64 },
    /// The keys of what comes next are asked for.
    LookAhead,
    /// The head is opened and given up.
    GiveUp,
    /// Every agent is done with the head.
    Finish,
    /// The topic is made anew with a record at this offset, unless records wait.
    Anew { offset: i64, parts: Parts },
}

#[derive(Debug, Clone)]
struct Parts {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    header: Option<Option<Vec<u8>>>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let bytes = || option::of(vec(any::<u8>(), 0..20));
    let header = option::of(bytes());
    (any::<i64>(), bytes(), bytes(), header).prop_map(|(timestamp, key, value, header)| Parts {
        timestamp,
        key,
        value,
        header,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0_i64..5).prop_map(|before| Step::Learn { before }),
        8 => (gap(), parts()).prop_map(|(gap, parts)| Step::Arrive { gap, parts }),
        3 => gap().prop_map(|gap| Step::End { gap }),
        2 => Just(Step::LookAhead),
        2 => Just(Step::GiveUp),
        8 => Just(Step::Finish),
        1 => (0_i64..50, parts()).prop_map(|(offset, parts)| Step::Anew { offset, parts }),
    ]
}

fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0_i64), 1 => 1_i64..4]
}

/// All that came, in order.
#[derive(Debug, Default)]
struct Model {
    records: Vec<Came>,
    /// What the group had committed.
    learned: Option<i64>,
    /// Whether anything is known to be done, of this topic or of one that had its name.
    anything_done: bool,
    /// Whether it is too late to learn what the group has committed.
    runs: bool,
    end: Option<i64>,
    /// Where the next record can be at the earliest.
    next: i64,
}

#[derive(Debug)]
struct Came {
    offset: i64,
    parts: Parts,
    headers: Vec<u8>,
    /// Its key was told before its turn.
    told: bool,
    done: bool,
}

impl Model {
    fn waiting(&self) -> impl Iterator<Item = &Came> {
        self.records.iter().filter(|record| !record.done)
    }

    /// The rule, by looking at everything.
    fn committable(&self) -> Option<i64> {
        let done_to = self
            .records
            .iter()
            .filter(|record| record.done)
            .map(|record| record.offset + 1)
            .max();
        match self.waiting().next() {
            Some(first) => self.anything_done.then_some(first.offset),
            None => done_to.max(self.learned).max(self.end.filter(|end| *end > 0)),
        }
    }

    fn came(&mut self, offset: i64, parts: &Parts) -> &Came {
        let mut headers = Vec::new();
        if let Some(value) = &parts.header {
            pack_header(&mut headers, "trace", value.as_deref());
        }
        self.next = offset + 1;
        self.records.push(Came {
            offset,
            parts: parts.clone(),
            headers,
            told: false,
            done: false,
        });
        self.records.last().expect("one was pushed")
    }
}

impl Came {
    fn as_ref(&self) -> RecordRef<'_> {
        RecordRef {
            topic: "t",
            partition: 4,
            offset: self.offset,
            timestamp: self.parts.timestamp,
            key: self.parts.key.as_deref(),
            value: self.parts.value.as_deref(),
            headers: HeadersRef::new(&self.headers),
        }
    }

    fn bytes(&self) -> usize {
        let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        length(&self.parts.key) + length(&self.parts.value) + self.headers.len()
    }
}

/// What can be compared of a record.
fn seen(record: RecordRef<'_>) -> impl PartialEq + std::fmt::Debug {
    let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
    (
        (record.topic.to_owned(), record.partition, record.offset),
        (record.timestamp, owned(record.key), owned(record.value)),
        record.headers.packed().to_vec(),
    )
}

fn agrees(buffer: &InputBuffer, model: &Model) -> Result<(), TestCaseError> {
    let first = model.waiting().next();
    prop_assert_eq!(buffer.head().map(seen), first.map(|record| seen(record.as_ref())));
    prop_assert_eq!(buffer.head_offset(), first.map(|record| record.offset));
    prop_assert_eq!(
        buffer.head_timestamp(),
        first.map(|record| record.parts.timestamp)
    );
    prop_assert_eq!(buffer.len(), model.waiting().count());
    let pending: usize = model.waiting().map(Came::bytes).sum();
    prop_assert_eq!(buffer.pending_bytes(), pending);
    prop_assert!(
        buffer.bytes.len() <= 2 * pending,
        "{} kept for {pending}",
        buffer.bytes.len()
    );
    prop_assert_eq!(buffer.committable(), model.committable());
    Ok(())
}

#[test]
fn the_committable_offset_passes_no_record_that_is_not_done_and_never_goes_back() {
    let steps = (0_i64..100, vec(step(), 0..60));
    holds(steps, |(first, steps)| {
        let mut buffer = InputBuffer::new("t".into(), 4);
        let mut model = Model {
            next: first,
            ..Model::default()
        };
        let mut before = None;
        for step in steps {
            match step {
                Step::Learn { before } => {
                    if !model.runs {
                        let offset = (first - before).max(0);
                        buffer.start_at(offset);
                        model.learned = Some(offset);
                        (model.runs, model.anything_done) = (true, true);
                    }
                }
                Step::Arrive { gap, parts } => {
                    let offset = model.next + gap;
                    buffer.push(model.came(offset, &parts).as_ref());
                }
                Step::End { gap } => {
                    model.next += gap;
                    model.end = Some(model.next);
                    buffer.reached(model.next);
                }
                Step::LookAhead => {
                    let waiting: Vec<_> = model.records.iter_mut().filter(|record| !record.done).collect();
                    let any =
                        waiting.len() >= WORTH_READING_AHEAD && !waiting.iter().any(|record| record.told);
                    prop_assert_eq!(buffer.has_keys_ahead(), any);
                    if any {
                        let told: Vec<_> = buffer.keys_ahead(6).map(<[u8]>::to_vec).collect();
                        let mut keys = Vec::new();
                        for record in waiting.into_iter().take(6) {
                            record.told = true;
                            keys.extend(record.parts.key.clone());
                        }
                        prop_assert_eq!(told, keys);
                    }
                }
                Step::GiveUp => drop(buffer.head().map(seen)),
                Step::Finish => {
                    buffer.pop();
                    if let Some(first) = model.records.iter_mut().find(|record| !record.done) {
                        first.done = true;
                        (model.runs, model.anything_done) = (true, true);
                    }
                }
                Step::Anew { offset, parts } => {
                    if model.waiting().next().is_some() || offset >= model.next {
                        continue;
                    }
                    model.records.clear();
                    (model.learned, model.end, model.runs) = (None, None, true);
                    before = None;
                    let came = model.came(offset, &parts);
                    buffer.push(came.as_ref());
                    if buffer.take_astray().is_some() {
                        // The client was sent back and finds nothing else.
                        buffer.push(came.as_ref());
                    }
                }
            }
            agrees(&buffer, &model)?;
            if let Some(offset) = buffer.committable() {
                prop_assert!(before <= Some(offset), "{before:?} then {offset}");
                let passed = model.waiting().find(|record| record.offset < offset);
                prop_assert!(passed.is_none(), "{offset} passes {passed:?}");
                before = Some(offset);
            }
        }
        while buffer.len() > 0 {
            buffer.pop();
        }
        if model.next > 0 {
            buffer.reached(model.next);
            prop_assert_eq!(buffer.committable(), Some(model.next));
        }
        prop_assert_eq!(buffer.pending_bytes(), 0);
        Ok(())
    });
}

#[test]
fn reading_began_at_what_was_committed_or_at_the_first_record() {
    let strategy = (
        option::of(0_i64..50),
        vec(50_i64..60, 0..5),
        option::of(60_i64..70),
    );
    holds(strategy, |(learned, arrivals, end)| {
        let mut buffer = InputBuffer::new("t".into(), 4);
        let mut model = Model::default();
        let arrivals: std::collections::BTreeSet<_> = arrivals.into_iter().collect();
        if let Some(offset) = learned {
            buffer.start_at(offset);
        }
        let parts = Parts {
            timestamp: 0,
            key: None,
            value: None,
            header: None,
        };
        for offset in &arrivals {
            buffer.push(model.came(*offset, &parts).as_ref());
        }
        if let Some(end) = end {
            buffer.reached(end);
        }
        let first = arrivals.first().copied();
        prop_assert_eq!(buffer.began(), learned.or(first).or(end));
        for _ in &arrivals {
            buffer.pop();
            prop_assert_eq!(buffer.began(), learned.or(first), "it does not move");
        }
        Ok(())
    });
}
