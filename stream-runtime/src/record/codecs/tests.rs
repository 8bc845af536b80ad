//! Every codec: what it wrote it reads, and what it cannot read is an error.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Auto, Json, Postcard, Raw, Text};
use crate::record::codec::{Codec, Encoded};
use crate::tests::property::holds;

/// A value with some of everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    balance: i64,
    name: String,
    price: f64,
    weight: f32,
    paid: Option<bool>,
    lines: Vec<(char, u8)>,
    labels: BTreeMap<String, i32>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum State {
    Open,
    Sent(u32),
    Returned { reason: Option<String> },
}

fn orders() -> impl Strategy<Value = Order> {
    let state = prop_oneof![
        Just(State::Open),
        any::<u32>().prop_map(State::Sent),
        option::of(any::<String>()).prop_map(|reason| State::Returned { reason }),
    ];
    let numbers = (any::<u64>(), any::<i64>(), finite(), any::<f32>());
    let rest = (
        any::<String>(),
        any::<Option<bool>>(),
        vec(any::<(char, u8)>(), 0..3),
        btree_map(any::<String>(), any::<i32>(), 0..3),
        state,
    );
    (numbers, rest).prop_map(
        |((id, balance, price, weight), (name, paid, lines, labels, state))| Order {
            id,
            balance,
            name,
            price,
            weight,
            paid,
            lines,
            labels,
            state,
        },
    )
}

/// Numbers that JSON has, of every size.
fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), 0.0..1.0, -1e6..1e6]
}

/// What a codec writes, behind what is already there.
fn written<T, C: Codec<T>>(value: &T) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let encoded = C::encode(value, &mut out).expect("it has bytes");
    let bytes = out.strip_prefix(b"before").expect("it appends");
    match encoded {
        Encoded::Bytes => Some(bytes.to_vec()),
        Encoded::Null => {
            assert!(bytes.is_empty(), "null has no bytes");
            None
        }
    }
}

#[track_caller]
fn round_trips<T, C>(values: impl Strategy<Value = T>)
where
    T: Debug + PartialEq,
    C: Codec<T>,
{
    holds(values, |value| {
        let bytes = written::<T, C>(&value);
        prop_assert_eq!(C::decode(bytes.as_deref()), Ok(value), "from {:?}", bytes);
        Ok(())
    });
}

/// Whatever the bytes are, there is a value or an error; and a value that came of them is written and read as itself.
#[track_caller]
fn takes_any_bytes<T: PartialEq + Debug, C: Codec<T>>(alike: BoxedStrategy<T>) {
    // Bytes of the type with some of them changed, and any at all.
    let nearly = (alike, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(value, at, byte)| {
        let mut bytes = written::<T, C>(&value).unwrap_or_default();
        let at = at.index(bytes.len() + 1);
        match bytes.get_mut(at) {
            Some(found) => *found = byte,
            None => bytes.push(byte),
        }
        bytes
    });
    holds(prop_oneof![vec(any::<u8>(), 0..30), nearly], |bytes| {
        if let Ok(value) = C::decode(Some(&bytes)) {
            // What is not a number equals nothing, but has its bytes.
            let again = written::<T, C>(&value);
            let back = C::decode(again.as_deref());
            prop_assert_eq!(back.map(|back| written::<T, C>(&back)), Ok(again));
        }
        Ok(())
    });
}

/// What follows a value is an error: its type was another when it was written.
#[track_caller]
fn nothing_may_follow<T: PartialEq + Debug, C: Codec<T>>(values: impl Strategy<Value = T>) {
    holds((values, vec(any::<u8>(), 1..4)), |(value, more)| {
        let mut bytes = written::<T, C>(&value).unwrap_or_default();
        bytes.extend(more);
        prop_assert!(C::decode(Some(&bytes)).is_err(), "{value:?} from {bytes:?}");
        Ok(())
    });
}

/// Null is read as null, and as nothing else.
#[track_caller]
fn null_is_only_for<T: PartialEq + Debug, C: Codec<T>>(null: Option<&T>) {
    assert_eq!(C::decode(None).ok().as_ref(), null);
    if let Some(null) = null {
        assert_eq!(written::<T, C>(null), None);
    }
}

fn of_serde<T>(values: impl Strategy<Value = T> + Clone + 'static)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Clone + 'static,
{
    let maybe = || option::of(values.clone());
    round_trips::<T, Json>(values.clone());
    round_trips::<T, Postcard>(values.clone());
    round_trips::<T, Auto>(values.clone());
    round_trips::<Option<T>, Json>(maybe());
    round_trips::<Option<T>, Postcard>(maybe());
    round_trips::<Option<T>, Auto>(maybe());
    takes_any_bytes::<T, Json>(values.clone().boxed());
    takes_any_bytes::<T, Postcard>(values.clone().boxed());
    takes_any_bytes::<T, Auto>(values.clone().boxed());
    nothing_may_follow::<T, Postcard>(values);
    null_is_only_for::<T, Json>(None);
    null_is_only_for::<T, Postcard>(None);
    null_is_only_for::<T, Auto>(None);
    null_is_only_for::<Option<T>, Json>(Some(&None));
    null_is_only_for::<Option<T>, Postcard>(Some(&None));
    null_is_only_for::<Option<T>, Auto>(Some(&None));
}

#[test]
fn orders_come_back() {
    let orders = orders().boxed();
    of_serde(orders);
}

#[test]
fn numbers_come_back() {
    of_serde(any::<u64>());
    of_serde(any::<i128>());
    of_serde(finite().boxed());
    of_serde(any::<f32>());
}

#[test]
fn texts_and_bytes_come_back() {
    of_serde(any::<String>());
    of_serde(vec(any::<u8>(), 0..20));
    of_serde(vec(any::<String>(), 0..4));
}

#[test]
fn text_is_its_own_bytes() {
    round_trips::<String, Text>(any::<String>());
    round_trips::<Option<String>, Text>(option::of(any::<String>()));
    null_is_only_for::<String, Text>(None);
    null_is_only_for::<Option<String>, Text>(Some(&None));
    holds(vec(any::<u8>(), 0..6), |bytes| {
        let read = <Text as Codec<String>>::decode(Some(&bytes));
        prop_assert_eq!(read.ok(), String::from_utf8(bytes).ok());
        Ok(())
    });
    holds(any::<String>(), |text| {
        prop_assert_eq!(written::<String, Text>(&text), Some(text.as_bytes().to_vec()));
        prop_assert_eq!(written::<String, Auto>(&text), Some(text.into_bytes()));
        Ok(())
    });
}

#[test]
fn raw_bytes_are_themselves() {
    null_is_only_for::<Vec<u8>, Raw>(None);
    null_is_only_for::<Option<Vec<u8>>, Raw>(Some(&None));
    holds(option::of(vec(any::<u8>(), 0..20)), |bytes| {
        prop_assert_eq!(&written::<_, Raw>(&bytes), &bytes);
        prop_assert_eq!(&written::<_, Auto>(&bytes), &bytes);
        prop_assert_eq!(
            <Raw as Codec<Option<Vec<u8>>>>::decode(bytes.as_deref()),
            Ok(bytes)
        );
        Ok(())
    });
}

#[test]
fn nothing_is_null() {
    null_is_only_for::<(), Json>(Some(&()));
    null_is_only_for::<(), Postcard>(Some(&()));
    null_is_only_for::<(), Auto>(Some(&()));
}
