//! How long the tasks of a thread run before it sees to other things.

use std::time::{Duration, Instant};

use crate::clock;

/// Records between two looks at the clock, at most.
const MOST: u32 = 64;
/// There are at least so many looks in a turn of records that take equally long.
const LOOKS: u32 = 8;

/// A turn, counted in records and measured now and then: a look at the clock costs a fiftieth of a quick record.
#[derive(Debug)]
pub(crate) struct Turn {
    length: Duration,
    began: Instant,
    looked: Instant,
    /// Records from one look to the next.
    step: u32,
    /// Records until the next look.
    left: u32,
    over: bool,
}

impl Turn {
    pub(crate) fn new(length: Duration) -> Self {
        let now = clock::now();
        Self {
            length,
            began: now,
            looked: now,
            step: 1,
            left: 1,
            over: false,
        }
    }

    /// A record is about to be processed.
    pub(crate) fn record(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Whether its time is over.
    pub(crate) fn is_over(&mut self) -> bool {
        if !self.over && self.left == 0 {
            self.look(clock::now());
        }
        self.over
    }

    fn look(&mut self, now: Instant) {
        self.over = now.duration_since(self.began) >= self.length;
        let took = now.duration_since(self.looked).as_nanos() / u128::from(self.step);
        let share = (self.length / LOOKS).as_nanos();
        self.step = u32::try_from(share / took.max(1)).unwrap_or(MOST).clamp(1, MOST);
        self.left = self.step;
        self.looked = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many records of this length fit in.
    fn records(length: Duration, each: Duration) -> (u32, u32) {
        let mut turn = Turn::new(length);
        let (mut done, mut looks, mut now) = (0, 0, turn.began);
        while !turn.over {
            turn.record();
            (done, now) = (done + 1, now + each);
            if turn.left == 0 {
                turn.look(now);
                looks += 1;
            }
        }
        (done, looks)
    }

    #[test]
    fn slow_records_end_a_turn_in_time() {
        let turn = Duration::from_millis(50);
        assert_eq!(records(turn, Duration::from_millis(1)).0, 55);
        assert_eq!(records(turn, Duration::from_millis(20)), (3, 3));
        assert_eq!(records(turn, Duration::from_secs(5)), (1, 1));
    }

    #[test]
    fn the_clock_is_rarely_looked_at_between_quick_records() {
        let (done, looks) = records(Duration::from_millis(50), Duration::from_micros(1));
        assert!((50_000..50_000 + MOST).contains(&done), "{done}");
        assert!(looks <= done / MOST + 2, "{looks} looks at {done} records");
    }
}
