//! Every type of key: its order, its way back, and where it ends inside a tuple.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::TableKey;
use super::bytes;
use crate::tests::property::holds;

/// Two keys that are often near each other, bytes that are often nearly a key, and what follows a part.
fn check<K: TableKey, S: Strategy<Value = K> + Clone>(keys: S) {
    holds(
        (keys.clone(), keys, vec(any::<u8>(), 0..6)),
        |(one, two, rest)| {
            prop_assert_eq!(bytes(&one).cmp(&bytes(&two)), one.cmp(&two));
            prop_assert_eq!(K::decode_key(&bytes(&one)), Ok(one.clone()));

            let part = |key: &K| {
                let mut out = Vec::new();
                key.encode_part(&mut out);
                out
            };
            prop_assert_eq!(part(&one).cmp(&part(&two)), one.cmp(&two));
            let mut followed = part(&one);
            followed.extend(&rest);
            prop_assert_eq!(K::decode_part(&followed), Ok((one, &rest[..])));
            Ok(())
        },
    );
    holds(vec(0_u8..4, 0..20).boxed().prop_union(any_bytes()), |found| {
        if let Ok(key) = K::decode_key(&found) {
            prop_assert_eq!(bytes(&key), found, "{:?} has one way to be written", key);
        }
        Ok(())
    });
}

fn any_bytes() -> BoxedStrategy<Vec<u8>> {
    vec(any::<u8>(), 0..20).boxed()
}

/// Short runs of few bytes, those among them that are escaped.
fn runs() -> impl Strategy<Value = Vec<u8>> + Clone {
    let byte = prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()];
    vec(byte, 0..5)
}

fn texts() -> impl Strategy<Value = String> + Clone {
    prop_oneof!["[\0\u{1}ab]{0,4}", any::<String>()]
}

macro_rules! keys {
    ($($test:ident: $keys:expr;)*) => {
        $(#[test]
        fn $test() {
            check($keys);
        })*
    };
}

keys! {
    u8_keys: any::<u8>();
    u16_keys: any::<u16>();
    u32_keys: any::<u32>();
    u64_keys: any::<u64>();
    u128_keys: any::<u128>();
    i8_keys: any::<i8>();
    i16_keys: any::<i16>();
    i32_keys: any::<i32>();
    i64_keys: any::<i64>();
    i128_keys: any::<i128>();
    bool_keys: any::<bool>();
    char_keys: any::<char>();
    bytes_keys: runs();
    text_keys: texts();
    keys_of_one_part: texts().prop_map(|text| (text,));
    keys_of_two_parts: (runs(), any::<i16>());
    keys_of_three_parts: (texts(), runs(), any::<bool>());
    keys_of_four_parts: (any::<bool>(), texts(), 0_u8..3, texts());
    nested_keys: ((runs(), texts()), runs());
}
