//! Every codec, and the keys of tables: what decodes can be encoded again and decodes to the same.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;

use super::Target;
use crate::codecs::{Auto, Json, Postcard, Raw, Text};
use crate::{Codec, Encoded, TableKey};

/// A bit of everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    name: String,
    lines: Vec<(i32, Option<bool>)>,
    notes: BTreeMap<String, i64>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Sized(u16, char),
    Nested { inner: Box<Option<Kind>> },
}

/// Whether the bytes are a `T`; if so they are one for good.
fn decodes<C: Codec<T>, T: PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = C::decode(Some(bytes)) else {
        return false;
    };
    let mut again = Vec::new();
    let read = match C::encode(&value, &mut again).expect("what was read can be written") {
        Encoded::Bytes => C::decode(Some(&again)),
        Encoded::Null => C::decode(None),
    };
    assert_eq!(read.as_ref(), Ok(&value), "{} of {bytes:?}", C::NAME);
    true
}

fn is_key<K: TableKey>(bytes: &[u8]) -> bool {
    let Ok(key) = K::decode_key(bytes) else {
        return false;
    };
    let mut again = Vec::new();
    key.encode_key(&mut again);
    assert_eq!(again, bytes, "{key:?} has one form");
    true
}

#[test]
fn codecs() {
    let order = Order {
        id: 300,
        name: "été".to_owned(),
        lines: vec![(-1, None), (70_000, Some(true))],
        notes: BTreeMap::from([("a".to_owned(), i64::MIN)]),
        kind: Kind::Nested {
            inner: Box::new(Some(Kind::Sized(9, '\u{10ffff}'))),
        },
    };
    let (mut json, mut postcard, mut kind) = (Vec::new(), Vec::new(), Vec::new());
    Json::encode(&order, &mut json).expect("it has a form");
    Postcard::encode(&order, &mut postcard).expect("it has a form");
    Json::encode(&Kind::Plain, &mut kind).expect("it has a form");
    let mut target = Target::of(
        "codecs",
        &[&json, &postcard, &kind, b"1.5e300", b"null", b"-0.0", b""],
    );
    target.words = &[
        b"null",
        b"\"",
        b"[",
        b"{",
        b"\\ud800",
        b"1e999",
        b"\xff\xff\xff\xff\x0f",
    ];
    target.run(|bytes| {
        [
            decodes::<Json, Order>(bytes),
            decodes::<Json, Option<Vec<f64>>>(bytes),
            decodes::<Json, serde_json::Value>(bytes),
            decodes::<Postcard, Order>(bytes),
            decodes::<Postcard, Option<Vec<String>>>(bytes),
            decodes::<Postcard, (u128, char, Vec<u64>)>(bytes),
            decodes::<Text, String>(bytes),
            decodes::<Raw, Vec<u8>>(bytes),
            decodes::<Auto, String>(bytes),
            decodes::<Auto, Option<Vec<u8>>>(bytes),
            decodes::<Auto, Kind>(bytes),
        ]
    });
}

#[test]
fn keys() {
    let mut samples = Vec::new();
    let mut key = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        samples.push(bytes);
    };
    key(&|out| ("a\0b".to_owned(), 7_u32).encode_key(out));
    key(&|out| (vec![0_u8, 255, 1], "x".to_owned(), -1_i64).encode_key(out));
    key(&|out| (true, 'é', i8::MIN, u16::MAX).encode_key(out));
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    Target::of("keys", &samples).run(|bytes| {
        [
            is_key::<String>(bytes),
            is_key::<Vec<u8>>(bytes),
            is_key::<bool>(bytes),
            is_key::<char>(bytes),
            is_key::<i32>(bytes),
            is_key::<u128>(bytes),
            is_key::<(String, u32)>(bytes),
            is_key::<(Vec<u8>, String, i64)>(bytes),
            is_key::<(bool, char, i8, u16)>(bytes),
        ]
    });
}
