//! Batches as a producer makes them and as a consumer finds them, without the broker's own code.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::records::{Compression, RecordBatchDecoder, TimestampType};
use std::io::{Read, Write};

use crate::broker::tests::fixture::varint;

const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// A record, sent or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Option<String>,
    /// `None` is a tombstone.
    pub(super) value: Option<String>,
    pub(super) timestamp: i64,
}

/// A batch that is sent.
#[derive(Debug, Clone)]
pub(super) struct Sent<'a> {
    pub(super) records: &'a [Record],
    /// Id, epoch and the first sequence.
    pub(super) producer: (i64, i16, i32),
    pub(super) is_transactional: bool,
    /// None, gzip, Snappy or LZ4, by the protocol's number.
    pub(super) codec: u8,
}

impl<'a> Sent<'a> {
    pub(super) fn plain(records: &'a [Record]) -> Self {
        Self {
            records,
            producer: (-1, -1, -1),
            is_transactional: false,
            codec: 0,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let times = self.records.iter().map(|record| record.timestamp);
        let base_time = self.records.first().map_or(0, |record| record.timestamp);
        let count = number(self.records.len());
        let mut checked = BytesMut::new();
        checked.put_i16(i16::from(self.codec) | if self.is_transactional { TRANSACTIONAL } else { 0 });
        checked.put_i32(count - 1);
        checked.put_i64(base_time);
        checked.put_i64(times.max().unwrap_or(0));
        checked.put_i64(self.producer.0);
        checked.put_i16(self.producer.1);
        checked.put_i32(self.producer.2);
        checked.put_i32(count);
        checked.put_slice(&pack(&self.payload(base_time), self.codec));
        let mut whole = BytesMut::new();
        whole.put_i64(0);
        whole.put_i32(number(checked.len() + 9));
        whole.put_i32(-1);
        whole.put_i8(2);
        whole.put_u32(crc32c::crc32c(&checked));
        whole.put_slice(&checked);
        whole.freeze()
    }

    fn payload(&self, base_time: i64) -> BytesMut {
        let mut payload = BytesMut::new();
        for (delta, record) in (0..).zip(self.records) {
            let mut body = BytesMut::new();
            body.put_i8(0);
            varint(&mut body, record.timestamp - base_time);
            varint(&mut body, delta);
            for part in [&record.key, &record.value] {
                varint(
                    &mut body,
                    part.as_ref().map_or(-1, |part| i64::from(number(part.len()))),
                );
                body.put_slice(part.as_deref().unwrap_or_default().as_bytes());
            }
            varint(&mut body, 0);
            varint(&mut payload, i64::from(number(body.len())));
            payload.put_slice(&body);
        }
        payload
    }
}

/// A batch out of an answer to Fetch.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) base: i64,
    /// The last offset it ever had, whatever is left of its records.
    pub(super) last: i64,
    pub(super) producer_id: i64,
    pub(super) is_transactional: bool,
    pub(super) is_control: bool,
    pub(super) size: usize,
    /// With their offsets.
    pub(super) records: Vec<(i64, Record)>,
    /// Whether a control batch aborts.
    pub(super) aborts: bool,
}

/// The batches of an answer to Fetch; a cut one does not occur, since this broker sends whole ones.
pub(super) fn read(mut bytes: Bytes) -> Vec<Found> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = i32::from_be_bytes(array(&bytes, 8));
        let size = usize::try_from(length).expect("a length is no negative number") + 12;
        assert!(size <= bytes.len(), "a batch is cut short");
        found.push(read_one(&bytes.split_to(size)));
    }
    found
}

fn read_one(batch: &Bytes) -> Found {
    let base = i64::from_be_bytes(array(batch, 0));
    let attributes = i16::from_be_bytes(array(batch, 21));
    let max_time = i64::from_be_bytes(array(batch, 35));
    let is_control = attributes & CONTROL != 0;
    let unpacked = Some(|bytes: &mut Bytes, codec| Ok(unpack(bytes, codec)));
    let set = RecordBatchDecoder::decode_with_custom_compression(&mut batch.clone(), unpacked);
    let set = set.expect("the broker gives whole batches with their checksum");
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let aborts = is_control && set.records[0].key.as_deref() == Some(&[0, 0, 0, 0]);
    let records = set.records.iter().map(|record| {
        let timestamp = match record.timestamp_type {
            TimestampType::Creation => record.timestamp,
            TimestampType::LogAppend => max_time,
        };
        let (key, value) = (record.key.as_ref().map(text), record.value.as_ref().map(text));
        let record_read = Record {
            key,
            value,
            timestamp,
        };
        (record.offset, record_read)
    });
    Found {
        base,
        last: base + i64::from(i32::from_be_bytes(array(batch, 23))),
        producer_id: i64::from_be_bytes(array(batch, 43)),
        is_transactional: attributes & TRANSACTIONAL != 0,
        is_control,
        size: batch.len(),
        records: records.collect(),
        aborts,
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok())
        .expect("a batch has its whole header")
}

fn pack(payload: &[u8], codec: u8) -> Vec<u8> {
    match codec {
        1 => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(payload).expect("memory takes it");
            gzip.finish().expect("memory takes it")
        }
        2 => snap::raw::Encoder::new()
            .compress_vec(payload)
            .expect("a small block"),
        3 => {
            let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
            lz4.write_all(payload).expect("memory takes it");
            lz4.finish().expect("memory takes it")
        }
        _ => payload.to_vec(),
    }
}

fn unpack(mut payload: &[u8], codec: Compression) -> Bytes {
    let mut out = Vec::new();
    match codec {
        Compression::Gzip => flate2::read::GzDecoder::new(payload).read_to_end(&mut out),
        Compression::Lz4 => lz4_flex::frame::FrameDecoder::new(payload).read_to_end(&mut out),
        Compression::Snappy => {
            out = snap::raw::Decoder::new().decompress_vec(payload).expect("Snappy");
            Ok(out.len())
        }
        _ => payload.read_to_end(&mut out),
    }
    .expect("what was packed can be unpacked");
    Bytes::from(out)
}

fn number(count: usize) -> i32 {
    i32::try_from(count).expect("tests send little")
}
