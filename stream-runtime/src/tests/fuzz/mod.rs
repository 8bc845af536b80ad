//! Fuzzing as plain tests: bytes of outside, damaged in every way, must neither panic, nor hang, nor take memory out of
//! proportion, nor break what a target says of itself.
//!
//! A target is one small file beside what it tries, in a module called `fuzz`. Each run replays the stored corpus,
//! `fuzz-corpus/<target>/`, then the target's own samples, then a fixed number of inputs made of these by a generator
//! with a fixed seed. What an input led to, as the target tells, decides whether it is worth building on: no
//! instrumentation is needed, so this runs on any toolchain.
//!
//! ```text
//! cargo test -p stream-runtime --lib fuzz                                            some seconds for all of them
//! STREAM_FUZZ_SECONDS=600 cargo test -p stream-runtime --lib fuzz -- --nocapture     so long for each of them
//! STREAM_FUZZ_SECONDS=60 STREAM_FUZZ_SEED=7 cargo test … --lib fuzz::frames          one of them, from a seed
//! STREAM_FUZZ_WRITE=1 cargo test … --lib fuzz                                        stores samples not stored yet
//! ```
//!
//! Local state is tried with `--features rocksdb` alone. With `--release` it is faster and blind to sums that overflow,
//! unless `CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true`.
//!
//! An input that fails is made smaller and written into the corpus, so that it is tried in every run from then on; the
//! message says where. A long run also stores inputs on which a target stands still, and ends. What ends the process
//! at once, such as a stack that overflows, leaves only the seed that was printed before.
//!
//! Libraries that do this on the stable toolchain were weighed: `bolero` brings engines of three fuzzers along, and
//! `proptest` has no corpus of bytes. What is left to do is these few functions.

mod codecs;
mod corpus;
mod letters;
mod mutate;
mod watch;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use self::corpus::Corpus;
use self::mutate::Mutator;
use self::watch::Watch;
use super::memory;
use crate::clock;

/// Inputs worth building on that are kept.
const POOL: usize = 4_000;
/// How often an input that fails is tried to be made smaller.
const SHRINKS: usize = 200;

/// What is tried.
#[derive(Debug)]
pub(crate) struct Target {
    /// The directory of its corpus.
    pub(crate) name: &'static str,
    /// Inputs as they should be.
    pub(crate) samples: Vec<Vec<u8>>,
    /// Words that mean something to it.
    pub(crate) words: &'static [&'static [u8]],
    /// The longest input.
    pub(crate) longest: usize,
    /// Inputs of a usual run.
    pub(crate) usual: usize,
    /// Bytes of memory that any input may take, and more of them for each of its bytes.
    pub(crate) memory: (usize, usize),
}

impl Target {
    /// A target for short texts, which may take little memory.
    pub(crate) fn of(name: &'static str, samples: &[&[u8]]) -> Self {
        Self {
            name,
            samples: samples.iter().map(|sample| sample.to_vec()).collect(),
            words: &[],
            longest: 400,
            usual: 30_000,
            memory: (64 * 1024, 200),
        }
    }

    /// Tries it. What `act` gives tells two inputs apart that went different ways.
    pub(crate) fn run<R: Hash>(&self, mut act: impl FnMut(&[u8]) -> R) {
        let seconds = number_of("STREAM_FUZZ_SECONDS").map(Duration::from_secs);
        let seed = number_of("STREAM_FUZZ_SEED");
        let seed = seed.unwrap_or(if seconds.is_some() { corpus::any_seed() } else { 1 });
        if seconds.is_some() {
            println!("fuzz {}: seed {seed}", self.name);
        }
        let corpus = Corpus::of(self.name);
        if number_of("STREAM_FUZZ_WRITE").is_some() {
            self.samples
                .iter()
                .for_each(|sample| drop(corpus.store("sample", sample)));
        }
        let stored = corpus.load();
        // A directory that was renamed or left out would go unnoticed.
        assert!(
            !stored.is_empty(),
            "{}: the corpus is empty; with STREAM_FUZZ_WRITE=1 the samples are stored",
            self.name
        );
        let watch = seconds.map(|_| Watch::start(self.name));
        let mut seen = HashSet::new();
        let mut pool = Vec::new();
        let mut tried = 0_u64;
        let mut attempt = |input: &[u8]| {
            watch.iter().for_each(|watch| watch.begin(input));
            let result = self.attempt(input, &mut act);
            watch.iter().for_each(Watch::end);
            tried += 1;
            match result {
                Ok(way) => seen.insert(way),
                Err(why) => {
                    let (small, why) = self.shrink(input.to_vec(), why, &mut act);
                    let path = corpus.store("crash", &small);
                    panic!("{}: {why}\nthe input is now in the corpus: {path}", self.name);
                }
            }
        };
        for input in stored.into_iter().chain(self.samples.iter().cloned()) {
            attempt(&input);
            pool.push(input);
        }
        let known = pool.len();
        let mut mutator = Mutator::new(seed, self.words, self.longest);
        let deadline = seconds.map(|seconds| clock::now() + seconds);
        let mut left = self.usual;
        while deadline.map_or(left > 0, |deadline| clock::now() < deadline) {
            left = left.saturating_sub(1);
            let input = mutator.next(&pool);
            if attempt(&input) {
                if pool.len() == POOL {
                    let place = mutator.below(POOL - known) + known;
                    pool.swap_remove(place);
                }
                pool.push(input);
            }
        }
        if seconds.is_some() {
            println!(
                "fuzz {}: {tried} inputs, {} ways, no failure",
                self.name,
                pool.len() - known
            );
        }
    }

    /// One input: the way it went, or what is wrong.
    fn attempt<R: Hash>(&self, input: &[u8], act: &mut impl FnMut(&[u8]) -> R) -> Result<u64, String> {
        let mut result = None;
        let most = memory::most_during(|| {
            result = Some(catch_unwind(AssertUnwindSafe(|| {
                let mut hasher = DefaultHasher::new();
                act(input).hash(&mut hasher);
                hasher.finish()
            })));
        });
        let (base, each) = self.memory;
        match result.expect("the closure was called") {
            Err(panic) => Err(message_of(&*panic)),
            Ok(_) if most > base + each * input.len() => Err(format!(
                "{} bytes of input took {most} bytes of memory",
                input.len()
            )),
            Ok(way) => Ok(way),
        }
    }

    fn shrink<R: Hash>(
        &self,
        mut input: Vec<u8>,
        mut why: String,
        act: &mut impl FnMut(&[u8]) -> R,
    ) -> (Vec<u8>, String) {
        let mut left = SHRINKS;
        let mut width = input.len().div_ceil(2);
        while width > 0 {
            let mut at = 0;
            while at < input.len() && left > 0 {
                left -= 1;
                let mut smaller = input.clone();
                smaller.drain(at..(at + width).min(input.len()));
                match self.attempt(&smaller, act) {
                    Err(other) => (input, why) = (smaller, other),
                    Ok(_) => at += width,
                }
            }
            width /= 2;
        }
        (input, why)
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a whole number, not `{text}`")),
    )
}

#[test]
fn what_goes_wrong_is_found_and_made_small() {
    let target = Target::of("nothing", &[b"0123456789"]);
    let mut act = |input: &[u8]| assert!(!input.contains(&b'7'), "a seven");
    let why = target.attempt(b"0123456789", &mut act).expect_err("it panics");
    assert_eq!(why, "a seven");
    let (small, _) = target.shrink(b"0123456789".to_vec(), why, &mut act);
    assert_eq!(small, b"7");
    let mut greedy = |input: &[u8]| Vec::<u8>::with_capacity(input.len() << 20).capacity();
    let why = target.attempt(b"01", &mut greedy).expect_err("it takes too much");
    assert!(why.starts_with("2 bytes of input took 2097152 bytes"), "{why}");
}

#[test]
#[should_panic(expected = "nothing: the corpus is empty")]
fn a_target_has_a_corpus() {
    Target::of("nothing", &[b"0123456789"]).run(|_| ());
}
