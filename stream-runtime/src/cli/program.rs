//! What the command line needs of a program, and how [`App`] gives it.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::restores;
use crate::app::settings::{BrokerAddress, Layer, Settings};
use crate::app::{self, App, Connection, Letters, Replay, ReplayReport, TopicsReport};
use crate::cluster::thread::Rows;
use crate::error::{Error, Result};
use crate::topology::Topology;

/// A program as the command line sees it.
pub(super) trait Program: Sized {
    fn id(&self) -> &str;

    /// The settings given in code.
    fn layer(&self) -> &Layer;

    /// Whether it defines a feed of made-up records.
    fn has_demo(&self) -> bool;

    fn topology(&self) -> Result<Topology>;

    /// Runs a worker until it is asked to stop; gives the entries that it shows at its end.
    fn run_worker(self, settings: &Settings, options: WorkerOptions) -> Result<Rows>;

    /// Serves the embedded broker with the program's topics until it is asked to stop.
    fn run_broker(self, settings: &Settings, port: u16) -> Result<()>;

    /// Sends records and waits until the broker has them; returns how many.
    fn send(&self, settings: &Settings, request: SendRequest) -> Result<u64>;

    /// Compares the program's topics with those on the broker.
    fn topics(&self, settings: &Settings, action: TopicsAction) -> Result<TopicsReport>;

    /// The newest of the program's dead letters in a topic, `limit` at most.
    fn dead_letters(&self, settings: &Settings, topic: &Arc<str>, limit: usize) -> Result<Letters>;

    /// Sends dead letters back to where they came from.
    fn replay(&self, settings: &Settings, topic: &Arc<str>, replay: &Replay) -> Result<ReplayReport>;
}

/// How a worker is run, beside its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WorkerOptions {
    /// Also run the program's demo feed.
    pub(super) demo: bool,
    /// Say nothing of restores.
    pub(super) quiet: bool,
}

/// Records to be sent, as bytes.
pub(super) struct SendRequest {
    /// The topic's name on the broker.
    pub(super) topic: Arc<str>,
    /// Of every record; `None` is a null key.
    pub(super) key: Option<Vec<u8>>,
    /// An error ends the sending behind the values before it.
    pub(super) values: Box<dyn Iterator<Item = Result<Vec<u8>>>>,
}

impl std::fmt::Debug for SendRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendRequest")
            .field("topic", &self.topic)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What is to happen to topics of the program that the broker does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopicsAction {
    /// They are reported.
    Check,
    /// They are created, and reported as they were before.
    Create,
}

/// The longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);

impl Program for App {
    fn id(&self) -> &str {
        App::id(self)
    }

    fn layer(&self) -> &Layer {
        self.code()
    }

    fn has_demo(&self) -> bool {
        App::has_demo(self)
    }

    fn topology(&self) -> Result<Topology> {
        App::topology(self)
    }

    fn run_worker(self, settings: &Settings, options: WorkerOptions) -> Result<Rows> {
        let watch = (!options.quiet).then(restores::watch);
        app::run_until_stopped(&self, settings, options.demo, watch)
    }

    fn run_broker(self, settings: &Settings, port: u16) -> Result<()> {
        let topology = App::topology(&self)?;
        let mut settings = settings.clone();
        settings.broker = format!("embedded://:{port}");
        let connection = app::connection(App::id(&self), &settings)?;
        let admin = connection.cluster.admin()?;
        let externals = app::check_topics(&topology, &settings, admin.as_ref())?.missing;
        admin.create_topics(&externals, ANSWER)?;
        app::create_topics(&topology, &settings, admin.as_ref())?;
        eprintln!(
            "the embedded broker listens on {}; workers join it with `--broker kafka://{0}`, Ctrl-C ends it",
            connection.bootstrap
        );
        wait_for_interrupt()
    }

    fn send(&self, settings: &Settings, request: SendRequest) -> Result<u64> {
        let connection = client(App::id(self), settings)?;
        let topic = request.topic;
        let admin = connection.cluster.admin()?;
        if admin.topics(Some(&[topic.to_string()]), ANSWER)?.is_empty() {
            return Err(Error::topology(format!(
                "there is no topic `{topic}` on {}; `topics --check` tells whose it is to create",
                settings.broker
            )));
        }
        let mut producer = connection.cluster.producer(Arc::new(Notify::new()))?;
        let mut count = 0;
        let mut outcome = Ok(());
        for value in request.values {
            match value.and_then(|value| app::send(producer.as_mut(), &topic, request.key.as_deref(), &value))
            {
                Ok(()) => count += 1,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            producer.poll();
        }
        app::deliver(producer.as_mut())?;
        outcome.map(|()| count)
    }

    fn topics(&self, settings: &Settings, action: TopicsAction) -> Result<TopicsReport> {
        let topology = App::topology(self)?;
        let admin = client(App::id(self), settings)?.cluster.admin()?;
        match action {
            TopicsAction::Check => app::check_topics(&topology, settings, admin.as_ref()),
            TopicsAction::Create => app::create_topics(&topology, settings, admin.as_ref()),
        }
    }

    fn dead_letters(&self, settings: &Settings, topic: &Arc<str>, limit: usize) -> Result<Letters> {
        let connection = client(App::id(self), settings)?;
        app::list_dead_letters(&connection, App::id(self), topic, limit)
    }

    fn replay(&self, settings: &Settings, topic: &Arc<str>, replay: &Replay) -> Result<ReplayReport> {
        let connection = client(App::id(self), settings)?;
        app::replay_dead_letters(&connection, App::id(self), topic, replay)
    }
}

/// The cluster as those reach it who do not run it: the embedded broker is that of another process.
fn client(id: &str, settings: &Settings) -> Result<Connection> {
    let mut settings = settings.clone();
    if let BrokerAddress::Embedded { port } = settings.broker_address()? {
        if port == 0 {
            return Err(Error::config(format!(
                "`{}` takes any free port, so it cannot be found from here: give the address that the worker tells, \
                 `--broker kafka://127.0.0.1:<port>`, or start the worker with a port, `--broker embedded://:9092`",
                settings.broker
            )));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).map_err(|error| {
            Error::broker(format!(
                "no embedded broker listens on {address}: it runs inside a worker; start one, or the command `broker`"
            ))
            .with_source(error)
        })?;
        settings.broker = format!("kafka://{address}");
    }
    app::connection(id, &settings)
}

fn wait_for_interrupt() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let failed = |error| Error::state("signals cannot be handled").with_source(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(failed)?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(failed),
            _ = terminate.recv() => Ok(()),
        }
    })
}
