//! What a run cost, told by the process that ran and read by the one that compares.

use std::time::{Duration, Instant};

use crate::Outcome;

/// One run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Measured {
    /// From the first record to the last commit.
    pub records_per_second: f64,
    /// Of this process, without the broker.
    pub cpu_seconds_per_million: f64,
    /// The peak of its resident set.
    pub mebibytes: f64,
    /// From the start to the first record.
    pub seconds_to_first: f64,
}

impl Measured {
    /// The figures of so many records, of which the first came at `first`, when the process had spent `spent` seconds
    /// of the processor.
    pub(crate) fn until_now(records: u64, started: Instant, first: Instant, spent: f64) -> Outcome<Self> {
        Ok(Self {
            records_per_second: records as f64 / first.elapsed().as_secs_f64(),
            cpu_seconds_per_million: (cpu_seconds_of("self")? - spent) / records as f64 * 1e6,
            mebibytes: mebibytes_of("self", "VmHWM:")?,
            seconds_to_first: (first - started).as_secs_f64(),
        })
    }

    /// Prints it for [`heard`](Self::heard).
    pub(crate) fn tell(self) {
        println!(
            "measured {} {} {} {}",
            self.records_per_second, self.cpu_seconds_per_million, self.mebibytes, self.seconds_to_first
        );
    }

    /// Finds it in what a process printed.
    pub(crate) fn heard(said: &str) -> Option<Self> {
        let line = said.lines().find_map(|line| line.strip_prefix("measured "))?;
        let mut numbers = line.split(' ').map_while(|number| number.parse().ok());
        Some(Self {
            records_per_second: numbers.next()?,
            cpu_seconds_per_million: numbers.next()?,
            mebibytes: numbers.next()?,
            seconds_to_first: numbers.next()?,
        })
    }
}

/// The processor time of a process so far.
pub(crate) fn cpu_seconds_of(process: &str) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    // A tick is 10 ms on every Linux there is today.
    Ok(ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

/// A figure of the memory of a process: `VmRSS:` is what is resident, `VmHWM:` its peak.
pub(crate) fn mebibytes_of(process: &str, figure: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(figure))
        .ok_or("no such figure")?;
    Ok(line.split_whitespace().next().unwrap_or("0").parse::<f64>()? / 1024.0)
}

/// The middle one of some figures, and the lowest and the highest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        Self {
            median: if sorted.len().is_multiple_of(2) && middle > 0 {
                (at(middle - 1) + at(middle)) / 2.0
            } else {
                at(middle)
            },
            lowest: at(0),
            highest: at(sorted.len().saturating_sub(1)),
        }
    }
}

/// The value below which this share of `sorted` lies.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let place = (sorted.len() as f64 * share) as usize;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}
