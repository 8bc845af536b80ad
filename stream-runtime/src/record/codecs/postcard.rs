//! Postcard: small, fast, without field names.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::null;
use crate::record::codec::{Codec, CodecError, Encoded};

/// [Postcard](https://postcard.jamesmunns.com/wire-format): compact and fast, for topics that only
/// programs with the same type definitions read.
///
/// The bytes carry no field names: adding or reordering fields makes old records unreadable. `None` is
/// a tombstone, `()` a null key.
#[derive(Debug, Clone, Copy)]
pub struct Postcard;

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    const NAME: &'static str = "postcard";

    fn encode(value: &T, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        if null::is_null(value) {
            return Ok(Encoded::Null);
        }
        let start = out.len();
        match postcard::serialize_with_flavor(value, Appending(out)) {
            Ok(()) => Ok(Encoded::Bytes),
            Err(error) => {
                out.truncate(start);
                Err(CodecError::new(format!("postcard: {error}")))
            }
        }
    }

    fn decode(bytes: Option<&[u8]>) -> Result<T, CodecError> {
        let Some(bytes) = bytes else {
            return null::from_null();
        };
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(CodecError::new(format!(
                "postcard: {} bytes are left over after the value",
                rest.len()
            ))),
            Err(error) => Err(CodecError::new(format!("postcard: {error}"))),
        }
    }
}

/// Writes behind what is already in the buffer.
struct Appending<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appending<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
