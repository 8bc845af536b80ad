//! A worker that runs, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing::{error, info};

use super::launch::{Cancel, Connection, LaunchRequest, launch};
use super::progress::Progress;
use super::settings::Settings;
use super::ticker::Ticker;
use super::watchdog::Lookout;
use super::{App, feed};
use crate::clock;
use crate::cluster::progress::RestoreProgress;
use crate::cluster::standby::{StandbyHandle, StandbyTask};
use crate::cluster::status::{Stage, ThreadStatus};
use crate::cluster::thread::{Command, Rows, ThreadHandle};
use crate::error::{Error, Result};
use crate::kafka::Admin;
use crate::stream::send::ProgramGuard;
use crate::topology::{TopicPlan, Topology};

/// How often a worker that is about to end looks whether everything is processed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a worker is shown to whoever looks at it.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// Looks at a worker, a few times a second as long as it runs.
pub(crate) type Watch = Box<dyn FnMut(&Running)>;

/// A running worker, made by [`App::start`]. Dropping it stops it as [`stop`](Self::stop) does.
pub struct Running {
    parts: Option<Parts>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Running({})",
            self.parts.as_ref().map_or("", |parts| &parts.id)
        )
    }
}

/// Dropped from the first to the last: the broker, if it is ours, goes when nobody talks to it any more.
pub(super) struct Parts {
    pub id: String,
    pub topology: Arc<Topology>,
    pub plan: TopicPlan,
    pub threads: Vec<ThreadHandle>,
    pub standbys: Option<StandbyHandle>,
    pub lookout: Lookout,
    pub purge: Option<Ticker>,
    /// Notified when a thread ends or a task stops.
    pub changed: Arc<Notify>,
    #[expect(dead_code, reason = "sends from outside agents work as long as it lives")]
    pub program: ProgramGuard,
    pub admin: Arc<dyn Admin>,
    pub connection: Connection,
}

impl Running {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts: Some(parts) }
    }

    pub(super) fn parts(&self) -> &Parts {
        self.parts
            .as_ref()
            .expect("a worker has its parts until it is stopped, which takes it")
    }

    /// Where the broker is: `host:port,…`. For an embedded one this tells its port.
    pub fn bootstrap(&self) -> &str {
        &self.parts().connection.bootstrap
    }

    /// What runs.
    pub fn topology(&self) -> &Topology {
        &self.parts().topology
    }

    /// The tasks that run on this worker, restored and ready: `<sub-topology>/<partition>`, sorted.
    pub fn running_tasks(&self) -> Vec<String> {
        let statuses = self
            .parts()
            .threads
            .iter()
            .flat_map(|thread| thread.status().get());
        let mut names: Vec<_> = statuses
            .filter(|task| task.stage == Stage::Running)
            .map(|task| task.name)
            .collect();
        names.sort();
        names
    }

    /// The tasks of other workers that this one keeps a copy of, as `standby_replicas` says, sorted.
    pub fn standby_tasks(&self) -> Vec<StandbyTask> {
        let standbys = self.parts().standbys.as_ref();
        let mut tasks = standbys.map_or_else(Vec::new, |running| running.control().standbys().status());
        tasks.sort_by(|a, b| a.name.cmp(&b.name));
        tasks
    }

    /// How many records of changelogs this worker has read to restore tables before their tasks could run. What its
    /// standbys read ahead of that does not count.
    pub fn restored_records(&self) -> u64 {
        let threads = self.parts().threads.iter();
        threads.map(|thread| thread.status().restored()).sum()
    }

    /// How far the shards have come that this worker restores, by table and partition; empty when it restores none. A
    /// shard at its end is among them until all those of its task are. A few times a second there is something new.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use stream_runtime::App;
    ///
    /// let running = App::new("colors").start()?;
    /// while running.running_tasks().is_empty() {
    ///     for shard in running.restoring() {
    ///         println!("{}[{}]: {} records, {:?} left", shard.table, shard.partition, shard.records, shard.eta);
    ///     }
    ///     std::thread::sleep(Duration::from_secs(1));
    /// }
    /// # Ok::<(), stream_runtime::Error>(())
    /// ```
    pub fn restoring(&self) -> Vec<RestoreProgress> {
        let threads = self.parts().threads.iter();
        let mut shards: Vec<_> = threads.flat_map(|thread| thread.status().restoring()).collect();
        shards.sort_by(|a, b| (&a.table, a.partition).cmp(&(&b.table, b.partition)));
        shards
    }

    /// Why tasks have stopped, one sentence each; empty while all is well.
    pub fn stopped_tasks(&self) -> Vec<String> {
        self.parts()
            .threads
            .iter()
            .flat_map(|thread| thread.status().stopped())
            .collect()
    }

    /// Whether the worker does nothing any more: a thread of it has ended by itself, or all its tasks have
    /// stopped.
    pub fn has_failed(&self) -> bool {
        let threads = &self.parts().threads;
        let mut tasks = threads.iter().flat_map(|thread| thread.status().get()).peekable();
        let all_stopped = tasks.peek().is_some() && tasks.all(|task| matches!(task.stage, Stage::Stopped(_)));
        all_stopped || threads.iter().any(ThreadHandle::has_ended)
    }

    /// Waits until [`has_failed`](Self::has_failed).
    async fn failed(&self) {
        while !self.has_failed() {
            self.parts().changed.notified().await;
        }
    }

    /// Waits until everything that is in the program's input topics is processed and committed, by this
    /// worker and others of its group. Records that arrive meanwhile are waited for too.
    ///
    /// # Errors
    /// When a task has stopped, when the worker has failed, or when `timeout` is over.
    pub fn drain(&self, timeout: Duration) -> Result<()> {
        let deadline = clock::now() + timeout;
        self.commit_eagerly();
        let progress = self.progress();
        while !self.look(&progress.is_drained())? {
            if clock::now() >= deadline {
                return Err(Error::broker(format!(
                    "not everything was processed within {timeout:?}"
                )));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// As [`drain`](Self::drain), without an end.
    async fn drained(&self) -> Result<()> {
        self.commit_eagerly();
        loop {
            let progress = self.progress();
            let looked = tokio::task::spawn_blocking(move || progress.is_drained()).await;
            let drained = looked.map_err(|error| Error::state("the last look failed").with_source(error))?;
            if self.look(&drained)? {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn commit_eagerly(&self) {
        for thread in &self.parts().threads {
            thread.tell(Command::CommitEagerly);
        }
    }

    /// Whether it is over, given what the broker said.
    fn look(&self, drained: &Result<bool>) -> Result<bool> {
        let stopped = self.stopped_tasks();
        if !stopped.is_empty() {
            return Err(Error::agent(stopped.join("\n")));
        }
        if self.has_failed() {
            return Err(Error::agent("the worker has failed"));
        }
        match drained {
            Ok(drained) => Ok(*drained),
            Err(error) => {
                info!("whether everything is processed is not known yet: {error}");
                Ok(false)
            }
        }
    }

    fn progress(&self) -> Progress {
        let parts = self.parts();
        Progress::new(&parts.id, &parts.topology, &parts.plan, Arc::clone(&parts.admin))
    }

    /// Finishes open records, commits, leaves the group and ends.
    ///
    /// # Errors
    /// When a thread had failed, or a task had stopped.
    pub fn stop(mut self) -> Result<()> {
        self.shut_down().map(|_| ())
    }

    pub(crate) fn stop_with_rows(mut self) -> Result<Rows> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<Rows> {
        let Some(mut parts) = self.parts.take() else {
            return Ok(Rows::new());
        };
        // What is under way there ends beside the threads.
        if let Some(purge) = &mut parts.purge {
            purge.stop();
        }
        let statuses: Vec<_> = parts
            .threads
            .iter()
            .map(|thread| thread.status().clone())
            .collect();
        for thread in &parts.threads {
            thread.tell(Command::Stop);
        }
        let mut rows = Rows::new();
        let mut failures = Vec::new();
        for thread in parts.threads {
            match thread.join() {
                Ok(more) => more
                    .into_iter()
                    .for_each(|(table, entries)| rows.entry(table).or_default().extend(entries)),
                Err(failure) => failures.push(failure),
            }
        }
        // The stores of the threads are closed: nothing comes back any more.
        drop(parts.standbys);
        if let Some(failure) = failures.into_iter().next() {
            return Err(failure);
        }
        let stopped: Vec<_> = statuses.iter().flat_map(ThreadStatus::stopped).collect();
        if !stopped.is_empty() {
            return Err(Error::agent(stopped.join("\n")));
        }
        rows.values_mut().for_each(|entries| entries.sort());
        Ok(rows)
    }

    /// Never ends; what looks is dropped with the future.
    async fn watched_by(&self, watch: Option<Watch>) {
        let Some(mut watch) = watch else {
            return std::future::pending().await;
        };
        loop {
            watch(self);
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    fn connection(&self) -> &Connection {
        &self.parts().connection
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            error!("{error}");
        }
    }
}

/// Runs a worker until a signal, the end of its input, or a failure ends it, and gives the entries of the
/// tables that are shown at the end. A second signal ends the process at once.
///
/// # Errors
/// Whatever ended it but a signal and the end of the input.
pub(crate) fn run_until_stopped(
    app: &App,
    settings: &Settings,
    demo: bool,
    watch: Option<Watch>,
) -> Result<Rows> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::state("the program cannot start").with_source(error))?;
    let rows = runtime.block_on(run(app, settings, demo, watch));
    // A thread that reads standard input cannot be called back; it ends with the process.
    runtime.shutdown_background();
    rows
}

async fn run(app: &App, settings: &Settings, demo: bool, watch: Option<Watch>) -> Result<Rows> {
    let mut interrupts = Interrupts::new()?;
    let Some(mut running) = start(app, settings, &mut interrupts).await? else {
        return Ok(Rows::new());
    };
    let fed = feed::start(app.feed(), running.connection(), demo)?;
    let outcome = tokio::select! {
        () = interrupts.next() => {
            info!("stopping; once more stops at once");
            Ok(())
        }
        () = running.failed() => Ok(()),
        () = running.watched_by(watch) => Ok(()),
        outcome = async {
            fed.end().await?;
            running.drained().await
        } => outcome,
    };
    interrupts.exit_on_next();
    // The reader of standard input may still hold a client of the embedded broker, so both end with the process.
    let embedded = running
        .parts
        .as_mut()
        .and_then(|parts| parts.connection.embedded.take());
    std::mem::forget(embedded);
    let stopped = tokio::task::spawn_blocking(move || running.stop_with_rows()).await;
    let rows = stopped.map_err(|error| Error::state("the stop failed").with_source(error))?;
    outcome?;
    let mut rows = rows?;
    info!("ended");
    rows.retain(|table, _| app.shown_at_end().contains(table));
    Ok(rows)
}

/// Starts the worker; `None` when a signal came first.
async fn start(app: &App, settings: &Settings, interrupts: &mut Interrupts) -> Result<Option<Running>> {
    let request = LaunchRequest::new(app)?;
    let cancel = Cancel::default();
    let settings = settings.clone();
    let mut launching = {
        let cancel = cancel.clone();
        tokio::task::spawn_blocking(move || launch(request, &settings, &cancel))
    };
    let launched = tokio::select! {
        launched = &mut launching => launched,
        () = interrupts.next() => {
            cancel.cancel();
            let _ = launching.await;
            return Ok(None);
        }
    };
    launched
        .map_err(|error| Error::state("the start failed").with_source(error))?
        .map(Some)
}

/// SIGINT and SIGTERM.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> Result<Self> {
        let listen =
            |kind| signal(kind).map_err(|error| Error::state("signals cannot be handled").with_source(error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// From now on a signal ends the process.
    fn exit_on_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            eprintln!("stopped at once; what was not committed is processed again");
            std::process::exit(130);
        });
    }
}
