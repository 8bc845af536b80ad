//! The embedded development broker: Apache Kafka's wire protocol, in this process and in memory.
//!
//! A pure state machine ([`state`] over [`topics`], [`log`], [`coordinator`] and [`transactions`]; time
//! is an argument)
//! under a thin server ([`server`], [`connection`]). [`frame`] and [`api`] are between them: bytes to
//! requests to calls, and back.
//!
//! Invariants: it listens on the loopback address only; record batches stay the bytes that the producer
//! sent, except for the markers of transactions, which are made here; no input makes it panic. Not here:
//! replication, authentication, disks, fetch sessions, the second version of the transaction protocol
//! (KIP-890), and the group protocol of KIP-848.

#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::config::TopicConfig;
use self::server::{Command, Server};
use self::state::{Identity, Now, State};
use crate::clock;
use crate::error::{Error, Result};

pub(crate) mod api;
pub(crate) mod batch;
mod compaction;
pub(crate) mod config;
mod connection;
mod coordinator;
mod fetches;
mod frame;
mod group;
mod isolation;
mod log;
pub(crate) mod marker;
mod member;
mod offsets;
mod producers;
mod rebalance;
pub(crate) mod records;
mod server;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod topics;
mod transaction;
mod transactions;

/// How often the logs are looked at for compaction.
const COMPACTION_INTERVAL: Duration = Duration::from_millis(500);

/// A running embedded broker. Dropping it stops it and forgets all records.
///
/// It speaks Apache Kafka's protocol on a port of the loopback address, so any client can join: the
/// program itself, a second process, `kcat`. It is for development, demonstrations and tests: one node,
/// no disks, no authentication.
#[derive(Debug)]
pub struct Broker {
    port: u16,
    /// Dropped first, which ends the thread.
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

/// How an embedded broker starts.
#[derive(Debug, Clone, Default)]
pub struct BrokerOptions {
    /// The port to listen on; 0, the default, takes a free one.
    pub port: u16,
    /// How long an empty group waits for more members before its first rebalance: none by default, so
    /// that a program starts at once. Apache Kafka's default is 3 s.
    pub initial_rebalance_delay: Duration,
    /// Topics that are there from the start.
    pub topics: Vec<NewTopic>,
    /// Whether asking for a topic creates it with one partition. Off by default.
    pub auto_create_topics: bool,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name: ASCII letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// How many partitions it has; at least one.
    pub partitions: u32,
    /// Apache Kafka's settings of topics by name, such as `cleanup.policy` or `retention.ms`.
    pub config: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic of this name with so many partitions and Apache Kafka's default settings.
    pub fn new(name: impl Into<String>, partitions: u32) -> Self {
        Self {
            name: name.into(),
            partitions,
            config: Vec::new(),
        }
    }

    /// The same topic with one setting more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.push((name.into(), value.into()));
        self
    }
}

impl Broker {
    /// Starts a broker on a thread of its own; it accepts connections when this returns.
    ///
    /// # Errors
    ///
    /// The port is in use, or one of the topics cannot be created.
    pub fn start(options: BrokerOptions) -> Result<Self> {
        let BrokerOptions {
            port,
            initial_rebalance_delay,
            topics,
            auto_create_topics,
        } = options;
        let (listener, port) = listen(port)?;
        let started = clock::now();
        let now = server::now(started);
        let mut state = State::new(
            Identity {
                host: api::text(Ipv4Addr::LOCALHOST.to_string()),
                port,
                auto_create_topics,
                initial_rebalance_delay,
                compaction_interval: COMPACTION_INTERVAL,
            },
            now,
        );
        for topic in &topics {
            create(&mut state, topic, now)?;
        }
        let (commands, received) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                Error::broker("the embedded broker could not start its event loop").with_source(error)
            })?;
        let thread = std::thread::Builder::new()
            .name("embedded-broker".to_owned())
            .spawn(move || {
                let serve = async move {
                    match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => {
                            let server = Rc::new(Server::new(state, started));
                            server::run(server, listener, received).await;
                        }
                        Err(error) => tracing::error!(%error, "the embedded broker cannot listen"),
                    }
                };
                tokio::task::LocalSet::new().block_on(&runtime, serve);
            })
            .map_err(|error| {
                Error::broker("the embedded broker could not start its thread").with_source(error)
            })?;
        Ok(Self {
            port,
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients connect: what they call `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).to_string()
    }

    /// Creates a topic; it is there when this returns.
    ///
    /// # Errors
    ///
    /// There is a topic of this name already, or its name, partitions or settings are not allowed.
    pub fn create_topic(&self, topic: NewTopic) -> Result<()> {
        let stopped = || Error::broker("the embedded broker has stopped");
        let (reply, answer) = sync_channel(1);
        let commands = self.commands.as_ref().ok_or_else(stopped)?;
        commands
            .send(Command::CreateTopic(topic, reply))
            .map_err(|_| stopped())?;
        answer.recv().map_err(|_| stopped())?
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.commands.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by itself.
            thread.join().ok();
        }
    }
}

fn listen(port: u16) -> Result<(TcpListener, u16)> {
    let refused = |error| {
        Error::config(format!(
            "the embedded broker cannot listen on 127.0.0.1:{port}; stop the program that does, or choose \
             another port (0 takes a free one)"
        ))
        .with_source(error)
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let port = listener.local_addr().map_err(refused)?.port();
    Ok((listener, port))
}

/// Creates a topic in the state.
fn create(state: &mut State, topic: &NewTopic, now: Now) -> Result<()> {
    let refused = |why: String| {
        Error::config(format!(
            "the embedded broker cannot create topic `{}`: {why}",
            topic.name
        ))
    };
    let pairs = topic
        .config
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let config = TopicConfig::new(pairs).map_err(refused)?;
    let created = state
        .topics
        .create(&topic.name, Some(topic.partitions), config, now);
    created.map_err(|refusal| refused(refusal.message))
}
