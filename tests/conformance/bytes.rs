//! Requests, answers and record batches as bytes, for [`crate::wire`].

use crate::cluster::now_ms;
use crate::wire::Identity;

pub(crate) fn length(count: usize) -> i32 {
    i32::try_from(count).expect("few")
}

/// A batch of one record, `k` → `v`, of now.
pub(crate) fn batch(who: Identity, sequence: i32, is_transactional: bool) -> Vec<u8> {
    let checked = Body::default()
        .i16(if is_transactional { 1 << 4 } else { 0 })
        .i32(0)
        .i64(now_ms())
        .i64(now_ms());
    let checked = checked.i64(who.id).i16(who.epoch).i32(sequence).i32(1);
    // Length, attributes, time, offset; key and value; no headers. Lengths are zigzag.
    let checked = checked.bytes(&[16, 0, 0, 0, 2, b'k', 2, b'v', 0]).0;
    let body = Body::default()
        .i64(0)
        .i32(length(checked.len() + 9))
        .i32(-1)
        .i8(2);
    body.bytes(&crc32c(&checked).to_be_bytes()).bytes(&checked).0
}

/// The checksum of record batches, bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

/// The body of a request.
#[derive(Debug, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn i8(self, value: i8) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn i16(self, value: i16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn i32(self, value: i32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn string(self, text: &str) -> Self {
        self.i16(i16::try_from(text.len()).expect("short"))
            .bytes(text.as_bytes())
    }

    /// A string of a flexible version, up to 126 bytes.
    pub(crate) fn compact(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self
                .i8(i8::try_from(text.len() + 1).expect("short"))
                .bytes(text.as_bytes()),
            None => self.i8(0),
        }
    }

    /// No tagged fields.
    pub(crate) fn tags(self) -> Self {
        self.i8(0)
    }
}

/// What a broker answered, read from its beginning.
#[derive(Debug)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    at: usize,
}

impl Answer {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let start = self.at;
        self.at += count;
        &self.bytes[start..self.at]
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("as many as were taken")
    }

    pub(crate) fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.array())
    }

    pub(crate) fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.array())
    }

    pub(crate) fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.array())
    }

    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.array())
    }

    pub(crate) fn string(&mut self) {
        let length = self.i16();
        self.take(usize::try_from(length).expect("a string"));
    }

    pub(crate) fn compact(&mut self) {
        let length = self.i8();
        self.take(usize::try_from(length).expect("a short string").saturating_sub(1));
    }
}
