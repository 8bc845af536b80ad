//! Names that nobody else has.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// A fresh name in the form of a UUID (version 4).
///
/// The keys of a `RandomState` come from the system's source of randomness; what hashes to what under them is as hard to
/// guess as they are.
pub(crate) fn random() -> String {
    let half = |number: u8| RandomState::new().hash_one(number);
    let (high, low) = (half(0), half(1));
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_name_is_a_uuid_and_no_two_are_the_same() {
        let names: std::collections::BTreeSet<_> = (0..1000).map(|_| random()).collect();
        assert_eq!(names.len(), 1000);
        for name in names {
            let parts: Vec<_> = name.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{name}");
            assert_eq!(name.as_bytes()[14], b'4', "{name}");
            assert!(matches!(name.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{name}");
        }
    }
}
