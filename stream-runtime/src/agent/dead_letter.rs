//! Dead letters: records that an agent gave up, as they were, with headers that say where they come from and why.
//!
//! The names of the headers are here and nowhere else. All values are text: numbers in decimal, times in
//! milliseconds since the Unix epoch. They stand behind the record's own headers, [`APP`] first; so a dead letter that is given up once more, by an agent that reads it, keeps both accounts.
//!
//! Not here: when a record is given up (`cluster::failures`), reading and replaying dead letters (`app`).

use super::context::TaskContext;
use crate::record::codecs::Raw;
use crate::record::topic::{AnyKey, AnyKeyCodec, Ownership, Topic, TopicDef, TopicOptions};
use crate::record::{HeadersRef, Location, pack_header};

/// The id of the program.
pub const APP: &str = "stream.dead-letter.app";
/// The agent that failed.
pub const AGENT: &str = "stream.dead-letter.agent";
/// The topic that the record came from.
pub const TOPIC: &str = "stream.dead-letter.topic";
/// Its partition there.
pub const PARTITION: &str = "stream.dead-letter.partition";
/// Its offset there.
pub const OFFSET: &str = "stream.dead-letter.offset";
/// Its timestamp there; the dead letter has the same. Missing where the record had none.
pub const TIMESTAMP: &str = "stream.dead-letter.timestamp";
/// What happened: `error`, `panic` or `decode`.
pub const ERROR: &str = "stream.dead-letter.error";
/// The message, cut to 1024 bytes, and to less where the record would become too large to be sent.
pub const MESSAGE: &str = "stream.dead-letter.message";
/// How often the record was tried.
pub const ATTEMPTS: &str = "stream.dead-letter.attempts";
/// When it was given up.
pub const FAILED_AT: &str = "stream.dead-letter.failed-at";
/// How often the record was replayed: a header of the records that a replay sends, and so of the dead letters that
/// become of them.
pub const REPLAYS: &str = "stream.dead-letter.replays";

/// The declared name of the topic that a program has for its dead letters.
pub(crate) const DEAD_LETTERS: &str = "dead-letters";

/// The topic of the program's own: kept until somebody deletes it. Dead letters have the times of their records, so
/// any retention would delete those of old records at once.
static OF_PROGRAM: Topic<AnyKey, Vec<u8>> = Topic::__new::<AnyKeyCodec, Raw>(TopicOptions {
    ownership: Ownership::Internal,
    retention_ms: Some(-1),
    doc: "Records that agents gave up.",
    ..TopicOptions::named(
        DEAD_LETTERS,
        Location {
            file: "on_error = dead_letter",
            line: 0,
            module: "stream_runtime",
        },
    )
});

/// The topic of `on_error = dead_letter`: `<app>-dead-letters`.
#[doc(hidden)]
pub fn dead_letters() -> &'static TopicDef {
    OF_PROGRAM.def()
}

/// The longest message in bytes.
const MESSAGE_BYTES: usize = 1024;
/// What a client adds to a record that it sends, at most.
const OVERHEAD: usize = 128;

/// Why a record is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason<'a> {
    pub agent: &'a str,
    /// `error`, `panic` or `decode`.
    pub error: &'a str,
    pub message: &'a str,
    pub attempts: u32,
    /// Milliseconds since the Unix epoch.
    pub failed_at: i64,
}

/// Sends the open record of the task to `topic`, as part of that record.
///
/// # Errors
/// When it cannot be sent: nothing is, then.
pub(crate) fn send(task: &TaskContext, topic: &TopicDef, reason: &Reason<'_>) -> Result<(), String> {
    let Some(name) = task.names.get(topic).cloned() else {
        return Err(format!("topic `{}` is not part of this program", topic.name));
    };
    let limit = task.max_record_bytes.saturating_sub(OVERHEAD);
    let sent = task.with_open(|record| {
        let mut headers = record.headers.packed().to_vec();
        let mut put = |name: &str, value: &str| pack_header(&mut headers, name, Some(value.as_bytes()));
        put(APP, task.names.app());
        put(AGENT, reason.agent);
        put(TOPIC, record.topic);
        put(PARTITION, &record.partition.to_string());
        put(OFFSET, &record.offset.to_string());
        if record.timestamp >= 0 {
            put(TIMESTAMP, &record.timestamp.to_string());
        }
        put(ERROR, reason.error);
        put(ATTEMPTS, &reason.attempts.to_string());
        put(FAILED_AT, &reason.failed_at.to_string());
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let bytes = length(record.key) + length(record.value) + headers.len() + MESSAGE.len() + 8;
        let Some(room) = limit.checked_sub(bytes) else {
            return Err(format!(
                "with the headers that say where it comes from it has {bytes} bytes, and producers send {limit}: raise \
                 `message.max.bytes` here (`--set message.max.bytes=…`) and `max.message.bytes` of topic `{name}`"
            ));
        };
        let message = cut(reason.message, room.min(MESSAGE_BYTES));
        pack_header(&mut headers, MESSAGE, Some(message.as_bytes()));
        let mut outbox = task.outbox.borrow_mut();
        let mut staging = outbox.stage(name);
        let part = |part: Option<&[u8]>, bytes: &mut Vec<u8>| {
            bytes.extend_from_slice(part.unwrap_or_default());
            part.is_some()
        };
        staging.key(|bytes| part(record.key, bytes));
        staging.value(|bytes| part(record.value, bytes));
        staging
            .headers(&headers)
            .timestamp(Some(record.timestamp).filter(|timestamp| *timestamp >= 0));
        staging.finish();
        Ok(())
    });
    sent.unwrap_or_else(|| Err("no record is open".to_owned()))
}

/// The first bytes of a text, whole characters only.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Where a dead letter comes from and why, as its headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provenance {
    pub app: String,
    pub agent: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub error: String,
    pub message: String,
    pub attempts: u32,
    pub failed_at: i64,
    /// How often it had been replayed before it failed.
    pub replays: u32,
}

impl Provenance {
    /// Reads the last account in the headers; `None` where there is none, and so no dead letter.
    pub(crate) fn read(headers: HeadersRef<'_>) -> Option<Self> {
        let all: Vec<_> = headers.iter().collect();
        let begins = all.iter().rposition(|(name, _)| *name == APP)?;
        let last = |of: &[(&str, Option<&[u8]>)], name: &str| {
            let (_, value) = of.iter().rfind(|(found, _)| *found == name)?;
            Some(String::from_utf8_lossy((*value)?).into_owned())
        };
        let text = |name: &str| last(&all[begins..], name);
        fn number<T: std::str::FromStr>(text: Option<String>) -> Option<T> {
            text?.parse().ok()
        }
        Some(Self {
            app: text(APP)?,
            agent: text(AGENT)?,
            topic: text(TOPIC)?,
            partition: number(text(PARTITION))?,
            offset: number(text(OFFSET))?,
            timestamp: number(text(TIMESTAMP)),
            error: text(ERROR).unwrap_or_default(),
            message: text(MESSAGE).unwrap_or_default(),
            attempts: number(text(ATTEMPTS)).unwrap_or_default(),
            failed_at: number(text(FAILED_AT)).unwrap_or_default(),
            replays: number(last(&all, REPLAYS)).unwrap_or_default(),
        })
    }
}

/// The headers of a dead letter as a replay sends them, packed: without the last account, and with one replay more.
pub(crate) fn headers_of_replay(headers: HeadersRef<'_>) -> Vec<u8> {
    let all: Vec<_> = headers.iter().collect();
    let begins = all.iter().rposition(|(name, _)| *name == APP);
    let ours = [
        APP, AGENT, TOPIC, PARTITION, OFFSET, TIMESTAMP, ERROR, MESSAGE, ATTEMPTS, FAILED_AT,
    ];
    let mut packed = Vec::new();
    for (at, (name, value)) in all.iter().enumerate() {
        let of_account = begins.is_some_and(|begins| at >= begins) && ours.contains(name);
        if !of_account && *name != REPLAYS {
            pack_header(&mut packed, name, *value);
        }
    }
    let replays = Provenance::read(headers).map_or(0, |provenance| provenance.replays);
    let replays = replays.saturating_add(1).to_string();
    pack_header(&mut packed, REPLAYS, Some(replays.as_bytes()));
    packed
}

#[cfg(test)]
mod tests {
    mod properties;

    use std::cell::{Cell, RefCell};
    use std::sync::Arc;

    use super::*;
    use crate::agent::context::TopicNames;
    use crate::agent::input::InputBuffer;
    use crate::record::RecordRef;

    /// A task with this record open, and producers that send so much.
    fn task(value: &[u8], headers: &[(&str, &str)], max_record_bytes: usize) -> TaskContext {
        let mut packed = Vec::new();
        for (name, value) in headers {
            pack_header(&mut packed, name, Some(value.as_bytes()));
        }
        task_at(
            RecordRef {
                topic: "orders",
                partition: 3,
                offset: 17,
                timestamp: 1000,
                key: Some(b"\x00key"),
                value: Some(value),
                headers: HeadersRef::new(&packed),
            },
            max_record_bytes,
        )
    }

    /// A task with this record open.
    fn task_at(record: RecordRef<'_>, max_record_bytes: usize) -> TaskContext {
        let mut buffer = InputBuffer::new(record.topic.into(), record.partition);
        buffer.push(record);
        let names = vec![(DEAD_LETTERS, Arc::from("shop-dead-letters"), 8)];
        TaskContext {
            name: "orders/3".to_owned(),
            inputs: vec![RefCell::new(buffer)],
            shards: RefCell::default(),
            outbox: RefCell::default(),
            names: Arc::new(TopicNames::new("shop".into(), names)),
            open: Cell::new(Some(0)),
            failure: RefCell::new(None),
            store_failure: RefCell::new(None),
            max_record_bytes,
            detached: false,
        }
    }

    const REASON: Reason<'_> = Reason {
        agent: "ship",
        error: "error",
        message: "no stock",
        attempts: 4,
        failed_at: 2000,
    };

    /// What was sent: topic, key, value, packed headers, timestamp.
    type Sent = (String, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>, Option<i64>);

    fn sent(task: &TaskContext) -> Sent {
        let mut sent = None;
        let mut outbox = task.outbox.borrow_mut();
        outbox.seal();
        outbox.drain(|record| {
            assert_eq!(record.partition, None, "the key decides");
            sent = Some((
                record.topic.to_string(),
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                record.headers.to_vec(),
                record.timestamp,
            ));
            true
        });
        sent.expect("a dead letter was sent")
    }

    #[test]
    fn a_dead_letter_keeps_its_bytes_and_says_where_it_comes_from() {
        let task = task(b"\xff\x00", &[("trace", "1"), ("trace", "2")], 1_000_000);
        send(&task, dead_letters(), &REASON).expect("it fits");
        let (topic, key, value, headers, timestamp) = sent(&task);
        assert_eq!(topic, "shop-dead-letters");
        assert_eq!(
            (key, value),
            (Some(b"\x00key".to_vec()), Some(b"\xff\x00".to_vec()))
        );
        assert_eq!(timestamp, Some(1000));
        let headers = HeadersRef::new(&headers);
        let own: Vec<_> = headers.iter().take(2).collect();
        assert_eq!(own, [("trace", Some(&b"1"[..])), ("trace", Some(&b"2"[..]))]);
        assert_eq!(
            Provenance::read(headers),
            Some(Provenance {
                app: "shop".to_owned(),
                agent: "ship".to_owned(),
                topic: "orders".to_owned(),
                partition: 3,
                offset: 17,
                timestamp: Some(1000),
                error: "error".to_owned(),
                message: "no stock".to_owned(),
                attempts: 4,
                failed_at: 2000,
                replays: 0,
            })
        );
    }

    #[test]
    fn the_message_gives_way_and_the_record_never_does() {
        let long = Reason {
            message: &"é".repeat(2000),
            ..REASON
        };
        let message = |task: &TaskContext| {
            let (_, _, value, headers, _) = sent(task);
            assert_eq!(value.map(|value| value.len()), Some(5000));
            let provenance = Provenance::read(HeadersRef::new(&headers)).expect("it is a dead letter");
            provenance.message.len()
        };
        let roomy = task(&[7; 5000], &[], 100_000);
        send(&roomy, dead_letters(), &long).expect("it fits");
        assert_eq!(message(&roomy), MESSAGE_BYTES);
        let mut largest = 0;
        for limit in 5000..6000 {
            let narrow = task(&[7; 5000], &[], limit);
            match send(&narrow, dead_letters(), &long) {
                Err(problem) => {
                    assert_eq!(largest, 0, "what fits a smaller limit fits this one");
                    assert!(problem.contains("message.max.bytes"), "{problem}");
                    assert!(!narrow.outbox.borrow().has_sealed());
                }
                Ok(()) => {
                    let length = message(&narrow);
                    assert!(
                        length >= largest && length < MESSAGE_BYTES,
                        "{length} for {limit}"
                    );
                    largest = length;
                }
            }
        }
        assert!(largest > 100);
    }

    #[test]
    fn a_replay_takes_the_last_account_away_and_counts() {
        let first = task(b"1", &[("trace", "1")], 10_000);
        send(&first, dead_letters(), &REASON).expect("it fits");
        let (_, _, _, headers, _) = sent(&first);
        let names = |packed: &[u8]| -> Vec<String> {
            let headers = HeadersRef::new(packed);
            headers.iter().map(|(name, _)| name.to_owned()).collect()
        };
        let replayed = headers_of_replay(HeadersRef::new(&headers));
        assert_eq!(names(&replayed), ["trace", REPLAYS]);

        // It fails again, and is replayed again.
        let pairs = [("trace", "1"), (REPLAYS, "1")];
        let again = task(b"1", &pairs, 10_000);
        send(&again, dead_letters(), &REASON).expect("it fits");
        let (_, _, _, headers, _) = sent(&again);
        let provenance = Provenance::read(HeadersRef::new(&headers)).expect("it is a dead letter");
        assert_eq!(provenance.replays, 1);
        let replayed = headers_of_replay(HeadersRef::new(&headers));
        assert_eq!(names(&replayed), ["trace", REPLAYS]);
        assert_eq!(
            HeadersRef::new(&replayed).iter().last(),
            Some((REPLAYS, Some(&b"2"[..])))
        );
    }

    #[test]
    fn a_dead_letter_that_is_given_up_keeps_both_accounts() {
        let earlier = [
            (APP, "shop"),
            (AGENT, "inspect"),
            (TOPIC, "before"),
            (PARTITION, "0"),
            (OFFSET, "1"),
        ];
        let task = task(b"1", &earlier, 10_000);
        send(&task, dead_letters(), &REASON).expect("it fits");
        let (_, _, _, headers, _) = sent(&task);
        let provenance = Provenance::read(HeadersRef::new(&headers)).expect("it is a dead letter");
        assert_eq!((&*provenance.topic, &*provenance.agent), ("orders", "ship"));
        let replayed = headers_of_replay(HeadersRef::new(&headers));
        let back = Provenance::read(HeadersRef::new(&replayed)).expect("the first account is there");
        assert_eq!((&*back.topic, &*back.agent), ("before", "inspect"));
    }

    #[test]
    fn a_record_of_others_is_no_dead_letter() {
        assert_eq!(Provenance::read(HeadersRef::default()), None);
    }
}
