//! Which partition a key belongs to.
//!
//! The same as Apache Kafka's Java client: murmur2 over the key's bytes, the sign bit dropped, modulo
//! the number of partitions. librdkafka's own default (CRC32) differs and would mis-join silently, so
//! every producer is set to `murmur2_random` and this function agrees with it.

/// The partition of a key's bytes in a topic of so many partitions: the one that Java's client, and every
/// producer of this runtime, sends it to.
///
/// ```
/// assert_eq!(stream_runtime::partition_of(b"foobar", 12), 6);
/// ```
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// MurmurHash2 with the seed of Kafka's clients (Austin Appleby's algorithm, public domain; Kafka's
/// `Utils.murmur2` fixes the seed `0x9747b28c`).
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ (data.len() as u32);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (place, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    mod properties;

    use super::*;

    /// The vectors of the Java client's tests (`UtilsTest.testMurmur2`) and of librdkafka's.
    #[test]
    fn murmur2_equals_the_java_client() {
        let vectors: [(&[u8], i32); 8] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"kafka", 0xd067_cf64_u32 as i32),
            (b"", 0x106e_08d9),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_partition_is_the_positive_hash_modulo_the_count() {
        assert_eq!(partition_of(b"foobar", 12), 6);
    }
}
