//! Frames: bytes to requests, answers to bytes.
//!
//! A frame is its length, a header and a body. Nothing here trusts a length: the codec reserves memory
//! for as many elements as an array claims, so it reads through [`Guarded`], which knows how much there
//! can be.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::protocol::buf::ByteBuf;

use super::api::{self, Request, Response};

/// Longer frames close the connection.
pub(crate) const LARGEST_FRAME: usize = 100 * 1024 * 1024;

/// Why a frame cannot be answered; its connection is closed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It ends early, or is not what its header says.
    Malformed(String),
    /// An API that this broker does not have.
    UnknownApi,
    /// A version of an API that this broker does not speak.
    UnsupportedVersion(ApiKey, i16),
}

impl Failed {
    /// The codec's own words.
    pub(crate) fn codec(error: impl std::fmt::Display) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "a frame that cannot be read: {why}"),
            Self::UnknownApi => f.write_str("a request for an API that this broker does not have"),
            Self::UnsupportedVersion(key, version) => {
                write!(
                    f,
                    "{key:?} in version {version}, which this broker does not speak"
                )
            }
        }
    }
}

/// The head of a request.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: StrBytes,
}

/// What a frame holds.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "moved once, from the frame to its handler"
)]
pub(crate) enum Incoming {
    Request(Head, Request),
    /// ApiVersions in a version from the future, which has an answer that every client can read.
    UnknownApiVersions(Head),
}

/// Reads a frame, without its length.
///
/// # Errors
///
/// The frame has no answer.
pub(crate) fn decode(frame: Bytes) -> Result<Incoming, Failed> {
    let mut head = frame;
    let key = head.try_get_i16().map_err(Failed::codec)?;
    let version = head.try_get_i16().map_err(Failed::codec)?;
    let correlation_id = head.try_get_i32().map_err(Failed::codec)?;
    let key = ApiKey::try_from(key).map_err(|()| Failed::UnknownApi)?;
    if key == ApiKey::ApiVersions && !api::is_supported(key, version) {
        let client_id = StrBytes::default();
        return Ok(Incoming::UnknownApiVersions(Head {
            version: 0,
            correlation_id,
            client_id,
        }));
    }
    if !api::is_supported(key, version) {
        return Err(Failed::UnsupportedVersion(key, version));
    }
    let client_id = nullable_string(&mut head)?;
    let is_flexible = key.request_header_version(version) >= 2;
    let request = if is_flexible {
        let mut body = Guarded::new(head, false);
        skip_tags(&mut body)?;
        Request::decode(key, version, &mut body)?
    } else {
        Request::decode(key, version, &mut Guarded::new(head.clone(), true))?;
        Request::decode(key, version, &mut Guarded::new(head, false))?
    };
    Ok(Incoming::Request(
        Head {
            version,
            correlation_id,
            client_id,
        },
        request,
    ))
}

/// Writes an answer with its length in front.
///
/// # Errors
///
/// The answer does not fit its version, which is a mistake of this broker.
pub(crate) fn encode(head: &Head, response: &Response) -> Result<BytesMut, Failed> {
    let mut out = BytesMut::new();
    out.put_i32(0);
    out.put_i32(head.correlation_id);
    if response.key().response_header_version(head.version) >= 1 {
        out.put_u8(0);
    }
    response.encode(head.version, &mut out)?;
    let length = i32::try_from(out.len() - 4).map_err(Failed::codec)?;
    if let Some(place) = out.get_mut(..4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(out)
}

/// The answer to an unknown version of ApiVersions: version 0, with the versions that there are.
pub(crate) fn unknown_api_versions() -> Response {
    let versions: ApiVersionsResponse = api::versions::versions();
    versions
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .into()
}

fn nullable_string(from: &mut Bytes) -> Result<StrBytes, Failed> {
    let length = from.try_get_i16().map_err(Failed::codec)?;
    let Ok(length) = usize::try_from(length) else {
        return Ok(StrBytes::default());
    };
    if length > from.len() {
        return Err(Failed::Malformed(
            "the client id is longer than the frame".to_owned(),
        ));
    }
    StrBytes::try_from(from.split_to(length)).map_err(Failed::codec)
}

fn skip_tags(from: &mut Guarded) -> Result<(), Failed> {
    for _ in 0..unsigned_varint(from)? {
        unsigned_varint(from)?;
        let size = unsigned_varint(from)?;
        from.try_get_bytes(size).map_err(Failed::codec)?;
    }
    Ok(())
}

fn unsigned_varint(from: &mut Guarded) -> Result<usize, Failed> {
    let mut value = 0_usize;
    for shift in (0..35).step_by(7) {
        let byte = usize::from(from.try_get_u8().map_err(Failed::codec)?);
        value |= (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(value)
}

/// A buffer that refuses lengths that cannot be.
///
/// In flexible versions every length is a variable-length integer, and none may be larger than what is
/// left. In older ones a length looks like any other `i32`; so those are read twice, the first time as a
/// *trial* in which no `i32` is larger than what is left (or one, so that an array that claims elements
/// at the end of the frame still looks for one): a wrong length runs out of bytes then, because no element
/// of an array takes less than two, and other numbers do not matter.
#[derive(Debug)]
pub(crate) struct Guarded {
    bytes: Bytes,
    is_trial: bool,
    varint: u64,
    shift: u32,
}

impl Guarded {
    fn new(bytes: Bytes, is_trial: bool) -> Self {
        Self {
            bytes,
            is_trial,
            varint: 0,
            shift: 0,
        }
    }

    /// Follows the bytes of a variable-length integer.
    fn follow(&mut self, byte: u8) -> Result<(), TryGetError> {
        self.varint |= u64::from(byte & 0x7f) << self.shift;
        self.shift += 7;
        let available = self.bytes.len();
        let requested = usize::try_from(self.varint).unwrap_or(usize::MAX);
        if byte & 0x80 == 0 || self.shift >= 35 {
            self.varint = 0;
            self.shift = 0;
        }
        // Lengths are written with one added, so that 0 can stand for null.
        if requested > available + 1 {
            Err(TryGetError { requested, available })
        } else {
            Ok(())
        }
    }
}

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        self.follow(byte)?;
        Ok(byte)
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let number = self.bytes.try_get_i32()?;
        if self.is_trial {
            let most = i32::try_from(self.bytes.len().max(1)).unwrap_or(i32::MAX);
            return Ok(number.min(most));
        }
        Ok(number)
    }
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.split_to(size)
    }
}
