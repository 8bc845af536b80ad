//! What an agent's arguments take from a record.

use crate::record::codec::CodecError;
use crate::record::topic::Topic;
use crate::record::{Headers, RecordRef};

/// The key of the record, as an argument of an agent in record form.
///
/// ```
/// use stream_runtime::prelude::*;
///
/// #[agent(topic = "clicks")]
/// async fn count(url: String, Key(user): Key<String>) {
///     println!("{user} went to {url}");
/// }
/// # fn main() {}
/// ```
///
/// A record without a key does not decode, unless `K` is an `Option` or `()`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key<K>(pub K);

/// The event time of the record in milliseconds since the Unix epoch, as an argument of an agent in
/// record form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A whole record: key, value and everything around them.
///
/// As the argument of an agent in record form, or as the item of `Stream<Event<K, V>>`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event<K, V> {
    /// The decoded key.
    pub key: K,
    /// The decoded value.
    pub value: V,
    /// The headers.
    pub headers: Headers,
    /// The event time, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The topic's name on the broker.
    pub topic: String,
    /// The partition it came from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

/// The record an agent is given, before it is decoded.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    pub(crate) record: RecordRef<'a>,
}

impl Incoming<'_> {
    /// The value, by the topic's codec.
    ///
    /// # Errors
    /// When the bytes are not a `V`.
    pub fn value<K, V>(&self, topic: &Topic<K, V>) -> Result<V, CodecError> {
        (topic.value.decode)(self.record.value)
    }

    /// The key, by the topic's codec.
    ///
    /// # Errors
    /// When the bytes are not a `K`, or there is none and `K` needs one.
    pub fn key<K, V>(&self, topic: &Topic<K, V>) -> Result<Key<K>, CodecError> {
        match (topic.key.decode)(self.record.key) {
            Ok(key) => Ok(Key(key)),
            Err(error) => Err(CodecError::new(format!("the key: {error}"))),
        }
    }

    /// Everything.
    ///
    /// # Errors
    /// As [`key`](Self::key) and [`value`](Self::value).
    pub fn event<K, V>(&self, topic: &Topic<K, V>) -> Result<Event<K, V>, CodecError> {
        let Key(key) = self.key(topic)?;
        Ok(Event {
            key,
            value: self.value(topic)?,
            headers: self.headers(),
            timestamp: self.record.timestamp,
            topic: self.record.topic.to_owned(),
            partition: self.record.partition,
            offset: self.record.offset,
        })
    }

    /// The headers.
    pub fn headers(&self) -> Headers {
        Headers::from_ref(self.record.headers)
    }

    /// The event time.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp(self.record.timestamp)
    }
}
