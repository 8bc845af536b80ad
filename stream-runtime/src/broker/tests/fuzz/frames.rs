//! Frames: whole conversations go through decoding, the state and encoding, and time passes in between.

use bytes::Bytes;
use std::time::Duration;

use super::requests::{conversation, empty, membership, records, transaction};
use crate::broker::frame::{self, Incoming};
use crate::broker::state::Answer;
use crate::broker::tests::fixture::{Driver, START_MS};
use crate::tests::fuzz::Target;

/// What became of a frame: the API and its version, and whether it was answered.
type Way = (i16, i16, u8);

/// The id that the first member of a group gets.
fn member() -> String {
    format!("test-{START_MS:x}-1")
}

#[test]
fn frames() {
    let mut samples: Vec<Vec<u8>> = empty().into_iter().map(|frame| conversation(&[frame])).collect();
    let flows = [records(), membership(&member()), transaction()];
    samples.extend(flows.iter().map(|flow| conversation(flow)));
    samples.push(conversation(&flows.concat()));
    let target = Target {
        name: "frames",
        samples,
        words: &[b"t", b"g", b"\xff\xff\xff\xff\x0f", b"\x7f\xff\xff\xff"],
        longest: 1_200,
        usual: 20_000,
        // A request may create a topic of 10,000 partitions.
        memory: (64 << 20, 1_000),
    };
    target.run(converse);
}

/// Every well-formed sample is understood and answered: without that, the fuzzing would only ever see the decoder.
#[test]
fn samples_are_understood() {
    for flow in [records(), membership(&member()), transaction()] {
        let ways = converse(&conversation(&flow));
        assert_eq!(ways.len(), flow.len());
        assert!(ways.iter().all(|(_, _, end)| *end != UNREADABLE), "{ways:?}");
    }
    for frame in empty() {
        let ways = converse(&conversation(std::slice::from_ref(&frame)));
        assert!(
            ways.iter().all(|(_, _, end)| *end != UNREADABLE),
            "{ways:?} of {frame:?}"
        );
    }
}

const UNREADABLE: u8 = 0;
const ANSWERED: u8 = 1;
const LATER: u8 = 2;
const NOTHING: u8 = 3;

/// Sends every frame of a conversation to a new broker with topic `t`, and lets all that waits come to its end.
fn converse(mut input: &[u8]) -> Vec<Way> {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("t", &[]);
    let mut ways = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (frame, behind) = rest.split_at(length);
        ways.push(send(&mut driver, frame));
        input = behind;
    }
    let waiting = ways.iter().filter(|(.., end)| *end == LATER).count();
    let mut completed = driver.completions().len();
    completed += driver.pass(Duration::from_secs(1)).len();
    assert!(completed <= waiting, "an answer that nobody waits for");
    ways
}

fn send(driver: &mut Driver, frame: &[u8]) -> Way {
    let number = |at: usize| {
        let bytes = frame.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(-1, i16::from_be_bytes)
    };
    let Ok(Incoming::Request(head, request)) = frame::decode(Bytes::copy_from_slice(frame)) else {
        return (number(0), number(2), UNREADABLE);
    };
    let version = head.version;
    let end = match driver.send(version, request).1 {
        Answer::Ready(response) => {
            frame::encode(&head, &response).expect("every answer fits its version");
            ANSWERED
        }
        Answer::Later => LATER,
        Answer::Nothing => NOTHING,
    };
    (number(0), version, end)
}
