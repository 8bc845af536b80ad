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

// rustc then reports the codec and the type, not each half of serde.
#[diagnostic::do_not_recommend]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_is_read_as_it_was_written() {
        for float in [1.500_000_000_000_000_2e303, 5e-324, 0.1 + 0.2, f64::MAX, -0.0] {
            let mut bytes = Vec::new();
            Json::encode(&float, &mut bytes).expect("it has a form");
            let read: f64 = Json::decode(Some(&bytes)).expect("it was encoded");
            assert_eq!(read.to_bits(), float.to_bits(), "{float}");
        }
    }
}
