//! The one error type of the public surface.
//!
//! A kind says what the reader should do; the message says what happened, where (topic, partition,
//! offset) and the way out. Modules keep small error types of their own and turn them into this one
//! at their edge.

use std::fmt;

/// The result of everything public that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the reader of an [`Error`] should do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting, a flag or a file is wrong: correct it and start again.
    Config,
    /// The program's agents, topics and tables do not fit together, or do not fit the topics that exist.
    Topology,
    /// The broker refused, or could not be reached in time: the operation can be tried again.
    Broker,
    /// Bytes that do not decode to the declared type, or a value that does not encode.
    Codec,
    /// An agent returned an error or panicked, and its policy is to stop.
    Agent,
    /// The local state could not be read or written.
    State,
    /// The operation came at a time when it has no meaning (a table outside an agent, a closed program).
    Usage,
}

/// What went wrong, and what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind with this message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same error with the one that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the reader should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn topology(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Topology, message)
    }

    pub(crate) fn broker(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Broker, message)
    }

    pub(crate) fn codec(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Codec, message)
    }

    pub(crate) fn agent(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Agent, message)
    }

    pub(crate) fn state(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::State, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
