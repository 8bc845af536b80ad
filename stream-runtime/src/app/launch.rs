//! Starting a worker, in order: broker, topology, topics, threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::info;

use super::running::{Parts, Running};
use super::settings::{BrokerAddress, ProcessingGuarantee, Settings};
use super::watchdog::Lookout;
use super::{App, changelogs, topics};
use crate::agent::context::TopicNames;
use crate::clock;
use crate::cluster::output::Guarantee;
use crate::cluster::plan::{Blueprint, Blueprints, Changelog, TablePlan};
use crate::cluster::standby::{self, StandbyHandle, StandbySetup};
use crate::cluster::thread::{self, ThreadSetup};
use crate::error::{Error, Result};
use crate::kafka::cluster::RdKafkaCluster;
use crate::kafka::{ClientSettings, Cluster};
use crate::store::{MemoryStores, Stores};
use crate::stream::send::{ProgramGuard, RunningProgram};
use crate::topology::{SubTopology, TopicPlan, Topology};

/// The largest record librdkafka's producers take unless told otherwise.
const MAX_RECORD_BYTES: usize = 1_000_000;

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
            std::thread::sleep(piece);
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
    let topology = Arc::new(topology);
    let stores = stores(&id, settings)?;
    let connection = connection(&id, settings)?;
    let admin = connection.cluster.admin()?;
    let own_externals = connection.embedded.is_some();
    let plan = topics::ready(&topology, settings, admin.as_ref(), own_externals, cancel)?;
    let names = Arc::new(names(&topology, &plan));
    let producer = connection.cluster.acknowledged_producer()?;
    let program = ProgramGuard::new(RunningProgram {
        id: id.clone(),
        names: Arc::clone(&names),
        producer: Arc::clone(&producer),
    });
    let changed = Arc::new(Notify::new());
    let changelogs = changelogs::facts(&topology, admin.as_ref())?;
    let worker = settings
        .instance_id
        .as_deref()
        .unwrap_or_else(|| stores.worker_id());
    let max_record_bytes = settings
        .kafka
        .get("message.max.bytes")
        .and_then(|bytes| bytes.parse().ok());
    // Members of their own for each sub-topology, since the group shares partitions out by their number alone: a
    // member of several could get all of one and nothing of another.
    let blueprints: Vec<_> = blueprints(&topology, &plan, &changelogs).collect();
    blueprints.iter().try_for_each(Blueprint::check)?;
    let standbys = match settings.has_standbys() && !topology.tables.is_empty() {
        true => Some(standby::start(StandbySetup {
            worker: worker.to_owned(),
            topic: topology.workers_topic().into(),
            group: id.clone(),
            blueprints: Blueprints(blueprints.clone()),
            replicas: usize::from(settings.standby_replicas),
            valid: settings.session_timeout,
            cluster: Arc::clone(&connection.cluster),
            admin: Arc::clone(&admin),
            producer: Arc::clone(&producer),
            stores: Arc::clone(&stores),
        })?),
        false => None,
    };
    if let Some(standbys) = &standbys
        && !settings.restore_ahead.is_zero()
    {
        fill(standbys, settings.restore_ahead, cancel)?;
    }
    let members = blueprints.into_iter().flat_map(|blueprint| {
        let member = move |number| (format!("{}-{number}", blueprint.name), blueprint.clone());
        (0..settings.threads).map(member)
    });
    let threads = members.map(|(member, blueprint)| {
        thread::start(
            ThreadSetup {
                transactional_id: format!("{id}-{worker}-{member}"),
                member,
                blueprints: Blueprints(vec![blueprint]),
                names: Arc::clone(&names),
                cluster: Arc::clone(&connection.cluster),
                guarantee: guarantee(settings),
                commit_interval: settings.commit_interval(),
                stores: Arc::clone(&stores),
                revoke_timeout: (settings.max_poll_interval / 5).min(settings.session_timeout / 2),
                shutdown_timeout: settings.shutdown_timeout,
                max_record_bytes: max_record_bytes.unwrap_or(MAX_RECORD_BYTES),
                standbys: standbys.as_ref().map(|running| running.standbys().clone()),
                want_rows,
            },
            Arc::clone(&changed),
        )
    });
    let threads = threads.collect::<Result<Vec<_>>>()?;
    let watched = threads
        .iter()
        .map(|thread| (thread.name().to_owned(), thread.status().clone()));
    let lookout = Lookout::start(settings.stuck_after, watched.collect())?;
    Ok(Running::new(Parts {
        id,
        topology,
        plan,
        connection,
        admin,
        threads,
        standbys,
        lookout,
        changed,
        program,
    }))
}

/// Fills stores before the worker joins the group, as far as the time goes.
fn fill(standbys: &StandbyHandle, time: Duration, cancel: &Cancel) -> Result<()> {
    let deadline = clock::now() + time;
    info!("filling stores for {time:?} at most before joining the group");
    standbys.begin_filling();
    while !standbys.has_filled() && clock::now() < deadline {
        cancel.wait(Duration::from_millis(50))?;
    }
    standbys.end_filling();
    Ok(())
}

fn guarantee(settings: &Settings) -> Guarantee {
    match settings.processing_guarantee {
        ProcessingGuarantee::AtLeastOnce => Guarantee::AtLeastOnce,
        ProcessingGuarantee::ExactlyOnce => Guarantee::ExactlyOnce {
            transaction_timeout: settings.transaction_timeout,
        },
    }
}

/// Declared topics as they are on the broker.
fn names(topology: &Topology, plan: &TopicPlan) -> TopicNames {
    let names = topology
        .topics
        .iter()
        .zip(&plan.topic_partitions)
        .map(|(topic, count)| (topic.declared, Arc::clone(&topic.name), *count));
    TopicNames::new(Arc::clone(&topology.app), names.collect())
}

/// What the tasks are made of.
fn blueprints<'a>(
    topology: &'a Topology,
    plan: &'a TopicPlan,
    changelogs: &'a [Changelog],
) -> impl Iterator<Item = Blueprint> + 'a {
    let blueprint = move |(sub, count): (&SubTopology, &u32)| Blueprint {
        partitions: *count,
        name: sub.name.clone(),
        inputs: sub
            .inputs
            .iter()
            .map(|topic| Arc::clone(&topology.topics[*topic].name))
            .collect(),
        agents: sub
            .agents
            .iter()
            .map(|agent| {
                let node = &topology.agents[*agent];
                let input = sub.inputs.iter().position(|topic| *topic == node.input);
                (
                    node.def,
                    input.expect("a sub-topology has the inputs of its agents"),
                )
            })
            .collect(),
        tables: sub
            .tables
            .iter()
            .map(|table| TablePlan {
                entry: topology.tables[*table].entry,
                changelog: changelogs[*table].clone(),
            })
            .collect(),
    };
    topology
        .sub_topologies
        .iter()
        .zip(&plan.partitions)
        .map(blueprint)
}
