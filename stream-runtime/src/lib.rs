#![doc = include_str!("docs/crate.md")]

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
mod topology;

#[doc(hidden)]
pub mod __private;

pub use agent::{AgentDef, Event, Form, Key, OnError, Timestamp, TopicUse, Verdict};
pub use app::settings::{BrokerAddress, Layer, ProcessingGuarantee, Settings, Size};
pub use app::{App, Running};
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

/// What programs use: `use stream_runtime::prelude::*;`.
pub mod prelude {
    pub use crate::{
        App, Event, Headers, Key, Records, Stream, Table, Timestamp, Topic, agent, table, topic,
    };
}
