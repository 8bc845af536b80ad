//! Stores that are filled before a worker joins the group.

use super::{WORDS, four, on_disk_of, seconds};

/// How many of forty words are on the disk of a new worker when it runs its first task.
fn on_disk_at_first(restore_ahead: &str) -> usize {
    let mut app = four(1).set("restore_ahead", restore_ahead);
    // Some for every task.
    for number in 0..40 {
        let word = number.to_string();
        app.send(&WORDS, word.clone(), word);
    }
    app.settle().scale(2);
    for _ in 0..6000 {
        if app.running_tasks().get(1).is_some_and(|tasks| !tasks.is_empty()) {
            let words = (0..4).map(|partition| on_disk_of(&mut app, 1, partition).len());
            return words.sum();
        }
        app.advance(seconds(1) / 100);
    }
    panic!("the new worker runs nothing");
}

#[test]
fn a_worker_fills_its_stores_before_it_joins() {
    assert!(on_disk_at_first("0s") < 40);
    assert_eq!(on_disk_at_first("1m"), 40);
}
