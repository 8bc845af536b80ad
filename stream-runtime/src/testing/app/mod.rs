//! A whole program in a test: [`TestApp`].

mod act;
mod harm;
mod look;
mod sending;

use std::fmt;

pub use self::look::{TableView, TestRecord};
pub use self::sending::TestSending;

use super::clients::network::Process;
use super::driver::{Driver, World};
use super::faults::{Faults, Schedule};
use super::worker::Program;
use crate::agent::AgentDef;
use crate::app::settings::Settings;
use crate::app::{App, Progress};
use crate::record::topic::{Ownership, TopicDef};

/// Partitions of topics of which nothing else is said.
const PARTITIONS: u32 = 4;
/// The process that looks at the broker for the test; nothing happens to it.
const OBSERVER: Process = Process(0);

/// A program on virtual time: its agents, one worker or several, and a broker, all on the thread of the test.
///
/// What runs is what runs in production: tasks, commits, rebalances, restores, transactions. In the place of sockets, of
/// Apache Kafka and of the clock are a simulated network, the embedded broker's state machine, and a time that passes when
/// the test says so. Nothing is awaited for real: minutes take milliseconds, and a test gives the same result each time.
///
/// ```
/// use std::time::Duration;
/// use stream_runtime::prelude::*;
/// use stream_runtime::testing::TestApp;
///
/// #[topic]
/// static WORDS: Topic<String, String>;
///
/// #[table]
/// static SEEN: Table<String, u64>;
///
/// #[agent(topic = WORDS)]
/// async fn count(word: String) {
///     SEEN.update(&word, |n| *n += 1);
/// }
///
/// # fn main() {
/// let mut app = TestApp::new().agents([count::agent()]).workers(2);
/// app.send(&WORDS, "a", "a").send(&WORDS, "b", "b").settle();
/// app.kill(0);
/// app.send(&WORDS, "a", "a").advance(Duration::from_secs(60)).settle();
/// assert_eq!(app.table(&SEEN).get(&"a".to_owned()), Some(&2));
/// # }
/// ```
///
/// The program's id is `test`, and so its internal topic `words` is `test-words` to those that take names, and its dead
/// letters are in `test-dead-letters`. It starts when it is first used. Settings have their defaults, without a file and without the environment, but
/// for topics of 4 partitions; [`set`](Self::set) gives others. Topics that belong to others are created too.
///
/// Agents may sleep and set time-outs by tokio's timers: those are on virtual time. Threads, blocking calls, sockets and
/// `Instant::now` are not, and make a test depend on more than its seed.
pub struct TestApp {
    app: App,
    workers: usize,
    on_disk: bool,
    seed: u64,
    keeps_trace: bool,
    pub(super) wanted_faults: Option<Faults>,
    pub(super) schedule: Schedule,
    pub(super) running: Option<Running>,
    /// How many records without a key were sent.
    keyless: u32,
}

/// The program since it was started.
pub(super) struct Running {
    pub(super) driver: Driver,
    progress: Progress,
}

impl Default for TestApp {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestApp(seed {})", self.seed)
    }
}

/// How it is made.
impl TestApp {
    /// All agents that are linked into the test; with one worker whose tables are on a simulated disk.
    pub fn new() -> Self {
        Self {
            app: App::new("test").set("partitions", PARTITIONS),
            workers: 1,
            on_disk: true,
            seed: 0,
            keeps_trace: false,
            wanted_faults: None,
            schedule: Schedule::default(),
            running: None,
            keyless: 0,
        }
    }

    /// These agents only. Topics and tables that they do not mention are left out.
    #[must_use]
    pub fn agents(mut self, agents: impl IntoIterator<Item = &'static AgentDef>) -> Self {
        self.app = self.app.agents(agents);
        self
    }

    /// Gives a setting by its name in `stream.toml`, as [`App::set`] does. Those of connections mean nothing here; to an
    /// `instance_id` each worker adds its number.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.app = self.app.set(name, value);
        self
    }

    /// How many workers the program starts with; 1 unless said otherwise. [`scale`](Self::scale) changes it later.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn workers(mut self, workers: usize) -> Self {
        assert!(workers > 0, "a program starts with a worker at least");
        self.workers = workers;
        self
    }

    /// How many partitions topics have whose declaration does not say; 4 unless said otherwise.
    #[must_use]
    pub fn partition_count(self, partitions: u32) -> Self {
        self.set("partitions", partitions)
    }

    /// Every result once, whatever happens: `processing_guarantee = "exactly_once"`.
    #[must_use]
    pub fn exactly_once(self) -> Self {
        self.set("processing_guarantee", "exactly_once")
    }

    /// Keeps tables in memory, which a worker loses when it ends: it restores them from their changelogs.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.on_disk = false;
        self
    }

    /// Notes what is done, for [`trace`](Self::trace).
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.keeps_trace = true;
        self
    }

    /// What goes wrong while time passes, by the seed: nothing unless said otherwise, and in a
    /// [simulation](crate::testing::simulate) everything that can.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.wanted_faults = Some(faults);
        self
    }

    /// What chance goes by: who of those that could goes on first, how many records come at once, what is lost in a crash,
    /// and which faults happen when. The same seed gives the same run; it is 0 unless said otherwise. A
    /// [simulation](crate::testing::simulate) sets one for each run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

impl TestApp {
    #[track_caller]
    fn start_program(&mut self) -> Running {
        let code = std::slice::from_ref(self.app.code());
        let settings = match Settings::resolve(self.app.id(), code) {
            Ok(settings) => settings,
            Err(error) => panic!("{error}"),
        };
        let program = Program {
            app: self.app.clone(),
            settings,
            on_disk: self.on_disk,
        };
        let mut driver = Driver::new(program, self.seed);
        let network = driver.world.network.clone();
        if self.keeps_trace {
            network.lock().keep_trace();
        }
        for number in 0..self.workers {
            if let Err(error) = driver.at_once(|world| world.start(number)) {
                panic!("worker {number} cannot start: {error}");
            }
        }
        if let Some(faults) = self.wanted_faults.take() {
            self.schedule = Schedule::new(faults, self.seed);
        }
        self.schedule.begin(&mut driver.world);
        let cluster = driver.world.program.cluster(&network, OBSERVER, None);
        let admin = cluster.admin().expect("the observer is never cut off");
        let facts = driver.world.facts.as_ref().expect("a worker was started");
        Running {
            progress: Progress::new(self.app.id(), &facts.topology, &facts.topics, admin),
            driver,
        }
    }

    /// The program, started if it was not, and what goes wrong with it.
    #[track_caller]
    pub(super) fn running(&mut self) -> (&mut Running, &mut Schedule) {
        if self.running.is_none() {
            self.running = Some(self.start_program());
        }
        let running = self.running.as_mut().expect("it was started above");
        (running, &mut self.schedule)
    }

    #[track_caller]
    pub(super) fn world(&mut self) -> &mut World {
        &mut self.running().0.driver.world
    }

    pub(super) fn name_of(&mut self, def: &'static TopicDef) -> String {
        match def.ownership {
            Ownership::External => def.name.to_owned(),
            Ownership::Internal => format!("{}-{}", self.app.id(), def.name),
        }
    }

    #[track_caller]
    pub(super) fn partitions_of(&mut self, topic: &str) -> u32 {
        let network = self.world().network.clone();
        let Some(count) = network.partitions(topic) else {
            let known = network.topic_names().join("`, `");
            panic!(
                "there is no topic `{topic}`: is it used by one of the agents of the test? There are `{known}`"
            );
        };
        count
    }
}
