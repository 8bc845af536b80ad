//! What was reached before, so that a change which costs speed shows. A machine that drifts is no failure: this tells,
//! and nothing more.

/// Records a second as a ratio to the loop of the same round, on two cores with the broker on them, over 1,000,000 records.
const REACHED: [(&str, f64); 4] = [
    ("program", 1.25),
    ("program-rocksdb", 1.05),
    ("program-exactly-once-100ms", 1.06),
    ("program-copy", 0.91),
];
/// The share of it that pairs of runs differ by without a reason, shorter runs among them.
const SLACK: f64 = 0.2;

/// Compares what a contender came to with its floor, if it has one.
pub(crate) fn tell(name: &str, ratio: f64) {
    let Some((_, reached)) = REACHED.iter().find(|(known, _)| *known == name) else {
        return;
    };
    let floor = reached * (1.0 - SLACK);
    let verdict = if ratio < floor { "BELOW" } else { "above" };
    println!("{name}: {ratio:.2} of the loop, {verdict} its floor of {floor:.2}");
}
