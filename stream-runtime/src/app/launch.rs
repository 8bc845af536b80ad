//! Starting a worker, in order: broker, topology, topics, threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::info;

use super::App;
use super::plan::Plan;
use super::purge::{self, PassedOn};
use super::running::{Parts, Running};
use super::settings::{BrokerAddress, Settings};
use super::watchdog::Lookout;
use crate::clock;
use crate::cluster::standby::{self, StandbyControl};
use crate::cluster::thread;
use crate::error::{Error, Result};
use crate::kafka::cluster::RdKafkaCluster;
use crate::kafka::{ClientSettings, Cluster};
use crate::store::{MemoryStores, Stores};
use crate::stream::send::{ProgramGuard, RunningProgram};
use crate::topology::Topology;

/// Calls off a start that waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(crate) fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Sleeps, in pieces, unless the start was called off.
    pub(super) fn wait(&self, duration: Duration) -> Result<()> {
        let mut left = duration;
        while !left.is_zero() {
            if self.0.load(Ordering::Acquire) {
                return Err(Error::usage("stopped before the program had started"));
            }
            let piece = left.min(Duration::from_millis(50));
            clock::sleep(piece);
            left -= piece;
        }
        Ok(())
    }
}

/// The embedded broker, or nothing in a build without it.
#[cfg(feature = "embedded")]
pub(super) type EmbeddedBroker = crate::broker::Broker;
/// No embedded broker in this build.
#[cfg(not(feature = "embedded"))]
pub(super) type EmbeddedBroker = std::convert::Infallible;

/// The cluster that the settings name, started if it is the embedded one.
pub(crate) struct Connection {
    pub cluster: Arc<dyn Cluster>,
    /// `host:port,…`
    pub bootstrap: String,
    pub embedded: Option<EmbeddedBroker>,
}

/// Reaches for the cluster; the first request tells whether it is there.
pub(crate) fn connection(id: &str, settings: &Settings) -> Result<Connection> {
    let (bootstrap, embedded) = match settings.broker_address()? {
        BrokerAddress::Kafka { bootstrap } => (bootstrap, None),
        BrokerAddress::Embedded { port } => start_embedded(port)?,
    };
    let cluster = RdKafkaCluster::connect(ClientSettings {
        bootstrap: bootstrap.clone(),
        group: id.to_owned(),
        client_id: id.to_owned(),
        instance_id: settings.instance_id.clone(),
        session_timeout: settings.session_timeout,
        heartbeat_interval: settings.heartbeat_interval,
        max_poll_interval: settings.max_poll_interval,
        raw: settings.kafka.clone().into_iter().collect(),
    })?;
    Ok(Connection {
        cluster,
        bootstrap,
        embedded,
    })
}

#[cfg(feature = "embedded")]
fn start_embedded(port: u16) -> Result<(String, Option<EmbeddedBroker>)> {
    let broker = crate::broker::Broker::start(crate::broker::BrokerOptions {
        port,
        // Enough for all members of a starting worker to join at once.
        initial_rebalance_delay: Duration::from_millis(100),
        ..Default::default()
    })?;
    info!(
        "the embedded development broker listens on {}; its records are gone when it ends",
        broker.bootstrap()
    );
    Ok((broker.bootstrap(), Some(broker)))
}

#[cfg(not(feature = "embedded"))]
fn start_embedded(_port: u16) -> Result<(String, Option<EmbeddedBroker>)> {
    Err(Error::config(
        "`embedded://` needs the feature `embedded` of stream-runtime, which this build is without",
    ))
}

/// The stores that the settings name. Only those of RocksDB have a directory.
fn stores(id: &str, settings: &Settings) -> Result<Arc<dyn Stores>> {
    match settings.store.as_str() {
        "memory://" => Ok(Arc::new(MemoryStores::new())),
        "rocksdb://" => rocks_stores(id, settings),
        other => Err(Error::config(format!("`store`: there is no store `{other}`"))),
    }
}

#[cfg(feature = "rocksdb")]
fn rocks_stores(id: &str, settings: &Settings) -> Result<Arc<dyn Stores>> {
    let memory_budget = usize::try_from(settings.memory_budget.bytes()).unwrap_or(usize::MAX);
    let stores = crate::store::RocksStores::new(&settings.datadir, id, memory_budget)?;
    Ok(Arc::new(stores))
}

#[cfg(not(feature = "rocksdb"))]
fn rocks_stores(_id: &str, _settings: &Settings) -> Result<Arc<dyn Stores>> {
    Err(Error::config(
        "`rocksdb://` needs the feature `rocksdb` of stream-runtime, which this build is without",
    ))
}

/// What is started.
#[derive(Debug)]
pub(super) struct LaunchRequest {
    id: String,
    topology: Topology,
    want_rows: bool,
}

impl LaunchRequest {
    /// Checks what is declared.
    pub(super) fn new(app: &App) -> Result<Self> {
        Ok(Self {
            id: app.id().to_owned(),
            topology: app.topology()?,
            want_rows: !app.shown_at_end().is_empty(),
        })
    }
}

/// Starts a worker.
pub(super) fn launch(request: LaunchRequest, settings: &Settings, cancel: &Cancel) -> Result<Running> {
    let LaunchRequest {
        id,
        topology,
        want_rows,
    } = request;
    let stores = stores(&id, settings)?;
    let connection = connection(&id, settings)?;
    let own_externals = connection.embedded.is_some();
    let cluster = &connection.cluster;
    let plan = Plan::make(&id, topology, settings, cluster, own_externals, cancel)?;
    let program = ProgramGuard::new(RunningProgram {
        id: id.clone(),
        names: Arc::clone(&plan.names),
        producer: Arc::clone(&plan.producer),
    });
    let changed = Arc::new(Notify::new());
    let parts = plan.worker(settings, cluster, &stores, want_rows);
    let standbys = match parts.standbys {
        Some((setup, control)) => Some(standby::start(setup, control)?),
        None => None,
    };
    if let Some(standbys) = &standbys
        && !settings.restore_ahead.is_zero()
    {
        fill(standbys.control(), settings.restore_ahead, cancel)?;
    }
    let threads = parts.threads.into_iter();
    let threads = threads.map(|setup| thread::start(setup, Arc::clone(&changed)));
    let threads = threads.collect::<Result<Vec<_>>>()?;
    let watched = threads
        .iter()
        .map(|thread| (thread.name().to_owned(), thread.status().clone()));
    let lookout = Lookout::start(settings.stuck_after, watched.collect())?;
    let passed_on = PassedOn::new(&id, &plan.topology, &plan.admin);
    let statuses = threads.iter().map(|thread| thread.status().clone());
    let purge = purge::start(passed_on, settings.purge_interval, statuses.collect())?;
    Ok(Running::new(Parts {
        id,
        topology: plan.topology,
        plan: plan.topics,
        connection,
        admin: plan.admin,
        threads,
        standbys,
        lookout,
        purge,
        changed,
        program,
    }))
}

/// Fills stores before the worker joins the group, as far as the time goes.
fn fill(standbys: &StandbyControl, time: Duration, cancel: &Cancel) -> Result<()> {
    let deadline = clock::now() + time;
    info!("filling stores for {time:?} at most before joining the group");
    standbys.begin_filling();
    while !standbys.has_filled() && clock::now() < deadline {
        cancel.wait(Duration::from_millis(50))?;
    }
    standbys.end_filling();
    Ok(())
}
