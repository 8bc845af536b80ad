//! Bars and lines as strings.

use super::*;

/// A shard of a dense log of this end, read to `offset`, after this many seconds.
fn shard(table: &str, partition: i32, offset: i64, end: Option<i64>, elapsed: u64) -> RestoreProgress {
    let rate = 1000.0;
    RestoreProgress {
        task: format!("0/{partition}"),
        table: table.to_owned(),
        changelog: format!("app-{table}-changelog"),
        partition,
        records: offset as u64,
        start: 0,
        offset,
        end,
        elapsed: Duration::from_secs(elapsed),
        rate,
        eta: end.map(|end| Duration::from_secs_f64((end - offset) as f64 / rate)),
    }
}

#[test]
fn each_shard_of_a_few_has_a_bar() {
    let mut restores = Restores::default();
    restores.note(vec![
        shard("count", 0, 50_000, Some(200_000), 1),
        shard("count", 11, 10_000, None, 1),
        shard("names", 0, 199_999, Some(200_000), 1),
    ]);
    assert_eq!(
        restores.bars(),
        [
            "restoring count[0]  ███░░░░░░░░░  25 % eta 2m30s 1000/s 50000 of 200000",
            "restoring count[11] ░░░░░░░░░░░░   ? % eta unknown 1000/s 10000",
            "restoring names[0]  ███████████░  99 % eta 0s 1000/s 199999 of 200000",
        ]
    );
}

#[test]
fn many_shards_have_a_bar_for_each_table() {
    let mut restores = Restores::default();
    let count = |offset| (0..4).map(move |partition| shard("count", partition, offset, Some(1000), 1));
    restores.note(count(500).chain([shard("names", 0, 0, Some(1000), 1)]).collect());
    assert_eq!(
        restores.bars(),
        [
            "restoring count ██████░░░░░░  50 % eta 1s 4000/s 2000 of 4000",
            "restoring names ░░░░░░░░░░░░   0 % eta 1s 1000/s 0 of 1000",
        ]
    );
}

#[test]
fn a_sum_does_not_go_back_when_shards_are_done() {
    let mut restores = Restores::default();
    restores.note((0..6).map(|n| shard("count", n, 900, Some(1000), 1)).collect());
    let ended = restores.note((1..6).map(|n| shard("count", n, 920, Some(1000), 1)).collect());
    assert!(ended.is_empty());
    // 900 and five times 920 of 900 and five times 1000.
    assert_eq!(
        restores.bars(),
        ["restoring count ███████████░  93 % eta 0s 5000/s 5500 of 5900"]
    );
}

#[test]
fn all_bars_go_in_the_end() {
    let mut restores = Restores::default();
    restores.note(vec![shard("count", 0, 50, Some(100), 1)]);
    let ended = restores.note(Vec::new());
    assert_eq!(ended.len(), 1);
    assert!(restores.bars().is_empty());
}

#[test]
fn what_is_over_at_once_has_no_bar() {
    let mut restores = Restores::default();
    restores.note(vec![shard("count", 0, 50, Some(100), 0)]);
    assert!(restores.bars().is_empty());
}

#[test]
fn a_screen_is_not_filled_with_tables() {
    let mut restores = Restores::default();
    let tables = (0..20).map(|n| shard(&format!("t{n:02}"), 0, 50, Some(100), 1));
    restores.note(tables.collect());
    let bars = restores.bars();
    assert_eq!(bars.len(), 9);
    assert_eq!(bars[8], "restoring 12 more tables");
}

#[test]
fn what_takes_long_is_told_of_now_and_then() {
    let mut restores = Restores::default();
    let mut told = Vec::new();
    for second in 1..=60 {
        restores.note(vec![shard(
            "count",
            3,
            second * 1000,
            Some(100_000),
            second as u64,
        )]);
        told.extend(restores.news().into_iter().map(|line| (second, line)));
    }
    assert_eq!(
        told,
        [
            (
                5,
                "restoring count: 5000 of about 100000 records (5 %), 1000/s, eta 1m35s".to_owned()
            ),
            (
                35,
                "restoring count: 35000 of about 100000 records (35 %), 1000/s, eta 1m05s".to_owned()
            ),
        ]
    );
}

#[test]
fn its_end_is_told_of_if_its_task_runs() {
    let mut restores = Restores::default();
    restores.note(vec![shard("count", 3, 1000, Some(100_000), 65)]);
    assert_eq!(restores.news().len(), 1);
    let ended = restores.note(Vec::new());
    assert_eq!(
        farewells(&ended, &["0/3".to_owned()]),
        ["restored count in 1m05s"]
    );
    assert!(farewells(&ended, &[]).is_empty(), "it was taken away");
}

#[test]
fn nothing_is_told_of_the_end_of_what_was_not_told_of() {
    let mut restores = Restores::default();
    restores.note(vec![shard("count", 3, 1000, Some(100_000), 4)]);
    assert!(restores.news().is_empty());
    let ended = restores.note(Vec::new());
    assert!(farewells(&ended, &["0/3".to_owned()]).is_empty());
}
