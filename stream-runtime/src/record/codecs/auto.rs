//! The default codec: text for strings, raw bytes for bytes, JSON for everything else.

use std::any::Any;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Json, Raw, Text};
use crate::record::codec::{Codec, CodecError, Encoded};

/// The default: [`Text`] for `String`, [`Raw`] for `Vec<u8>`, nothing for `()`, [`Json`] for everything
/// else, and the same for `Option` of these.
///
/// So `kafka-console-producer` and `kcat` can write and read strings and numbers as they are.
#[derive(Debug, Clone, Copy)]
pub struct Auto;

impl<T: Serialize + DeserializeOwned + 'static> Codec<T> for Auto {
    const NAME: &'static str = "auto";

    // The type comparisons are constants after monomorphisation: one branch is left of each function.
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        let any = value as &dyn Any;
        if let Some(text) = any.downcast_ref::<String>() {
            Text::encode(text, out)
        } else if let Some(text) = any.downcast_ref::<Option<String>>() {
            Text::encode(text, out)
        } else if let Some(bytes) = any.downcast_ref::<Vec<u8>>() {
            Raw::encode(bytes, out)
        } else if let Some(bytes) = any.downcast_ref::<Option<Vec<u8>>>() {
            Raw::encode(bytes, out)
        } else {
            Json::encode(value, out)
        }
    }

    fn decode(bytes: Option<&[u8]>) -> Result<T, CodecError> {
        if is::<T, String>() {
            same(<Text as Codec<String>>::decode(bytes)?)
        } else if is::<T, Option<String>>() {
            same(<Text as Codec<Option<String>>>::decode(bytes)?)
        } else if is::<T, Vec<u8>>() {
            same(<Raw as Codec<Vec<u8>>>::decode(bytes)?)
        } else if is::<T, Option<Vec<u8>>>() {
            same(<Raw as Codec<Option<Vec<u8>>>>::decode(bytes)?)
        } else if is::<T, ()>() {
            same(())
        } else {
            Json::decode(bytes)
        }
    }
}

fn is<T: 'static, U: 'static>() -> bool {
    std::any::TypeId::of::<T>() == std::any::TypeId::of::<U>()
}

/// `value` as a `T`, which it is.
fn same<T: 'static, U: 'static>(value: U) -> Result<T, CodecError> {
    let mut slot = Some(value);
    (&mut slot as &mut dyn Any)
        .downcast_mut::<Option<T>>()
        .and_then(Option::take)
        .ok_or_else(|| CodecError::new("the types differ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<T: Serialize + DeserializeOwned + 'static>(value: &T) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match Auto::encode(value, &mut out).expect("encodes") {
            Encoded::Bytes => Some(out),
            Encoded::Null => None,
        }
    }

    fn round_trip<T>(value: T, bytes: Option<&[u8]>)
    where
        T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
    {
        assert_eq!(bytes_of(&value).as_deref(), bytes);
        assert_eq!(Auto::decode(bytes), Ok(value));
    }

    #[test]
    fn strings_are_text_bytes_are_raw_and_the_rest_is_json() {
        round_trip("red".to_owned(), Some(b"red"));
        round_trip(b"\xff\x00".to_vec(), Some(b"\xff\x00"));
        round_trip(3_u64, Some(b"3"));
        round_trip(vec![1_u64, 2], Some(b"[1,2]"));
        round_trip((), None);
    }

    #[test]
    fn none_is_a_tombstone_for_every_type() {
        round_trip(None::<String>, None);
        round_trip(None::<Vec<u8>>, None);
        round_trip(None::<u64>, None);
        round_trip(Some("red".to_owned()), Some(b"red"));
        round_trip(Some(3_u64), Some(b"3"));
    }

    #[test]
    fn null_where_a_value_is_needed_is_an_error() {
        assert!(<Auto as Codec<String>>::decode(None).is_err());
        assert!(<Auto as Codec<u64>>::decode(None).is_err());
    }

    #[test]
    fn bytes_of_another_type_are_an_error() {
        assert!(<Auto as Codec<u64>>::decode(Some(b"red")).is_err());
        assert!(<Auto as Codec<String>>::decode(Some(b"\xff")).is_err());
    }
}
