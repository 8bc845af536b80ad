//! How the value of a setting is written and read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A type that settings have.
pub(crate) trait Value: Sized {
    /// The kind of value, in a word or two.
    const KIND: &'static str;

    /// Reads it; the error completes "… is not".
    fn parse(text: &str) -> Result<Self, String>;

    /// Writes it so that [`parse`](Self::parse) reads it again.
    fn write(&self) -> String;
}

impl Value for String {
    const KIND: &'static str = "text";

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("a text: it is empty".to_owned()),
            text => Ok(text.to_owned()),
        }
    }

    fn write(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "path";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a path: it is empty".to_owned());
        }
        Ok(Self::from(text))
    }

    fn write(&self) -> String {
        self.display().to_string()
    }
}

macro_rules! whole_numbers {
    ($($type:ty),+) => {
        $(impl Value for $type {
            const KIND: &'static str = "whole number";

            fn parse(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| format!("a whole number from 0 to {}", Self::MAX))
            }

            fn write(&self) -> String {
                self.to_string()
            }
        })+
    };
}

whole_numbers!(u16, u32, usize);

impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;

    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        T::parse(text).map(Some)
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(String::new, T::write)
    }
}

/// An amount of memory, written as a whole number and its unit: `512KiB`, `256MiB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// This many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// How many bytes it is.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// In the largest unit that needs no fraction.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*factor);
        let (unit, factor) = SIZE_UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// Units with their bytes, the largest first.
const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Value for Size {
    const KIND: &'static str = "size";

    fn parse(text: &str) -> Result<Self, String> {
        number_and_unit(text, &SIZE_UNITS).map(Self).ok_or_else(|| {
            "a size: write a whole number and its unit, such as 512KiB, 256MiB, 2GiB".to_owned()
        })
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// The whole number in `text` times its unit.
fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Units with their milliseconds, the longest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Value for Duration {
    const KIND: &'static str = "duration";

    fn parse(text: &str) -> Result<Self, String> {
        match number_and_unit(text, &UNITS) {
            Some(millis) => Ok(Self::from_millis(millis)),
            None => Err(
                "a duration: write a whole number and its unit, such as 250ms, 10s, 5m, 1h, 7d".to_owned(),
            ),
        }
    }

    fn write(&self) -> String {
        format_duration(*self)
    }
}

/// In the longest unit that needs no fraction.
pub(crate) fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (unit, factor) = UNITS
        .iter()
        .find(|(_, factor)| millis > 0 && millis.is_multiple_of(u128::from(*factor)))
        .unwrap_or(&("ms", 1));
    format!("{}{unit}", millis / u128::from(*factor))
}
