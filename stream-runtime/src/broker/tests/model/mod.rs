//! The broker against models: random requests and time passing, and after every step what a client can see of the
//! broker is compared with what a much simpler account of the same steps says.
//!
//! The models share no code with the broker: batches are written by [`batches`] and read by the decoder of
//! `kafka-protocol`, and what is committed is found as a consumer finds it ([`reader`]).
//! The cases are the same in every run. For others, and for more of them:
//!
//! ```text
//! PROPTEST_CASES=20000 cargo test --release -p stream-runtime --lib broker::tests::model
//! ```
//!
//! A sequence that fails is printed in its shortest form and can be had again with `PROPTEST_RNG_SEED`, which the
//! message names. Not here: bytes that are no requests (`fuzz`), and what is the server's alone.

mod batches;
mod groups;
mod log;
mod member;
mod membership;
mod policy;
mod reader;
mod transaction;
mod transactions;
mod writers;

use proptest::test_runner::{Config, RngSeed};

/// So many cases of always the same seed, unless the environment asks for others.
fn cases(usual: u32) -> Config {
    let asked = |name: &str| std::env::var_os(name).is_some();
    let mut config = Config {
        // What fails is mended and becomes a test of its own; no file has to remember it.
        failure_persistence: None,
        max_shrink_iters: 4096,
        ..Config::default()
    };
    if !asked("PROPTEST_CASES") {
        config.cases = usual;
        if !asked("PROPTEST_RNG_SEED") {
            config.rng_seed = RngSeed::Fixed(0x5eed);
        }
    }
    config
}
