//! A client of a few lines that speaks single requests of transactions, to see the code of every answer:
//! librdkafka turns most of them into its own behaviour.
//!
//! Only what the cases need, in versions that both brokers speak; written without the codec of the
//! embedded broker, so that a mistake there is seen here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::bytes::{Answer, Body, batch, length};
use crate::cluster::{Cluster, DEADLINE, eventually};

/// Codes that the cases name.
pub(crate) mod code {
    pub(crate) const NONE: i16 = 0;
    pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub(crate) const ILLEGAL_GENERATION: i16 = 22;
    pub(crate) const UNKNOWN_MEMBER_ID: i16 = 25;
    pub(crate) const INVALID_REQUEST: i16 = 42;
    pub(crate) const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
    pub(crate) const INVALID_PRODUCER_EPOCH: i16 = 47;
    pub(crate) const INVALID_TXN_STATE: i16 = 48;
    pub(crate) const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
    pub(crate) const INVALID_TRANSACTION_TIMEOUT: i16 = 50;
    pub(crate) const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
    pub(crate) const OPERATION_NOT_ATTEMPTED: i16 = 55;
    pub(crate) const UNSTABLE_OFFSET_COMMIT: i16 = 88;
    pub(crate) const PRODUCER_FENCED: i16 = 90;

    /// What a coordinator says that is not ready yet: ask again.
    pub(super) const NOT_YET: [i16; 5] = [14, 15, 16, 19, 51];
}

/// A producer as its coordinator knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// Who commits offsets in a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) group: &'a str,
    pub(crate) generation: i32,
    pub(crate) id: &'a str,
    pub(crate) instance: Option<&'a str>,
}

impl<'a> Member<'a> {
    /// A client outside the group's membership.
    pub(crate) fn none(group: &'a str) -> Self {
        Self {
            group,
            generation: -1,
            id: "",
            instance: None,
        }
    }
}

/// What a fetch of one partition gives.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) high_watermark: i64,
    pub(crate) last_stable: i64,
    /// Producer and first offset of each; `None` where the broker does not say.
    pub(crate) aborted: Option<Vec<(i64, i64)>>,
    pub(crate) records: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    transactional_id: String,
}

impl Wire {
    /// Connects on behalf of a transactional id, whose coordinator is there when this returns.
    pub(crate) fn connect(cluster: &Cluster, transactional_id: &str) -> Self {
        let stream = TcpStream::connect(cluster.bootstrap()).expect("the broker listens");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a time that can be set");
        let mut wire = Self {
            stream,
            transactional_id: transactional_id.to_owned(),
        };
        for (kind, key) in [(1, transactional_id), (0, transactional_id)] {
            let body = Body::default().string(key).i8(kind);
            wire.until_ready(10, 1, &body, |answer| {
                answer.i32();
                answer.i16()
            });
        }
        wire
    }

    /// InitProducerId: with nobody, or as one who was there before.
    pub(crate) fn init(
        &mut self,
        version: i16,
        timeout_ms: i32,
        as_one: Option<Identity>,
    ) -> (i16, Identity) {
        let id = self.transactional_id.clone();
        let body = if version < 2 {
            Body::default().string(&id).i32(timeout_ms)
        } else {
            let one = as_one.unwrap_or(Identity { id: -1, epoch: -1 });
            let body = Body::default().compact(Some(&id)).i32(timeout_ms);
            body.i64(one.id).i16(one.epoch).tags()
        };
        let mut identity = Identity { id: -1, epoch: -1 };
        let code = self.until_ready(22, version, &body, |answer| {
            answer.i32();
            let code = answer.i16();
            identity = Identity {
                id: answer.i64(),
                epoch: answer.i16(),
            };
            code
        });
        (code, identity)
    }

    /// InitProducerId that has to work.
    pub(crate) fn begin(&mut self) -> Identity {
        let (code, identity) = self.init(4, 60_000, None);
        assert_eq!(code, code::NONE);
        identity
    }

    /// AddPartitionsToTxn; a code for each partition.
    pub(crate) fn add(&mut self, version: i16, who: Identity, topic: &str, partitions: &[i32]) -> Vec<i16> {
        let id = self.transactional_id.clone();
        let mut body = Body::default().string(&id).i64(who.id).i16(who.epoch);
        body = body.i32(1).string(topic).i32(length(partitions.len()));
        for partition in partitions {
            body = body.i32(*partition);
        }
        let mut codes = Vec::new();
        self.until_ready(24, version, &body, |answer| {
            answer.i32();
            answer.i32();
            answer.string();
            let answered: Vec<(i32, i16)> = (0..answer.i32()).map(|_| (answer.i32(), answer.i16())).collect();
            // They come in any order.
            let code_of = |partition| answered.iter().find(|(answered, _)| answered == partition);
            let found = partitions
                .iter()
                .map(|partition| code_of(partition).expect("all are answered").1);
            codes = found.collect();
            codes.first().copied().unwrap_or_default()
        });
        codes
    }

    /// AddOffsetsToTxn.
    pub(crate) fn add_offsets(&mut self, version: i16, who: Identity, group: &str) -> i16 {
        let id = self.transactional_id.clone();
        let body = Body::default().string(&id).i64(who.id).i16(who.epoch);
        self.until_ready(25, version, &body.string(group), |answer| {
            answer.i32();
            answer.i16()
        })
    }

    /// TxnOffsetCommit of partition 0.
    pub(crate) fn commit_offset(
        &mut self,
        who: Identity,
        member: Member<'_>,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> i16 {
        let id = self.transactional_id.clone();
        let body = Body::default().compact(Some(&id)).compact(Some(member.group));
        let body = body.i64(who.id).i16(who.epoch).i32(member.generation);
        let body = body.compact(Some(member.id)).compact(member.instance);
        let body = body.i8(2).compact(Some(topic)).i8(2);
        let body = body.i32(partition).i64(offset).i32(-1).compact(Some("")).tags();
        self.until_ready(28, 3, &body.tags().tags(), |answer| {
            answer.i32();
            assert_eq!(answer.i8(), 2, "one topic");
            answer.compact();
            assert_eq!(answer.i8(), 2, "one partition");
            answer.i32();
            answer.i16()
        })
    }

    /// EndTxn.
    pub(crate) fn end(&mut self, version: i16, who: Identity, commit: bool) -> i16 {
        let id = self.transactional_id.clone();
        let body = Body::default().string(&id).i64(who.id).i16(who.epoch);
        self.until_ready(26, version, &body.i8(i8::from(commit)), |answer| {
            answer.i32();
            answer.i16()
        })
    }

    /// Produce of one record to partition 0; the code and the offset.
    pub(crate) fn produce(
        &mut self,
        transactional_id: Option<&str>,
        who: Identity,
        topic: &str,
        sequence: i32,
        is_transactional: bool,
    ) -> (i16, i64) {
        let records = batch(who, sequence, is_transactional);
        let body = match transactional_id {
            Some(id) => Body::default().string(id),
            None => Body::default().i16(-1),
        };
        let body = body.i16(-1).i32(30_000).i32(1).string(topic).i32(1).i32(0);
        let body = body.i32(length(records.len())).bytes(&records);
        let mut offset = -1;
        let code = self.until_ready(0, 3, &body, |answer| {
            answer.i32();
            answer.string();
            answer.i32();
            answer.i32();
            let code = answer.i16();
            offset = answer.i64();
            code
        });
        (code, offset)
    }

    /// Produce in the transaction; the offset.
    pub(crate) fn put(&mut self, who: Identity, topic: &str, sequence: i32) -> i64 {
        let id = self.transactional_id.clone();
        let (code, offset) = self.produce(Some(&id), who, topic, sequence, true);
        assert_eq!(code, code::NONE);
        offset
    }

    /// Produce in the transaction; the code.
    pub(crate) fn try_put(&mut self, who: Identity, topic: &str, sequence: i32) -> i16 {
        let id = self.transactional_id.clone();
        self.produce(Some(&id), who, topic, sequence, true).0
    }

    /// Fetch of partition 0 that does not wait.
    pub(crate) fn fetch(&mut self, topic: &str, from: i64, committed: bool) -> Fetched {
        let body = Body::default().i32(-1).i32(0).i32(0).i32(1 << 20);
        let body = body.i8(i8::from(committed)).i32(1).string(topic).i32(1);
        let mut fetched = None;
        self.until_ready(1, 4, &body.i32(0).i64(from).i32(1 << 20), |answer| {
            answer.i32();
            answer.i32();
            answer.string();
            answer.i32();
            answer.i32();
            assert_eq!(answer.i16(), code::NONE);
            let (high_watermark, last_stable) = (answer.i64(), answer.i64());
            let count = answer.i32();
            let aborted = (0..count).map(|_| (answer.i64(), answer.i64())).collect();
            let size = usize::try_from(answer.i32()).expect("there are records, if no bytes");
            fetched = Some(Fetched {
                high_watermark,
                last_stable,
                aborted: (count >= 0).then_some(aborted),
                records: answer.take(size).to_vec(),
            });
            code::NONE
        });
        fetched.expect("it is answered")
    }

    /// The end of partition 0 (ListOffsets), or of what is committed.
    pub(crate) fn end_offset(&mut self, topic: &str, committed: bool) -> i64 {
        self.offset_of(topic, -1, committed)
    }

    /// The offset of a time in partition 0 (ListOffsets).
    pub(crate) fn offset_of(&mut self, topic: &str, time: i64, committed: bool) -> i64 {
        let body = Body::default().i32(-1).i8(i8::from(committed)).i32(1);
        let mut offset = -1;
        self.until_ready(2, 2, &body.string(topic).i32(1).i32(0).i64(time), |answer| {
            answer.i32();
            answer.i32();
            answer.string();
            answer.i32();
            answer.i32();
            let code = answer.i16();
            answer.i64();
            offset = answer.i64();
            code
        });
        offset
    }

    /// OffsetFetch of one partition; the code and the offset.
    pub(crate) fn committed(&mut self, group: &str, topic: &str, stable: bool) -> (i16, i64) {
        let body = Body::default().compact(Some(group)).i8(2).compact(Some(topic));
        let body = body.i8(2).i32(0).tags().i8(i8::from(stable)).tags();
        let (mut code, mut offset) = (0, -1);
        self.until_ready(9, 7, &body, |answer| {
            answer.i32();
            assert_eq!(answer.i8(), 2, "one topic");
            answer.compact();
            assert_eq!(answer.i8(), 2, "one partition");
            answer.i32();
            offset = answer.i64();
            answer.i32();
            answer.compact();
            code = answer.i16();
            code
        });
        (code, offset)
    }

    fn until_ready(
        &mut self,
        api: i16,
        version: i16,
        body: &Body,
        mut read: impl FnMut(&mut Answer) -> i16,
    ) -> i16 {
        eventually("the broker is ready to answer", || {
            let code = read(&mut self.ask(api, version, body));
            let again = code::NOT_YET.contains(&code);
            if again {
                std::thread::sleep(Duration::from_millis(20));
            }
            (!again).then_some(code)
        })
    }

    fn ask(&mut self, api: i16, version: i16, body: &Body) -> Answer {
        let is_flexible = match api {
            22 => version >= 2,
            28 => version >= 3,
            9 => version >= 6,
            _ => false,
        };
        let mut head = Body::default().i16(api).i16(version).i32(1).string("wire");
        if is_flexible {
            head = head.tags();
        }
        let frame = head.bytes(&body.0).0;
        let length = i32::try_from(frame.len()).expect("short").to_be_bytes();
        self.stream.write_all(&length).expect("it is sent");
        self.stream.write_all(&frame).expect("it is sent");
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).expect("it is answered");
        let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
        self.stream.read_exact(&mut bytes).expect("the answer is whole");
        let mut answer = Answer::new(bytes);
        answer.i32();
        if is_flexible {
            answer.i8();
        }
        answer
    }
}
