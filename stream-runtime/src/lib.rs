//! Stream processing over Apache Kafka from a few annotated items.

#[cfg(feature = "embedded")]
mod broker;
mod clock;
mod error;

pub use error::{Error, ErrorKind, Result};

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
