//! What is run: the flags of this test, and the variables for where none can be given.

use std::fmt;

use crate::abilities;
use crate::schedule::Kind;

/// What the program under test is told to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guarantee {
    AtLeastOnce,
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at_least_once",
            Self::ExactlyOnce => "exactly_once",
        })
    }
}

/// The flags.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) filters: Vec<String>,
    pub(crate) list: bool,
    pub(crate) long: bool,
    /// Of the long form.
    pub(crate) faults: usize,
    pub(crate) guarantee: Guarantee,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) embedded: bool,
    pub(crate) seed: u64,
    /// Records of the input a second.
    pub(crate) rate: u64,
    pub(crate) store: String,
    pub(crate) keep: bool,
}

pub(crate) const USAGE: &str = "\
cargo test --test chaos [part of a name …]     the short form: some faults of each kind
cargo test --test chaos -- --long [flags]      faults as they come

  --faults N         how many in the long form [100]
  --guarantee G      at_least_once or exactly_once [at_least_once]
  --kinds a,b,…      of these kinds only; `crashes` and `zombies` stand for several [all]
  --broker B         kafka or embedded [kafka]
  --seed N           what is drawn [STREAM_TEST_SEED, else from the clock]
  --rate N           records of the input a second [400]
  --store URL        where tables are kept [rocksdb:// in a build with the feature, else memory://]
  --keep             keep logs and state of runs that pass
  --list             names only";

impl Settings {
    /// # Errors
    /// What is wrong with the arguments.
    pub(crate) fn from(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let seed = std::env::var("STREAM_TEST_SEED").ok();
        let mut settings = Self {
            filters: Vec::new(),
            list: false,
            long: false,
            faults: 100,
            guarantee: Guarantee::AtLeastOnce,
            kinds: Kind::ALL.to_vec(),
            embedded: false,
            seed: match &seed {
                Some(seed) => number(seed)?,
                None => seed_of_the_clock(),
            },
            rate: 400,
            store: default_store().to_owned(),
            keep: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--list" => settings.list = true,
                "--long" => settings.long = true,
                "--keep" => settings.keep = true,
                "--faults" => {
                    settings.faults = usize::try_from(number(&value()?)?).map_err(|e| e.to_string())?;
                }
                "--seed" => settings.seed = number(&value()?)?,
                "--rate" => settings.rate = number(&value()?)?.max(1),
                "--store" => settings.store = value()?,
                "--kinds" => settings.kinds = kinds(&value()?)?,
                "--broker" => {
                    settings.embedded = match value()?.as_str() {
                        "embedded" => true,
                        "kafka" => false,
                        other => return Err(format!("no broker `{other}`: kafka or embedded")),
                    };
                }
                "--guarantee" => {
                    settings.guarantee = match value()?.as_str() {
                        "at_least_once" => Guarantee::AtLeastOnce,
                        "exactly_once" => Guarantee::ExactlyOnce,
                        other => return Err(format!("no guarantee `{other}`")),
                    };
                }
                // What cargo passes on to every harness.
                "--quiet" | "-q" | "--nocapture" | "--show-output" => {}
                flag if flag.starts_with('-') => return Err(format!("no flag `{flag}`")),
                _ => settings.filters.push(argument),
            }
        }
        Ok(settings)
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

fn kinds(text: &str) -> Result<Vec<Kind>, String> {
    let mut kinds = Vec::new();
    for name in text.split(',') {
        let named: Vec<_> = Kind::ALL
            .into_iter()
            .filter(|kind| match name {
                "all" => true,
                "crashes" => !kind.makes_zombies(),
                "zombies" => kind.makes_zombies(),
                _ => kind.name() == name,
            })
            .collect();
        if named.is_empty() {
            let known = Kind::ALL.map(Kind::name).join(", ");
            return Err(format!("no kind `{name}`: {known}, crashes, zombies, all"));
        }
        kinds.extend(named);
    }
    Ok(kinds)
}

fn default_store() -> &'static str {
    if abilities::ROCKSDB && cfg!(feature = "rocksdb") {
        "rocksdb://"
    } else {
        "memory://"
    }
}

fn seed_of_the_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::from(now.unwrap_or_default().subsec_nanos())
}
