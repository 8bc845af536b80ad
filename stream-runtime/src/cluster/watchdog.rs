//! Tasks that have something to do and do nothing: found by looking again and again. Pure.
//!
//! Progress is a record that every agent is done with. A task that has input and finishes none for `stuck_after` is
//! stuck, whatever the reason; a thread that does not turn is, too, and then it is named who blocks it.
//!
//! Not here: who looks, and how often (`app`), what tasks show of themselves ([`super::pulse`]).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::pulse::{Committing, Doing, TaskLook};

/// A thread as it looked at one moment, with its running tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ThreadLook {
    pub name: String,
    pub turns: u64,
    /// How many commits have ended.
    pub commits: u64,
    /// What the one under way is at.
    pub committing: Committing,
    pub tasks: Vec<TaskLook>,
}

/// What is to be said after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    Stuck(String),
    MovesAgain(String),
}

/// Remembers since when nothing moves.
#[derive(Debug)]
pub(crate) struct Watchdog {
    stuck_after: Duration,
    watched: BTreeMap<Watchee, Watched>,
    stuck: Vec<String>,
}

/// Who may stand still.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Watchee {
    Thread(String),
    /// The commits of a thread.
    Commit(String),
    Task(String, String),
}

#[derive(Debug)]
struct Watched {
    progress: (u64, u64),
    /// Since when there is something to do and no progress.
    since: Instant,
    /// How often it was told.
    told: u32,
    /// In this look.
    seen: bool,
}

impl Watchdog {
    pub(crate) fn new(stuck_after: Duration) -> Self {
        Self {
            stuck_after,
            watched: BTreeMap::new(),
            stuck: Vec::new(),
        }
    }

    /// Those that were stuck at the last look, a sentence each.
    pub(crate) fn stuck(&self) -> &[String] {
        &self.stuck
    }

    /// Takes a look. What is stuck is told first after `stuck_after`, and again whenever the time has doubled.
    pub(crate) fn look(&mut self, now: Instant, threads: &[ThreadLook]) -> Vec<Notice> {
        let mut notices = Vec::new();
        self.stuck.clear();
        for watched in self.watched.values_mut() {
            watched.seen = false;
        }
        for thread in threads {
            self.look_at(now, thread, &mut notices);
        }
        // Tasks that went elsewhere, threads that have ended.
        self.watched.retain(|_, watched| watched.seen);
        notices
    }

    fn look_at(&mut self, now: Instant, thread: &ThreadLook, notices: &mut Vec<Notice>) {
        let finished = thread.tasks.iter().map(|task| task.finished).sum();
        let blocker = thread.tasks.iter().find(|task| task.doing == Doing::Polling);
        let name = format!("thread `{}`", thread.name);
        let watchee = Watchee::Thread(thread.name.clone());
        let moved = self.note(now, watchee.clone(), (thread.turns, finished), true);
        moved
            .into_iter()
            .for_each(|after| notices.push(again(&name, after)));
        let stands = now.duration_since(self.watched[&watchee].since);
        let blocked = stands >= self.stuck_after;
        if blocked && blocker.is_none() {
            let why = "it is in a call that does not come back, outside of its agents".to_owned();
            self.tell(&watchee, &format!("{name} does not turn"), stands, &why, notices);
        }
        for task in &thread.tasks {
            let watchee = Watchee::Task(thread.name.clone(), task.name.clone());
            let has_input = task.waiting > 0 || task.is_open();
            let moved = self.note(now, watchee.clone(), (0, task.finished), has_input);
            let name = format!("task {}", task.name);
            moved
                .into_iter()
                .for_each(|after| notices.push(again(&name, after)));
            let stands = now.duration_since(self.watched[&watchee].since);
            // What other tasks of a blocked thread show is as old as the block.
            let is_blocker = blocker.is_some_and(|blocker| blocker.name == task.name);
            if stands >= self.stuck_after && (!blocked || is_blocker) {
                let why = why(task, thread, blocked);
                let what = format!("{name} makes no progress");
                self.tell(&watchee, &what, stands, &why, notices);
            }
        }
        self.look_at_commit(now, thread, blocked, notices);
    }

    /// A commit that does not come through keeps what is done from being seen, also where no record waits for it.
    fn look_at_commit(
        &mut self,
        now: Instant,
        thread: &ThreadLook,
        blocked: bool,
        notices: &mut Vec<Notice>,
    ) {
        let watchee = Watchee::Commit(thread.name.clone());
        let is_under_way = thread.committing != Committing::Nothing;
        let name = format!("the commit of thread `{}`", thread.name);
        let moved = self.note(now, watchee.clone(), (0, thread.commits), is_under_way);
        moved
            .into_iter()
            .for_each(|after| notices.push(again(&name, after)));
        let stands = now.duration_since(self.watched[&watchee].since);
        // Tasks whose records wait for it tell it themselves.
        let is_told = thread.tasks.iter().any(|task| {
            let task = Watchee::Task(thread.name.clone(), task.name.clone());
            now.duration_since(self.watched[&task].since) >= self.stuck_after
        });
        if stands >= self.stuck_after && !blocked && !is_told {
            let what = format!("{name} does not come through");
            self.tell(&watchee, &what, stands, thread.committing.waits_for(), notices);
        }
    }

    /// Notes where it stands; how long it had stood when it was told to be stuck and now moves.
    fn note(
        &mut self,
        now: Instant,
        watchee: Watchee,
        progress: (u64, u64),
        has_input: bool,
    ) -> Option<Duration> {
        let watched = self.watched.entry(watchee).or_insert(Watched {
            progress,
            since: now,
            told: 0,
            seen: true,
        });
        watched.seen = true;
        if watched.progress == progress && has_input {
            return None;
        }
        let after = (watched.told > 0).then(|| now.duration_since(watched.since));
        *watched = Watched {
            progress,
            since: now,
            told: 0,
            seen: true,
        };
        after
    }

    fn tell(
        &mut self,
        watchee: &Watchee,
        what: &str,
        stands: Duration,
        why: &str,
        notices: &mut Vec<Notice>,
    ) {
        let sentence = format!("{what} for {}: {why}", rounded(stands));
        if let Some(watched) = self.watched.get_mut(watchee)
            && stands
                >= self
                    .stuck_after
                    .saturating_mul(2_u32.saturating_pow(watched.told))
        {
            watched.told = watched.told.saturating_add(1);
            notices.push(Notice::Stuck(sentence.clone()));
        }
        self.stuck.push(sentence);
    }
}

impl TaskLook {
    fn is_open(&self) -> bool {
        matches!(self.doing, Doing::Polling | Doing::Awaiting | Doing::BackingOff)
    }
}

fn again(name: &str, after: Duration) -> Notice {
    Notice::MovesAgain(format!("{name} moves again after {}", rounded(after)))
}

/// What keeps a task from finishing a record.
fn why(task: &TaskLook, thread: &ThreadLook, blocked: bool) -> String {
    let TaskLook {
        agent,
        record,
        waiting,
        failures,
        ..
    } = task;
    match task.doing {
        Doing::Polling if blocked => {
            let others = match thread.tasks.len() {
                0 | 1 => String::new(),
                2 => ", and another task of it stands still".to_owned(),
                more => format!(", and {} other tasks of it stand still", more - 1),
            };
            format!(
                "agent `{agent}` is at {record} and neither returns nor awaits: it blocks thread `{}`{others}",
                thread.name
            )
        }
        Doing::Polling => format!("agent `{agent}` is at {record} and works on it"),
        Doing::Awaiting => {
            format!("agent `{agent}` is at {record} and still awaits something")
        }
        Doing::BackingOff => {
            let times = if *failures == 1 { "time" } else { "times" };
            format!(
                "agent `{agent}` is at {record}, has failed on it {failures} {times} and waits for its next try"
            )
        }
        Doing::Sending => format!(
            "{waiting} records wait because the producer takes no more: the broker acknowledges nothing, or slower \
             than the task sends"
        ),
        Doing::Holding => commit_is_awaited(*waiting, thread.committing),
        Doing::Nothing if thread.committing != Committing::Nothing => {
            commit_is_awaited(*waiting, thread.committing)
        }
        Doing::Nothing => format!("{waiting} records wait and none is opened"),
    }
}

fn commit_is_awaited(waiting: usize, committing: Committing) -> String {
    let why = match committing {
        Committing::Nothing => String::new(),
        committing => format!(": {}", committing.waits_for()),
    };
    format!("{waiting} records wait for a commit that does not come through{why}")
}

/// Nobody cares for the milliseconds of a minute.
fn rounded(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{duration:.1?}"),
        seconds => format!("{:?}", Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const STUCK_AFTER: Duration = Duration::from_secs(30);

    fn task(doing: Doing, finished: u64, waiting: usize) -> TaskLook {
        TaskLook {
            name: "input/3".to_owned(),
            finished,
            waiting,
            doing,
            agent: "count",
            record: "input/3 offset 17".to_owned(),
            failures: 2,
        }
    }

    fn thread(turns: u64, tasks: Vec<TaskLook>) -> ThreadLook {
        ThreadLook {
            name: "input-0".to_owned(),
            turns,
            commits: 0,
            committing: Committing::Nothing,
            tasks,
        }
    }

    /// Looks every second from 0 on, at what `look` gives; the notices with their seconds.
    fn notices(seconds: u64, look: impl Fn(u64) -> ThreadLook) -> Vec<(u64, Notice)> {
        let start = clock::now();
        let mut watchdog = Watchdog::new(STUCK_AFTER);
        let looks = (0..=seconds).flat_map(|second| {
            let notices = watchdog.look(start + Duration::from_secs(second), &[look(second)]);
            notices.into_iter().map(move |notice| (second, notice))
        });
        looks.collect()
    }

    #[track_caller]
    fn one_reason(look: &ThreadLook, turns: bool, parts: &[&str]) {
        let mut said = notices(31, |second| ThreadLook {
            turns: if turns { second } else { 5 },
            ..look.clone()
        });
        assert_eq!(said.len(), 1, "{said:?}");
        let (second, Notice::Stuck(sentence)) = said.remove(0) else {
            panic!("it is stuck");
        };
        assert_eq!(second, 30);
        for part in parts {
            assert!(sentence.contains(part), "no {part:?} in: {sentence}");
        }
    }

    #[test]
    fn a_task_that_moves_is_not_stuck() {
        let moves = |second| thread(second, vec![task(Doing::Awaiting, second / 20, 9)]);
        assert_eq!(notices(300, moves), []);
    }

    #[test]
    fn a_task_without_input_is_not_stuck() {
        let idle = |second| thread(second, vec![task(Doing::Nothing, 7, 0)]);
        assert_eq!(notices(300, idle), []);
    }

    #[test]
    fn input_that_comes_late_is_not_late_at_once() {
        let look = |second| thread(second, vec![task(Doing::Nothing, 7, usize::from(second >= 100))]);
        let seconds: Vec<_> = notices(131, look).into_iter().map(|(second, _)| second).collect();
        assert_eq!(seconds, [129], "the last look without input was at 99");
    }

    #[test]
    fn it_is_told_again_whenever_the_time_has_doubled_and_once_when_it_moves() {
        let look = |second| thread(second, vec![task(Doing::Awaiting, u64::from(second >= 300), 1)]);
        let said = notices(330, look);
        let seconds: Vec<_> = said.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [30, 60, 120, 240, 300, 330]);
        assert_eq!(
            said[4].1,
            Notice::MovesAgain("task input/3 moves again after 300s".to_owned())
        );
    }

    #[test]
    fn what_a_stuck_task_is_at_is_named() {
        let with = |doing| thread(0, vec![task(doing, 7, 4)]);
        let agent = &["task input/3", "for 30s", "`count`", "input/3 offset 17"];
        one_reason(&with(Doing::Awaiting), true, &[&agent[..], &["awaits"]].concat());
        one_reason(
            &with(Doing::BackingOff),
            true,
            &[&agent[..], &["failed on it 2 times"]].concat(),
        );
        one_reason(
            &with(Doing::Polling),
            true,
            &[&agent[..], &["works on it"]].concat(),
        );
        one_reason(
            &with(Doing::Sending),
            true,
            &["4 records", "the producer takes no more"],
        );
        one_reason(&with(Doing::Holding), true, &["4 records", "a commit"]);
        one_reason(&with(Doing::Nothing), true, &["4 records", "none is opened"]);
        let committing = ThreadLook {
            committing: Committing::Storing,
            ..with(Doing::Nothing)
        };
        one_reason(&committing, true, &["4 records", "a commit"]);
    }

    #[test]
    fn a_commit_that_does_not_come_through_is_named_though_no_record_waits() {
        let idle = || vec![task(Doing::Nothing, 7, 0)];
        let look = ThreadLook {
            committing: Committing::Aborting,
            ..thread(0, idle())
        };
        one_reason(
            &look,
            true,
            &["the commit of thread `input-0`", "does not abort the transaction"],
        );
        let others = |second| ThreadLook {
            commits: second / 20,
            committing: Committing::Ending,
            ..thread(second, idle())
        };
        assert_eq!(notices(300, others), []);
    }

    #[test]
    fn who_blocks_a_thread_is_named_alone() {
        let other = TaskLook {
            name: "input/4".to_owned(),
            ..task(Doing::Nothing, 7, 5)
        };
        let look = thread(5, vec![other, task(Doing::Polling, 7, 4)]);
        let parts = [
            "task input/3",
            "`count`",
            "input/3 offset 17",
            "blocks thread `input-0`",
            "another task",
        ];
        one_reason(&look, false, &parts);
    }

    #[test]
    fn a_thread_that_does_not_turn_is_stuck_without_any_task() {
        one_reason(
            &thread(5, Vec::new()),
            false,
            &["thread `input-0` does not turn for 30s"],
        );
    }

    #[test]
    fn a_turn_that_takes_long_over_many_records_is_progress() {
        let look = |second| thread(5, vec![task(Doing::Polling, second / 10, 900)]);
        assert_eq!(notices(300, look), []);
    }

    #[test]
    fn what_is_stuck_is_known_between_two_lines_and_forgotten_when_it_goes() {
        let start = clock::now();
        let mut watchdog = Watchdog::new(STUCK_AFTER);
        for second in [0, 20, 40, 45] {
            let look = thread(second, vec![task(Doing::Awaiting, 7, 1)]);
            watchdog.look(start + Duration::from_secs(second), &[look]);
        }
        assert_eq!(watchdog.stuck().len(), 1);
        assert!(watchdog.stuck()[0].contains("for 45s"), "{:?}", watchdog.stuck());
        let gone = watchdog.look(start + Duration::from_secs(46), &[thread(46, Vec::new())]);
        assert_eq!((gone, watchdog.stuck().len()), (Vec::new(), 0));
        watchdog.look(start + Duration::from_secs(47), &[]);
        assert!(watchdog.watched.is_empty());
    }
}
