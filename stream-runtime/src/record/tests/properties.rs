//! Packed headers against the list they were made from.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::{Headers, HeadersRef, pack_header};
use crate::tests::property::holds;

fn headers() -> impl Strategy<Value = Vec<(String, Option<Vec<u8>>)>> {
    // Few names, so that some repeat.
    let name = prop_oneof![3 => "[a-c]", 1 => any::<String>()];
    vec((name, option::of(vec(any::<u8>(), 0..12))), 0..8)
}

fn packed(headers: &[(String, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, value) in headers {
        pack_header(&mut packed, name, value.as_deref());
    }
    packed
}

fn unpacked(packed: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    HeadersRef::new(packed)
        .iter()
        .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
        .collect()
}

#[test]
fn packed_headers_are_read_as_they_were_written() {
    holds(headers(), |written| {
        prop_assert_eq!(&unpacked(&packed(&written)), &written);
        let mut of_users = Headers::new();
        for (name, value) in &written {
            match value {
                Some(value) => of_users.push(name, value),
                None => of_users.push_null(name),
            }
        }
        prop_assert_eq!(of_users.is_empty(), written.is_empty());
        for name in ["a", "b", "c"] {
            let last = written.iter().rfind(|(written, _)| written == name);
            let value = last.and_then(|(_, value)| value.as_deref());
            prop_assert_eq!(of_users.get(name), value);
        }
        Ok(())
    });
}

#[test]
fn what_is_left_of_cut_headers_is_whole() {
    holds((headers(), any::<prop::sample::Index>()), |(written, at)| {
        let packed = packed(&written);
        let found = unpacked(&packed[..at.index(packed.len() + 1)]);
        prop_assert!(written.starts_with(&found), "{found:?}");
        Ok(())
    });
}

#[test]
fn any_bytes_end_as_headers() {
    // Lengths are four bytes, most of them small: so that some of what is drawn makes sense.
    let run = (0_u32..6, vec(any::<u8>(), 0..6)).prop_map(|(length, bytes)| {
        let mut run = length.to_le_bytes().to_vec();
        run.extend(bytes);
        run
    });
    let strategy = prop_oneof![
        vec(any::<u8>(), 0..40),
        vec(run, 0..6).prop_map(|runs| runs.concat())
    ];
    holds(strategy, |bytes| {
        let size: usize = unpacked(&bytes)
            .iter()
            .map(|(name, value)| 8 + name.len() + value.as_ref().map_or(0, Vec::len))
            .sum();
        prop_assert!(size <= bytes.len());
        Ok(())
    });
}
