//! What a worker is made of: topics, sub-topologies and settings, put together before anything runs.

use std::sync::Arc;

use super::launch::Cancel;
use super::settings::{ProcessingGuarantee, Settings};
use super::{changelogs, topics};
use crate::agent::context::TopicNames;
use crate::cluster::output::Guarantee;
use crate::cluster::plan::{Blueprint, Blueprints, Changelog, TablePlan};
use crate::cluster::standby::{StandbyControl, StandbySetup};
use crate::cluster::thread::{ThreadSetup, VALUES_DUE};
use crate::error::Result;
use crate::kafka::{AcknowledgedProducer, Admin, Cluster};
use crate::store::Stores;
use crate::topology::{SubTopology, TopicPlan, Topology};

/// The largest record librdkafka's producers take unless told otherwise.
const MAX_RECORD_BYTES: usize = 1_000_000;

/// What a worker of a program is to be, with the topics that it needs there.
pub(crate) struct Plan {
    pub id: String,
    pub topology: Arc<Topology>,
    pub topics: TopicPlan,
    pub names: Arc<TopicNames>,
    pub blueprints: Vec<Blueprint>,
    pub admin: Arc<dyn Admin>,
    pub producer: Arc<dyn AcknowledgedProducer>,
}

/// What a worker is made of, before any of it runs.
pub(crate) struct WorkerParts {
    pub threads: Vec<ThreadSetup>,
    pub standbys: Option<(StandbySetup, StandbyControl)>,
}

impl Plan {
    /// Waits for the broker and makes the topics.
    pub(crate) fn make(
        id: &str,
        topology: Topology,
        settings: &Settings,
        cluster: &Arc<dyn Cluster>,
        own_externals: bool,
        cancel: &Cancel,
    ) -> Result<Self> {
        let admin = cluster.admin()?;
        let topics = topics::ready(&topology, settings, admin.as_ref(), own_externals, cancel)?;
        let names = Arc::new(names(&topology, &topics));
        let producer = cluster.acknowledged_producer()?;
        let changelogs = changelogs::facts(&topology, admin.as_ref())?;
        let blueprints: Vec<_> = blueprints(&topology, &topics, &changelogs).collect();
        blueprints.iter().try_for_each(Blueprint::check)?;
        Ok(Self {
            id: id.to_owned(),
            topology: Arc::new(topology),
            topics,
            names,
            blueprints,
            admin,
            producer,
        })
    }

    /// What a worker with these stores is made of.
    pub(crate) fn worker(
        &self,
        settings: &Settings,
        cluster: &Arc<dyn Cluster>,
        stores: &Arc<dyn Stores>,
        want_rows: bool,
    ) -> WorkerParts {
        let worker = settings
            .instance_id
            .as_deref()
            .unwrap_or_else(|| stores.worker_id());
        let max_record_bytes = settings
            .kafka
            .get("message.max.bytes")
            .and_then(|bytes| bytes.parse().ok());
        let wants_standbys = settings.has_standbys() && !self.topology.tables.is_empty();
        let standbys = wants_standbys.then(|| {
            let setup = StandbySetup {
                worker: worker.to_owned(),
                topic: self.topology.workers_topic().into(),
                group: self.id.clone(),
                blueprints: Blueprints(self.blueprints.clone()),
                replicas: usize::from(settings.standby_replicas),
                valid: settings.session_timeout,
                cluster: Arc::clone(cluster),
                admin: Arc::clone(&self.admin),
                producer: Arc::clone(&self.producer),
                stores: Arc::clone(stores),
            };
            let control = StandbyControl::new(&setup);
            (setup, control)
        });
        // Members of their own for each sub-topology, since the group shares partitions out by their number alone: a
        // member of several could get all of one and nothing of another.
        let members = self.blueprints.iter().flat_map(|blueprint| {
            let member = move |number| (format!("{}-{number}", blueprint.name), blueprint.clone());
            (0..settings.threads).map(member)
        });
        let threads = members.map(|(member, blueprint)| ThreadSetup {
            transactional_id: format!("{}-{worker}-{member}", self.id),
            member,
            blueprints: Blueprints(vec![blueprint]),
            names: Arc::clone(&self.names),
            cluster: Arc::clone(cluster),
            guarantee: guarantee(settings),
            commit_interval: settings.commit_interval(),
            values_due: VALUES_DUE,
            stores: Arc::clone(stores),
            revoke_timeout: (settings.max_poll_interval / 5).min(settings.session_timeout / 2),
            shutdown_timeout: settings.shutdown_timeout,
            max_record_bytes: max_record_bytes.unwrap_or(MAX_RECORD_BYTES),
            standbys: standbys.as_ref().map(|(_, control)| control.standbys().clone()),
            want_rows,
        });
        WorkerParts {
            threads: threads.collect(),
            standbys,
        }
    }
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
