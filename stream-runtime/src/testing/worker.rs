//! A simulated worker: its disk, and while it lives its threads, which the driver polls one at a time.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::clients::cluster::VirtualCluster;
use super::clients::network::{Process, SharedNetwork};
use super::disk::Disk;
use crate::app::settings::Settings;
use crate::app::{App, Cancel, PassedOn, Plan, purge_rounds};
use crate::clock;
use crate::cluster::standby::{self, StandbyControl};
use crate::cluster::status::Stage;
use crate::cluster::thread::{self, Command, ThreadControl};
use crate::error::{Error, Result};
use crate::kafka::{ClientSettings, Cluster};
use crate::topology::{TopicPlan, Topology};

/// What unwinds a worker that is killed in the middle of something.
pub(super) struct Killed;

/// What every worker of a program is started with.
pub(super) struct Program {
    pub(super) app: App,
    pub(super) settings: Settings,
    /// Whether stores outlive their worker.
    pub(super) on_disk: bool,
}

impl Program {
    /// A cluster as a process of the program sees it: a worker of this number, or somebody who looks on.
    pub(super) fn cluster(
        &self,
        network: &SharedNetwork,
        process: Process,
        worker: Option<usize>,
    ) -> Arc<dyn Cluster> {
        let settings = &self.settings;
        let client_id = worker.map_or_else(|| "observer".to_owned(), name);
        // A lasting name is one worker's, and all have the same settings here.
        let instance_id = settings.instance_id.as_ref().zip(worker);
        Arc::new(VirtualCluster {
            network: network.clone(),
            process,
            settings: ClientSettings {
                bootstrap: "virtual".to_owned(),
                group: self.app.id().to_owned(),
                client_id,
                instance_id: instance_id.map(|(id, worker)| format!("{id}-{worker}")),
                session_timeout: settings.session_timeout,
                heartbeat_interval: settings.heartbeat_interval,
                max_poll_interval: settings.max_poll_interval,
                raw: settings.kafka.clone().into_iter().collect(),
            },
        })
    }
}

/// What a worker that starts has found and made on the broker.
pub(super) struct Facts {
    pub(super) topology: Arc<Topology>,
    pub(super) topics: TopicPlan,
}

/// A worker, whether it lives or not.
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) disk: Disk,
    /// How far its wall clock is off, in milliseconds.
    pub(super) clock_skew: i64,
    /// Whether it is to run: not when the test itself has ended it.
    pub(super) is_wanted: bool,
    life: Option<Life>,
    /// Why it ended by itself, if it did.
    pub(super) failure: Option<Error>,
}

/// What lives from a start to an end.
struct Life {
    process: Process,
    /// The threads, the standbys, and what goes on beside them until they have ended.
    actors: Vec<Actor>,
    /// How many of the first of them have an end.
    ending: usize,
    threads: Vec<ThreadControl>,
    standbys: Option<StandbyControl>,
    /// Told to stop, it does not wait for its stores to be filled.
    fills_no_more: Rc<Cell<bool>>,
    is_frozen: bool,
    is_cut_off: bool,
    failure: Option<Error>,
}

/// Something that is polled: a thread, the standbys, or the purge.
struct Actor {
    body: Pin<Box<dyn Future<Output = Result<()>>>>,
    flag: Arc<Flag>,
    has_ended: bool,
}

/// Whether an actor wants to be polled.
struct Flag {
    is_up: AtomicBool,
    /// Where the driver waits for news of anybody.
    news: Arc<Notify>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.is_up.store(true, Ordering::Relaxed);
        self.news.notify_one();
    }
}

impl Actor {
    fn new(body: impl Future<Output = Result<()>> + 'static, news: &Arc<Notify>) -> Self {
        Self {
            body: Box::pin(body),
            flag: Arc::new(Flag {
                is_up: AtomicBool::new(true),
                news: Arc::clone(news),
            }),
            has_ended: false,
        }
    }
}

/// How a poll ended.
pub(super) enum Polled {
    Alive,
    /// The worker was killed at some point of what it did: its process is gone from the network and from its disk.
    Killed,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.number)
    }
}

impl Worker {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            disk: Disk::new(name(number)),
            clock_skew: 0,
            is_wanted: true,
            life: None,
            failure: None,
        }
    }

    pub(super) fn lives(&self) -> bool {
        self.life.is_some()
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.is_frozen)
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.is_cut_off)
    }

    /// Whether it lives, and the group can hear it.
    pub(super) fn is_heard(&self) -> bool {
        self.lives() && !self.is_frozen() && !self.is_cut_off()
    }

    pub(super) fn set_cut_off(&mut self, is_cut_off: bool) {
        if let Some(life) = &mut self.life {
            life.is_cut_off = is_cut_off;
        }
    }

    /// The process that it is now.
    pub(super) fn process(&self) -> Option<Process> {
        self.life.as_ref().map(|life| life.process)
    }

    /// Starts it as this process.
    pub(super) fn start(
        &mut self,
        program: &Program,
        network: &SharedNetwork,
        process: Process,
        news: &Arc<Notify>,
    ) -> Result<Facts> {
        if !program.on_disk {
            self.disk.wipe();
        }
        self.failure = None;
        let cluster = program.cluster(network, process, Some(self.number));
        let topology = program.app.topology()?;
        let settings = &program.settings;
        let plan = Plan::make(
            program.app.id(),
            topology,
            settings,
            &cluster,
            true,
            &Cancel::default(),
        )?;
        let parts = plan.worker(settings, &cluster, &self.disk.stores(), false);
        let mut actors = Vec::new();
        let mut threads = Vec::new();
        let filled = parts.standbys.as_ref().map(|(_, control)| control.clone());
        let filled = filled.filter(|_| !settings.restore_ahead.is_zero());
        if let Some(standbys) = &filled {
            standbys.begin_filling();
        }
        let until = clock::now() + settings.restore_ahead;
        let fills_no_more = Rc::new(Cell::new(false));
        for mut setup in parts.threads {
            setup.values_due = network.lock().behaviour.values_due;
            let (control, controlled) = thread::control();
            let (filled, is_over) = (filled.clone(), Rc::clone(&fills_no_more));
            let body = async move {
                if let Some(standbys) = filled {
                    fill(&standbys, until, &is_over).await;
                }
                thread::run(setup, controlled, Arc::default()).await.map(drop)
            };
            actors.push(Actor::new(body, news));
            threads.push(control);
        }
        let standbys = parts.standbys.map(|(setup, control)| {
            let body = standby::keep(setup, control.clone());
            let body = async {
                body.await;
                Ok(())
            };
            actors.push(Actor::new(body, news));
            control
        });
        let ending = actors.len();
        let passed_on = PassedOn::new(program.app.id(), &plan.topology, &plan.admin);
        let statuses = threads.iter().map(|thread| thread.status().clone());
        let every = settings.purge_interval;
        if let Some(mut round) = purge_rounds(passed_on, every, statuses.collect()) {
            let body = async move {
                loop {
                    tokio::time::sleep(every).await;
                    round();
                }
            };
            actors.push(Actor::new(body, news));
        }
        self.life = Some(Life {
            process,
            actors,
            ending,
            threads,
            standbys,
            fills_no_more,
            is_frozen: false,
            is_cut_off: false,
            failure: None,
        });
        Ok(Facts {
            topology: plan.topology,
            topics: plan.topics,
        })
    }

    /// The actors that want to be polled.
    pub(super) fn ready(&self) -> impl Iterator<Item = usize> {
        let life = self.life.iter().filter(|life| !life.is_frozen);
        life.flat_map(|life| {
            let actors = life.actors.iter().enumerate();
            let up = actors.filter(|(_, actor)| !actor.has_ended && actor.flag.is_up.load(Ordering::Relaxed));
            up.map(|(number, _)| number)
        })
    }

    /// Lets an actor do what it can. When it was the last, the worker has ended.
    pub(super) fn poll(&mut self, actor: usize) -> Polled {
        let Some(life) = &mut self.life else {
            return Polled::Alive;
        };
        let actor = &mut life.actors[actor];
        actor.flag.is_up.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&actor.flag));
        let body = &mut actor.body;
        let polled = catch_unwind(AssertUnwindSafe(|| {
            body.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        match polled {
            Err(payload) if payload.is::<Killed>() => return Polled::Killed,
            Err(payload) => resume_unwind(payload),
            Ok(Poll::Pending) => return Polled::Alive,
            Ok(Poll::Ready(result)) => {
                actor.has_ended = true;
                if let Err(error) = result {
                    life.failure.get_or_insert(error);
                }
                // One that ends takes the worker along, as the program ends in production.
                life.tell_to_stop();
            }
        }
        let threads = life.threads.len();
        if life.actors[..threads].iter().all(|actor| actor.has_ended)
            && let Some(standbys) = &life.standbys
        {
            standbys.stop();
        }
        if life.actors[..life.ending].iter().all(|actor| actor.has_ended) {
            self.failure = self.life.take().and_then(|life| life.failure);
        }
        Polled::Alive
    }

    /// Has it stop in order.
    pub(super) fn ask_to_stop(&self) {
        if let Some(life) = &self.life {
            life.tell_to_stop();
        }
    }

    /// Ends it from one moment to the next. Its process is gone from the network by now.
    pub(super) fn drop_life(&mut self) {
        self.life = None;
    }

    pub(super) fn set_frozen(&mut self, is_frozen: bool) {
        if let Some(life) = &mut self.life {
            life.is_frozen = is_frozen;
        }
    }

    /// Whether a commit of it is under way.
    pub(super) fn is_committing(&self) -> bool {
        let mut threads = self.life.iter().flat_map(|life| &life.threads);
        threads.any(|thread| thread.status().is_committing())
    }

    /// How many threads it has.
    pub(super) fn threads(&self) -> usize {
        self.life.as_ref().map_or(0, |life| life.threads.len())
    }

    /// Its tasks and where they stand.
    pub(super) fn tasks(&self) -> Vec<(String, Stage)> {
        let threads = self.life.iter().flat_map(|life| &life.threads);
        let statuses = threads.flat_map(|thread| thread.status().get());
        statuses.map(|task| (task.name, task.stage)).collect()
    }
}

impl Life {
    fn tell_to_stop(&self) {
        self.fills_no_more.set(true);
        for thread in &self.threads {
            thread.tell(Command::Stop);
        }
    }
}

/// Waits as a worker does before it joins the group. Each of its threads does, and the first ends it for all.
async fn fill(standbys: &StandbyControl, until: Instant, is_over: &Cell<bool>) {
    while !is_over.get() && !standbys.has_filled() && clock::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if !is_over.replace(true) {
        standbys.end_filling();
    }
}

fn name(worker: usize) -> String {
    format!("worker-{worker}")
}

/// The longest that one may take that is asked to stop.
pub(super) const STOP: Duration = Duration::from_secs(120);
