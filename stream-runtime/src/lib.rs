#![doc = include_str!("docs/crate.md")]

// The tests of `testing` declare programs, and what the macros expand to names this crate.
#[cfg(all(test, feature = "testing"))]
extern crate self as stream_runtime;

mod agent;
mod app;
#[cfg(feature = "embedded")]
mod broker;
#[cfg(feature = "cli")]
mod cli;
mod clock;
mod cluster;
mod error;
mod kafka;
mod record;
mod registry;
mod store;
mod stream;
mod table;
pub mod testing;
#[cfg(test)]
mod tests;
mod topology;

#[doc(hidden)]
pub mod __private;

pub use agent::{AgentDef, Event, Form, Key, OnError, Timestamp, TopicUse, Verdict};
pub use app::settings::{BrokerAddress, Layer, ProcessingGuarantee, Settings, Size};
pub use app::{AgentFailures, App, Running};
pub use cluster::progress::RestoreProgress;
pub use cluster::standby::StandbyTask;
pub use error::{Error, ErrorKind, Result};
pub use record::codec::{Codec, CodecError, Encoded};
pub use record::codecs;
pub use record::key::TableKey;
pub use record::partitioner::partition_of;
pub use record::topic::{Ownership, Topic, TopicDef};
pub use record::{Headers, Location, TypeInfo};
pub use stream::{Delivery, Enumerate, Filter, Map, Records, Sending, Stream};
#[doc = include_str!("docs/agent.md")]
pub use stream_macros::agent;
#[doc = include_str!("docs/table.md")]
pub use stream_macros::table;
#[doc = include_str!("docs/topic.md")]
pub use stream_macros::topic;
pub use table::{Table, TableDef};
pub use topology::Topology;

/// The embedded development broker: Kafka's wire protocol on a loopback port of this process.
///
/// What `embedded://` starts; tests start their own.
///
/// ```
/// use stream_runtime::embedded::{Broker, BrokerOptions, NewTopic};
///
/// let broker = Broker::start(BrokerOptions::default())?;
/// broker.create_topic(NewTopic::new("colors", 8))?;
/// println!("kcat -b {} -L", broker.bootstrap());
/// # Ok::<(), stream_runtime::Error>(())
/// ```
#[cfg(feature = "embedded")]
pub mod embedded {
    pub use crate::broker::{Broker, BrokerOptions, NewTopic};
}

/// The names of the headers that dead letters have beside their own.
///
/// A dead letter is a record that an agent gave up under `on_error = dead_letter`: its key, its value, its headers and
/// its timestamp are what they were. The values of the headers named here are text: numbers in decimal, times in
/// milliseconds since the Unix epoch.
///
/// ```
/// use stream_runtime::dead_letter;
/// use stream_runtime::prelude::*;
///
/// /// Tells of the dead letters of this program.
/// #[agent(topic = "dead-letters")]
/// async fn report(_bytes: Vec<u8>, headers: Headers) {
///     let text = |name| String::from_utf8_lossy(headers.get(name).unwrap_or_default()).into_owned();
///     println!("{} failed: {}", text(dead_letter::AGENT), text(dead_letter::MESSAGE));
/// }
///
/// #[agent(topic = "orders", on_error = dead_letter)]
/// async fn ship(order: u64) {
///     println!("{order} is on its way");
/// }
/// # fn main() {}
/// ```
pub mod dead_letter {
    pub use crate::agent::dead_letter::{
        AGENT, APP, ATTEMPTS, ERROR, FAILED_AT, MESSAGE, OFFSET, PARTITION, REPLAYS, TIMESTAMP, TOPIC,
    };
}

/// What programs use: `use stream_runtime::prelude::*;`.
pub mod prelude {
    pub use crate::{
        App, Event, Headers, Key, Records, Stream, Table, Timestamp, Topic, agent, table, topic,
    };
}
