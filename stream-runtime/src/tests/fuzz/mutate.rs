//! New inputs out of old ones. The same seed and the same inputs give the same.

/// Numbers at which code that reads lengths and counts goes wrong.
const NUMBERS: [i64; 14] = [
    0,
    1,
    -1,
    2,
    127,
    128,
    255,
    i16::MAX as i64,
    i16::MIN as i64,
    i32::MAX as i64,
    i32::MIN as i64,
    u32::MAX as i64,
    i64::MAX,
    i64::MIN,
];

/// Makes inputs.
#[derive(Debug)]
pub(super) struct Mutator {
    state: u64,
    words: &'static [&'static [u8]],
    longest: usize,
}

impl Mutator {
    pub(super) fn new(seed: u64, words: &'static [&'static [u8]], longest: usize) -> Self {
        Self {
            // A state of zero would stay zero.
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            words,
            longest,
        }
    }

    /// A number below `end`; 0 when there is none.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let high = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap_or(0) % end.max(1)
    }

    /// An input made of one of the pool, or of two.
    pub(super) fn next(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.pick(pool);
        for _ in 0..=self.below(6) {
            self.change(&mut input, pool);
        }
        input.truncate(self.longest);
        input
    }

    fn pick(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        // What came last went a new way: it is tried more often.
        let newest = pool.len().saturating_sub(16);
        let at = match self.below(3) {
            0 => newest + self.below(pool.len() - newest),
            _ => self.below(pool.len()),
        };
        pool.get(at).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        match self.below(12) {
            0 | 1 => {
                let bit = self.below(8);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            2 => {
                let new = self.byte();
                if let Some(byte) = input.get_mut(at) {
                    *byte = new;
                }
            }
            3 | 4 => {
                let number = NUMBERS[self.below(NUMBERS.len())];
                let width = 1 << self.below(4);
                overwrite(input, at, &number.to_be_bytes()[8 - width..]);
            }
            5 => {
                let length = self.below(input.len() - at + 1).min(64);
                input.drain(at..at + length);
            }
            6 => {
                let length = self.below(input.len() - at + 1).min(64);
                let copy = input[at..at + length].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            7 => {
                let new: Vec<u8> = (0..=self.below(8)).map(|_| self.byte()).collect();
                input.splice(at..at, new);
            }
            8 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len())];
                input.splice(at..at, word.iter().copied());
            }
            9 => input.truncate(at),
            10 => {
                let other = self.pick(pool);
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                // A length that is a little wrong.
                let change = self.below(9);
                if let Some(byte) = input.get_mut(at) {
                    *byte = byte
                        .wrapping_add(4)
                        .wrapping_sub(u8::try_from(change).unwrap_or(0));
                }
            }
        }
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }
}

fn overwrite(input: &mut [u8], at: usize, with: &[u8]) {
    for (byte, new) in input.iter_mut().skip(at).zip(with) {
        *byte = *new;
    }
}
