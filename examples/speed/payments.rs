//! Payments at random, the same for the same numbers.

use crate::job::Payment;

/// How the popularity of users falls off: a power of their rank.
const SKEW: f64 = 0.8;

/// `records` payments by `users` users, whose popularity follows Zipf's law.
pub(crate) fn payments(records: u64, users: u64) -> impl Iterator<Item = Payment> {
    let mut reached = 0.0;
    let ranks: Vec<f64> = (1..=users)
        .map(|rank| {
            reached += (rank as f64).powf(-SKEW);
            reached
        })
        .collect();
    let mut random = Random(0x5eed);
    (0..records).map(move |_| {
        let drawn = random.share() * reached;
        let rank = ranks.partition_point(|up_to| *up_to < drawn);
        Payment {
            user: user(rank as u64),
            amount: random.next() % 1000,
            note: format!(
                "{:016x}, for {:012}",
                random.next(),
                random.next() % 1_000_000_007
            ),
        }
    })
}

/// One payment of each user.
pub(crate) fn one_of_each(users: u64) -> impl Iterator<Item = Payment> {
    (0..users).map(|number| Payment {
        user: user(number),
        amount: number % 1000,
        note: "the first of many, of which more is said elsewhere".to_owned(),
    })
}

pub(crate) fn user(number: u64) -> String {
    format!("user-{number:08}")
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
