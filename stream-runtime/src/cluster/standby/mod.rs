//! Standbys: copies of state on workers that do not run its task, for a takeover without a restore.
//!
//! The group's protocol knows nothing of them, so they are placed by a layer of our own: the workers tell each other
//! what they hold in a small compacted topic ([`members`]), each decides from that what it stands by for ([`placement`]),
//! and a thread of its own follows the changelogs ([`following`]). A worker's threads meet it in one place, [`Standbys`],
//! where a task's store changes hands.
//!
//! Invariants:
//! * a standby's store holds what is committed and nothing else ([`follow`]);
//! * a store is in one hand at a time ([`holdings`]);
//! * whatever fails here is logged and tried again, and never ends the worker; tasks wait for none of it.

mod follow;
mod following;
mod holdings;
mod lent;
mod members;
mod placement;
#[cfg(test)]
mod tests;
mod thread;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{error, info};

pub use holdings::StandbyTask;
pub(crate) use holdings::Standbys;
pub(crate) use lent::TaskStores;

use self::holdings::TaskFacts;
use self::thread::StandbyThread;
use super::plan::{Blueprints, TaskId};
use crate::error::{Error, Result};
use crate::kafka::{AcknowledgedProducer, Admin, Cluster};
use crate::store::Stores;

/// The shortest time for which a store is trusted that has not been up to date: compaction is not that quick.
const KEEPS_AT_LEAST: Duration = Duration::from_secs(60);

/// What the standbys of a worker are made of.
pub(crate) struct StandbySetup {
    /// This worker's name among all.
    pub worker: String,
    /// The topic in which the workers tell each other what they hold.
    pub topic: Arc<str>,
    pub group: String,
    pub blueprints: Blueprints,
    /// How many workers stand by for each task.
    pub replicas: usize,
    /// The silence after which a worker counts as gone.
    pub valid: Duration,
    pub cluster: Arc<dyn Cluster>,
    pub admin: Arc<dyn Admin>,
    pub producer: Arc<dyn AcknowledgedProducer>,
    pub stores: Arc<dyn Stores>,
}

impl StandbySetup {
    fn tasks(&self) -> BTreeMap<TaskId, TaskFacts> {
        let mut tasks = BTreeMap::new();
        for (sub_topology, blueprint) in self.blueprints.0.iter().enumerate() {
            if blueprint.tables.is_empty() {
                continue;
            }
            // A tombstone stays in the log for the longer of the two at least. Half, since clocks and segments are not
            // exact.
            let kept = blueprint.tables.iter().map(|table| {
                let changelog = &table.changelog;
                changelog.tombstones_kept.max(changelog.versions_kept) / 2
            });
            let keeps = kept.min().unwrap_or_default().max(KEEPS_AT_LEAST);
            for partition in 0..blueprint.partitions.cast_signed() {
                let task = TaskId {
                    sub_topology,
                    partition,
                };
                let facts = TaskFacts {
                    name: format!("{}/{partition}", blueprint.name),
                    tables: blueprint.tables.len(),
                    keeps,
                };
                tasks.insert(task, facts);
            }
        }
        tasks
    }
}

/// Whether a starting worker fills its stores before it joins the group.
#[derive(Debug, Clone, Default)]
struct Filling(Arc<AtomicU8>);

impl Filling {
    const OFF: u8 = 0;
    const UNDER_WAY: u8 = 1;
    const DONE: u8 = 2;

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::Release);
    }

    fn is_under_way(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::UNDER_WAY
    }
}

/// The way to the standbys of a worker.
#[derive(Debug, Clone)]
pub(crate) struct StandbyControl {
    standbys: Standbys,
    filling: Filling,
    stop: Arc<AtomicBool>,
    wake: Arc<Notify>,
}

impl StandbyControl {
    pub(crate) fn new(setup: &StandbySetup) -> Self {
        let wake = Arc::new(Notify::new());
        Self {
            standbys: Standbys::new(setup.tasks(), Arc::clone(&wake)),
            filling: Filling::default(),
            stop: Arc::new(AtomicBool::new(false)),
            wake,
        }
    }

    /// The place where stores change hands, for the worker's threads.
    pub(crate) fn standbys(&self) -> &Standbys {
        &self.standbys
    }

    /// Begins to fill the stores of all tasks, the likeliest first. This worker runs none yet.
    pub(crate) fn begin_filling(&self) {
        self.filling.set(Filling::UNDER_WAY);
        self.wake.notify_one();
    }

    /// Whether all are filled.
    pub(crate) fn has_filled(&self) -> bool {
        !self.filling.is_under_way()
    }

    /// No store is begun any more; those there are stay up to date until the group has shared the tasks out.
    pub(crate) fn end_filling(&self) {
        let filled = self
            .standbys()
            .status()
            .into_iter()
            .filter(|task| task.lag == Some(0))
            .count();
        let of = self.standbys().tasks().len();
        info!(
            filled,
            of, "stores are filled as far as the time allowed; joining the group"
        );
        self.filling.set(Filling::OFF);
        self.wake.notify_one();
    }

    /// Has the stores closed and leave taken of the other workers. The threads have ended.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// Keeps the standbys of a worker until it is told to stop.
pub(crate) async fn keep(setup: StandbySetup, control: StandbyControl) {
    StandbyThread::new(setup, control).run().await;
}

/// The running standbys of a worker.
pub(crate) struct StandbyHandle {
    control: StandbyControl,
    join: Option<std::thread::JoinHandle<()>>,
}

/// Starts the thread of the standbys.
pub(crate) fn start(setup: StandbySetup, control: StandbyControl) -> Result<StandbyHandle> {
    let failed = |error| Error::state("the thread of the standbys cannot start").with_source(error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let thread = {
        let control = control.clone();
        move || runtime.block_on(keep(setup, control))
    };
    let join = std::thread::Builder::new()
        .name("standbys".to_owned())
        .spawn(thread)
        .map_err(failed)?;
    Ok(StandbyHandle {
        control,
        join: Some(join),
    })
}

impl StandbyHandle {
    /// What others may hold of it.
    pub(crate) fn control(&self) -> &StandbyControl {
        &self.control
    }
}

/// Closes the stores and takes leave of the other workers. The threads have ended.
impl Drop for StandbyHandle {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(join) = self.join.take()
            && join.join().is_err()
        {
            error!("the thread of the standbys panicked: this is a defect of the runtime");
        }
    }
}
