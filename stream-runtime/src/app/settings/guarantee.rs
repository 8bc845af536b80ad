//! The processing guarantee as a setting.

use std::fmt;

use super::value::Value;

/// How a program's results relate to its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessingGuarantee {
    /// Every record is processed. After a crash, what was not committed is processed again: outputs may repeat, tables
    /// count each input record once.
    AtLeastOnce,
    /// Outputs, tables and offsets are committed in one transaction: every record counts once, in all of them, for
    /// readers with `isolation.level=read_committed`.
    ExactlyOnce,
}

impl Value for ProcessingGuarantee {
    const KIND: &'static str = "guarantee";

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "at_least_once" => Ok(Self::AtLeastOnce),
            "exactly_once" => Ok(Self::ExactlyOnce),
            _ => Err("a guarantee: write `at_least_once` or `exactly_once`".to_owned()),
        }
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// As it is written in settings.
impl fmt::Display for ProcessingGuarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at_least_once",
            Self::ExactlyOnce => "exactly_once",
        })
    }
}
