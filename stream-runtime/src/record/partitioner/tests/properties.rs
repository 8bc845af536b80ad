//! murmur2 against a plain transcription of its definition, one byte at a time.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{murmur2, partition_of};
use crate::tests::property::holds;

/// MurmurHash2 as it is described, in the signed arithmetic of Java.
fn model(data: &[u8]) -> i32 {
    let m = 0x5bd1_e995_u32.cast_signed();
    let byte = |at: usize| i32::from(data[at]);
    let shifted = |value: i32, by: u32| (value.cast_unsigned() >> by).cast_signed();
    let length = data.len();
    let mut h = 0x9747_b28c_u32.cast_signed() ^ i32::try_from(length).expect("short");
    let mut at = 0;
    while length - at >= 4 {
        let mut k = byte(at) + (byte(at + 1) << 8) + (byte(at + 2) << 16) + (byte(at + 3) << 24);
        k = k.wrapping_mul(m);
        k ^= shifted(k, 24);
        k = k.wrapping_mul(m);
        h = h.wrapping_mul(m);
        h ^= k;
        at += 4;
    }
    let left = length - at;
    if left == 3 {
        h ^= byte(at + 2) << 16;
    }
    if left >= 2 {
        h ^= byte(at + 1) << 8;
    }
    if left >= 1 {
        h ^= byte(at);
        h = h.wrapping_mul(m);
    }
    h ^= shifted(h, 13);
    h = h.wrapping_mul(m);
    h ^ shifted(h, 15)
}

#[test]
fn murmur2_is_what_its_definition_says() {
    holds(vec(any::<u8>(), 0..70), |key| {
        prop_assert_eq!(murmur2(&key).cast_signed(), model(&key));
        Ok(())
    });
}

#[test]
fn a_partition_is_what_the_java_client_makes_of_the_hash() {
    holds((vec(any::<u8>(), 0..20), 1_i32..5000), |(key, partitions)| {
        let partition = partition_of(&key, partitions.cast_unsigned());
        prop_assert_eq!(partition.cast_signed(), (model(&key) & 0x7fff_ffff) % partitions);
        Ok(())
    });
}
