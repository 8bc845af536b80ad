//! How far restores have come, for people who wait for them.
//!
//! Everything here is a function of values; nothing of it decides when a restore has ended.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much of the past a rate is of.
const RECENT: Duration = Duration::from_secs(5);

/// How far the restore of one shard of a table has come, as [`Running::restoring`](crate::Running::restoring) gives it.
///
/// A restore reads a changelog from `start` to `end`. Compaction and transactions leave gaps in it, so there are fewer
/// records than offsets, and how many there are is an estimate until the end is reached.
///
/// ```no_run
/// use std::time::Duration;
/// use stream_runtime::App;
///
/// let running = App::new("colors").start()?;
/// for shard in running.restoring() {
///     let percent = shard.fraction().map_or(0.0, |fraction| fraction * 100.0);
///     println!("{}[{}]: {percent:.0} % at {:.0}/s", shard.table, shard.partition, shard.rate);
///     if shard.eta.is_some_and(|eta| eta > Duration::from_secs(600)) {
///         println!("time for a coffee");
///     }
/// }
/// # Ok::<(), stream_runtime::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RestoreProgress {
    /// The task that waits for it, `<sub-topology>/<partition>`, as in
    /// [`Running::running_tasks`](crate::Running::running_tasks).
    pub task: String,
    /// The table.
    pub table: String,
    /// The changelog topic.
    pub changelog: String,
    /// The partition of the changelog, which is the number of the shard.
    pub partition: i32,
    /// Records read so far.
    pub records: u64,
    /// The offset of the first of them; before there is one, that at which reading began.
    pub start: i64,
    /// The offset of the next record to be read.
    pub offset: i64,
    /// The offset behind the last record, as the broker told it last; `None` before it did.
    pub end: Option<i64>,
    /// Since the restore began.
    pub elapsed: Duration,
    /// Records a second, over the last five seconds.
    pub rate: f64,
    /// How long the rest takes at this rate; `None` while the end is not known, or nothing arrives.
    pub eta: Option<Duration>,
}

impl RestoreProgress {
    /// How much of the changelog has been read, from 0 to 1; `None` while its end is not known.
    pub fn fraction(&self) -> Option<f64> {
        let (read, all) = (self.offset - self.start, self.end? - self.start);
        Some(if read >= all {
            1.0
        } else {
            read.max(0) as f64 / all as f64
        })
    }

    /// How many records there are to read, if the rest of the changelog has as many gaps as what was read of it.
    /// `None` while the end is not known.
    pub fn expected_records(&self) -> Option<u64> {
        let left = (self.end? - self.offset).max(0) as f64;
        let read = self.offset - self.start;
        let density = match read {
            1.. => self.records as f64 / read as f64,
            _ => 1.0,
        };
        Some(self.records + (left * density).round() as u64)
    }
}

/// What was read until when, over the recent seconds.
#[derive(Debug)]
pub(crate) struct Pace {
    /// From the oldest to the newest; never empty. The first is at least as old as what rates are of, if there is one
    /// so old.
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    records: u64,
    offset: i64,
}

impl Pace {
    /// Nothing is read yet, and this offset is the next.
    pub(crate) fn from(offset: i64, at: Instant) -> Self {
        let first = Sample {
            at,
            records: 0,
            offset,
        };
        Self {
            samples: [first].into(),
        }
    }

    pub(crate) fn note(&mut self, records: u64, offset: i64, at: Instant) {
        self.samples.push_back(Sample { at, records, offset });
        while self
            .samples
            .get(1)
            .is_some_and(|second| at.saturating_duration_since(second.at) >= RECENT)
        {
            self.samples.pop_front();
        }
    }

    /// Records a second.
    pub(crate) fn rate(&self) -> f64 {
        let (first, last) = self.ends();
        per_second(last.records.saturating_sub(first.records) as f64, first, last)
    }

    /// How long it takes to this offset: by offsets, which gaps take no time to pass.
    pub(crate) fn eta(&self, end: Option<i64>) -> Option<Duration> {
        let (first, last) = self.ends();
        let left = (end? - last.offset).max(0);
        if left == 0 {
            return Some(Duration::ZERO);
        }
        time_for(
            left as f64,
            per_second((last.offset - first.offset) as f64, first, last),
        )
    }

    fn ends(&self) -> (&Sample, &Sample) {
        let first = self.samples.front().expect("there is a first sample");
        (first, self.samples.back().unwrap_or(first))
    }
}

fn per_second(amount: f64, first: &Sample, last: &Sample) -> f64 {
    let over = last.at.saturating_duration_since(first.at).as_secs_f64();
    if over > 0.0 { amount.max(0.0) / over } else { 0.0 }
}

/// How long an amount takes at a rate; `None` if for ever.
pub(crate) fn time_for(amount: f64, per_second: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(amount / per_second).ok()
}

/// A duration as people say it: `12s`, `3m20s`, `1h05m`.
pub(crate) fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// The same of what is over: below a second in milliseconds.
pub(crate) fn spoken_closely(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{}ms", duration.as_millis()),
        _ => spoken(duration),
    }
}

/// As [`spoken`], and what is said where nobody knows.
pub(crate) fn spoken_or_unknown(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "unknown".to_owned(), spoken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn progress(start: i64, offset: i64, end: Option<i64>, records: u64) -> RestoreProgress {
        RestoreProgress {
            task: "0/0".to_owned(),
            table: "t".to_owned(),
            changelog: "t-changelog".to_owned(),
            partition: 0,
            records,
            start,
            offset,
            end,
            elapsed: Duration::ZERO,
            rate: 0.0,
            eta: None,
        }
    }

    #[test]
    fn the_fraction_is_of_offsets_from_where_the_log_begins() {
        assert_eq!(progress(0, 25, Some(100), 25).fraction(), Some(0.25));
        assert_eq!(progress(900, 925, Some(1000), 3).fraction(), Some(0.25));
        assert_eq!(progress(0, 25, None, 25).fraction(), None);
    }

    #[test]
    fn an_empty_log_is_read() {
        assert_eq!(progress(0, 0, Some(0), 0).fraction(), Some(1.0));
        assert_eq!(progress(0, 0, Some(0), 0).expected_records(), Some(0));
    }

    #[test]
    fn records_are_expected_to_be_as_dense_as_those_before() {
        assert_eq!(progress(0, 50, Some(200), 50).expected_records(), Some(200));
        assert_eq!(progress(0, 50, Some(200), 10).expected_records(), Some(40));
        assert_eq!(progress(100, 200, Some(200), 10).expected_records(), Some(10));
        assert_eq!(progress(100, 100, Some(200), 0).expected_records(), Some(100));
        assert_eq!(progress(0, 50, None, 50).expected_records(), None);
    }

    #[test]
    fn a_rate_is_of_the_recent_seconds() {
        let start = Instant::now();
        let mut pace = Pace::from(0, start);
        assert_eq!(pace.rate(), 0.0);
        // A slow minute, then ten fast seconds.
        for second in 1..=60 {
            pace.note(second * 10, second as i64 * 10, start + seconds(second));
        }
        assert_eq!(pace.rate(), 10.0);
        for second in 1..=10 {
            let records = 600 + second * 1000;
            pace.note(records, records as i64, start + seconds(60 + second));
        }
        assert_eq!(pace.rate(), 1000.0);
        assert_eq!(pace.eta(Some(15_600)), Some(seconds(5)));
    }

    #[test]
    fn samples_of_long_ago_are_forgotten() {
        let start = Instant::now();
        let mut pace = Pace::from(0, start);
        for quarter in 1..=1000 {
            pace.note(0, 0, start + Duration::from_millis(250) * quarter);
        }
        assert_eq!(pace.samples.len(), 21);
    }

    #[test]
    fn what_does_not_move_has_no_eta() {
        let start = Instant::now();
        let mut pace = Pace::from(0, start);
        pace.note(100, 100, start + seconds(1));
        assert_eq!(pace.eta(Some(200)), Some(seconds(1)));
        for second in 2..=6 {
            pace.note(100, 100, start + seconds(second));
        }
        assert_eq!(pace.rate(), 0.0);
        assert_eq!(pace.eta(Some(200)), None);
        assert_eq!(pace.eta(Some(100)), Some(Duration::ZERO));
    }

    #[test]
    fn an_eta_needs_an_end() {
        let start = Instant::now();
        let mut pace = Pace::from(0, start);
        pace.note(100, 100, start + seconds(1));
        assert_eq!(pace.eta(None), None);
    }

    #[test]
    fn the_eta_counts_gaps_as_they_are_passed() {
        let start = Instant::now();
        let mut pace = Pace::from(0, start);
        pace.note(10, 1000, start + seconds(1));
        assert_eq!(pace.rate(), 10.0);
        assert_eq!(pace.eta(Some(3000)), Some(seconds(2)));
    }

    #[test]
    fn durations_are_short_to_say() {
        let said = [0, 12, 59, 60, 200, 3600, 3900, 90_000].map(|n| spoken(seconds(n)));
        assert_eq!(
            said,
            ["0s", "12s", "59s", "1m00s", "3m20s", "1h00m", "1h05m", "25h00m"]
        );
        assert_eq!(spoken(Duration::from_millis(1600)), "2s");
        assert_eq!(spoken_closely(Duration::from_millis(1600)), "2s");
        assert_eq!(spoken_closely(Duration::from_millis(146)), "146ms");
        assert_eq!(spoken_or_unknown(None), "unknown");
    }
}
