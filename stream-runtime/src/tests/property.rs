//! Properties: what holds for every value, checked on many that are drawn at random and against models that are
//! simpler than what they judge.
//!
//! A failing value is made as small as it can be before it is shown, with the seed that finds it again:
//! `PROPTEST_RNG_SEED=… cargo test …`. Nothing is written to disk; a value worth keeping becomes a test of its own.
//! `PROPTEST_CASES=10000` looks longer than the 256 values of every day, which take some seconds together.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseResult, TestRunner};

/// Checks that a property holds for the values of a strategy.
#[track_caller]
pub(crate) fn holds<S: Strategy>(values: S, property: impl Fn(S::Value) -> TestCaseResult) {
    holds_for_share(1, values, property);
}

/// The same for one value in `share`, where a single one takes long.
#[track_caller]
pub(crate) fn holds_for_share<S: Strategy>(
    share: u32,
    values: S,
    property: impl Fn(S::Value) -> TestCaseResult,
) {
    let mut config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(0),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    config.failure_persistence = None;
    config.cases = (config.cases / share).max(1);
    let tried = Cell::new(0_u64);
    let first_failure = Cell::new(None);
    let outcome = TestRunner::new(config).run(&values, |value| {
        tried.set(tried.get() + 1);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| property(value)));
        if !matches!(result, Ok(Ok(()))) && first_failure.get().is_none() {
            first_failure.set(Some(tried.get()));
        }
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if let Err(failure) = outcome {
        let cases = first_failure.get().unwrap_or_default();
        panic!("{failure}\nfound by value number {cases} of PROPTEST_RNG_SEED={seed}");
    }
}
