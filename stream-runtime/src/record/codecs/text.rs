//! UTF-8 text without quotes.

use super::needs_value;
use crate::record::codec::{Codec, CodecError, Encoded};

/// UTF-8 text without quotes, as console tools write it: for `String`, and `Option<String>` where
/// tombstones come.
#[derive(Debug, Clone, Copy)]
pub struct Text;

impl Codec<String> for Text {
    const NAME: &'static str = "text";

    fn encode(value: &String, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        out.extend_from_slice(value.as_bytes());
        Ok(Encoded::Bytes)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<String, CodecError> {
        let bytes = needs_value(bytes, "a text")?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(CodecError::new(format!("not UTF-8: {error}"))),
        }
    }
}

impl Codec<Option<String>> for Text {
    const NAME: &'static str = "text";

    fn encode(value: &Option<String>, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        match value {
            Some(value) => Self::encode(value, out),
            None => Ok(Encoded::Null),
        }
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Option<String>, CodecError> {
        bytes.map(|bytes| Self::decode(Some(bytes))).transpose()
    }
}
