//! What a worker shows of its restores: bars on a terminal, a line now and then elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{Level, enabled};

use super::terminal;
use crate::app::Running;
use crate::cluster::progress::{RestoreProgress, spoken, spoken_or_unknown, time_for};

/// Shorter restores have no bar, which would only flicker.
const DRAWN_AFTER: Duration = Duration::from_millis(500);
/// More shards than this have one bar a table.
const SHARDS: usize = 4;
/// More tables than this are told by their number.
const TABLES: usize = 8;
/// Cells of a bar.
const BAR: usize = 12;
/// Restores that take longer are told of where there are no bars.
const TOLD_AFTER: Duration = Duration::from_secs(5);
/// And again so often.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// What is called with the worker, a few times a second as long as it runs; what it drew goes when it is dropped.
pub(super) fn watch() -> Box<dyn FnMut(&Running)> {
    if terminal::can_draw() {
        let mut bars = Bars::default();
        return Box::new(move |running| bars.draw(running.restoring()));
    }
    let mut seen = Restores::default();
    Box::new(move |running| {
        // In this order: a task whose shards are gone runs already, if it was not taken away.
        let ended = seen.note(running.restoring());
        // The log tells it all at this level.
        if enabled!(target: "stream_runtime::cluster::restore", Level::INFO) {
            return;
        }
        let running = running.running_tasks();
        for line in seen.news().into_iter().chain(farewells(&ended, &running)) {
            terminal::print(&format!("{line}\n"));
        }
    })
}

/// Lines on the terminal, which go when it is dropped.
#[derive(Debug, Default)]
struct Bars(Restores);

impl Bars {
    fn draw(&mut self, restoring: Vec<RestoreProgress>) {
        self.0.note(restoring);
        terminal::draw(&self.0.bars());
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        terminal::draw(&[]);
    }
}

/// The restores of a worker, by table.
#[derive(Debug, Default)]
struct Restores(BTreeMap<String, TableRestore>);

/// The restore of the shards of one table that are on this worker, from the first to the last.
#[derive(Debug, Default)]
struct TableRestore {
    shards: BTreeMap<i32, Shard>,
    /// How old it was when it was told of last.
    told: Option<Duration>,
}

#[derive(Debug)]
struct Shard {
    /// The last that was seen of it.
    progress: RestoreProgress,
    /// Restored, or taken away. It stays, so that sums do not go back.
    gone: bool,
}

impl Restores {
    /// Takes what a worker restores now; gives the tables of which nothing is restored any more.
    fn note(&mut self, restoring: Vec<RestoreProgress>) -> Vec<(String, TableRestore)> {
        for shard in self.0.values_mut().flat_map(|table| table.shards.values_mut()) {
            shard.gone = true;
        }
        for progress in restoring {
            let table = self.0.entry(progress.table.clone()).or_default();
            let gone = false;
            table.shards.insert(progress.partition, Shard { progress, gone });
        }
        self.0
            .extract_if(.., |_, table| table.shards.values().all(|shard| shard.gone))
            .collect()
    }

    /// The lines of a terminal.
    fn bars(&self) -> Vec<String> {
        let old = |table: &&TableRestore| table.elapsed() >= DRAWN_AFTER;
        let restoring = |table: &TableRestore| table.shards.values().filter(|shard| !shard.gone).count();
        let shown: usize = self.0.values().filter(old).map(restoring).sum();
        let mut sums = Vec::new();
        for (name, table) in self.0.iter().filter(|(_, table)| old(table)) {
            if shown > SHARDS {
                sums.push((name.clone(), table.sum()));
                continue;
            }
            for (partition, shard) in table.shards.iter().filter(|(_, shard)| !shard.gone) {
                sums.push((format!("{name}[{partition}]"), Sum::of([shard])));
            }
        }
        let rest = sums.len().saturating_sub(TABLES);
        sums.truncate(TABLES);
        let width = sums
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        let mut lines: Vec<_> = sums
            .iter()
            .map(|(name, sum)| format!("restoring {name:<width$} {}", sum.bar()))
            .collect();
        if rest > 0 {
            lines.push(format!("restoring {rest} more tables"));
        }
        lines
    }

    /// The lines of other places: what takes long, now and then.
    fn news(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, table) in &mut self.0 {
            let elapsed = table.elapsed();
            let due = table.told.map_or(TOLD_AFTER, |told| told + TOLD_EVERY);
            if elapsed >= due {
                table.told = Some(elapsed);
                lines.push(format!("restoring {name}: {}", table.sum().sentence()));
            }
        }
        lines
    }
}

/// What is said of tables that were told of and whose tasks run now; the others were taken away.
fn farewells(ended: &[(String, TableRestore)], running: &[String]) -> Vec<String> {
    let told = ended.iter().filter(|(_, table)| table.told.is_some());
    let restored = told.filter(|(_, table)| {
        let mut shards = table.shards.values();
        shards.all(|shard| running.contains(&shard.progress.task))
    });
    restored
        .map(|(name, table)| format!("restored {name} in {}", spoken(table.elapsed())))
        .collect()
}

impl TableRestore {
    fn elapsed(&self) -> Duration {
        let shards = self.shards.values().map(|shard| shard.progress.elapsed);
        shards.max().unwrap_or_default()
    }

    fn sum(&self) -> Sum {
        Sum::of(self.shards.values())
    }
}

/// What is said of some shards in one line.
#[derive(Debug)]
struct Sum {
    records: u64,
    /// `None` while the end of a shard is not known.
    expected: Option<u64>,
    fraction: Option<f64>,
    rate: f64,
    eta: Option<Duration>,
}

impl Sum {
    fn of<'a>(shards: impl IntoIterator<Item = &'a Shard>) -> Self {
        let mut sum = Self {
            records: 0,
            expected: Some(0),
            fraction: None,
            rate: 0.0,
            eta: None,
        };
        let (mut read, mut all) = (0, Some(0));
        let mut single = None;
        let mut count = 0;
        for Shard { progress, gone } in shards {
            let end = match gone {
                true => Some(progress.offset),
                false => progress.end,
            };
            let expected = match gone {
                true => Some(progress.records),
                false => progress.expected_records(),
            };
            sum.records += progress.records;
            sum.expected = sum.expected.zip(expected).map(|(sum, more)| sum + more);
            read += progress.offset - progress.start;
            all = all.zip(end).map(|(all, end)| all + end - progress.start);
            if !gone {
                sum.rate += progress.rate;
            }
            single = progress.eta;
            count += 1;
        }
        sum.fraction = all.map(|all| match all {
            1.. => (read as f64 / all as f64).clamp(0.0, 1.0),
            _ => 1.0,
        });
        sum.eta = match (count, sum.expected) {
            (1, _) => single,
            (_, Some(expected)) if expected > sum.records => {
                time_for((expected - sum.records) as f64, sum.rate)
            }
            (_, Some(_)) => Some(Duration::ZERO),
            (_, None) => None,
        };
        sum
    }

    /// For a terminal, which may be narrow: what is wanted most comes first.
    fn bar(&self) -> String {
        let full = (self.fraction.unwrap_or(0.0) * BAR as f64) as usize;
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR - full));
        let of = self.expected.map_or_else(String::new, |of| format!(" of {of}"));
        format!(
            "{bar} {} eta {} {:.0}/s {}{of}",
            percent(self.fraction),
            spoken_or_unknown(self.eta),
            self.rate,
            self.records
        )
    }

    /// For a line among others.
    fn sentence(&self) -> String {
        let of = self
            .expected
            .map_or_else(String::new, |of| format!(" of about {of}"));
        format!(
            "{}{of} records ({}), {:.0}/s, eta {}",
            self.records,
            percent(self.fraction).trim_start(),
            self.rate,
            spoken_or_unknown(self.eta)
        )
    }
}

/// Whole ones, and 100 only of all.
fn percent(fraction: Option<f64>) -> String {
    let whole = fraction.map(|fraction| format!("{:.0}", (fraction * 100.0).floor()));
    format!("{:>3} %", whole.as_deref().unwrap_or("?"))
}

#[cfg(test)]
mod tests;
