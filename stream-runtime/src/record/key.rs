//! Table keys as canonical bytes that keep their order.
//!
//! The same key always has the same bytes, and bytes compare as keys do, so that stores can scan ranges.
//! A key that stands alone is written plainly (a string is its UTF-8, so changelogs can be read with
//! console tools); inside a tuple, parts of varying length are escaped and terminated.

use std::any::{Any, TypeId};
use std::hash::{BuildHasher, Hash};

use super::codec::CodecError;

/// A type that can key a table.
///
/// It is there for `String`, `Vec<u8>`, `bool`, `char`, the integers, and tuples of up to four of these.
/// A newtype around one of them joins in three lines:
///
/// ```
/// use stream_runtime::{CodecError, TableKey};
///
/// #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
/// struct Customer(u64);
///
/// impl TableKey for Customer {
///     fn encode_part(&self, out: &mut Vec<u8>) { self.0.encode_part(out) }
///     fn decode_part(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
///         u64::decode_part(bytes).map(|(id, rest)| (Self(id), rest))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot key a table",
    note = "keys are `String`, `Vec<u8>`, `bool`, `char`, integers, tuples of these, or types that implement `TableKey`"
)]
pub trait TableKey: Clone + Eq + Ord + Hash + std::fmt::Debug + 'static {
    /// Appends the bytes as part of a larger key: they must tell where they end.
    fn encode_part(&self, out: &mut Vec<u8>);

    /// Reads what [`encode_part`](Self::encode_part) wrote; gives what follows it too.
    ///
    /// # Errors
    /// When the bytes are not of this type.
    fn decode_part(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError>;

    /// Appends the bytes of a key that stands alone.
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.encode_part(out);
    }

    /// The key as people read it.
    fn show(&self) -> String {
        format!("{self:?}")
    }

    /// Reads what [`encode_key`](Self::encode_key) wrote.
    ///
    /// # Errors
    /// When the bytes are not of this type.
    fn decode_key(bytes: &[u8]) -> Result<Self, CodecError> {
        match Self::decode_part(bytes)? {
            (key, []) => Ok(key),
            (_, rest) => Err(CodecError::new(format!(
                "a key of type {} is followed by {} more bytes",
                std::any::type_name::<Self>(),
                rest.len()
            ))),
        }
    }
}

/// The hash of the table key that is the same text or the same bytes as the key of a record. `None` for keys of other types,
/// which records have in one form and tables in another.
pub(crate) fn hash_in_record<K: TableKey>(key: &[u8], hasher: &impl BuildHasher) -> Option<u64> {
    let of = TypeId::of::<K>();
    if of == TypeId::of::<String>() {
        std::str::from_utf8(key).ok().map(|text| hasher.hash_one(text))
    } else {
        (of == TypeId::of::<Vec<u8>>()).then(|| hasher.hash_one(key))
    }
}

/// The text or the bytes of a key that has them in memory of their own.
pub(crate) fn text_of<K: TableKey>(key: &K) -> &[u8] {
    let key: &dyn Any = key;
    let text = key.downcast_ref::<String>().map(String::as_bytes);
    text.or_else(|| key.downcast_ref::<Vec<u8>>().map(Vec::as_slice))
        .unwrap_or_default()
}

fn too_short<T>() -> CodecError {
    CodecError::new(format!(
        "too few bytes for a key of type {}",
        std::any::type_name::<T>()
    ))
}

macro_rules! unsigned_keys {
    ($($type:ty),*) => {$(
        impl TableKey for $type {
            fn encode_part(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn decode_part(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
                let (number, rest) = bytes.split_first_chunk().ok_or_else(too_short::<Self>)?;
                Ok((Self::from_be_bytes(*number), rest))
            }
        }
    )*};
}

macro_rules! signed_keys {
    ($($type:ty as $unsigned:ty),*) => {$(
        // The sign bit is flipped, so that negative numbers sort first.
        impl TableKey for $type {
            fn encode_part(&self, out: &mut Vec<u8>) {
                (self.cast_unsigned() ^ (1 << (<$unsigned>::BITS - 1))).encode_part(out);
            }

            fn decode_part(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
                let (number, rest) = <$unsigned>::decode_part(bytes)?;
                Ok(((number ^ (1 << (<$unsigned>::BITS - 1))).cast_signed(), rest))
            }
        }
    )*};
}

unsigned_keys!(u8, u16, u32, u64, u128);
signed_keys!(i8 as u8, i16 as u16, i32 as u32, i64 as u64, i128 as u128);

impl TableKey for bool {
    fn encode_part(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode_part(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        match bytes.split_first() {
            Some((0, rest)) => Ok((false, rest)),
            Some((1, rest)) => Ok((true, rest)),
            _ => Err(too_short::<Self>()),
        }
    }
}

impl TableKey for char {
    fn encode_part(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode_part(out);
    }

    fn decode_part(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        let (number, rest) = u32::decode_part(bytes)?;
        let char = Self::from_u32(number).ok_or_else(|| CodecError::new("not a character"))?;
        Ok((char, rest))
    }
}

impl TableKey for Vec<u8> {
    fn encode_part(&self, out: &mut Vec<u8>) {
        escape(self, out);
    }

    fn decode_part(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        unescape(bytes).ok_or_else(too_short::<Self>)
    }

    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode_key(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(bytes.to_vec())
    }
}

impl TableKey for String {
    fn encode_part(&self, out: &mut Vec<u8>) {
        escape(self.as_bytes(), out);
    }

    fn decode_part(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        let (text, rest) = unescape(bytes).ok_or_else(too_short::<Self>)?;
        Ok((from_utf8(text)?, rest))
    }

    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn decode_key(bytes: &[u8]) -> Result<Self, CodecError> {
        from_utf8(bytes.to_vec())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

fn from_utf8(bytes: Vec<u8>) -> Result<String, CodecError> {
    String::from_utf8(bytes).map_err(|error| CodecError::new(format!("a key is not UTF-8: {error}")))
}

/// `00` becomes `00 ff`, the end is `00 00`: shorter strings sort first.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn unescape(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut plain = Vec::new();
    let mut rest = bytes;
    loop {
        match rest {
            [0, 0, after @ ..] => return Some((plain, after)),
            [0, 0xff, after @ ..] => {
                plain.push(0);
                rest = after;
            }
            [0, ..] | [] => return None,
            [byte, after @ ..] => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
}

macro_rules! tuple_keys {
    ($(($($part:ident),+))*) => {$(
        impl<$($part: TableKey),+> TableKey for ($($part,)+) {
            #[expect(non_snake_case, reason = "the parts are named after their types")]
            fn encode_part(&self, out: &mut Vec<u8>) {
                let ($($part,)+) = self;
                $($part.encode_part(out);)+
            }

            #[expect(non_snake_case, reason = "the parts are named after their types")]
            fn decode_part(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
                $(let ($part, bytes) = $part::decode_part(bytes)?;)+
                Ok((($($part,)+), bytes))
            }
        }
    )*};
}

tuple_keys! { (A) (A, B) (A, B, C) (A, B, C, D) }

#[cfg(test)]
mod tests {
    mod properties;

    use super::*;

    fn bytes<K: TableKey>(key: &K) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode_key(&mut out);
        out
    }

    /// Sorted keys have sorted bytes, and every key comes back.
    fn keeps_order<K: TableKey>(sorted: &[K]) {
        for pair in sorted.windows(2) {
            assert!(bytes(&pair[0]) < bytes(&pair[1]), "{pair:?}");
        }
        for key in sorted {
            assert_eq!(K::decode_key(&bytes(key)).as_ref(), Ok(key));
        }
    }

    #[test]
    fn bytes_compare_as_keys_do() {
        keeps_order(&[i64::MIN, -2, -1, 0, 1, i64::MAX]);
        keeps_order(&[0_u32, 1, 255, 256, u32::MAX]);
        keeps_order(&[
            "".to_owned(),
            "\0".to_owned(),
            "a".to_owned(),
            "aa".to_owned(),
            "b".to_owned(),
        ]);
        keeps_order(&[
            ("a".to_owned(), 2_i32),
            ("a\0".to_owned(), 1),
            ("aa".to_owned(), -1),
            ("b".to_owned(), i32::MIN),
        ]);
        keeps_order(&[(false, 'x'), (true, 'a'), (true, 'ä')]);
    }

    #[test]
    fn a_string_that_stands_alone_is_its_own_bytes() {
        assert_eq!(bytes(&"red".to_owned()), b"red");
    }

    #[test]
    fn a_key_is_known_by_that_of_a_record() {
        let hasher = std::hash::RandomState::new();
        for text in ["", "red", "größer"] {
            let (string, bytes) = (text.to_owned(), text.as_bytes().to_vec());
            let in_record = hash_in_record::<String>(text.as_bytes(), &hasher);
            assert_eq!(in_record, Some(hasher.hash_one(&string)), "{text:?}");
            let in_record = hash_in_record::<Vec<u8>>(text.as_bytes(), &hasher);
            assert_eq!(in_record, Some(hasher.hash_one(&bytes)), "{text:?} as bytes");
            assert_eq!((text_of(&string), text_of(&bytes)), (&bytes[..], &bytes[..]));
        }
        assert_eq!(hash_in_record::<String>(b"\xff", &hasher), None);
        assert_eq!(
            (hash_in_record::<u64>(b"7", &hasher), text_of(&7_u64)),
            (None, &[][..])
        );
    }

    #[test]
    fn bytes_of_another_type_are_an_error() {
        assert!(u64::decode_key(b"red").is_err());
        assert!(u16::decode_key(b"red").is_err());
        assert!(String::decode_key(b"\xff").is_err());
        assert!(<(String, u8)>::decode_key(b"red").is_err());
    }
}
