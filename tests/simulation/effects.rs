//! Simulations whose faults are seen to do what they are for.

use std::collections::BTreeMap;
use std::sync::Mutex;

use stream_runtime::testing::{TestApp, simulate};

/// With so many seeds each effect should have come up. Those that are asked for come up ten times at least, so that chance
/// alone does not leave one out.
const ENOUGH: usize = 50;

/// What comes of crashes and full disks, and of a broker that refuses what it is asked for the moment.
pub(crate) const OF_CRASHES: &[&str] = &[
    "batches lost in a crash",
    "changelog read",
    "offsets refused",
    "partitions revoked",
    "records refused",
    "request done without an answer",
    "write refused",
];

/// What comes of these too, where nothing else happens, so that there are more of them.
pub(crate) const OF_MANY_CRASHES: &[&str] = &["older state put back", "question refused"];

/// What comes of workers that are away while they live, bad networks, slow disks and wrong clocks.
pub(crate) const OF_SILENCE: &[&str] = &[
    "connection broken",
    "partitions lost",
    "record stamped by a wrong clock",
    "write slowed",
];

/// What comes of all that for transactions.
pub(crate) const OF_TRANSACTIONS: &[&str] = &[
    "records given up",
    "step of a transaction overdue",
    "transaction aborted",
    "transaction of unknown outcome",
    "transaction refused",
];

/// Where workers that were taken for dead go on to commit, without transactions.
pub(crate) const OF_ZOMBIES: &[&str] = &["commit of unknown outcome", "member fenced"];

/// Where internal topics are purged.
pub(crate) const OF_PURGES: &[&str] = &["records purged"];

/// [`simulate`], where each of these is to come up within the usual seeds.
#[track_caller]
pub(crate) fn simulate_seeing(
    wanted: &[&[&str]],
    app: impl Fn() -> TestApp + Sync,
    run: impl Fn(&mut TestApp) + Sync,
) {
    let seen = Mutex::new((0, BTreeMap::new()));
    simulate(app, |world| {
        run(world);
        let (runs, effects) = &mut *seen.lock().expect("nobody panics with it");
        *runs += 1;
        for (effect, count) in world.effects() {
            *effects.entry(effect).or_insert(0) += count;
        }
    });
    let (runs, effects) = seen.into_inner().expect("nobody panics with it");
    let wanted = wanted.iter().copied().flatten();
    let missing: Vec<_> = wanted.filter(|effect| !effects.contains_key(**effect)).collect();
    assert!(
        runs < ENOUGH || missing.is_empty(),
        "faults have never led to {missing:?} in {runs} runs, but to {effects:?}"
    );
}
