//! Stream processing over Apache Kafka from a few annotated items.

mod clock;
mod error;

pub use error::{Error, ErrorKind, Result};
