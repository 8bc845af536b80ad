//! Headers as users hold them.

use super::{HeadersRef, pack_header};

/// The headers of a record: names and bytes, in order, names may repeat.
///
/// As an argument of an agent in record form it is what the input record carried:
///
/// ```
/// use stream_runtime::prelude::*;
///
/// #[agent(topic = "orders")]
/// async fn trace(order: String, headers: Headers) {
///     if let Some(id) = headers.get("trace-id") {
///         println!("{order} belongs to {}", String::from_utf8_lossy(id));
///     }
/// }
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    packed: Vec<u8>,
}

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn from_ref(headers: HeadersRef<'_>) -> Self {
        Self {
            packed: headers.packed().to_vec(),
        }
    }

    pub(crate) fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Appends a header; a name may be given more than once.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        pack_header(&mut self.packed, name, Some(value.as_ref()));
    }

    /// Appends a header whose value is null.
    pub fn push_null(&mut self, name: &str) {
        pack_header(&mut self.packed, name, None);
    }

    /// Appends all of others.
    pub(crate) fn append(&mut self, others: &Self) {
        self.packed.extend_from_slice(&others.packed);
    }

    /// The value of the last header of this name; `None` also where that value is null.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .filter(|(present, _)| *present == name)
            .last()
            .and_then(|(_, value)| value)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        HeadersRef::new(&self.packed).iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }
}
