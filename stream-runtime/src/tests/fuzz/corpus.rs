//! The stored inputs of a target: small files in `fuzz-corpus/<target>/`, named after what they are.

use std::fs;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::path::PathBuf;

/// The directory of one target.
#[derive(Debug)]
pub(super) struct Corpus(PathBuf);

impl Corpus {
    pub(super) fn of(target: &str) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        Self(root.join("fuzz-corpus").join(target))
    }

    /// All inputs, in the order of their names.
    pub(super) fn load(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return Vec::new();
        };
        let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        paths.sort();
        let read = |path: &PathBuf| fs::read(path).expect("a file of the corpus can be read");
        paths.iter().map(read).collect()
    }

    /// Keeps an input, and tells where; the same one is there once.
    pub(super) fn store(&self, kind: &str, input: &[u8]) -> String {
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        let path = self.0.join(format!("{kind}-{:016x}", hasher.finish()));
        let written = fs::create_dir_all(&self.0).and_then(|()| fs::write(&path, input));
        match written {
            Ok(()) => path.display().to_string(),
            Err(error) => format!("{} could not be written ({error}): {input:?}", path.display()),
        }
    }
}

/// A seed that is another in each run.
pub(super) fn any_seed() -> u64 {
    RandomState::new().hash_one(0) >> 32
}
