//! Record batches as producers make them: format 2, not compressed.
//!
//! A batch is written as its records come; who sends it, and its checksum, are put in when it is sealed. Not here: which
//! records go into one batch ([`super::delivery`]), and reading batches.

use bytes::{BufMut, Bytes, BytesMut};

use crate::record::HeadersRef;

/// Bytes before the first record.
const HEADER: usize = 61;
/// Where the part begins that the checksum covers.
const CHECKED: usize = 21;
/// The length in the header does not count itself and what is before it.
const BEFORE_LENGTH: usize = 12;
const FORMAT: u8 = 2;
const NO_LEADER_EPOCH: i32 = -1;
const TRANSACTIONAL: i16 = 1 << 4;

/// Who sends a batch, and its place among those that the same producer sends to its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    pub(super) first_sequence: i32,
    pub(super) is_transactional: bool,
}

impl Origin {
    /// Somebody who is not idempotent.
    pub(super) const NOBODY: Self = Self {
        producer_id: -1,
        epoch: -1,
        first_sequence: -1,
        is_transactional: false,
    };
}

/// What a record consists of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: HeadersRef<'a>,
    pub(super) timestamp: i64,
}

/// A batch that takes records.
#[derive(Debug)]
pub(super) struct Batch {
    /// Room for the header, and the records.
    bytes: BytesMut,
    records: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            bytes: BytesMut::zeroed(HEADER),
            records: 0,
            base_timestamp: 0,
            max_timestamp: i64::MIN,
        }
    }

    pub(super) fn push(&mut self, record: &Parts<'_>) {
        if self.records == 0 {
            self.base_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let time = record.timestamp - self.base_timestamp;
        let offset = i64::from(self.records);
        self.records += 1;
        let headers = record.headers.iter();
        let (count, packed) = headers.fold((0, 0), |(count, size), (name, value)| {
            (
                count + 1,
                size + run_length(Some(name.as_bytes())) + run_length(value),
            )
        });
        // One byte of attributes, which records do not use.
        let size = 1
            + varint_length(time)
            + varint_length(offset)
            + run_length(record.key)
            + run_length(record.value)
            + varint_length(count)
            + packed;
        let out = &mut self.bytes;
        out.reserve(size + 5);
        put_varint(out, length(size));
        out.put_u8(0);
        put_varint(out, time);
        put_varint(out, offset);
        put_run(out, record.key);
        put_run(out, record.value);
        put_varint(out, count);
        for (name, value) in record.headers.iter() {
            put_run(out, Some(name.as_bytes()));
            put_run(out, value);
        }
    }

    /// The size so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Ends the batch: these are the bytes to be sent.
    pub(super) fn seal(mut self, origin: &Origin) -> Bytes {
        let checked = length(self.bytes.len() - BEFORE_LENGTH);
        let mut header = &mut self.bytes[..HEADER];
        header.put_i64(0);
        header.put_i32(i32::try_from(checked).expect("a batch is smaller than 2 GiB"));
        header.put_i32(NO_LEADER_EPOCH);
        header.put_u8(FORMAT);
        header.put_u32(0);
        header.put_i16(0);
        header.put_i32(self.records - 1);
        header.put_i64(self.base_timestamp);
        header.put_i64(self.max_timestamp);
        header.put_bytes(0, 14);
        header.put_i32(self.records);
        sign(&mut self.bytes, origin);
        self.bytes.freeze()
    }
}

/// A sealed batch as somebody else sends it, or at another place: a copy.
pub(super) fn resealed(batch: &[u8], origin: &Origin) -> Bytes {
    let mut bytes = BytesMut::from(batch);
    sign(&mut bytes, origin);
    bytes.freeze()
}

fn sign(batch: &mut [u8], origin: &Origin) {
    let attributes = if origin.is_transactional { TRANSACTIONAL } else { 0 };
    (&mut batch[21..23]).put_i16(attributes);
    let mut fields = &mut batch[43..57];
    fields.put_i64(origin.producer_id);
    fields.put_i16(origin.epoch);
    fields.put_i32(origin.first_sequence);
    let checksum = crc32c::crc32c(&batch[CHECKED..]);
    (&mut batch[17..CHECKED]).put_u32(checksum);
}

fn length(size: usize) -> i64 {
    i64::try_from(size).expect("what is in memory is smaller")
}

/// Bytes with their length in front; null is −1.
fn put_run(out: &mut BytesMut, run: Option<&[u8]>) {
    match run {
        Some(run) => {
            put_varint(out, length(run.len()));
            out.put_slice(run);
        }
        None => put_varint(out, -1),
    }
}

fn run_length(run: Option<&[u8]>) -> usize {
    run.map_or(varint_length(-1), |run| {
        varint_length(length(run.len())) + run.len()
    })
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn varint_length(value: i64) -> usize {
    let bits = u64::BITS - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use kafka_protocol::records::RecordBatchDecoder;

    use super::*;
    use crate::record::pack_header;

    const ORIGIN: Origin = Origin {
        producer_id: 7,
        epoch: 3,
        first_sequence: 100,
        is_transactional: true,
    };

    /// Two records, as the codec's own decoder reads them.
    fn decoded(origin: &Origin, again: Option<&Origin>) -> Vec<kafka_protocol::records::Record> {
        let mut headers = Vec::new();
        pack_header(&mut headers, "trace", Some(b"7"));
        pack_header(&mut headers, "nothing", None);
        let mut batch = Batch::new();
        batch.push(&Parts {
            key: None,
            value: Some(&[b'v'; 200]),
            headers: HeadersRef::default(),
            timestamp: 5000,
        });
        batch.push(&Parts {
            key: Some(b""),
            value: None,
            headers: HeadersRef::new(&headers),
            timestamp: 1000,
        });
        let size = batch.len();
        let mut bytes = batch.seal(origin);
        assert_eq!(bytes.len(), size);
        if let Some(again) = again {
            bytes = resealed(&bytes, again);
        }
        let records = RecordBatchDecoder::decode(&mut bytes).expect("it is a batch");
        records.records
    }

    #[test]
    fn records_are_as_they_were_given() {
        let records = decoded(&ORIGIN, None);
        let [first, second] = &records[..] else {
            panic!("{records:?}");
        };
        assert_eq!((first.offset, first.timestamp), (0, 5000));
        assert_eq!((first.key.as_deref(), first.headers.len()), (None, 0));
        assert_eq!(first.value.as_deref(), Some(&[b'v'; 200][..]));
        assert_eq!((second.offset, second.timestamp), (1, 1000));
        assert_eq!(
            (second.key.as_deref(), second.value.as_deref()),
            (Some(&b""[..]), None)
        );
        let headers = second.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        assert_eq!(headers, [("trace", Some(&b"7"[..])), ("nothing", None)]);
    }

    #[test]
    fn a_batch_says_who_sends_it_also_when_that_changes() {
        let who = |records: &[kafka_protocol::records::Record]| {
            let records = records.iter();
            let who = records.map(|record| {
                (
                    record.producer_id,
                    record.producer_epoch,
                    record.sequence,
                    record.transactional,
                )
            });
            who.collect::<Vec<_>>()
        };
        assert_eq!(
            who(&decoded(&ORIGIN, None)),
            [(7, 3, 100, true), (7, 3, 101, true)]
        );
        let other = Origin {
            producer_id: 9,
            epoch: 0,
            first_sequence: 0,
            is_transactional: false,
        };
        let records = decoded(&ORIGIN, Some(&other));
        assert_eq!(who(&records), [(9, 0, 0, false), (9, 0, 1, false)]);
        assert_eq!(records[0].value.as_deref(), Some(&[b'v'; 200][..]));
    }

    #[test]
    fn the_length_of_a_number_is_that_of_its_bytes() {
        for value in [
            0,
            -1,
            1,
            63,
            64,
            -64,
            -65,
            8191,
            8192,
            i64::from(i32::MAX),
            i64::MAX,
            i64::MIN,
        ] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_length(value), "{value}");
        }
    }
}
