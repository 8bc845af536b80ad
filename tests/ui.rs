//! What the macros accept, and what they say about what they do not.
//!
//! A mistake a file, named after it. The messages are those of the workspace's `rust-version`;
//! `TRYBUILD=overwrite cargo test --test ui` writes them anew.
//!
//! Not with the feature `rocksdb`: the programs are built in a directory of their own, where RocksDB would be compiled
//! once more, and no message is about it.
#![cfg(not(feature = "rocksdb"))]

#[test]
fn programs_compile_and_mistakes_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*/*.rs");
}
