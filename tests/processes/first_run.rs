//! What a newcomer sees first: a program that brings its broker along.

use crate::process::{Process, colors, run};

/// The way the example tells to run it.
pub(crate) fn counts_the_lines_of_standard_input() {
    let output = run(&mut colors(), Some("red\nblue\npurple\nred\n")).ok();
    let (counted, table): (Vec<_>, Vec<_>) = output
        .out
        .lines()
        .partition(|line| line.contains("has now been seen"));
    // The order of colours is that of their partitions, which is open; that of one colour is not.
    let of = |color: &str| -> Vec<_> {
        counted
            .iter()
            .copied()
            .filter(|line| line.starts_with(color))
            .collect()
    };
    assert_eq!(
        of("red"),
        ["red has now been seen 1 times", "red has now been seen 2 times"]
    );
    assert_eq!(of("blue"), ["blue has now been seen 1 times"]);
    assert_eq!(counted.len(), 3, "and no purple: {output:#?}");
    let rows: Vec<Vec<_>> = table.iter().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [["key", "value"], ["blue", "1"], ["red", "2"]],
        "{output:#?}"
    );
}

pub(crate) fn counts_what_the_demo_makes_up() {
    let mut demo = Process::start("colors --demo", colors().arg("--demo"));
    demo.wait_for("a count", |demo| {
        demo.out()
            .iter()
            .any(|line| line.contains("has now been seen"))
            .then_some(())
    });
    demo.signal("TERM");
    assert_eq!(demo.code(), 0, "{}", demo.transcript());
}
