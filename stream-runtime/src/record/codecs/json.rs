//! JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::null;
use crate::record::codec::{Codec, CodecError, Encoded};

/// JSON for everything, strings included (`"red"` with its quotes).
///
/// `None` is a tombstone, `()` a null key.
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    const NAME: &'static str = "json";

    fn encode(value: &T, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        if null::is_null(value) {
            return Ok(Encoded::Null);
        }
        serde_json::to_writer(out, value).map_err(|error| CodecError::new(format!("JSON: {error}")))?;
        Ok(Encoded::Bytes)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<T, CodecError> {
        match bytes {
            Some(bytes) => {
                serde_json::from_slice(bytes).map_err(|error| CodecError::new(format!("JSON: {error}")))
            }
            None => null::from_null(),
        }
    }
}
