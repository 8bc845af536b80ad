//! Sends of a test that say more than a key and a value.

use super::TestApp;
use crate::record::Headers;
use crate::record::codec::{CodecOf, Encoded};
use crate::record::partitioner::partition_of;
use crate::record::topic::Topic;
use crate::testing::clients::topics::NewRecord;

/// What a test says of a record beside its key and its value; for [`TestApp::send_with`]. Its methods are those of
/// [`Sending`](crate::Sending), which agents send with.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is sent unless `send_with` is given it"]
pub struct TestSending {
    headers: Headers,
    partition: Option<u32>,
    timestamp: Option<i64>,
}

impl TestSending {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Adds headers.
    pub fn headers(mut self, headers: &Headers) -> Self {
        self.headers.append(headers);
        self
    }

    /// Sends to this partition, whatever the key.
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the event time, in milliseconds since the Unix epoch.
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }
}

/// How records are sent that are not like others.
impl TestApp {
    /// Puts a record into a topic as [`send`](Self::send) does, with headers, into a certain partition or with a
    /// timestamp: for agents that look at headers, and for records of producers that have a partitioner of their own.
    ///
    /// ```
    /// use stream_runtime::prelude::*;
    /// use stream_runtime::testing::TestApp;
    ///
    /// #[topic]
    /// static ORDERS: Topic<String, u64>;
    ///
    /// #[table]
    /// static BY_SHOP: Table<String, u64>;
    ///
    /// #[agent(topic = ORDERS)]
    /// async fn add(amount: u64, headers: Headers) {
    ///     let shop = headers.get("shop").unwrap_or(b"unknown");
    ///     BY_SHOP.update(&String::from_utf8_lossy(shop).into_owned(), |sum| *sum += amount);
    /// }
    ///
    /// # fn main() {
    /// let mut app = TestApp::new().agents([add::agent()]);
    /// app.send_with(&ORDERS, "ann", 5_u64, |record| record.header("shop", "north").partition(3))
    ///     .settle();
    /// assert_eq!(app.table(&BY_SHOP).get("north"), Some(&5));
    /// # }
    /// ```
    ///
    /// # Panics
    /// When the record does not encode, or the program has no such topic or the topic no such partition.
    #[track_caller]
    pub fn send_with<K: 'static, V: 'static>(
        &mut self,
        topic: &'static Topic<K, V>,
        key: impl Into<K>,
        value: impl Into<V>,
        with: impl FnOnce(TestSending) -> TestSending,
    ) -> &mut Self {
        let sending = with(TestSending::default());
        let key = encoded(topic.key, &key.into());
        let value = encoded(topic.value, &value.into());
        let name = self.name_of(topic.def());
        self.put(&name, key.as_deref(), value.as_deref(), &sending)
    }

    #[track_caller]
    pub(super) fn put(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        sending: &TestSending,
    ) -> &mut Self {
        let count = self.partitions_of(topic);
        let partition = match (sending.partition, key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, count),
            (None, None) => {
                self.keyless += 1;
                self.keyless % count
            }
        };
        assert!(
            partition < count,
            "topic `{topic}` has no partition {partition}: it has {count}"
        );
        let record = NewRecord {
            key,
            value,
            headers: sending.headers.packed(),
            timestamp: sending.timestamp.unwrap_or_else(|| self.now_millis()),
        };
        let network = self.world().network.clone();
        network.produce(topic, partition.cast_signed(), &record);
        self
    }
}

#[track_caller]
fn encoded<T>(codec: CodecOf<T>, value: &T) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match (codec.encode)(value, &mut bytes) {
        Ok(Encoded::Bytes) => Some(bytes),
        Ok(Encoded::Null) => None,
        Err(error) => panic!("what is sent does not encode: {error}"),
    }
}
