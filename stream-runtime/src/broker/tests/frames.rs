//! Frames that are wrong: the broker must neither panic, nor reserve memory for them, nor mind.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::fixture::Driver;
use crate::broker::api::SUPPORTED;
use crate::broker::frame::{self, Incoming};
use crate::broker::state::{Answer, Caller, Token};
use crate::broker::{Broker, BrokerOptions};

fn header(key: ApiKey, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(key as i16);
    frame.put_i16(version);
    frame.put_i32(42);
    frame.put_i16(-1);
    frame
}

/// A small generator, so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        // Mostly small numbers, which get further into a message, and the extremes.
        match self.next() % 8 {
            0 => 0xff,
            1 => 0x7f,
            2 => u8::try_from(self.next() % 256).expect("a byte"),
            3 | 4 => 1,
            _ => 0,
        }
    }
}

#[test]
fn random_bodies_are_survived() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", &[]);
    let mut understood = 0;
    for round in 0..200_u64 {
        for api in SUPPORTED {
            for version in api.min..=api.max {
                let mut frame = header(api.key, version);
                for _ in 0..random.next() % 60 {
                    frame.put_u8(random.byte());
                }
                let Ok(Incoming::Request(head, request)) = frame::decode(frame.freeze()) else {
                    continue;
                };
                understood += 1;
                let caller = Caller {
                    token: Token(round),
                    client_id: head.client_id.clone(),
                    host: head.client_id.clone(),
                    version,
                };
                let now = driver.now();
                if let Answer::Ready(response) = driver.state.handle(now, &caller, request) {
                    frame::encode(&head, &response).expect("every answer fits its version");
                }
                for late in driver.state.take_completions() {
                    drop(late);
                }
            }
        }
    }
    assert!(
        understood > 1000,
        "too few got through to mean anything: {understood}"
    );
}

#[test]
fn an_array_that_claims_too_much_reserves_nothing() {
    // Metadata: an array of topics, 2^31 - 1 of them, and no topic.
    let mut frame = header(ApiKey::Metadata, 1);
    frame.put_i32(i32::MAX);
    assert!(frame::decode(frame.freeze()).is_err());
    // The same in a flexible version.
    let mut frame = header(ApiKey::Metadata, 9);
    frame.put_u8(0);
    frame.put_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(frame::decode(frame.freeze()).is_err());
}

#[test]
fn unknown_apis_and_versions_have_no_answer() {
    for (key, version) in [(ApiKey::Metadata, 99), (ApiKey::Metadata, -1), (ApiKey::Vote, 0)] {
        assert!(
            frame::decode(header(key, version).freeze()).is_err(),
            "{key:?} {version}"
        );
    }
    assert!(frame::decode(Bytes::from_static(&[0x7f; 20])).is_err());
    assert!(frame::decode(Bytes::new()).is_err());
}

fn connect(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.bootstrap()).expect("the broker listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time that can be set");
    stream
}

fn send(stream: &mut TcpStream, frame: &[u8]) {
    let length = i32::try_from(frame.len()).expect("short").to_be_bytes();
    // The broker may have closed the connection already.
    stream
        .write_all(&length)
        .and_then(|()| stream.write_all(frame))
        .ok();
}

fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("not negative")];
    stream.read_exact(&mut frame).expect("a whole answer");
    frame
}

fn is_closed(stream: &mut TcpStream) -> bool {
    // Closed in order, or reset because it had not read all of what was sent.
    match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn garbage_closes_its_connection_and_no_other() {
    let broker = Broker::start(BrokerOptions::default()).expect("a free port");
    let mut good = connect(&broker);
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        &[0xff; 64],
        &[0, 0, 0, 3, 1, 2, 3],
        &[0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 1, 2],
        &[
            0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff,
        ],
        &[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff],
    ] {
        let mut bad = connect(&broker);
        bad.write_all(garbage).expect("it is sent");
        assert!(is_closed(&mut bad), "{garbage:?}");
    }
    send(&mut good, &header(ApiKey::ApiVersions, 0));
    let answer = receive(&mut good);
    assert_eq!(answer[..6], [0, 0, 0, 42, 0, 0]);
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let broker = Broker::start(BrokerOptions::default()).expect("a free port");
    let mut stream = connect(&broker);
    send(&mut stream, &header(ApiKey::ApiVersions, 77));
    let answer = receive(&mut stream);
    assert_eq!(answer[..6], [0, 0, 0, 42, 0, 35]);
    assert!(answer.len() > 10, "it says which versions there are");
    send(&mut stream, &header(ApiKey::ApiVersions, 0));
    assert_eq!(receive(&mut stream)[..6], [0, 0, 0, 42, 0, 0]);
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    let options = BrokerOptions {
        topics: vec![super::super::NewTopic::new("t", 1)],
        ..BrokerOptions::default()
    };
    let broker = Broker::start(options).expect("a free port");
    let mut stream = connect(&broker);
    // A fetch that waits 300 ms for records that do not come, and behind it something quick.
    let mut fetch = header(ApiKey::Fetch, 4);
    fetch.put_i32(-1);
    fetch.put_i32(300);
    fetch.put_i32(1);
    fetch.put_i32(1000);
    fetch.put_i8(0);
    fetch.put_i32(1);
    fetch.put_i16(1);
    fetch.put_slice(b"t");
    fetch.put_i32(1);
    fetch.put_i32(0);
    fetch.put_i64(0);
    fetch.put_i32(1000);
    fetch[7] = 1;
    let mut versions = header(ApiKey::ApiVersions, 0);
    versions[7] = 2;
    send(&mut stream, &fetch);
    send(&mut stream, &versions);
    assert_eq!(receive(&mut stream)[..4], [0, 0, 0, 1]);
    assert_eq!(receive(&mut stream)[..4], [0, 0, 0, 2]);
}

#[test]
fn a_port_in_use_says_what_to_do() {
    let broker = Broker::start(BrokerOptions::default()).expect("a free port");
    let taken = BrokerOptions {
        port: broker.port(),
        ..BrokerOptions::default()
    };
    let refused = Broker::start(taken).expect_err("the port is taken").to_string();
    assert!(
        refused.contains(&broker.bootstrap()) && refused.contains("choose another port"),
        "{refused}"
    );
}

#[test]
fn a_stopped_broker_frees_its_port() {
    let broker = Broker::start(BrokerOptions::default()).expect("a free port");
    let port = broker.port();
    let mut stream = connect(&broker);
    drop(broker);
    assert!(is_closed(&mut stream));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
