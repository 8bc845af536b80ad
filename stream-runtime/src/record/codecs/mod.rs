//! The codecs that come along, one a file.

mod auto;
mod json;
mod null;
mod postcard;
mod raw;
mod text;

pub use auto::Auto;
pub use json::Json;
pub use postcard::Postcard;
pub use raw::Raw;
pub use text::Text;

use super::codec::CodecError;

fn needs_value<'a>(bytes: Option<&'a [u8]>, what: &str) -> Result<&'a [u8], CodecError> {
    bytes.ok_or_else(|| CodecError::new(format!("{what} is needed, the record has none")))
}

#[cfg(test)]
mod tests;
