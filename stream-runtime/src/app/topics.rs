//! The topics a program needs: found, created and checked on the broker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::launch::Cancel;
use super::settings::Settings;
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::{Admin, CreateOutcome, TopicSpec};
use crate::topology::{PlanDefaults, TopicNode, TopicPlan, Topology, check_existing};

/// The longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);
/// The wait before the broker is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often waiting is mentioned.
const MENTION_EVERY: Duration = Duration::from_secs(10);

/// Waits for the broker and the external topics, creates what belongs to the program, and checks what is there.
///
/// `own_externals`: nobody else can create them, so they are created too (the embedded broker).
pub(super) fn ready(
    topology: &Topology,
    settings: &Settings,
    admin: &dyn Admin,
    own_externals: bool,
    cancel: &Cancel,
) -> Result<TopicPlan> {
    wait_for_broker(settings, admin, cancel)?;
    if own_externals {
        create_all(admin, &missing_externals(topology, settings, admin)?)?;
    }
    let plan = wait_for_externals(topology, settings, admin, cancel)?;
    create_all(admin, &plan.create)?;
    let counts = counts_on_broker(admin)?;
    let complaints = complaints(admin, &counts, plan.check.iter().chain(&plan.create))?;
    if complaints.is_empty() {
        Ok(plan)
    } else {
        Err(Error::topology(complaints.join("\n")))
    }
}

/// The broker may come up after its clients: it is asked again until it answers or the start is called off.
fn wait_for_broker(settings: &Settings, admin: &dyn Admin, cancel: &Cancel) -> Result<()> {
    let mut mentioned: Option<Instant> = None;
    loop {
        match admin.topics(Some(&[]), Duration::from_secs(2)) {
            Ok(_) => {
                if mentioned.is_some() {
                    info!("the broker {} answers", settings.broker);
                }
                return Ok(());
            }
            Err(error) if error.kind() != ErrorKind::Broker => return Err(error),
            Err(error) => {
                let now = clock::now();
                if mentioned.is_none_or(|at| now >= at + MENTION_EVERY) {
                    mentioned = Some(now);
                    warn!("waiting for the broker {}: {error}", settings.broker);
                }
            }
        }
        cancel.wait(AGAIN)?;
    }
}

/// Waits until the topics that others create are there.
fn wait_for_externals(
    topology: &Topology,
    settings: &Settings,
    admin: &dyn Admin,
    cancel: &Cancel,
) -> Result<TopicPlan> {
    let deadline = clock::now() + settings.startup_timeout;
    let mut mentioned: Option<Instant> = None;
    loop {
        let plan = plan(topology, settings, &counts_on_broker(admin)?)?;
        if plan.missing_external.is_empty() {
            return Ok(plan);
        }
        let names: Vec<_> = plan
            .missing_external
            .iter()
            .map(|topic| &*topology.topics[*topic].name)
            .collect();
        let names = format!("`{}`", names.join("`, `"));
        let now = clock::now();
        if now >= deadline {
            return Err(Error::topology(format!(
                "no topic {names} on {} after {:?}. External topics belong to others and are never created: create \
                 them, correct the name, or declare them as `#[topic(internal)]`",
                settings.broker, settings.startup_timeout
            )));
        }
        if mentioned.is_none_or(|at| now >= at + MENTION_EVERY) {
            mentioned = Some(now);
            warn!(
                "waiting for topic {names} on {}: external topics are created by others (giving up in {:.0?})",
                settings.broker,
                deadline - now
            );
        }
        cancel.wait(AGAIN)?;
    }
}

/// How many partitions each topic on the broker has.
fn counts_on_broker(admin: &dyn Admin) -> Result<BTreeMap<String, u32>> {
    let topics = admin.topics(None, ANSWER)?;
    Ok(topics
        .into_iter()
        .map(|topic| (topic.name, topic.partitions))
        .collect())
}

fn plan(topology: &Topology, settings: &Settings, counts: &BTreeMap<String, u32>) -> Result<TopicPlan> {
    topology.plan(
        counts,
        &PlanDefaults {
            partitions: settings.partitions,
            replication: settings.replication,
            workers: settings.has_standbys(),
        },
    )
}

/// External topics that are not there, as the program declares them.
pub(super) fn missing_externals(
    topology: &Topology,
    settings: &Settings,
    admin: &dyn Admin,
) -> Result<Vec<TopicSpec>> {
    let plan = plan(topology, settings, &counts_on_broker(admin)?)?;
    Ok(missing(topology, settings, &plan))
}

fn missing(topology: &Topology, settings: &Settings, plan: &TopicPlan) -> Vec<TopicSpec> {
    plan.missing_external
        .iter()
        .map(|topic| as_declared(&topology.topics[*topic], plan.topic_partitions[*topic], settings))
        .collect()
}

fn as_declared(topic: &TopicNode, partitions: u32, settings: &Settings) -> TopicSpec {
    let def = topic.def;
    let mut config: Vec<_> = def
        .config
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    if def.compact {
        config.push(("cleanup.policy".to_owned(), "compact".to_owned()));
    }
    if let Some(retention) = def.retention_ms {
        config.push(("retention.ms".to_owned(), retention.to_string()));
    }
    TopicSpec {
        name: topic.name.to_string(),
        partitions,
        replication: def.replicas.or(settings.replication),
        config,
    }
}

fn create_all(admin: &dyn Admin, specs: &[TopicSpec]) -> Result<Vec<CreateOutcome>> {
    if specs.is_empty() {
        return Ok(Vec::new());
    }
    let outcomes = admin.create_topics(specs, ANSWER)?;
    let mut failures = Vec::new();
    for (spec, outcome) in specs.iter().zip(&outcomes) {
        match outcome {
            CreateOutcome::Created => info!(topic = spec.name, partitions = spec.partitions, "created"),
            // Another worker that starts at the same time was quicker.
            CreateOutcome::AlreadyExists => {}
            CreateOutcome::Failed(reason) => failures.push(format!("topic `{}`: {reason}", spec.name)),
        }
    }
    if failures.is_empty() {
        return Ok(outcomes);
    }
    Err(Error::topology(format!(
        "topics cannot be created: {}. Where this program has no right to create topics, have them created \
         beforehand: `topics --print` lists them",
        failures.join("; ")
    )))
}

/// What is wrong with those of these internal topics that exist.
fn complaints<'a>(
    admin: &dyn Admin,
    counts: &BTreeMap<String, u32>,
    specs: impl IntoIterator<Item = &'a TopicSpec>,
) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for spec in specs {
        if let Some(count) = counts.get(&spec.name) {
            let config = admin.topic_config(&spec.name, ANSWER)?;
            complaints.extend(check_existing(spec, *count, &config));
        }
    }
    Ok(complaints)
}

/// What `topics` found or did.
#[derive(Debug)]
pub(crate) struct TopicsReport {
    /// Topics of others that are not there.
    pub missing: Vec<TopicSpec>,
    /// Internal topics that were not there.
    pub to_create: Vec<TopicSpec>,
    /// Internal topics that are there.
    pub present: Vec<TopicSpec>,
    /// The partitions of every topic on the broker.
    pub counts: BTreeMap<String, u32>,
    /// What is wrong with them.
    pub complaints: Vec<String>,
}

/// What is there and what is missing, as this program sees it.
pub(crate) fn check_topics(
    topology: &Topology,
    settings: &Settings,
    admin: &dyn Admin,
) -> Result<TopicsReport> {
    let counts = counts_on_broker(admin)?;
    let plan = plan(topology, settings, &counts)?;
    Ok(TopicsReport {
        missing: missing(topology, settings, &plan),
        complaints: complaints(admin, &counts, &plan.check)?,
        to_create: plan.create,
        present: plan.check,
        counts,
    })
}

/// Creates the internal topics that are missing.
pub(crate) fn create_topics(
    topology: &Topology,
    settings: &Settings,
    admin: &dyn Admin,
) -> Result<TopicsReport> {
    let report = check_topics(topology, settings, admin)?;
    create_all(admin, &report.to_create)?;
    Ok(report)
}
