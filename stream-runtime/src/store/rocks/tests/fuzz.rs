//! What a worker finds on its disk about its state: the owner file, and what a database says of its shards.

use std::fs;
use std::time::Duration;

use super::Scratch;
use crate::store::StoredTable;
use crate::store::directory::StateDirectory;
use crate::store::rocks::meta::{Fate, Progress, fate};
use crate::tests::fuzz::Target;

#[test]
fn progress() {
    let encode = |id: Option<&str>, current_at: i64| {
        let progress = Progress {
            changelog_offset: 7,
            changelog_id: id.map(str::to_owned),
            current_at,
        };
        postcard::to_stdvec(&progress).expect("it has a form")
    };
    let known = encode(Some("a topic"), 1_700_000_000_000);
    let inputs = postcard::to_stdvec(&[("orders", 17_i64), ("words", -1)]).expect("it has a form");
    let samples: &[&[u8]] = &[&known, &encode(None, i64::MIN), &encode(None, i64::MAX), &inputs];
    let wanted = StoredTable {
        name: "counts".to_owned(),
        changelog_id: Some("a topic".to_owned()),
        max_age: Duration::from_secs(3600),
    };
    let mut target = Target::of("progress", samples);
    target.words = &[b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"a topic"];
    target.run(|bytes| {
        let inputs: Option<Vec<(String, i64)>> = postcard::from_bytes(bytes).ok();
        let found: Option<Progress> = postcard::from_bytes(bytes).ok();
        let fate = found.map(|found| fate(Some(&found), true, &wanted, 1_700_000_000_000));
        match &fate {
            Some(Fate::Rebuild(reason)) => assert!(!reason.to_string().is_empty()),
            Some(Fate::Begin) => panic!("what has entries is not new"),
            Some(Fate::Keep) | None => {}
        }
        let kind = fate.map(|fate| matches!(fate, Fate::Keep));
        (kind, inputs.map(|inputs| inputs.len()))
    });
}

#[test]
fn owners() {
    let scratch = Scratch::new();
    let owner = scratch.path().join("colors").join("0").join("owner.json");
    drop(StateDirectory::claim(scratch.path(), "colors").expect("it is nobody's"));
    let good = fs::read(&owner).expect("it was written");
    let newer = br#"{"format":2,"program":"colors"}"#;
    let other = br#"{"format":1,"program":"shapes","worker":"w"}"#;
    let mut target = Target::of("owners", &[&good, newer, other, b""]);
    target.words = &[
        b"\"format\":",
        b"4294967296",
        b"null",
        b"{",
        b"[",
        b"\"program\":\"colors\"",
    ];
    target.usual = 400;
    target.memory = (512 * 1024, 200);
    target.run(|bytes| {
        fs::write(&owner, bytes).expect("there is room for it");
        let claimed = StateDirectory::claim(scratch.path(), "colors");
        let found = fs::read(&owner).expect("it is still there");
        assert_eq!(found, bytes, "an owner file is never changed");
        claimed
            .map(|claimed| claimed.worker_id().is_empty())
            .map_err(|error| {
                let text = error.to_string();
                assert!(text.contains("Nothing in it was touched"), "{text}");
                text.len()
            })
    });
}
