//! The headers of dead letters, which any program can write.

use super::Target;
use crate::agent::dead_letter::{self, Provenance, headers_of_replay};
use crate::record::{HeadersRef, pack_header};

#[test]
fn dead_letters() {
    let mut account = Vec::new();
    for (name, value) in [
        ("trace", "1"),
        (dead_letter::REPLAYS, "3"),
        (dead_letter::APP, "shop"),
        (dead_letter::AGENT, "ship"),
        (dead_letter::TOPIC, "orders"),
        (dead_letter::PARTITION, "3"),
        (dead_letter::OFFSET, "17"),
        (dead_letter::TIMESTAMP, "-1"),
        (dead_letter::ATTEMPTS, "4294967295"),
        (dead_letter::MESSAGE, "é"),
    ] {
        pack_header(&mut account, name, Some(value.as_bytes()));
    }
    let mut twice = account.clone();
    twice.extend_from_slice(&account);
    pack_header(&mut twice, dead_letter::APP, None);
    let mut target = Target::of("dead-letters", &[&account, &twice, b""]);
    target.longest = 1_000;
    target.words = &[b"4294967295", b"-1", b"99999999999999999999", b"\xff\xff\xff\xff"];
    target.run(|packed| {
        let headers = HeadersRef::new(packed);
        let read = Provenance::read(headers);
        let again = headers_of_replay(headers);
        let replays = again_replays(&again);
        let before = read.as_ref().map_or(0, |provenance| provenance.replays);
        assert_eq!(replays, before.saturating_add(1).to_string(), "a replay counts");
        (headers.iter().count(), read.is_some(), before > 1)
    });
}

/// The count in the headers of a replay, which is the last header and the only one of its name.
fn again_replays(packed: &[u8]) -> String {
    let headers: Vec<_> = HeadersRef::new(packed).iter().collect();
    let counts = headers.iter().filter(|(name, _)| *name == dead_letter::REPLAYS);
    assert_eq!(counts.count(), 1, "one count");
    let (_, value) = headers.last().expect("there is the count");
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}
