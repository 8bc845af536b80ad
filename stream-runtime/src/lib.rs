//! Stream processing over Apache Kafka.

mod clock;
mod error;
mod kafka;
mod record;

pub use error::{Error, ErrorKind, Result};
pub use record::codec::{Codec, CodecError, Encoded};
pub use record::{Headers, Location, TypeInfo};
