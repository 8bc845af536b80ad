//! What goes wrong in a simulation, when, and how it ends: decided by a seed.
//!
//! Every fault has a number, and chance of its own: leaving one out changes little about the others, so that those can
//! be found that matter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::clients::network::Behaviour;
use super::commit_step::CommitStep;
use super::disk::DiskCopy;
use super::driver::{Armed, Hit, Timetable, World};
use super::random::Random;
use super::worker::Worker;

/// Workers that end by themselves are started again so often; one that does nothing else has no hope.
const RESTARTS: usize = 200;
/// What errors say that no fault explains.
const DEFECT: &str = "a defect of the runtime";

/// One kind of what can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FaultKind {
    /// A worker is killed, and started again after a while.
    Kill,
    /// A worker is killed at some step of a commit, or at some call of a client.
    KillInCommit,
    /// A worker stops in order, and is started again.
    Restart,
    /// A worker comes or goes, so that tasks move.
    Scale,
    /// A worker stands still for a while, as under SIGSTOP, and goes on: perhaps when others have its tasks already.
    Freeze,
    /// A worker does not reach the broker for a while.
    CutOff,
    /// The broker answers nobody for a while.
    BrokerAway,
    /// For a while answers take long and connections break, so that what was asked is done or not, and nobody knows.
    FlakyNetwork,
    /// For a while the broker refuses some of what it is asked with errors that pass, as when leaders and coordinators move.
    BrokerErrors,
    /// Nothing can be written to a disk for a while.
    FullDisk,
    /// Writing to a disk takes long for a while.
    SlowDisk,
    /// A worker loses its disk.
    LostDisk,
    /// A worker gets an older copy of its disk.
    OlderDisk,
    /// The wall clock of a worker is set forth or back.
    ClockJump,
}

impl FaultKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Kill,
        Self::KillInCommit,
        Self::Restart,
        Self::Scale,
        Self::Freeze,
        Self::CutOff,
        Self::BrokerAway,
        Self::FlakyNetwork,
        Self::BrokerErrors,
        Self::FullDisk,
        Self::SlowDisk,
        Self::LostDisk,
        Self::OlderDisk,
        Self::ClockJump,
    ];
}

/// What may go wrong in a simulation, and how often.
///
/// ```
/// use stream_runtime::testing::{FaultKind, Faults};
///
/// let crashes = Faults::of([FaultKind::Kill, FaultKind::KillInCommit]);
/// let all_but_one = Faults::all().without(FaultKind::ClockJump);
/// let harmless_to_sums = Faults::at_least_once();
/// # let _ = (crashes, all_but_one, harmless_to_sums);
/// ```
#[derive(Debug, Clone)]
pub struct Faults {
    kinds: BTreeSet<FaultKind>,
    every: Duration,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::of([])
    }

    /// Everything that can go wrong.
    pub fn all() -> Self {
        Self::of(FaultKind::ALL.iter().copied())
    }

    /// Everything through which `at_least_once` keeps a table exact that is fed straight from an input. With these a test
    /// of such a program may check its sums; with [`all`](Self::all) only that nothing is lost.
    ///
    /// Left out is what that guarantee does not cover, and `exactly_once` does:
    /// - A worker that the group has given up while it lives, a *zombie*, may still write to a changelog behind its
    ///   successor. So nobody stands still, is cut off, waits for a broker that is away or for a slow disk.
    /// - A broker that takes a batch twice without telling its offset leaves a table without a mark for its next commit.
    ///   So connections do not break.
    /// - Changes that were written and not committed are taken back, unless they are older than half a day by the clock of
    ///   who restores. So clocks do not jump.
    pub fn at_least_once() -> Self {
        Self::all()
            .without(FaultKind::Freeze)
            .without(FaultKind::CutOff)
            .without(FaultKind::BrokerAway)
            .without(FaultKind::FlakyNetwork)
            .without(FaultKind::SlowDisk)
            .without(FaultKind::ClockJump)
    }

    /// These kinds.
    pub fn of(kinds: impl IntoIterator<Item = FaultKind>) -> Self {
        Self {
            kinds: kinds.into_iter().collect(),
            every: Duration::from_secs(4),
        }
    }

    /// All but this kind.
    #[must_use]
    pub fn without(mut self, kind: FaultKind) -> Self {
        self.kinds.remove(&kind);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// One about so often; every 4 s of virtual time unless said otherwise.
    #[must_use]
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }
}

/// What happened, as it is told.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The number of the fault; none of what follows from others.
    pub(super) number: Option<usize>,
    at: Duration,
    what: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.number {
            write!(f, "{number}: ")?;
        }
        write!(f, "at {:.3?} {}", self.at, self.what)
    }
}

/// What is to be done at some time.
#[derive(Debug, Clone)]
enum Action {
    Fault,
    Start(usize),
    Thaw(usize),
    Join(usize),
    BrokerBack,
    CalmNetwork,
    SteadyBroker,
    FreeDisk(usize),
    QuickDisk(usize),
}

/// The faults of a run.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    faults: Option<Faults>,
    seed: u64,
    /// The numbers of those that happen; `None` for all.
    pub(super) only: Option<BTreeSet<usize>>,
    actions: BTreeMap<(Duration, usize), Action>,
    scheduled: usize,
    number: usize,
    /// Nothing new begins.
    is_over: bool,
    copies: BTreeMap<usize, DiskCopy>,
    /// How far the clocks of workers are off that the test itself has set.
    clocks: BTreeMap<usize, i64>,
    /// How many workers there are to be in the end.
    workers: usize,
    restarts: usize,
    /// How the network is while nothing is wrong with it.
    climate: Behaviour,
    /// What happened: faults, and workers that ended by themselves.
    pub(super) told: Vec<Told>,
}

impl Schedule {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults: Some(faults),
            seed,
            ..Self::default()
        }
    }

    /// The workers have been started.
    pub(super) fn begin(&mut self, world: &mut World) {
        self.workers = world.workers.len();
        self.is_over = self.faults.as_ref().is_none_or(Faults::is_empty);
        if !self.is_over {
            self.climate = climate(&mut Random::new(self.seed));
            world.network.lock().behaviour = self.climate.clone();
            self.after(world, Duration::from_millis(500), Action::Fault);
        }
    }

    /// Ends what goes on, and lets nothing new begin.
    pub(super) fn end(&mut self, world: &mut World) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        world.disarm();
        let mut actions = std::mem::take(&mut self.actions);
        // Workers start when the broker is back.
        let starts: Vec<_> = actions
            .extract_if(.., |_, action| matches!(action, Action::Start(_)))
            .collect();
        for (_, action) in actions.into_iter().chain(starts) {
            self.take(world, &action);
        }
        for number in 0..world.workers.len() {
            world.set_clock(number, self.clocks.get(&number).copied().unwrap_or(0));
            if number < self.workers {
                self.start(world, number);
            }
        }
    }

    /// The test says from now on whether the broker is away.
    pub(super) fn leave_broker(&mut self) {
        self.actions
            .retain(|_, action| !matches!(action, Action::BrokerBack));
    }

    /// The test says from now on whether the disk of a worker is full.
    pub(super) fn leave_disk(&mut self, worker: usize) {
        self.actions
            .retain(|_, action| !matches!(action, Action::FreeDisk(number) if *number == worker));
    }

    /// The clock of a worker is off by so much, in milliseconds, while no fault sets it.
    pub(super) fn leave_clock(&mut self, worker: usize, skew: i64) {
        self.clocks.insert(worker, skew);
    }

    /// Whether workers that end by themselves are started again: where nothing goes wrong, none should.
    pub(super) fn is_supervisor(&self) -> bool {
        let has_faults = self.faults.as_ref().is_some_and(|faults| !faults.is_empty());
        has_faults && self.restarts < RESTARTS
    }

    fn start_again(&mut self, world: &World, worker: usize) {
        let starts = |action: &Action| matches!(action, Action::Start(number) if *number == worker);
        let is_planned = self.actions.values().any(starts);
        let is_wanted = world.workers[worker].is_wanted && worker < self.workers;
        if self.is_supervisor() && !is_planned && is_wanted {
            self.restarts += 1;
            self.after(world, Duration::from_secs(1), Action::Start(worker));
        }
    }

    fn tell(&mut self, world: &World, number: Option<usize>, what: String) {
        let told = Told {
            number,
            at: world.elapsed(),
            what,
        };
        world.network.lock().note(|| told.to_string());
        self.told.push(told);
    }

    fn after(&mut self, world: &World, time: Duration, action: Action) {
        self.scheduled += 1;
        self.actions
            .insert((world.elapsed() + time, self.scheduled), action);
    }

    fn take(&mut self, world: &mut World, action: &Action) {
        match action {
            Action::Fault => self.fault(world),
            Action::Start(number) => {
                self.start(world, *number);
            }
            Action::Thaw(number) => world.set_frozen(*number, false),
            Action::Join(number) => world.set_cut_off(*number, false),
            Action::BrokerBack => world.network.lock().set_away(false),
            Action::CalmNetwork => {
                let behaviour = &mut world.network.lock().behaviour;
                *behaviour = Behaviour {
                    refuses: behaviour.refuses,
                    ..self.climate.clone()
                };
            }
            Action::SteadyBroker => world.network.lock().behaviour.refuses = 0,
            Action::FreeDisk(number) => world.workers[*number].disk.set_full(false),
            Action::QuickDisk(number) => world.workers[*number].disk.set_write_time(Duration::ZERO),
        }
    }

    /// Starts a worker, as soon as that is possible. False when it runs, or is not to.
    fn start(&mut self, world: &mut World, number: usize) -> bool {
        let worker = world.workers.get(number);
        if worker.is_some_and(|worker| worker.lives() || !worker.is_wanted) {
            return false;
        }
        // It would wait for the broker, and meanwhile nobody would bring that back.
        if world.network.lock().is_away() {
            self.after(world, Duration::from_secs(1), Action::Start(number));
            return true;
        }
        if let Err(error) = world.start(number) {
            self.tell(world, None, format!("worker {number} cannot start: {error}"));
            self.restarts += 1;
            self.after(world, Duration::from_secs(1), Action::Start(number));
        }
        true
    }

    fn fault(&mut self, world: &mut World) {
        let Some(faults) = self.faults.clone().filter(|_| !self.is_over) else {
            return;
        };
        let number = self.number;
        self.number += 1;
        // Not of what other faults did, so that any of them can be left out.
        let mut chance = Random::new(self.seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let gap = chance.between(faults.every / 8, faults.every * 2);
        self.after(world, gap, Action::Fault);
        let kinds: Vec<_> = faults.kinds.iter().copied().collect();
        let kind = *chance.pick(&kinds);
        let pick = chance.number();
        if self.only.as_ref().is_some_and(|only| !only.contains(&number)) {
            return;
        }
        let living: Vec<_> = (0..world.workers.len())
            .filter(|number| world.workers[*number].lives() && !world.workers[*number].is_frozen())
            .collect();
        let Some(worker) = living.get(usize::try_from(pick % 1024).unwrap_or_default() % living.len().max(1))
        else {
            return;
        };
        if kind == FaultKind::KillInCommit {
            // It is told when it happens.
            arm(world, number, *worker, &mut chance);
        } else if let Some(what) = self.happen(world, kind, *worker, living.len(), &mut chance) {
            self.tell(world, Some(number), what);
        }
    }

    /// Lets it happen and says what it was; nothing when it changes nothing.
    fn happen(
        &mut self,
        world: &mut World,
        kind: FaultKind,
        worker: usize,
        living: usize,
        chance: &mut Random,
    ) -> Option<String> {
        let short = chance.between(Duration::from_millis(50), Duration::from_secs(3));
        let long = absence(world.program.settings.session_timeout, chance);
        let what = match kind {
            FaultKind::Kill => {
                world.kill(worker);
                self.after(world, short, Action::Start(worker));
                format!("worker {worker} is killed, for {short:.3?}")
            }
            FaultKind::KillInCommit => return None,
            FaultKind::Restart => {
                world.workers[worker].ask_to_stop();
                self.after(world, short + Duration::from_secs(1), Action::Start(worker));
                format!("worker {worker} is restarted")
            }
            FaultKind::Scale if living > 1 && chance.one_in(2) => {
                world.workers[worker].ask_to_stop();
                self.after(world, long, Action::Start(worker));
                format!("worker {worker} goes, for {long:.3?}")
            }
            FaultKind::Scale => {
                let is_free = |worker: &Worker| !worker.lives() && worker.is_wanted;
                let free = world.workers.iter().position(is_free);
                let number = free.unwrap_or(world.workers.len()).min(self.workers + 1);
                if !self.start(world, number) {
                    return None;
                }
                format!("worker {number} comes")
            }
            FaultKind::Freeze => {
                world.set_frozen(worker, true);
                self.after(world, long, Action::Thaw(worker));
                format!("worker {worker} stands still for {long:.3?}")
            }
            FaultKind::CutOff if world.workers[worker].is_cut_off() => return None,
            FaultKind::CutOff => {
                world.set_cut_off(worker, true);
                self.after(world, long, Action::Join(worker));
                format!("worker {worker} is cut off for {long:.3?}")
            }
            FaultKind::BrokerAway if world.network.lock().is_away() => return None,
            FaultKind::BrokerAway => {
                world.network.lock().set_away(true);
                self.after(world, short, Action::BrokerBack);
                format!("the broker is away for {short:.3?}")
            }
            FaultKind::FlakyNetwork => {
                let most = chance.between(Duration::from_millis(1), Duration::from_millis(300));
                let mut network = world.network.lock();
                let behaviour = &mut network.behaviour;
                behaviour.latency = (Duration::from_micros(200), most);
                behaviour.breaks = 5 + u32::try_from(chance.below(60)).unwrap_or(1);
                behaviour.unknown_offsets = u32::try_from(chance.below(4)).unwrap_or(0);
                drop(network);
                self.after(world, long, Action::CalmNetwork);
                format!("the network is bad for {long:.3?}, with up to {most:.3?} to the broker")
            }
            FaultKind::BrokerErrors => {
                let refuses = 2 + u32::try_from(chance.below(20)).unwrap_or(1);
                world.network.lock().behaviour.refuses = refuses;
                self.after(world, long, Action::SteadyBroker);
                format!("the broker refuses one of {refuses} requests for {long:.3?}")
            }
            FaultKind::FullDisk => {
                world.workers[worker].disk.set_full(true);
                self.after(world, short, Action::FreeDisk(worker));
                format!("the disk of worker {worker} is full for {short:.3?}")
            }
            FaultKind::SlowDisk => {
                let time = chance.between(Duration::from_millis(5), Duration::from_millis(400));
                world.workers[worker].disk.set_write_time(time);
                self.after(world, short, Action::QuickDisk(worker));
                format!("the disk of worker {worker} takes {time:.3?} a write for {short:.3?}")
            }
            FaultKind::LostDisk => {
                world.kill(worker);
                world.workers[worker].disk.wipe();
                self.after(world, short, Action::Start(worker));
                format!("worker {worker} is killed and its disk lost, for {short:.3?}")
            }
            FaultKind::OlderDisk => match self.copies.remove(&worker) {
                Some(copy) => {
                    world.kill(worker);
                    world.workers[worker].disk.put_back(&copy);
                    self.after(world, short, Action::Start(worker));
                    format!("worker {worker} is killed and gets the older copy of its disk")
                }
                None => {
                    let copy = world.workers[worker].disk.copy();
                    self.copies.insert(worker, copy);
                    format!("the disk of worker {worker} is copied")
                }
            },
            FaultKind::ClockJump => {
                // By days, since hours are within everything that depends on the age of something.
                let most = if chance.one_in(4) { 172_800_000 } else { 5_000 };
                let by = i64::try_from(chance.below(2 * most)).unwrap_or_default() - most.cast_signed();
                world.set_clock(worker, by);
                format!("the clock of worker {worker} is off by {by} ms")
            }
        };
        Some(what)
    }
}

/// Has a worker killed at some step of its commits, or at some call of a client.
fn arm(world: &mut World, number: usize, worker: usize, chance: &mut Random) {
    let steps = CommitStep::of(world.program.settings.processing_guarantee);
    let point = (!chance.one_in(3)).then(|| chance.pick(steps).point());
    let passes = match point {
        Some(_) => 1 + chance.below(4),
        None => 1 + chance.below(400),
    };
    let place = point.unwrap_or("any call");
    world
        .network
        .lock()
        .note(|| format!("{number}: worker {worker} is to be killed at {place}, the time number {passes}"));
    world.arm(Armed {
        number: Some(number),
        worker,
        point,
        passes: u32::try_from(passes).unwrap_or(1),
    });
}

/// How long somebody is away: in one of two times about as long as a session, so that others may have its tasks by then.
fn absence(session: Duration, chance: &mut Random) -> Duration {
    match chance.one_in(2) {
        true => chance.between(Duration::from_millis(200), Duration::from_secs(20)),
        false => chance.between(session / 2, session + session / 2),
    }
}

/// Quick with large batches, or slower with small ones: what is grouped with what must not matter.
fn climate(chance: &mut Random) -> Behaviour {
    let usual = Behaviour::default();
    if chance.one_in(3) {
        return usual;
    }
    let milliseconds = |chance: &mut Random, most| Duration::from_millis(chance.below(most));
    let mut climate = Behaviour {
        latency: (Duration::ZERO, milliseconds(chance, 20)),
        patience: Duration::from_millis(50) + milliseconds(chance, 5000),
        linger: (Duration::ZERO, milliseconds(chance, 30)),
        batch_records: (1, 1 + chance.below(20)),
        request_batches: (1, 1 + chance.below(5)),
        send_queue: 20 + chance.index(200),
        fetch_bytes: (1, 1 + chance.below(4000)),
        queue_bytes: 200 + chance.index(20_000),
        // No outage is as long as that of production.
        step_deadline: match chance.one_in(3) {
            true => usual.step_deadline,
            false => Duration::from_millis(300) + milliseconds(chance, 2500),
        },
        ..usual
    };
    // Whoever holds little fetches little ahead: one draw is for both.
    climate.values_due = climate.queue_bytes;
    climate
}

impl Timetable for Schedule {
    fn next(&self) -> Option<Duration> {
        self.actions.keys().next().map(|(at, _)| *at)
    }

    fn act(&mut self, world: &mut World) {
        if let Some((_, action)) = self.actions.pop_first() {
            self.take(world, &action);
        }
    }

    fn worker_ended(&mut self, world: &mut World, worker: usize) {
        if let Some(error) = world.workers[worker].failure.as_ref().map(ToString::to_string) {
            assert!(!error.contains(DEFECT), "worker {worker} has ended: {error}");
            if self.is_supervisor() {
                self.tell(world, None, format!("worker {worker} ends by itself: {error}"));
            }
        }
        self.start_again(world, worker);
    }

    fn worker_killed(&mut self, world: &mut World, worker: usize, hit: Hit) {
        let Hit { number, point } = hit;
        // What the test itself does is not told, and it starts whom it has killed.
        if number.is_none() {
            return;
        }
        self.tell(world, number, format!("worker {worker} is killed at {point}"));
        self.start_again(world, worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_away_is_so_for_longer_than_a_session_now_and_then() {
        let mut chance = Random::new(1);
        for session in [6, 45].map(Duration::from_secs) {
            let longer = (0..1000).filter(|_| absence(session, &mut chance) > session);
            assert!((200..900).contains(&longer.count()), "of a thousand");
        }
    }
}
