//! What a run counts.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::evidence::Evidence;
use crate::judge::Surplus;
use crate::schedule::Kind;

/// How far the group has come in each of its two inputs, over all partitions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bound {
    pub(crate) committed: [u64; 2],
    pub(crate) ends: [u64; 2],
}

/// The numbers of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) faults: BTreeMap<Kind, usize>,
    /// Processes that were ended without notice, by a signal or at a crash point.
    pub(crate) kills: usize,
    /// Workers that ended with 1 and were started again.
    pub(crate) ended_by_themselves: usize,
    /// Sessions that a worker found lost.
    pub(crate) lost: usize,
    pub(crate) moves: u64,
    pub(crate) totals: u64,
    pub(crate) surplus: Surplus,
    /// What all disturbances together can have repeated at most, by input.
    pub(crate) bound: [u64; 2],
    pub(crate) took: Duration,
}

impl Report {
    /// Something happened to a worker between these two: what lay behind the offsets that were committed before it
    /// and was there after it may have been processed again. What was not even fetched is counted along, so this is
    /// an upper bound, made of what the broker said alone.
    pub(crate) fn disturbed(&mut self, before: &Bound, after: &Bound) {
        for input in 0..2 {
            self.bound[input] += after.ends[input].saturating_sub(before.committed[input]);
        }
    }

    pub(crate) fn count(&mut self, evidence: &Evidence, logs: &Path) {
        self.moves = evidence.sent.len() as u64;
        self.totals = evidence.totals.values().map(|totals| totals.len() as u64).sum();
        self.surplus = evidence.surplus();
        let files = fs::read_dir(logs).into_iter().flatten().flatten();
        self.lost = files
            .filter_map(|file| fs::read_to_string(file.path()).ok())
            .map(|log| log.lines().filter(|line| line.contains(": lost")).count())
            .sum();
    }

    /// What came again although nothing happened that explains it.
    pub(crate) fn beyond_bound(&self) -> Option<String> {
        let [parts, totals] = self.bound;
        // The machine stood still for longer than a session: nobody saw from when on.
        if self.lost > 0 {
            println!(
                "     the surplus is not judged: {} sessions were lost unasked",
                self.lost
            );
            return None;
        }
        let beyond = self.surplus.parts > parts || self.surplus.totals > totals;
        beyond.then(|| {
            format!(
                "{} moves and {} parts came again, where {parts} and {totals} were not committed when workers died",
                self.surplus.parts, self.surplus.totals
            )
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<_> = self
            .faults
            .iter()
            .map(|(kind, times)| format!("{} {times}", kind.name()))
            .collect();
        write!(
            f,
            "     faults: {}; kills {}, ended by themselves {}, sessions lost {}\n     \
             moves in {}, totals out {}; came again: {} of moves (at most {}), {} of parts (at most {}); counted too \
             much: {} by account, {} by group; {:.1} s",
            faults.join(", "),
            self.kills,
            self.ended_by_themselves,
            self.lost,
            self.moves,
            self.totals,
            self.surplus.parts,
            self.bound[0],
            self.surplus.totals,
            self.bound[1],
            self.surplus.by_account,
            self.surplus.by_group,
            self.took.as_secs_f32()
        )
    }
}
