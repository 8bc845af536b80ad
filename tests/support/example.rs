//! The examples, as `cargo run` builds them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The example `colors`. Built here, since for tests cargo builds an example that has tests itself as these alone.
pub(crate) fn colors() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("colors")).clone()
}

fn build(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program knows where it is");
    let profile = test.ancestors().nth(2).expect("tests are in <profile>/deps");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    if cfg!(feature = "rocksdb") {
        cargo.args(["--features", "rocksdb"]);
    }
    assert!(
        cargo.status().expect("cargo runs").success(),
        "the example {name} is not built"
    );
    profile
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION)
}
