//! What was reached before, so that a change which costs speed shows. A machine that drifts is no failure: this tells,
//! and nothing more.

/// Records a second as a ratio to a loop of the same round, on two cores with the broker of the tests on them: what
/// shorter runs come to; over 2,000,000 records it is more.
const REACHED: [(&str, &str, f64); 4] = [
    ("program", "loop", 1.35),
    ("program-rocksdb", "loop", 1.2),
    ("program-exactly-once-100ms", "loop", 1.3),
    ("program-copy", "loop-copy", 1.0),
];
/// The share of it that pairs of runs differ by without a reason.
const SLACK: f64 = 0.2;

/// Compares the ratio of a contender to another with its floor, if it has one.
pub(crate) fn tell(name: &str, base: &str, ratio: f64) {
    let of_both = |(known, of, _): &&(&str, &str, f64)| (*known, *of) == (name, base);
    let Some((_, _, reached)) = REACHED.iter().find(of_both) else {
        return;
    };
    let floor = reached * (1.0 - SLACK);
    let verdict = if ratio < floor { "BELOW" } else { "above" };
    println!("{name}: {ratio:.2} of {base}, {verdict} its floor of {floor:.2}");
}
