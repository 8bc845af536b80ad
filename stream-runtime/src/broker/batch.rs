//! One record batch as a client sent it: its header read, its records opaque.
//!
//! The bytes are never decoded here and never copied: what the broker decides about a batch (its
//! offset, the leader's epoch) lies outside of what the checksum covers and is put in when the batch is
//! read. The records inside are the business of [`super::records`].

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;

use super::marker::{self, Outcome};
use super::producers::ProducerEpoch;

/// Bytes before the first record.
pub(crate) const HEADER: usize = 61;
/// Where the part that the checksum covers begins.
const CHECKED: usize = 21;
/// The epoch of a leader that never changes.
pub(crate) const LEADER_EPOCH: i32 = 0;

const COMPRESSION: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// A batch and what its header says.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// The offset of the first record; the broker's, whatever the bytes say.
    pub(crate) base_offset: i64,
    /// The offset of the last record that the batch ever had (compaction leaves it).
    pub(crate) last_offset: i64,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: i32,
    /// How a transaction ended, if this is its marker.
    pub(crate) marker: Option<Outcome>,
    attributes: i16,
    bytes: Bytes,
    /// When the tombstones of this batch, or this marker, may go: once compaction has seen that they could.
    pub(crate) delete_horizon: Option<i64>,
}

impl Batch {
    /// Reads and checks what a producer sent for one partition: exactly one batch of format 2.
    pub(crate) fn parse(bytes: Bytes) -> Result<Self, ResponseError> {
        let magic = bytes.get(16).ok_or(ResponseError::CorruptMessage)?;
        if *magic != 2 {
            return Err(ResponseError::InvalidRecord);
        }
        if bytes.len() < HEADER {
            return Err(ResponseError::CorruptMessage);
        }
        let length = usize::try_from(i32_at(&bytes, 8)?).map_err(|_| ResponseError::CorruptMessage)?;
        match length.saturating_add(12) {
            end if end == bytes.len() => {}
            // More than one batch for one partition.
            end if end < bytes.len() && end >= HEADER => return Err(ResponseError::InvalidRecord),
            _ => return Err(ResponseError::CorruptMessage),
        }
        let checked = bytes.get(CHECKED..).ok_or(ResponseError::CorruptMessage)?;
        if crc32c::crc32c(checked).cast_signed() != i32_at(&bytes, 17)? {
            return Err(ResponseError::CorruptMessage);
        }
        let batch = Self {
            base_offset: 0,
            last_offset: i64::from(i32_at(&bytes, 23)?),
            base_timestamp: i64_at(&bytes, 27)?,
            max_timestamp: i64_at(&bytes, 35)?,
            producer_id: i64_at(&bytes, 43)?,
            producer_epoch: i16_at(&bytes, 51)?,
            base_sequence: i32_at(&bytes, 53)?,
            records: i32_at(&bytes, 57)?,
            marker: None,
            attributes: i16_at(&bytes, 21)?,
            bytes,
            delete_horizon: None,
        };
        batch.check()?;
        Ok(batch)
    }

    /// The batch that ends a producer's transaction in a partition.
    pub(crate) fn marker(outcome: Outcome, producer: ProducerEpoch, now_ms: i64) -> Self {
        let mut batch = Self {
            base_offset: 0,
            last_offset: 0,
            base_timestamp: now_ms,
            max_timestamp: now_ms,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: -1,
            records: 1,
            marker: Some(outcome),
            attributes: TRANSACTIONAL | CONTROL,
            bytes: Bytes::new(),
            delete_horizon: None,
        };
        batch.rebuild(&marker::record(outcome));
        batch
    }

    fn check(&self) -> Result<(), ResponseError> {
        if self.records < 1 || self.last_offset != i64::from(self.records) - 1 {
            return Err(ResponseError::InvalidRecord);
        }
        if self.attributes & CONTROL != 0 {
            return Err(ResponseError::InvalidRecord);
        }
        if self.compression() > 4 {
            return Err(ResponseError::UnsupportedCompressionType);
        }
        if self.producer_id >= 0 && (self.producer_epoch < 0 || self.base_sequence < 0) {
            return Err(ResponseError::InvalidRecord);
        }
        Ok(())
    }

    /// The size on the wire and in the log.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The code of the codec that the records are packed with; 0 for none.
    pub(crate) fn compression(&self) -> i16 {
        self.attributes & COMPRESSION
    }

    /// Who sent it.
    pub(crate) fn producer(&self) -> ProducerEpoch {
        ProducerEpoch {
            id: self.producer_id,
            epoch: self.producer_epoch,
        }
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether every record has the time of the append, not one of its own.
    pub(crate) fn has_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// The records as they are packed.
    pub(crate) fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER.min(self.bytes.len())..)
    }

    /// The sequence number of the last record; they wrap at the largest `i32`.
    pub(crate) fn last_sequence(&self) -> i32 {
        let last = i64::from(self.base_sequence) + (self.last_offset - self.base_offset);
        i32::try_from(last % (i64::from(i32::MAX) + 1)).unwrap_or(0)
    }

    /// Gives the batch its place in the log.
    pub(crate) fn place(&mut self, base_offset: i64) {
        self.last_offset += base_offset - self.base_offset;
        self.base_offset = base_offset;
    }

    /// Replaces the records' times by the time of the append (a copy: the checksum covers them).
    pub(crate) fn stamp(&mut self, now_ms: i64) {
        self.attributes |= LOG_APPEND_TIME;
        self.max_timestamp = now_ms;
        let payload = self.payload();
        self.rebuild(&payload);
    }

    /// The same batch with some of its records, no longer compressed, of which the latest has this time; the
    /// offsets it reaches from and to stay.
    pub(crate) fn with_records(&self, records: i32, payload: &[u8], max_timestamp: i64) -> Self {
        let mut batch = self.clone();
        batch.records = records;
        batch.max_timestamp = max_timestamp;
        batch.attributes &= !COMPRESSION;
        batch.rebuild(payload);
        batch
    }

    fn rebuild(&mut self, payload: &[u8]) {
        let mut checked = BytesMut::with_capacity(HEADER - CHECKED + payload.len());
        checked.put_i16(self.attributes);
        checked.put_i32(i32::try_from(self.last_offset - self.base_offset).unwrap_or(i32::MAX));
        checked.put_i64(self.base_timestamp);
        checked.put_i64(self.max_timestamp);
        checked.put_i64(self.producer_id);
        checked.put_i16(self.producer_epoch);
        checked.put_i32(self.base_sequence);
        checked.put_i32(self.records);
        checked.put_slice(payload);
        let mut whole = BytesMut::with_capacity(CHECKED + checked.len());
        whole.put_i64(self.base_offset);
        whole.put_i32(i32::try_from(CHECKED - 12 + checked.len()).unwrap_or(i32::MAX));
        whole.put_i32(LEADER_EPOCH);
        whole.put_i8(2);
        whole.put_u32(crc32c::crc32c(&checked));
        whole.put_slice(&checked);
        self.bytes = whole.freeze();
    }

    /// Writes the batch as a consumer shall see it.
    pub(crate) fn write_to(&self, out: &mut BytesMut) {
        out.put_i64(self.base_offset);
        out.put_slice(self.bytes.get(8..12).unwrap_or_default());
        out.put_i32(LEADER_EPOCH);
        out.put_slice(self.bytes.get(16..).unwrap_or_default());
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ResponseError> {
    let slice = bytes.get(at..at + N).ok_or(ResponseError::CorruptMessage)?;
    slice.try_into().map_err(|_| ResponseError::CorruptMessage)
}

fn i16_at(bytes: &[u8], at: usize) -> Result<i16, ResponseError> {
    array_at(bytes, at).map(i16::from_be_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> Result<i32, ResponseError> {
    array_at(bytes, at).map(i32::from_be_bytes)
}

fn i64_at(bytes: &[u8], at: usize) -> Result<i64, ResponseError> {
    array_at(bytes, at).map(i64::from_be_bytes)
}
