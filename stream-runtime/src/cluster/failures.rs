//! What follows when an agent fails: another try, the next record, or the end of its task.
//!
//! It is logged and counted here. A million poison pills are not a million lines: each agent has some lines a
//! second on each thread, and how many were left out is told behind them.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::pulse::Pulse;
use crate::agent::context::TaskContext;
use crate::agent::dead_letter::{self, Reason};
use crate::agent::instance::Failure;
use crate::agent::{AgentDef, Verdict};
use crate::clock;

/// What is to be done about a record that an agent failed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// It is tried again after this wait.
    TryAgain(Duration),
    /// The agent is done with it.
    PassOver,
    /// The task stops, for this reason.
    Stop(String),
}

/// Decides after the failure number `attempts` of the agent at the open record. What the agent did for it has been
/// undone; a dead letter is sent as its part of the record instead.
pub(super) fn follow(
    task: &TaskContext,
    pulse: &Pulse,
    instance: usize,
    def: &'static AgentDef,
    failure: &Failure,
    attempts: u32,
) -> Follow {
    let counts = pulse.counts(instance);
    counts.errors.add();
    let at = place(task);
    if failure.may_pass() && attempts <= def.on_error.retries {
        let wait = def.on_error.wait_before(attempts);
        counts.retries.add();
        if admits(def.name, Line::TryingAgain) {
            warn!(agent = def.name, record = %at, attempt = attempts, ?wait, "{failure}; trying again");
        }
        return Follow::TryAgain(wait);
    }
    let unsent = match def.on_error.then {
        Verdict::Stop => None,
        Verdict::Skip => {
            counts.skipped.add();
            if admits(def.name, Line::PassedOver) {
                warn!(agent = def.name, record = %at, "{failure}; the record is skipped");
            }
            return Follow::PassOver;
        }
        Verdict::DeadLetter(topic) => {
            let reason = Reason {
                agent: def.name,
                error: failure.kind(),
                message: &failure.message(),
                attempts,
                failed_at: clock::wall_millis(),
            };
            match dead_letter::send(task, topic(), &reason) {
                Ok(()) => {
                    counts.dead_letters.add();
                    if admits(def.name, Line::PassedOver) {
                        warn!(agent = def.name, record = %at, "{failure}; the record goes to the dead letters");
                    }
                    return Follow::PassOver;
                }
                Err(problem) => Some(problem),
            }
        }
    };
    let reason = stop_reason(def, task, &at, failure, unsent.as_deref());
    error!("{reason}");
    Follow::Stop(reason)
}

fn stop_reason(
    def: &AgentDef,
    task: &TaskContext,
    at: &str,
    failure: &Failure,
    unsent: Option<&str>,
) -> String {
    let (name, task) = (def.name, &task.name);
    match unsent {
        None => format!(
            "agent `{name}` cannot process the record at {at}: {failure}. Its task {task} has stopped; nothing is \
             skipped or lost. Mend the agent or the record and start again, or let the agent pass over such records \
             with `on_error = skip`, or keep them with `on_error = dead_letter`"
        ),
        Some(problem) => format!(
            "agent `{name}` cannot process the record at {at}: {failure}. It cannot become a dead letter either: \
             {problem}. Its task {task} has stopped; nothing is skipped or lost"
        ),
    }
}

/// `topic/partition offset n` of the open record.
pub(super) fn place(task: &TaskContext) -> String {
    task.with_open(|record| format!("{}/{} offset {}", record.topic, record.partition, record.offset))
        .unwrap_or_default()
}

/// The lines that a flood can make many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    TryingAgain,
    PassedOver,
}

/// Lines of one kind that one agent has a second.
const LINES: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);

thread_local! {
    static LIMITS: RefCell<Vec<(&'static str, Line, RateLimit)>> = const { RefCell::new(Vec::new()) };
}

/// Whether a line is written.
fn admits(agent: &'static str, line: Line) -> bool {
    let now = clock::now();
    LIMITS.with_borrow_mut(|limits| {
        let known = limits
            .iter_mut()
            .find(|(name, kind, _)| *name == agent && *kind == line);
        if let Some((_, _, limit)) = known {
            if let Some(left_out) = limit.tell(now) {
                tell(agent, line, left_out);
            }
            return limit.admits(now);
        }
        let mut limit = RateLimit::new(now);
        let admitted = limit.admits(now);
        limits.push((agent, line, limit));
        admitted
    })
}

/// Tells of the lines that this thread has left out, once their second is over.
pub(super) fn tell_left_out(now: Instant) {
    LIMITS.with_borrow_mut(|limits| {
        for (agent, line, limit) in limits {
            if let Some(left_out) = limit.tell(now) {
                tell(agent, *line, left_out);
            }
        }
    });
}

/// The same at the end of the thread, when there is no second to wait for.
pub(super) fn tell_all_left_out() {
    tell_left_out(clock::now() + SECOND);
}

fn tell(agent: &str, line: Line, left_out: u64) {
    match line {
        Line::TryingAgain => warn!(agent, "{left_out} further tries failed"),
        Line::PassedOver => warn!(agent, "{left_out} further records were passed over"),
    }
}

/// Some lines a second.
#[derive(Debug)]
struct RateLimit {
    second: Instant,
    lines: u32,
    left_out: u64,
}

impl RateLimit {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            lines: 0,
            left_out: 0,
        }
    }

    /// How many lines were left out in a second that is over, once.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        if now < self.second + SECOND {
            return None;
        }
        let left_out = self.left_out;
        *self = Self::new(now);
        (left_out > 0).then_some(left_out)
    }

    fn admits(&mut self, now: Instant) -> bool {
        if now >= self.second + SECOND {
            *self = Self::new(now);
        }
        let admitted = self.lines < LINES;
        match admitted {
            true => self.lines += 1,
            false => self.left_out += 1,
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_some_lines_a_second_and_the_rest_is_counted() {
        let start = clock::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut limit = RateLimit::new(start);
        let admitted = (0..1000).filter(|n| limit.admits(at(n / 2))).count();
        assert_eq!(admitted, 5);
        assert_eq!(limit.tell(at(999)), None, "the second is not over");
        assert_eq!(limit.tell(at(1000)), Some(995));
        assert_eq!(limit.tell(at(1000)), None, "it was told");
        assert!(limit.admits(at(1001)));
        assert!(limit.admits(at(2500)));
        assert_eq!(limit.tell(at(9000)), None, "nothing was left out");
    }
}
