//! Announcements: a worker of another version, or anybody who writes to the topic, must not take this one down.

use std::time::Duration;

use crate::clock;
use crate::cluster::standby::members::{Announcement, Members};
use crate::tests::fuzz::Target;

#[test]
fn announcements() {
    let mut whole = Announcement::new(Duration::from_secs(30));
    whole.runs.insert("votes".to_owned(), vec![0, 3]);
    let behind = [(1, Some(17)), (2, None)].into();
    whole.stands_by.insert("votes".to_owned(), behind);
    let whole = whole.write();
    let forever = br#"{"format":1,"valid_ms":18446744073709551615,"runs":{},"stands_by":{}}"#;
    let mut target = Target::of("announcements", &[&whole, forever, b"{}"]);
    target.words = &[
        b"18446744073709551615",
        b"-1",
        b"\"runs\":",
        b"[",
        b"{",
        b"null",
        b"1e400",
    ];
    let start = clock::now();
    target.run(|bytes| {
        let mut members = Members::default();
        let mut ways = Vec::new();
        for up_to_date in [false, true] {
            ways.push(members.record(b"a", Some(bytes), start));
            ways.push(members.record(bytes, Some(&whole), start));
            ways.push(members.live(start).count() > 1);
            ways.push(members.forget(start + Duration::from_secs(3600)).is_empty());
            if !up_to_date {
                members.reached_end();
            }
        }
        assert!(
            members.record(b"b", Some(&whole), start) && members.live(start).any(|(worker, _)| worker == "b"),
            "others are heard on"
        );
        ways
    });
}
