//! What a test does to a program.

use std::time::Duration;

use super::{Running, TestApp, TestSending};
use crate::record::topic::Topic;
use crate::testing::driver::World;
use crate::testing::worker::{STOP, Worker};

/// The virtual time after which something that does not settle never will.
pub(super) const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How often it is looked whether everything is processed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is done to it.
impl TestApp {
    /// Puts a record into a topic. Its partition is that of the key, as for every producer; records without a key go
    /// round. Its timestamp is now.
    ///
    /// # Panics
    /// When the record does not encode, or the program has no such topic.
    #[track_caller]
    pub fn send<K: 'static, V: 'static>(
        &mut self,
        topic: &'static Topic<K, V>,
        key: impl Into<K>,
        value: impl Into<V>,
    ) -> &mut Self {
        self.send_with(topic, key, value, |record| record)
    }

    /// The same with this timestamp, in milliseconds since the Unix epoch.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    #[track_caller]
    pub fn send_at<K: 'static, V: 'static>(
        &mut self,
        topic: &'static Topic<K, V>,
        key: impl Into<K>,
        value: impl Into<V>,
        timestamp: i64,
    ) -> &mut Self {
        self.send_with(topic, key, value, |record| record.timestamp(timestamp))
    }

    /// Puts bytes into a topic by its name on the broker: for topics that are named by strings, and for records that do
    /// not decode.
    ///
    /// # Panics
    /// When the program has no such topic.
    #[track_caller]
    pub fn send_bytes(&mut self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> &mut Self {
        self.put(topic, key, value, &TestSending::default())
    }

    /// Lets so much time pass.
    ///
    /// # Panics
    /// When a worker cannot be started again that was to be, or the runtime has a defect.
    #[track_caller]
    pub fn advance(&mut self, time: Duration) -> &mut Self {
        let (Running { driver, .. }, schedule) = self.running();
        let end = driver.world.elapsed() + time;
        driver.run_until(end, schedule, |_| false);
        self
    }

    /// Lets time pass until everything that was sent is processed and committed, and nobody has anything left to do. Faults
    /// of a [simulation](crate::testing::simulate) end here, and what they ended is started again; workers that the test
    /// itself has ended are not.
    ///
    /// # Panics
    /// When a task has stopped, when a worker has ended by itself, or when it is not over after 15 virtual minutes. The
    /// message says what is left.
    #[track_caller]
    pub fn settle(&mut self) -> &mut Self {
        let (running, schedule) = self.running();
        let (driver, progress) = (&mut running.driver, &running.progress);
        driver.at_once(|world| schedule.end(world));
        let is_supervisor = schedule.is_supervisor();
        let end = driver.world.elapsed() + PATIENCE;
        let mut looked = Duration::ZERO;
        let is_over = driver.run_until(end, schedule, |world| {
            let now = world.elapsed();
            if now < looked + LOOK_EVERY {
                return false;
            }
            looked = now;
            let has_failed = !is_supervisor && world.failure().is_some();
            has_failed || (world.is_quiet() && progress.is_drained().unwrap_or(false))
        });
        if let Some(failure) = driver.world.failure().filter(|_| !is_over || !is_supervisor) {
            panic!("{failure}");
        }
        assert!(
            is_over,
            "not settled after {PATIENCE:?} of virtual time: {}",
            self.unsettled()
        );
        self
    }

    /// Ends a worker as `kill -9` does. Its tasks go to others when its session is over (`session_timeout`).
    ///
    /// # Panics
    /// When there is no such worker.
    #[track_caller]
    pub fn kill(&mut self, worker: usize) -> &mut Self {
        self.world().known(worker).is_wanted = false;
        self.at_once(|world| world.kill(worker))
    }

    /// Stops a worker in order: it finishes its records, commits, and leaves the group.
    ///
    /// # Panics
    /// When there is no such worker, or it does not end within two virtual minutes.
    #[track_caller]
    pub fn stop(&mut self, worker: usize) -> &mut Self {
        self.world().known(worker).is_wanted = false;
        let (Running { driver, .. }, schedule) = self.running();
        driver.at_once(|world| world.workers[worker].ask_to_stop());
        let end = driver.world.elapsed() + STOP;
        let ended = driver.run_until(end, schedule, |world| !world.workers[worker].lives());
        assert!(
            ended,
            "worker {worker} does not stop within {STOP:?} of virtual time"
        );
        self
    }

    /// Starts a worker that was killed or stopped, on what is left on its disk; or a new one
    /// that has the next number.
    ///
    /// # Panics
    /// When it runs, cannot start, or the broker is [away](Self::broker_away): it would wait for the broker, which only
    /// the test brings back.
    #[track_caller]
    pub fn start(&mut self, worker: usize) -> &mut Self {
        let workers = &self.world().workers;
        assert!(
            worker <= workers.len(),
            "there is no worker {worker}; the next new one is worker {}",
            workers.len()
        );
        let lives = workers.get(worker).is_some_and(Worker::lives);
        assert!(!lives, "worker {worker} runs: kill or stop it first");
        let is_away = self.world().network.lock().is_away();
        assert!(
            !is_away,
            "worker {worker} would wait for the broker, which is away: let it come back with `broker_away(false)` first"
        );
        let started = self.running().0.driver.at_once(|world| world.start(worker));
        if let Err(error) = started {
            panic!("worker {worker} cannot start: {error}");
        }
        self.world().workers[worker].is_wanted = true;
        self
    }

    /// Has so many workers run: starts those that are missing, the lowest numbers first, or stops those with the highest.
    ///
    /// # Panics
    /// As [`start`](Self::start) and [`stop`](Self::stop).
    #[track_caller]
    pub fn scale(&mut self, workers: usize) -> &mut Self {
        let known = self.world().workers.len().max(workers);
        for number in 0..known {
            let lives = self.world().workers.get(number).is_some_and(Worker::lives);
            match number < workers {
                true if !lives => drop(self.start(number)),
                false if lives => drop(self.stop(number)),
                _ => {}
            }
        }
        self
    }

    /// Stops a worker as SIGSTOP does; the rest of the world goes on.
    ///
    /// # Panics
    /// When there is no such worker.
    #[track_caller]
    pub fn freeze(&mut self, worker: usize) -> &mut Self {
        self.world().known(worker);
        self.at_once(|world| world.set_frozen(worker, true))
    }

    /// Lets a frozen worker go on, as SIGCONT does.
    ///
    /// # Panics
    /// When there is no such worker.
    #[track_caller]
    pub fn thaw(&mut self, worker: usize) -> &mut Self {
        self.world().known(worker);
        self.at_once(|world| world.set_frozen(worker, false))
    }

    /// Cuts a worker off from the broker, or joins it again.
    ///
    /// # Panics
    /// When there is no such worker.
    #[track_caller]
    pub fn cut_off(&mut self, worker: usize, is_cut_off: bool) -> &mut Self {
        self.world().known(worker);
        self.at_once(|world| world.set_cut_off(worker, is_cut_off))
    }

    /// Makes the broker answer nobody, or all again. It keeps what it has. No worker starts meanwhile.
    #[track_caller]
    pub fn broker_away(&mut self, is_away: bool) -> &mut Self {
        let (Running { driver, .. }, schedule) = self.running();
        schedule.leave_broker();
        driver.world.network.lock().set_away(is_away);
        self
    }

    /// Empties the disk of a worker that does not run.
    ///
    /// # Panics
    /// When there is no such worker, or it runs.
    #[track_caller]
    pub fn wipe(&mut self, worker: usize) -> &mut Self {
        let worker = self.world().known(worker);
        assert!(!worker.lives(), "{worker:?} runs: kill or stop it first");
        worker.disk.wipe();
        self
    }

    /// Does something on virtual time, which the destructors of a program see too.
    #[track_caller]
    fn at_once(&mut self, act: impl FnOnce(&mut World)) -> &mut Self {
        self.running().0.driver.at_once(act);
        self
    }
}
