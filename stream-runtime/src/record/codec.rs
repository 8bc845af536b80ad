//! How values become bytes and back.

use std::fmt;

/// Bytes that are not what was declared, or a value that has no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError(String);

impl CodecError {
    /// An error with this message: lower case, no full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

/// What [`Codec::encode`] made of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// The bytes that were appended.
    Bytes,
    /// Null: a record without a key, or a tombstone.
    Null,
}

/// A way to write values of `T` into records and to read them back.
///
/// The codecs that come along are [`Json`](crate::codecs::Json), [`Text`](crate::codecs::Text),
/// [`Raw`](crate::codecs::Raw), [`Postcard`](crate::codecs::Postcard), and
/// [`Auto`](crate::codecs::Auto), the default, which takes text for `String`, raw bytes for
/// `Vec<u8>` and JSON for everything else. A codec of your own is a unit struct:
///
/// ```
/// use stream_runtime::{Codec, CodecError, Encoded};
///
/// /// Temperatures in tenths of a degree, two bytes each.
/// pub struct Tenths;
///
/// impl Codec<f64> for Tenths {
///     const NAME: &'static str = "tenths";
///
///     fn encode(value: &f64, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
///         out.extend_from_slice(&((value * 10.0) as i16).to_be_bytes());
///         Ok(Encoded::Bytes)
///     }
///
///     fn decode(bytes: Option<&[u8]>) -> Result<f64, CodecError> {
///         let bytes = bytes.ok_or_else(|| CodecError::new("a temperature is needed, the record has none"))?;
///         let bytes = bytes.try_into().map_err(|_| CodecError::new("a temperature is two bytes"))?;
///         Ok(f64::from(i16::from_be_bytes(bytes)) / 10.0)
///     }
/// }
/// ```
///
/// and is named in the declaration: `#[topic(value = Tenths)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot write `{T}` into records",
    note = "values need `serde::Serialize` and `serde::Deserialize`, or a codec of their own: `#[topic(value = MyCodec)]`"
)]
pub trait Codec<T> {
    /// The name shown in the topology; two uses of one topic must agree on it.
    const NAME: &'static str;

    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    /// When the value has no representation in this codec.
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<Encoded, CodecError>;

    /// Reads a value; `None` is a null key or a tombstone.
    ///
    /// # Errors
    /// When the bytes are not a `T`, which then follows the agent's error policy.
    fn decode(bytes: Option<&[u8]>) -> Result<T, CodecError>;
}

/// A codec chosen for a type, as plain function pointers, so that it fits a `static`.
pub(crate) struct CodecOf<T> {
    /// [`Codec::NAME`].
    pub name: &'static str,
    /// [`Codec::encode`].
    pub encode: fn(&T, &mut Vec<u8>) -> Result<Encoded, CodecError>,
    /// [`Codec::decode`].
    pub decode: fn(Option<&[u8]>) -> Result<T, CodecError>,
}

impl<T> CodecOf<T> {
    /// The codec `C` for `T`.
    pub(crate) const fn new<C: Codec<T>>() -> Self {
        Self {
            name: C::NAME,
            encode: C::encode,
            decode: C::decode,
        }
    }
}

impl<T> Clone for CodecOf<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for CodecOf<T> {}

impl<T> fmt::Debug for CodecOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
