//! What happens to a program, and when: a function of the seed alone.

use std::fmt;
use std::time::Duration;

use crate::abilities;
use crate::random::Random;
use crate::settings::Guarantee;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `kill -9` at any time.
    Kill,
    /// The end at a named place of a commit.
    CrashPoint,
    /// One worker, then three, then two.
    Workers,
    /// A worker's state is gone when it comes back.
    DeleteState,
    /// A worker comes back to an older copy of its state.
    OlderState,
    /// No space on the device that has the state.
    FullDisk,
    /// The broker stops or dies, and comes back.
    Broker,
    /// A worker stands still until others have its partitions, and wakes.
    Freeze,
    /// A worker is cut off.
    Cut,
    /// A worker's connections are gone without its knowledge.
    HalfOpen,
    /// A worker's connections are slow.
    Slow,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Kill,
        Self::CrashPoint,
        Self::Workers,
        Self::DeleteState,
        Self::OlderState,
        Self::FullDisk,
        Self::Broker,
        Self::Freeze,
        Self::Cut,
        Self::HalfOpen,
        Self::Slow,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::CrashPoint => "crash-point",
            Self::Workers => "workers",
            Self::DeleteState => "delete-state",
            Self::OlderState => "older-state",
            Self::FullDisk => "full-disk",
            Self::Broker => "broker",
            Self::Freeze => "freeze",
            Self::Cut => "cut",
            Self::HalfOpen => "half-open",
            Self::Slow => "slow",
        }
    }

    /// Whether a worker can outlive its session by it, and write after others have its partitions.
    pub(crate) fn makes_zombies(self) -> bool {
        matches!(
            self,
            Self::Broker | Self::Freeze | Self::Cut | Self::HalfOpen | Self::Slow
        )
    }

    /// How often it is drawn.
    fn weight(self) -> usize {
        match self {
            Self::Kill | Self::CrashPoint => 4,
            Self::Freeze | Self::Cut => 2,
            _ => 1,
        }
    }
}

/// How long a worker is without the broker.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Away {
    /// Until others have its tasks.
    Missed,
    For(Duration),
}

/// What happens, in full.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Kill {
        /// Again as soon as it is back, amid the rebalance.
        twice: Option<Duration>,
    },
    CrashPoint {
        point: &'static str,
        passes: u64,
    },
    Workers,
    DeleteState,
    OlderState,
    FullDisk,
    Broker {
        kill: bool,
        away: Duration,
    },
    Freeze,
    Cut(Away),
    HalfOpen(Away),
    Slow {
        bytes_per_second: u64,
        during: Duration,
    },
}

impl Fault {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Kill { .. } => Kind::Kill,
            Self::CrashPoint { .. } => Kind::CrashPoint,
            Self::Workers => Kind::Workers,
            Self::DeleteState => Kind::DeleteState,
            Self::OlderState => Kind::OlderState,
            Self::FullDisk => Kind::FullDisk,
            Self::Broker { .. } => Kind::Broker,
            Self::Freeze => Kind::Freeze,
            Self::Cut(_) => Kind::Cut,
            Self::HalfOpen(_) => Kind::HalfOpen,
            Self::Slow { .. } => Kind::Slow,
        }
    }
}

/// One line of a schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) fault: Fault,
    /// Which of the workers that run.
    pub(crate) worker: u64,
    /// Whether what happened before has to be overcome first.
    pub(crate) settled: bool,
    /// From then on.
    pub(crate) pause: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.settled { "settled" } else { "at once" };
        write!(
            f,
            "{when} + {:?}, worker {}: {:?}",
            self.pause, self.worker, self.fault
        )
    }
}

/// The places where a commit can end.
pub(crate) fn crash_points(guarantee: Guarantee) -> &'static [&'static str] {
    match guarantee {
        Guarantee::AtLeastOnce => &[
            "outputs",
            "changelog",
            "before-offsets",
            "after-offsets",
            "before-store",
            "after-store",
        ],
        Guarantee::ExactlyOnce => &[
            "outputs",
            "changelog",
            "before-end-transaction",
            "after-end-transaction",
            "before-store",
            "after-store",
        ],
    }
}

/// So many of each, in any order; every crash point of the guarantee comes once before one comes twice.
pub(crate) fn fixed(seed: u64, guarantee: Guarantee, kinds: &[(Kind, usize)]) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut drawn: Vec<_> = kinds
        .iter()
        .flat_map(|(kind, times)| std::iter::repeat_n(*kind, *times))
        .collect();
    random.shuffle(&mut drawn);
    steps(&drawn, guarantee, &mut random)
}

/// So many of these kinds, as they come.
pub(crate) fn drawn(seed: u64, guarantee: Guarantee, kinds: &[Kind], faults: usize) -> Vec<Step> {
    let mut random = Random::new(seed);
    let urn: Vec<_> = kinds
        .iter()
        .flat_map(|kind| std::iter::repeat_n(*kind, kind.weight()))
        .collect();
    let drawn: Vec<_> = (0..faults).map(|_| random.pick(&urn)).collect();
    steps(&drawn, guarantee, &mut random)
}

fn steps(kinds: &[Kind], guarantee: Guarantee, random: &mut Random) -> Vec<Step> {
    let mut points = Vec::new();
    let mut step = |kind: &Kind| {
        if points.is_empty() {
            points = crash_points(guarantee).to_vec();
            random.shuffle(&mut points);
        }
        let fault = fault(*kind, &mut points, random);
        Step {
            fault,
            worker: random.number() % 6,
            settled: !random.one_in(3),
            pause: random.milliseconds(1500),
        }
    };
    kinds.iter().map(&mut step).collect()
}

fn fault(kind: Kind, points: &mut Vec<&'static str>, random: &mut Random) -> Fault {
    let away = |random: &mut Random| match random.one_in(2) {
        true => Away::Missed,
        false => Away::For(random.milliseconds(3000)),
    };
    match kind {
        Kind::Kill => Fault::Kill {
            twice: random.one_in(4).then(|| random.milliseconds(1500)),
        },
        Kind::CrashPoint => Fault::CrashPoint {
            point: points.pop().expect("it was filled"),
            passes: 1 + random.below(8),
        },
        Kind::Workers => Fault::Workers,
        Kind::DeleteState => Fault::DeleteState,
        Kind::OlderState => Fault::OlderState,
        Kind::FullDisk => Fault::FullDisk,
        Kind::Broker => Fault::Broker {
            kill: random.one_in(2),
            away: random.milliseconds(2000),
        },
        Kind::Freeze => Fault::Freeze,
        Kind::Cut => Fault::Cut(away(random)),
        Kind::HalfOpen => Fault::HalfOpen(away(random)),
        Kind::Slow => Fault::Slow {
            bytes_per_second: 2_000 + random.below(50_000),
            during: Duration::from_secs(1) + random.milliseconds(3000),
        },
    }
}

/// Why this kind cannot be, here and now.
pub(crate) fn left_out(kind: Kind, own_kafka: bool, store: &str) -> Option<&'static str> {
    let on_disk = store.starts_with("rocksdb");
    match kind {
        Kind::CrashPoint if !abilities::CRASH_POINTS => Some("this program has no crash points yet"),
        Kind::CrashPoint if !cfg!(debug_assertions) => Some("crash points are in debug builds only"),
        Kind::Broker if !own_kafka => Some("the embedded broker forgets everything when it ends"),
        Kind::DeleteState | Kind::OlderState | Kind::FullDisk if !on_disk => {
            Some("the store is in memory: run it with `--features rocksdb`")
        }
        Kind::FullDisk if !crate::disk::can_mount() => {
            Some("a small file system cannot be mounted here: it takes root")
        }
        _ => None,
    }
}
