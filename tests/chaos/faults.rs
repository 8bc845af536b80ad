//! How each fault is brought about, and overcome.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::run::{Run, TASKS};
use crate::schedule::{Away, Fault, Step};
use crate::worker::crashed;

impl Run<'_> {
    /// Takes one step of the schedule. Two workers run before and after it.
    pub(crate) fn take(&mut self, step: &Step) {
        if step.settled {
            self.settle();
        }
        std::thread::sleep(step.pause);
        *self.report.faults.entry(step.fault.kind()).or_default() += 1;
        let running = self.running();
        let chosen = running[usize::try_from(step.worker).expect("it is small") % running.len()];
        match step.fault {
            Fault::Kill { twice } => {
                self.kill(chosen);
                self.workers[chosen].start(None);
                if let Some(pause) = twice {
                    std::thread::sleep(pause);
                    self.kill(chosen);
                    self.workers[chosen].start(None);
                }
            }
            Fault::CrashPoint { point, passes } => self.crash(chosen, point, passes),
            Fault::Workers => self.fewer_and_more(chosen),
            Fault::DeleteState => {
                self.kill(chosen);
                empty(&self.workers[chosen].state());
                self.workers[chosen].start(None);
            }
            Fault::OlderState => self.older_state(chosen),
            Fault::FullDisk => self.full_disk(),
            Fault::Broker { kill, away } => self.broker_away(kill, away),
            Fault::Freeze => self.disturbed(chosen, |run| {
                run.workers[chosen].freeze();
                run.wait_until_missed(chosen);
                run.workers[chosen].wake();
            }),
            Fault::Cut(away) => self.disturbed(chosen, |run| {
                run.workers[chosen].proxy.cut();
                run.stay_away(chosen, away);
            }),
            Fault::HalfOpen(away) => self.disturbed(chosen, |run| {
                run.workers[chosen].proxy.half_open();
                run.stay_away(chosen, away);
            }),
            Fault::Slow {
                bytes_per_second,
                during,
            } => self.disturbed(chosen, |run| {
                run.workers[chosen].proxy.slow_down(bytes_per_second);
                std::thread::sleep(during);
            }),
        }
    }

    fn running(&self) -> Vec<usize> {
        (0..self.workers.len())
            .filter(|number| self.workers[*number].is_started())
            .collect()
    }

    fn kill(&mut self, number: usize) {
        if !self.workers[number].is_started() {
            return;
        }
        self.workers[number].kill();
        self.report.kills += 1;
        self.count_crash();
    }

    /// Stops a worker in order.
    fn stop(&mut self, number: usize) {
        self.workers[number].ask();
        self.workers[number].stopped();
    }

    fn crash(&mut self, number: usize, point: &str, passes: u64) {
        self.stop(number);
        self.workers[number].start(Some(&format!("{point}@{passes}")));
        // Not supervised: its end is wanted.
        let status = self.workers[number].end();
        assert!(
            crashed(status),
            "at `{point}`, pass {passes}: {}",
            self.workers[number].failed(status)
        );
        self.report.kills += 1;
        self.count_crash();
        self.workers[number].start(None);
    }

    fn fewer_and_more(&mut self, staying: usize) {
        for number in self.running() {
            if number != staying {
                self.stop(number);
            }
        }
        self.settle();
        for number in 0..self.workers.len() {
            if number != staying {
                self.workers[number].start(None);
            }
        }
        self.wait("every worker has tasks", |run| {
            let held: Vec<_> = run.workers.iter().map(|worker| worker.tasks()).collect();
            let all = held.iter().all(|tasks| *tasks > 0) && held.iter().sum::<usize>() == TASKS;
            all.then_some(())
                .ok_or_else(|| format!("tasks by worker: {held:?}"))
        });
        self.stop(staying);
    }

    fn older_state(&mut self, number: usize) {
        self.kill(number);
        let state = self.workers[number].state();
        let copy = state.with_extension("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_tree(&state, &copy);
        self.workers[number].start(None);
        self.settle();
        self.work(200);
        self.kill(number);
        empty(&state);
        copy_tree(&copy, &state);
        self.workers[number].start(None);
    }

    /// Worker 0 has the small disk.
    fn full_disk(&mut self) {
        if !self.workers[0].is_started() {
            self.workers[0].start(None);
            self.settle();
            // Two as ever: the other one that runs goes.
            let other = self.running().into_iter().find(|number| *number != 0);
            self.stop(other.expect("two workers run"));
        }
        self.disk.as_ref().expect("the run began with it").fill();
        let before = self.feeder.sent();
        self.wait("the worker ends, or works on for a while", |run| {
            let ended = run.workers[0].has_ended().is_some();
            let on = run.feeder.sent() > before + 10 * run.plan.rate;
            (ended || on).then_some(()).ok_or_else(|| "it runs".to_owned())
        });
        if self.workers[0].is_started() {
            self.workers[0].ask();
            let status = self.workers[0].end();
            assert!(status.code().is_some(), "{}", self.workers[0].failed(status));
        }
        self.count_crash();
        self.disk.as_ref().expect("the run began with it").free();
        self.workers[0].start(None);
    }

    fn broker_away(&mut self, kill: bool, away: Duration) {
        let before = self.progress_now();
        let broker = self
            .kafka
            .as_mut()
            .expect("only planned where the broker is Apache Kafka");
        if kill {
            broker.kill();
        } else {
            broker.stop();
        }
        std::thread::sleep(away);
        broker.start();
        self.settle();
        let after = self.progress_now();
        self.report.disturbed(&before, &after);
    }

    /// Does something to a worker that goes on living, and waits until it is overcome.
    fn disturbed(&mut self, number: usize, disturb: impl FnOnce(&mut Self)) {
        let before = self.progress_now();
        disturb(self);
        self.workers[number].proxy.mend();
        self.settle();
        let after = self.progress_now();
        self.report.disturbed(&before, &after);
    }

    fn stay_away(&mut self, number: usize, away: Away) {
        match away {
            Away::Missed => self.wait_until_missed(number),
            Away::For(time) => std::thread::sleep(time),
        }
    }

    /// Waits until others have all tasks.
    fn wait_until_missed(&mut self, missing: usize) {
        self.wait("others have the tasks of the worker that is away", |run| {
            let held: Vec<_> = run.workers.iter().map(|worker| worker.tasks()).collect();
            let others: usize = held.iter().sum::<usize>() - held[missing];
            (others == TASKS)
                .then_some(())
                .ok_or_else(|| format!("tasks by worker: {held:?}, worker {missing} is away"))
        });
    }
}

/// Removes what is in a directory, but not itself: it may be where something is mounted.
pub(crate) fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
