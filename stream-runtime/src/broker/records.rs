//! The records inside a batch: unpacked and walked, only where the broker has to look at them
//! (compaction, a look-up by time, the key check of a compacted topic).
//!
//! A record stays a slice of the unpacked bytes; nothing is re-encoded. What cannot be unpacked (zstd,
//! damaged bytes) is `None`, and the caller leaves such a batch as it is.

use bytes::{Buf, Bytes};
use std::io::Read;

use super::batch::Batch;

/// A batch that unpacks to more than this is not looked into.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Snappy makes no more than 64 bytes of three, and writes the whole length first: a larger one is a lie, and memory
/// would be reserved for it.
const SNAPPY_RATIO: u64 = 22;

/// One record, as a slice of its batch.
#[derive(Debug, Clone)]
pub(crate) struct RawRecord {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) is_tombstone: bool,
    /// The whole record with its length in front.
    pub(crate) bytes: Bytes,
}

/// The records of a batch, or `None` when they cannot be read.
pub(crate) fn decode(batch: &Batch) -> Option<Vec<RawRecord>> {
    let mut rest = unpack(batch)?;
    let count = usize::try_from(batch.records).ok()?;
    // A record takes at least seven bytes: the count of a damaged header cannot reserve more.
    let mut records = Vec::with_capacity(count.min(rest.len() / 7));
    for _ in 0..count {
        records.push(next_record(batch, &mut rest)?);
    }
    rest.is_empty().then_some(records)
}

fn unpack(batch: &Batch) -> Option<Bytes> {
    let payload = batch.payload();
    match batch.compression() {
        0 => Some(payload),
        1 => read_all(flate2::read::MultiGzDecoder::new(payload.reader())),
        2 => unpack_snappy(&payload),
        3 => read_all(lz4_flex::frame::FrameDecoder::new(payload.reader())),
        _ => None,
    }
}

fn read_all(reader: impl Read) -> Option<Bytes> {
    let mut out = Vec::new();
    let read = reader.take(LARGEST).read_to_end(&mut out).ok()?;
    (u64::try_from(read).ok()? < LARGEST).then(|| Bytes::from(out))
}

/// Snappy comes raw (librdkafka) or in the frames of the Java library.
fn unpack_snappy(payload: &Bytes) -> Option<Bytes> {
    const JAVA: &[u8] = b"\x82SNAPPY\0";
    if !payload.starts_with(JAVA) {
        return unpack_snappy_block(payload).map(Bytes::from);
    }
    let mut rest = payload.clone();
    rest.try_get_u128().ok()?;
    let mut out = Vec::new();
    while rest.has_remaining() {
        let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
        let block = (length <= rest.len()).then(|| rest.split_to(length))?;
        out.extend(unpack_snappy_block(&block)?);
        if u64::try_from(out.len()).ok()? > LARGEST {
            return None;
        }
    }
    Some(Bytes::from(out))
}

fn unpack_snappy_block(block: &[u8]) -> Option<Vec<u8>> {
    let length = u64::try_from(snap::raw::decompress_len(block).ok()?).ok()?;
    let most = u64::try_from(block.len()).ok()?.saturating_mul(SNAPPY_RATIO);
    if length > LARGEST.min(most) {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(block).ok()
}

fn next_record(batch: &Batch, rest: &mut Bytes) -> Option<RawRecord> {
    let whole = rest.clone();
    let length = usize::try_from(varint(rest)?).ok()?;
    if length > rest.len() {
        return None;
    }
    let mut body = rest.split_to(length);
    let bytes = whole.slice(..whole.len() - rest.len());
    body.try_get_i8().ok()?;
    let timestamp = batch.base_timestamp.checked_add(varint(&mut body)?)?;
    let offset = batch.base_offset.checked_add(varint(&mut body)?)?;
    let key = sized(&mut body)?;
    let value = sized(&mut body)?;
    Some(RawRecord {
        offset,
        timestamp: if batch.has_append_time() {
            batch.max_timestamp
        } else {
            timestamp
        },
        key,
        is_tombstone: value.is_none(),
        bytes,
    })
}

/// Bytes with their length in front; -1 is null.
fn sized(from: &mut Bytes) -> Option<Option<Bytes>> {
    match varint(from)? {
        -1 => Some(None),
        length => {
            let length = usize::try_from(length).ok()?;
            (length <= from.len()).then(|| Some(from.split_to(length)))
        }
    }
}

/// A zigzag variable-length integer.
fn varint(from: &mut Bytes) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = u64::from(from.try_get_u8().ok()?);
        value |= (byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}
