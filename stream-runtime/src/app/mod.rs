//! The program: what is declared about it, its settings, and how it starts and stops.
//!
//! Not here: the command line ([`crate::cli`]).

mod changelogs;
mod dead_letters;
mod failures;
mod feed;
mod launch;
mod plan;
mod progress;
mod purge;
mod running;
pub(crate) mod settings;
mod ticker;
mod topics;
mod watchdog;

use std::time::Duration;

pub(crate) use dead_letters::{
    Letter, Letters, Replay, ReplayReport, list as list_dead_letters, replay as replay_dead_letters,
};
pub use failures::AgentFailures;
pub(crate) use feed::{Demo, Feed, deliver, send};
pub(crate) use launch::Cancel;
use launch::LaunchRequest;
pub(crate) use launch::{Connection, connection};
#[cfg(feature = "testing")]
pub(crate) use plan::Plan;
#[cfg(feature = "testing")]
pub(crate) use progress::Progress;
#[cfg(feature = "testing")]
pub(crate) use purge::{PassedOn, rounds as purge_rounds};
pub use running::Running;
pub(crate) use running::run_until_stopped;
use settings::{Layer, Settings};
pub(crate) use topics::{TopicsReport, check_topics, create_topics};

use crate::agent::AgentDef;
use crate::error::Result;
use crate::record::topic::Topic;
use crate::registry::Registry;
use crate::table::Table;
use crate::topology::{self, Topology};

/// A program: its id, its settings given in code, and its agents.
///
/// The id is the consumer group and the first part of the names of internal topics and changelogs. Agents,
/// topics and tables are found by themselves, wherever in the linked crates they are declared.
///
/// ```no_run
/// use stream_runtime::prelude::*;
///
/// #[agent(topic = "greetings")]
/// async fn greet(name: String) {
///     println!("hello {name}");
/// }
///
/// fn main() -> std::process::ExitCode {
///     App::new("hello").broker("kafka://localhost:9092").main()
/// }
/// ```
#[derive(Debug, Clone)]
pub struct App {
    id: String,
    code: Layer,
    agents: Option<Vec<&'static AgentDef>>,
    feed: Feed,
    shown_at_end: Vec<&'static str>,
}

impl App {
    /// A program of this id: letters, digits, `.`, `_` and `-`.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            code: Layer::new("code"),
            agents: None,
            feed: Feed::default(),
            shown_at_end: Vec::new(),
        }
    }

    /// The cluster to use unless a file, the environment or a flag says otherwise: `kafka://host:port`, or
    /// `embedded://` for a broker inside this process.
    #[must_use]
    pub fn broker(self, address: impl Into<String>) -> Self {
        self.set("broker", address.into())
    }

    /// Gives a setting in code, by its name in `stream.toml`; a file, the environment and flags override it.
    /// Unknown names are an error when the program starts.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl std::fmt::Display) -> Self {
        self.code.put(name, value);
        self
    }

    /// Runs these agents only, rather than all that are linked: for several programs in one binary, and for
    /// tests. Tables and topics that they do not mention are left out.
    ///
    /// ```
    /// # use stream_runtime::prelude::*;
    /// #[agent(topic = "greetings")]
    /// async fn greet(name: String) {
    ///     println!("hello {name}");
    /// }
    ///
    /// # fn main() {
    /// let app = App::new("hello").agents([greet::agent()]);
    /// # }
    /// ```
    #[must_use]
    pub fn agents(mut self, agents: impl IntoIterator<Item = &'static AgentDef>) -> Self {
        self.agents = Some(agents.into_iter().collect());
        self
    }

    /// On the embedded broker, makes each line of standard input a record of `topic`. At the end of the input
    /// the worker finishes what is in flight and ends.
    #[must_use]
    pub fn stdin<K>(mut self, topic: &'static Topic<K, String>) -> Self {
        self.feed.stdin = Some(topic.def());
        self
    }

    /// On the embedded broker, sends `make(n)` for n = 0, 1, … to `topic`, one every `interval`: with `--demo`,
    /// or on a terminal where nobody has typed anything yet.
    #[must_use]
    pub fn demo<K>(
        mut self,
        topic: &'static Topic<K, String>,
        interval: Duration,
        make: fn(u64) -> String,
    ) -> Self {
        self.feed.demo = Some(Demo {
            topic: topic.def(),
            interval,
            make,
        });
        self
    }

    /// Prints the entries of a table that this worker holds when it has ended well.
    #[must_use]
    pub fn show_at_end<K, V>(mut self, table: &'static Table<K, V>) -> Self
    where
        K: crate::record::key::TableKey,
        V: Clone + serde::Serialize + 'static,
    {
        self.shown_at_end.push(table.def().name);
        self
    }

    /// Checks everything that is declared and gives the graph of it.
    ///
    /// # Errors
    /// `ErrorKind::Topology`, naming everything that does not fit together and where it was declared.
    pub fn topology(&self) -> Result<Topology> {
        let Registry {
            agents,
            topics,
            tables,
        } = Registry::collect();
        match &self.agents {
            None => Topology::build(&self.id, &agents, &topics, &tables),
            Some(chosen) => {
                let (topics, tables) = topology::used_by(chosen, &topics, &tables);
                Topology::build(&self.id, chosen, &topics, &tables)
            }
        }
    }

    /// Starts a worker with the settings of code, file and environment, and gives a handle to it. For tests
    /// and for programs with a `main` of their own; the calling thread stays free.
    ///
    /// # Errors
    /// When settings, declarations or topics are wrong. A broker that cannot be reached is waited for.
    pub fn start(self) -> Result<Running> {
        let variables: Vec<_> = std::env::vars()
            .filter(|(name, _)| name.starts_with("STREAM_"))
            .collect();
        let settings = Settings::gather(&self.id, &self.code, None, &variables, Layer::default())?;
        self.start_with(&settings)
    }

    /// Starts a worker with exactly these settings.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(self, settings: &Settings) -> Result<Running> {
        launch::launch(LaunchRequest::new(&self)?, settings, &Cancel::default())
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn code(&self) -> &Layer {
        &self.code
    }

    pub(crate) fn has_demo(&self) -> bool {
        self.feed.demo.is_some()
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    pub(crate) fn shown_at_end(&self) -> &[&'static str] {
        &self.shown_at_end
    }
}
