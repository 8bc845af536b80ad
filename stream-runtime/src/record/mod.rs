//! Records and how they are declared: topics, codecs, keys, partitioning.
//!
//! Pure: nothing here does input or output. Sending is in [`crate::stream`].

pub(crate) mod codec;
pub mod codecs;
mod headers;
pub(crate) mod key;
pub(crate) mod partitioner;
pub(crate) mod topic;

pub use headers::Headers;

/// A record as it came from the broker, borrowed from the buffer it was read into.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordRef<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: HeadersRef<'a>,
}

/// The headers of a [`RecordRef`]: `name, value` pairs in one run of bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeadersRef<'a> {
    packed: &'a [u8],
}

impl<'a> HeadersRef<'a> {
    pub(crate) fn new(packed: &'a [u8]) -> Self {
        Self { packed }
    }

    /// The packed form, as [`pack_header`] wrote it.
    pub(crate) fn packed(self) -> &'a [u8] {
        self.packed
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let mut rest = self.packed;
        std::iter::from_fn(move || {
            let (name, after) = take_run(rest)?;
            let (value, after) = take_run(after)?;
            rest = after;
            let name = std::str::from_utf8(name?).ok()?;
            Some((name, value))
        })
    }
}

/// Appends one header to a packed run: each part is a length (`u32`, `u32::MAX` for null) and its bytes.
pub(crate) fn pack_header(packed: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    push_run(packed, Some(name.as_bytes()));
    push_run(packed, value);
}

fn push_run(packed: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let length = bytes.map_or(u32::MAX, |bytes| {
        u32::try_from(bytes.len()).expect("a record is smaller than 2 GiB")
    });
    packed.extend_from_slice(&length.to_le_bytes());
    packed.extend_from_slice(bytes.unwrap_or_default());
}

/// One part and what follows it; the outer `None` is the end.
fn take_run(packed: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = packed.split_first_chunk::<4>()?;
    match u32::from_le_bytes(*length) {
        u32::MAX => Some((None, rest)),
        length => {
            let (run, rest) = rest.split_at_checked(length as usize)?;
            Some((Some(run), rest))
        }
    }
}

/// Where an item was declared, for messages that name both places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The source file, as `file!()` gives it.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
    /// The module, as `module_path!()` gives it.
    pub module: &'static str,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A Rust type as the topology checks and shows it.
#[derive(Clone, Copy)]
pub struct TypeInfo {
    /// Its identity.
    pub id: fn() -> std::any::TypeId,
    /// Its full name.
    pub name: fn() -> &'static str,
}

impl TypeInfo {
    /// The description of `T`.
    pub const fn of<T: 'static>() -> Self {
        Self {
            id: std::any::TypeId::of::<T>,
            name: std::any::type_name::<T>,
        }
    }

    /// The name without the paths: `Option<Order>` for `core::option::Option<shop::Order>`.
    pub fn short_name(&self) -> String {
        let mut short = String::new();
        let mut word = String::new();
        for c in (self.name)().chars() {
            match c {
                ':' => word.clear(),
                c if c.is_alphanumeric() || c == '_' => word.push(c),
                c => {
                    short.push_str(&word);
                    word.clear();
                    short.push(c);
                }
            }
        }
        short + &word
    }
}

impl PartialEq for TypeInfo {
    fn eq(&self, other: &Self) -> bool {
        (self.id)() == (other.id)()
    }
}

impl Eq for TypeInfo {}

impl std::fmt::Debug for TypeInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str((self.name)())
    }
}

#[cfg(test)]
mod tests {
    mod properties;

    use super::*;

    #[test]
    fn headers_keep_their_order_and_null_values() {
        let mut packed = Vec::new();
        pack_header(&mut packed, "a", Some(b"1"));
        pack_header(&mut packed, "b", None);
        pack_header(&mut packed, "a", Some(b""));
        let headers: Vec<_> = HeadersRef::new(&packed).iter().collect();
        assert_eq!(
            headers,
            [("a", Some(&b"1"[..])), ("b", None), ("a", Some(&b""[..]))]
        );
    }

    #[test]
    fn a_short_type_name_has_no_paths() {
        assert_eq!(TypeInfo::of::<Option<String>>().short_name(), "Option<String>");
        assert_eq!(TypeInfo::of::<(u8, Vec<u64>)>().short_name(), "(u8, Vec<u64>)");
    }
}
