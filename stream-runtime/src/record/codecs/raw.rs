//! Bytes as they are.

use super::needs_value;
use crate::record::codec::{Codec, CodecError, Encoded};

/// Bytes as they are: for `Vec<u8>`, and `Option<Vec<u8>>` where tombstones come.
#[derive(Debug, Clone, Copy)]
pub struct Raw;

impl Codec<Vec<u8>> for Raw {
    const NAME: &'static str = "raw";

    fn encode(value: &Vec<u8>, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        out.extend_from_slice(value);
        Ok(Encoded::Bytes)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Vec<u8>, CodecError> {
        needs_value(bytes, "a value").map(<[u8]>::to_vec)
    }
}

impl Codec<Option<Vec<u8>>> for Raw {
    const NAME: &'static str = "raw";

    fn encode(value: &Option<Vec<u8>>, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        match value {
            Some(value) => Self::encode(value, out),
            None => Ok(Encoded::Null),
        }
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Option<Vec<u8>>, CodecError> {
        Ok(bytes.map(<[u8]>::to_vec))
    }
}
