//! Any record, any reason: what a dead letter keeps, what it says, and what a replay makes of it.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::tests::property::holds;

#[derive(Debug, Clone)]
struct Failed {
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    agent: String,
    error: &'static str,
    message: String,
    attempts: u32,
    failed_at: i64,
}

fn failed() -> impl Strategy<Value = Failed> {
    let bytes = || option::of(vec(any::<u8>(), 0..8));
    // A record may have no timestamp.
    let timestamp = prop_oneof![1 => Just(-1), 3 => 0..i64::MAX];
    let place = (0..i32::MAX, 0..i64::MAX, timestamp);
    // At times names of ours, as a record has that was a dead letter before, or whose sender plays tricks.
    let name = prop_oneof![
        4 => "[a-c]{1,2}",
        1 => prop_oneof![Just(APP), Just(OFFSET), Just(MESSAGE), Just(TIMESTAMP)].prop_map(str::to_owned),
    ];
    let parts = (bytes(), bytes(), vec((name, bytes()), 0..5));
    let error = prop_oneof![Just("error"), Just("panic"), Just("decode")];
    let message = prop_oneof![3 => any::<String>(), 1 => "[aé€]{300,1500}"];
    let reason = ("[a-z-]{1,9}", error, message, any::<u32>(), any::<i64>());
    (place, parts, reason).prop_map(
        |(
            (partition, offset, timestamp),
            (key, value, headers),
            (agent, error, message, attempts, failed_at),
        )| Failed {
            partition,
            offset,
            timestamp,
            key,
            value,
            headers,
            agent,
            error,
            message,
            attempts,
            failed_at,
        },
    )
}

fn pack(headers: &[(String, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, value) in headers {
        pack_header(&mut packed, name, value.as_deref());
    }
    packed
}

fn unpack(packed: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let headers = HeadersRef::new(packed);
    headers
        .iter()
        .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
        .collect()
}

/// What becomes of a record with these headers that is given up.
fn given_up(failed: &Failed, headers: &[u8]) -> Sent {
    let record = RecordRef {
        topic: "orders",
        partition: failed.partition,
        offset: failed.offset,
        timestamp: failed.timestamp,
        key: failed.key.as_deref(),
        value: failed.value.as_deref(),
        headers: HeadersRef::new(headers),
    };
    let task = task_at(record, 1_000_000);
    let reason = Reason {
        agent: &failed.agent,
        error: failed.error,
        message: &failed.message,
        attempts: failed.attempts,
        failed_at: failed.failed_at,
    };
    send(&task, dead_letters(), &reason).expect("it fits");
    sent(&task)
}

/// As many whole characters as fit.
fn short(message: &str) -> String {
    let mut short = String::new();
    for c in message.chars() {
        if short.len() + c.len_utf8() > 1024 {
            break;
        }
        short.push(c);
    }
    short
}

#[test]
fn a_dead_letter_keeps_its_record_and_tells_its_provenance() {
    holds(failed(), |failed| {
        let (topic, key, value, headers, timestamp) = given_up(&failed, &pack(&failed.headers));
        prop_assert_eq!(topic, "shop-dead-letters");
        prop_assert_eq!((&key, &value), (&failed.key, &failed.value));
        prop_assert_eq!(
            timestamp,
            Some(failed.timestamp).filter(|timestamp| *timestamp >= 0)
        );
        prop_assert!(unpack(&headers).starts_with(&failed.headers));
        let expected = Provenance {
            app: "shop".to_owned(),
            agent: failed.agent.clone(),
            topic: "orders".to_owned(),
            partition: failed.partition,
            offset: failed.offset,
            timestamp,
            error: failed.error.to_owned(),
            message: short(&failed.message),
            attempts: failed.attempts,
            failed_at: failed.failed_at,
            replays: 0,
        };
        prop_assert_eq!(Provenance::read(HeadersRef::new(&headers)), Some(expected));
        Ok(())
    });
}

#[test]
fn a_replay_is_the_record_as_it_was_and_counts_itself() {
    holds((failed(), 1_u32..4), |(failed, times)| {
        let mut packed = pack(&failed.headers);
        for time in 1..=times {
            let (_, _, _, headers, _) = given_up(&failed, &packed);
            packed = headers_of_replay(HeadersRef::new(&headers));
            let mut expected = failed.headers.clone();
            expected.push((REPLAYS.to_owned(), Some(time.to_string().into_bytes())));
            prop_assert_eq!(unpack(&packed), expected);
        }
        Ok(())
    });
}

#[test]
fn any_headers_are_a_dead_letter_or_none() {
    // Accounts one after the other, each with some of it missing or beside the point.
    let names = [APP, AGENT, TOPIC, PARTITION, OFFSET, TIMESTAMP, ATTEMPTS, REPLAYS];
    let value = prop_oneof![
        9 => "[0-9]{1,9}".prop_map(|text| Some(text.into_bytes())),
        1 => option::of(vec(any::<u8>(), 0..4))
    ];
    let account = vec(option::weighted(0.9, value), names.len());
    holds(vec(account, 0..4), |accounts| {
        let mut headers = Vec::new();
        for account in accounts {
            let there = names.iter().zip(account);
            headers.extend(there.filter_map(|(name, value)| Some(((*name).to_owned(), value?))));
        }
        let packed = pack(&headers);
        let found = Provenance::read(HeadersRef::new(&packed));
        let account = headers
            .iter()
            .rposition(|(name, _)| name == APP)
            .map(|at| &headers[at..]);
        let is_there = |name: &str| {
            let last = account.and_then(|account| account.iter().rfind(|(found, _)| found == name));
            last.and_then(|(_, value)| value.as_deref())
        };
        let is_number = |name: &str, fits: &dyn Fn(&str) -> bool| {
            is_there(name).is_some_and(|value| std::str::from_utf8(value).is_ok_and(fits))
        };
        let complete = [APP, AGENT, TOPIC].iter().all(|name| is_there(name).is_some())
            && is_number(PARTITION, &|text| text.parse::<i32>().is_ok())
            && is_number(OFFSET, &|text| text.parse::<i64>().is_ok());
        prop_assert_eq!(found.is_some(), complete, "{:?}", found);
        if let Some(found) = found {
            prop_assert_eq!(
                found.timestamp.is_some(),
                is_number(TIMESTAMP, &|text| text.parse::<i64>().is_ok())
            );
        }
        headers_of_replay(HeadersRef::new(&packed));
        Ok(())
    });
}
