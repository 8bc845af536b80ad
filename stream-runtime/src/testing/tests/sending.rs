//! What a test may say of a record that it sends.

use super::{SEEN, WORDS, app};
use crate::prelude::*;
use crate::testing::TestApp;

#[test]
fn a_record_has_the_headers_the_partition_and_the_time_that_it_was_sent_with() {
    let mut headers = Headers::new();
    headers.push("via", "mail");
    headers.push_null("none");
    let mut app = app().partition_count(3);
    let now = app.now_millis();
    for partition in 0..3 {
        app.send_with(&WORDS, "red", "red", |record| {
            let record = record.header("via", "web").headers(&headers);
            record.partition(partition).timestamp(now - 5)
        });
    }
    let via = |value: &str| ("via".to_owned(), Some(value.as_bytes().to_vec()));
    for (partition, record) in (0..).zip(app.records("words")) {
        assert_eq!((record.partition, record.timestamp), (partition, now - 5));
        assert_eq!(
            record.headers,
            [via("web"), via("mail"), ("none".to_owned(), None)]
        );
    }
}

#[test]
fn a_record_of_which_nothing_is_said_is_sent_as_any() {
    let sent = |send: fn(&mut TestApp)| {
        let mut app = app().partition_count(3);
        app.advance(super::seconds(1));
        send(&mut app);
        app.records("words")
    };
    let plain = sent(|app| {
        app.send(&WORDS, "red", "red");
    });
    let with = sent(|app| {
        app.send_with(&WORDS, "red", "red", |record| record);
    });
    assert_eq!(with, plain);
}

#[test]
#[should_panic(expected = "topic `words` has no partition 1: it has 1")]
fn a_partition_that_is_not_there_is_named() {
    app().send_with(&WORDS, "red", "red", |record| record.partition(1));
}

#[test]
#[should_panic(expected = "an entry of table `seen` is in two partitions, 1 the second")]
fn a_key_that_is_in_two_partitions_is_not_left_out_of_a_table() {
    let mut app = app().partition_count(2);
    for partition in 0..2 {
        app.send_with(&WORDS, "red", "red", |record| record.partition(partition));
    }
    app.settle();
    app.table(&SEEN);
}

#[test]
fn a_record_is_printed_as_text() {
    let mut app = app();
    app.send(&WORDS, "red", "red");
    let printed = format!("{:?}", app.records("words"));
    assert!(printed.contains(r#"key: Some(b"red")"#), "{printed}");
}
