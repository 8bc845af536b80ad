//! Settings: one table of names, documentation, types and defaults, and the layers that give values.
//!
//! The defaults lie at the bottom; above them the program's code, then the file (`stream.toml`), then the
//! environment (`STREAM_…`), then flags. The struct, the file's keys, the variables, the flags and
//! `docs/SETTINGS.md` are all made from the table below, so that they cannot differ.
//!
//! Not here: what the settings do, and where a flag stands on a command line (`cli`).

mod address;
mod check;
mod file;
mod guarantee;
mod layer;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};

pub use address::BrokerAddress;
pub use guarantee::ProcessingGuarantee;
pub use layer::Layer;
use layer::Name;
pub use value::Size;
use value::Value;
pub(crate) use value::format_duration;

/// The file that is read from the working directory when no other is named.
pub(crate) const DEFAULT_FILE: &str = "stream.toml";
/// The variable that names another file.
pub(crate) const FILE_VARIABLE: &str = "STREAM_CONFIG";
/// What the variables of settings begin with.
pub(crate) const VARIABLE_PREFIX: &str = "STREAM_";
/// What the variables of tests begin with, such as the one that tells where their broker is.
const TEST_VARIABLES: &str = "STREAM_TEST_";

/// One row of the table of settings.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The key in the file; `STREAM_<NAME>` in the environment, `--<name>` with hyphens as a flag.
    pub name: &'static str,
    /// The kind of value, in a word or two.
    pub kind: &'static str,
    /// As it would be written; `{id}` stands for the program's id, nothing at all for no value.
    pub default: &'static str,
    /// The documentation, first line first.
    pub doc: &'static [&'static str],
}

impl Setting {
    /// The environment variable that gives it.
    pub(crate) fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_uppercase())
    }

    /// The flag that gives it, without the hyphens before it.
    pub(crate) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The documentation as one paragraph, without the marks of a link.
    pub(crate) fn prose(&self) -> String {
        let lines: Vec<_> = self.doc.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }
}

macro_rules! default_sentence {
    ("") => {
        "Default: none."
    };
    ($default:tt) => {
        concat!("Default: `", $default, "`.")
    };
}

macro_rules! settings {
    ($( $(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:tt, )+) => {
        /// What a program runs with.
        ///
        /// Resolved once, before anything starts, from the defaults, the program's code, the file
        /// `stream.toml`, `STREAM_…` variables and flags; the later of these win.
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub struct Settings {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = default_sentence!($default)]
                pub $name: $type,
            )+
            /// Raw settings of the Kafka client, by their names in librdkafka: the table `[kafka]` of the
            /// file, `--set linger.ms=0`, `STREAM_KAFKA__LINGER_MS=0`.
            pub kafka: BTreeMap<String, String>,
            /// Where each value that is no default came from; raw settings under `kafka.<name>`.
            sources: BTreeMap<String, String>,
        }

        /// Every setting, in the order of the documentation.
        pub(crate) const SETTINGS: &[Setting] = &[
            $( Setting {
                name: stringify!($name),
                kind: <$type as Value>::KIND,
                default: $default,
                doc: &[$($doc),+],
            }, )+
        ];

        impl Settings {
            /// Reads every value; what is wrong is added to `problems`.
            fn read(chosen: &Chosen<'_>, problems: &mut Vec<String>) -> Option<Self> {
                $( let $name = chosen.value::<$type>(stringify!($name), $default, problems); )+
                Some(Self {
                    $( $name: $name?, )+
                    kafka: chosen.raw.iter().map(|(&name, raw)| (name.to_owned(), raw.text.to_owned())).collect(),
                    sources: chosen.sources(),
                })
            }

            /// The values as they would be written, with where each came from, in the table's order.
            pub(crate) fn rows(&self) -> Vec<(&'static str, String, &str)> {
                vec![ $( (stringify!($name), Value::write(&self.$name), self.source(stringify!($name))), )+ ]
            }
        }
    };
}

settings! {
    /// The cluster: `kafka://host:port`, with several hosts `kafka://a:9092,b:9092`; or `embedded://` for the
    /// development broker inside this process, `embedded://:9093` for one on a port of your choice. A missing
    /// port is 9092, and any free one for the embedded broker.
    broker: String = "kafka://localhost:9092",

    /// Where tables are kept on this machine: `memory://`, restored from their changelogs at every start, or
    /// `rocksdb://`, kept in `datadir`, so that they may be larger than memory and a start restores only what they
    /// missed. The latter needs the feature `rocksdb`.
    store: String = "memory://",

    /// The directory of local state; `memory://` keeps none. Several workers, and several programs, may share it: each
    /// finds a place of its own below it. It has to be on a local disk.
    datadir: PathBuf = "{id}-data",

    /// The memory that the stores of this worker take together for what they read and for what they have not written to
    /// the disk yet, with what RocksDB and the allocator take beside it. `memory://` takes what the tables need.
    memory_budget: Size = "256MiB",

    /// What is logged: a level (`off`, `error`, `warn`, `info`, `debug`, `trace`) or a list of filters such as
    /// `info,stream_runtime=debug`.
    log: String = "warn",

    /// The number of threads that run the tasks of each sub-topology.
    threads: usize = "1",

    /// The number of partitions of an internal topic that neither says its own nor follows another topic's.
    partitions: u32 = "8",

    /// The number of replicas of the topics the program creates. Without it, the broker's default.
    replication: Option<u16> = "",

    /// How results relate to inputs: `at_least_once` loses nothing and may repeat outputs after a crash;
    /// `exactly_once` puts outputs, tables and offsets into one transaction, seen whole or not at all by those who
    /// read with `isolation.level=read_committed`.
    processing_guarantee: ProcessingGuarantee = "at_least_once",

    /// The time between two commits of a task, at most. Shorter repeats less after a crash, and with `exactly_once` shows
    /// outputs sooner; longer costs less. With `exactly_once` a worker that has nothing else to do commits sooner, and
    /// rests for a quarter of what a commit takes, at least a hundredth and at most a twentieth of this. Without it, `1s`,
    /// and `100ms` with `exactly_once`.
    commit_interval: Option<Duration> = "",

    /// With `exactly_once`: how long a transaction may stay open before the broker aborts it. Others wait for it as
    /// long after a crash, to read the outputs and to take over the partitions.
    transaction_timeout: Duration = "10s",

    /// The silence after which the group gives a worker's partitions to others.
    session_timeout: Duration = "45s",

    /// The time between two signs of life to the group; a third of `session_timeout` at most is wise.
    heartbeat_interval: Duration = "3s",

    /// The longest a worker may take between two polls, commits and rebalances included, before the group
    /// goes on without it.
    max_poll_interval: Duration = "5m",

    /// The worker's lasting name in the group (static membership): a restart within `session_timeout` moves
    /// no partition. It must differ from worker to worker; each thread adds its own, `name-input-0`.
    instance_id: Option<String> = "",

    /// How many other workers keep a copy of each task's tables, so that one of them can take the task over without a
    /// restore. The workers tell each other what they hold in the topic `<id>-workers`.
    standby_replicas: u16 = "0",

    /// How long a starting worker may take to fill its tables before it joins the group, and so before it takes
    /// partitions from others; `0s` joins at once. It fills those of the whole program as far as the time goes.
    restore_ahead: Duration = "0s",

    /// How long a starting worker waits for the topics that others create. For the broker itself it waits as
    /// long as it takes, and says so.
    startup_timeout: Duration = "60s",

    /// How long a stopping worker takes to finish records, commit and leave the group before it goes anyway.
    shutdown_timeout: Duration = "30s",

    /// How long a task that has records to process may finish none before the log names it, the record it is at and
    /// what keeps it. It is named again whenever the time has doubled.
    stuck_after: Duration = "30s",

    /// How often a worker has the broker delete records of internal topics that its tasks have processed and committed,
    /// so that these topics do not grow without end. Topics that are declared with a retention or as compacted are
    /// left alone.
    purge_interval: Duration = "30s",

    /// Reserved: there are no web pages yet, and giving a port is an error.
    web_port: Option<u16> = "",
}

impl Settings {
    /// The settings of the program `id` out of these layers; of two layers that give a value the later wins.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming everything that is wrong at once: unknown names
    /// (with the nearest known one), values that do not parse, values that do not fit together.
    pub fn resolve(id: &str, layers: &[Layer]) -> Result<Self> {
        let mut problems = Vec::new();
        let chosen = Chosen::from_layers(id, layers, &mut problems);
        let settings = Self::read(&chosen, &mut problems);
        if let Some(settings) = &settings {
            settings.check(&mut problems);
        }
        match settings {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(all_at_once(&problems)),
        }
    }

    /// The settings of the program `id` with the layers where they belong: `code`, then the file, then
    /// `variables` of the environment, then `flags`.
    ///
    /// The file is `config`, else the one `STREAM_CONFIG` names, else `stream.toml` in the working directory
    /// if there is one.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve), and when a file that was named cannot be read.
    pub(crate) fn gather(
        id: &str,
        code: &Layer,
        config: Option<&Path>,
        variables: &[(String, String)],
        flags: Layer,
    ) -> Result<Self> {
        let named = variables
            .iter()
            .find(|(name, _)| name == FILE_VARIABLE)
            .map(|(_, path)| Path::new(path));
        let file = match config.or(named) {
            Some(path) => Layer::from_file(path)?,
            None if Path::new(DEFAULT_FILE).exists() => Layer::from_file(Path::new(DEFAULT_FILE))?,
            None => Layer::default(),
        };
        Self::resolve(
            id,
            &[
                code.clone(),
                file,
                Layer::from_env(variables.iter().cloned()),
                flags,
            ],
        )
    }

    /// Where the value of this setting came from: `default`, or the layer and the place in it.
    pub fn source(&self, name: &str) -> &str {
        self.sources.get(name).map_or("default", String::as_str)
    }

    /// The raw settings of the client as [`rows`](Self::rows) are.
    pub(crate) fn raw_rows(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let rows = self.kafka.iter();
        rows.map(|(name, value)| (name.as_str(), value.as_str(), self.source(&layer::raw_name(name))))
    }

    /// Whether the workers hold state for tasks that they do not run, and so tell each other what they hold.
    pub(crate) fn has_standbys(&self) -> bool {
        self.standby_replicas > 0 || !self.restore_ahead.is_zero()
    }

    /// The time between two commits, given or by the guarantee.
    pub fn commit_interval(&self) -> Duration {
        let by_guarantee = match self.processing_guarantee {
            ProcessingGuarantee::AtLeastOnce => Duration::from_secs(1),
            ProcessingGuarantee::ExactlyOnce => Duration::from_millis(100),
        };
        self.commit_interval.unwrap_or(by_guarantee)
    }

    /// Which cluster [`broker`](Self::broker) names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the text is no address; never for settings that
    /// come from [`resolve`](Self::resolve) unchanged.
    pub fn broker_address(&self) -> Result<BrokerAddress> {
        self.broker
            .parse()
            .map_err(|problem: String| Error::config(format!("`broker`: {problem}")))
    }
}

/// A value as some layer wrote it.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    text: &'a str,
    origin: &'a str,
}

/// The winning text of every name, over all layers.
#[derive(Debug)]
struct Chosen<'a> {
    id: &'a str,
    settings: BTreeMap<&'static str, Given<'a>>,
    raw: BTreeMap<&'a str, Given<'a>>,
}

impl<'a> Chosen<'a> {
    fn from_layers(id: &'a str, layers: &'a [Layer], problems: &mut Vec<String>) -> Self {
        let mut chosen = Self {
            id,
            settings: BTreeMap::new(),
            raw: BTreeMap::new(),
        };
        for entry in layers.iter().flat_map(Layer::entries) {
            let given = Given {
                text: &entry.value,
                origin: &entry.origin,
            };
            match layer::name(&entry.key) {
                Ok(Name::Setting(name)) => drop(chosen.settings.insert(name, given)),
                Ok(Name::Raw(name)) => drop(chosen.raw.insert(name, given)),
                Err(problem) => problems.push(format!("{problem} ({})", entry.origin)),
            }
        }
        chosen
    }

    fn sources(&self) -> BTreeMap<String, String> {
        let settings = self
            .settings
            .iter()
            .map(|(&name, given)| (name.to_owned(), given));
        let raw = self
            .raw
            .iter()
            .map(|(name, given)| (layer::raw_name(name), given));
        settings
            .chain(raw)
            .map(|(name, given)| (name, given.origin.to_owned()))
            .collect()
    }

    fn value<T: Value>(&self, name: &'static str, default: &str, problems: &mut Vec<String>) -> Option<T> {
        let given = self.settings.get(name).copied();
        let parsed = match given {
            Some(given) => T::parse(given.text),
            None => T::parse(&default.replace("{id}", self.id)),
        };
        let problem = match parsed {
            Ok(value) => return Some(value),
            Err(problem) => problem,
        };
        let (text, origin) = given.map_or((default, "default"), |given| (given.text, given.origin));
        problems.push(format!("`{name}` ({origin}): `{text}` is not {problem}"));
        None
    }
}

fn all_at_once(problems: &[String]) -> Error {
    match problems {
        [only] => Error::config(only.as_str()),
        many => Error::config(format!(
            "{} settings are wrong:\n  {}",
            many.len(),
            many.join("\n  ")
        )),
    }
}

/// The known name that is most like this one, if any is like it.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod manual;
#[cfg(test)]
mod tests;
