//! What a test does to a worker that is hard to meet by chance: ends it amid a commit, fills its disk, sets its clock.

use super::act::PATIENCE;
use super::{Running, TestApp};
use crate::testing::commit_step::CommitStep;
use crate::testing::driver::Armed;

/// What is done to it amid something.
impl TestApp {
    /// Lets time pass until a worker comes by a step of a commit, and ends it there as [`kill`](Self::kill) does. What it
    /// has sent by then is at the broker or not, as with a process: for tests of what a crash leaves. The first commit of a
    /// task may be of where it begins alone, so [`settle`](Self::settle) before you send what is to be in the commit.
    ///
    /// ```
    /// use stream_runtime::prelude::*;
    /// use stream_runtime::testing::{CommitStep, TestApp};
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
    /// for &step in CommitStep::EXACTLY_ONCE {
    ///     let mut app = TestApp::new().agents([count::agent()]).exactly_once();
    ///     app.settle().send(&WORDS, "a", "a").kill_at(0, step);
    ///     app.start(0).settle();
    ///     assert_eq!(app.table(&SEEN).get("a"), Some(&1), "killed at {step:?}");
    /// }
    /// # }
    /// ```
    ///
    /// In a [simulation](crate::testing::simulate) a fault may kill it before.
    ///
    /// # Panics
    /// When there is no such worker, commits have no such step under the program's guarantee, or the worker does not come
    /// by it within 15 virtual minutes, as one that has nothing to commit.
    #[track_caller]
    pub fn kill_at(&mut self, worker: usize, step: CommitStep) -> &mut Self {
        let (Running { driver, .. }, schedule) = self.running();
        let world = &mut driver.world;
        world.known(worker);
        let guarantee = world.program.settings.processing_guarantee;
        let steps = CommitStep::of(guarantee);
        assert!(
            steps.contains(&step),
            "a commit has no step {step:?} under {guarantee:?}, but {steps:?}"
        );
        world.arm(Armed {
            number: None,
            worker,
            point: Some(step.point()),
            passes: 1,
        });
        let end = world.elapsed() + PATIENCE;
        let came = driver.run_until(end, schedule, |world| !world.is_armed_by_test());
        assert!(
            came,
            "worker {worker} does not come to {step:?} within {PATIENCE:?} of virtual time: does it run, and has it \
             anything to commit?"
        );
        // So that no fault of a simulation starts it again.
        self.kill(worker)
    }

    /// Makes the disk of a worker full, so that nothing can be written to it, or gives it room again. A worker that has to
    /// write meanwhile ends with an error, as in production; [`start`](Self::start) starts it again.
    ///
    /// ```
    /// # use stream_runtime::prelude::*;
    /// # use stream_runtime::testing::TestApp;
    /// # use std::time::Duration;
    /// # #[topic]
    /// # static WORDS: Topic<String, String>;
    /// # #[table]
    /// # static SEEN: Table<String, u64>;
    /// # #[agent(topic = WORDS)]
    /// # async fn count(word: String) {
    /// #     SEEN.update(&word, |n| *n += 1);
    /// # }
    /// # fn main() {
    /// let mut app = TestApp::new().agents([count::agent()]).exactly_once();
    /// app.settle().disk_full(0, true);
    /// app.send(&WORDS, "a", "a").advance(Duration::from_secs(60));
    /// app.disk_full(0, false).start(0).settle();
    /// assert_eq!(app.table(&SEEN).get("a"), Some(&1));
    /// # }
    /// ```
    ///
    /// # Panics
    /// When there is no such worker.
    #[track_caller]
    pub fn disk_full(&mut self, worker: usize, is_full: bool) -> &mut Self {
        let (Running { driver, .. }, schedule) = self.running();
        driver.world.known(worker).disk.set_full(is_full);
        schedule.leave_disk(worker);
        self
    }

    /// Sets the wall clock of a worker so many milliseconds forth, or back where they are negative, from the right time. It
    /// stays so when the worker is started again; 0 sets it right. What goes by it are the timestamps that the worker
    /// writes itself, and how old it takes its disk and others' records for; not the timestamps of what agents send.
    ///
    /// ```
    /// # use stream_runtime::prelude::*;
    /// # use stream_runtime::testing::TestApp;
    /// # #[topic]
    /// # static WORDS: Topic<String, String>;
    /// # #[table]
    /// # static SEEN: Table<String, u64>;
    /// # #[agent(topic = WORDS)]
    /// # async fn count(word: String) {
    /// #     SEEN.update(&word, |n| *n += 1);
    /// # }
    /// # fn main() {
    /// let mut app = TestApp::new().agents([count::agent()]).exactly_once();
    /// app.send(&WORDS, "a", "a").settle();
    /// app.kill(0).set_clock(0, -86_400_000).start(0);
    /// app.send(&WORDS, "a", "a").settle();
    /// assert_eq!(app.table(&SEEN).get("a"), Some(&2));
    /// # }
    /// ```
    ///
    /// In a [simulation](crate::testing::simulate) faults set clocks too, until [`settle`](Self::settle).
    ///
    /// # Panics
    /// When there is no such worker.
    #[track_caller]
    pub fn set_clock(&mut self, worker: usize, skew_millis: i64) -> &mut Self {
        let (Running { driver, .. }, schedule) = self.running();
        driver.world.known(worker);
        driver.world.set_clock(worker, skew_millis);
        schedule.leave_clock(worker, skew_millis);
        self
    }
}
