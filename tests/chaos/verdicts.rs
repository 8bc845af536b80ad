//! The judge finds what is wrong: otherwise none of its verdicts says anything.

use crate::evidence::{Evidence, Tables};
use crate::judge::{Promise, undisturbed};
use crate::random::Random;
use crate::schedule::{Kind, drawn};
use crate::settings::Guarantee;

const MOVES: u64 = 100;

#[track_caller]
fn is_found(promise: Promise, words: &str, spoil: impl FnOnce(&mut Evidence)) {
    let mut evidence = undisturbed(MOVES);
    let broken = evidence.broken(Promise::ExactlyOnce);
    assert!(broken.is_empty(), "an undisturbed program is right: {broken:?}");
    spoil(&mut evidence);
    let broken = evidence.broken(promise);
    assert!(
        broken.iter().any(|line| line.contains(words)),
        "`{words}` is not in {broken:?}"
    );
}

pub(crate) fn a_missing_record_is_found() {
    is_found(
        Promise::NothingMissing,
        "moves are missing from the output",
        |evidence| {
            evidence.totals.values_mut().for_each(|totals| drop(totals.pop()));
        },
    );
    is_found(Promise::NothingMissing, "the internal topic", |evidence| {
        evidence.parts.pop_first();
    });
    is_found(Promise::NothingMissing, "the input topic", |evidence| {
        evidence.moves.values_mut().for_each(|moves| moves.swap(0, 1));
    });
}

pub(crate) fn a_record_that_came_twice_is_found() {
    let again = |evidence: &mut Evidence| {
        let totals = evidence.totals.values_mut().next().expect("there are groups");
        totals.push(totals[0].clone());
    };
    is_found(Promise::ExactlyOnce, "more than once", again);
    let mut evidence = undisturbed(MOVES);
    again(&mut evidence);
    assert_eq!(evidence.broken(Promise::ExactTables), [""; 0]);
    assert_eq!(evidence.surplus().totals, 1);
}

pub(crate) fn a_table_that_is_wrong_is_found() {
    let count = |evidence: &mut Evidence, by: i64| {
        let edit = |tables: &mut Tables| {
            let account = tables.accounts.values_mut().next().expect("there are accounts");
            account.count = account.count.saturating_add_signed(by);
        };
        edit(&mut evidence.dumps[0].tables);
        edit(&mut evidence.changelogs);
    };
    is_found(Promise::NothingLess, "has counted less", |evidence| {
        count(evidence, -1);
    });
    is_found(Promise::ExactTables, "table by-account", |evidence| {
        count(evidence, 1);
    });
    is_found(Promise::ExactTables, "table by-account", |evidence| {
        // The right number of records in another order.
        let moved: Vec<_> = evidence.sent.iter().rev().cloned().collect();
        let accounts = &mut evidence.dumps[0].tables.accounts;
        accounts
            .values_mut()
            .for_each(|account| *account = Default::default());
        for (account, moved) in moved {
            let account = accounts.entry(account).or_default();
            account.add(moved.id, moved.amount);
        }
    });
    is_found(Promise::NothingLess, "the changelog of by-group", |evidence| {
        evidence.changelogs.groups.pop_first();
    });
}

pub(crate) fn another_order_is_found() {
    is_found(Promise::ExactlyOnce, "the order of the output", |evidence| {
        evidence.totals.values_mut().for_each(|totals| totals.swap(3, 4));
    });
    is_found(Promise::ExactlyOnce, "comes after move", |evidence| {
        // All places consistent with each other, but not with the account.
        for (totals, parts) in evidence.totals.values_mut().zip(evidence.parts.values_mut()) {
            let last = totals.len() - 1;
            let (early, late) = (0..last)
                .flat_map(|early| (early + 1..last).map(move |late| (early, late)))
                .find(|(early, late)| totals[*early].account == totals[*late].account)
                .expect("accounts repeat");
            parts.swap(early, late);
            totals.swap(early, late);
            let mut sum = 0;
            for (total, count) in totals.iter_mut().zip(1..) {
                sum += total.id.cast_signed() - 5;
                (total.count, total.sum) = (count, sum);
            }
        }
    });
}

pub(crate) fn a_seed_repeats_its_schedule() {
    let text = |seed| {
        let steps = drawn(seed, Guarantee::ExactlyOnce, &Kind::ALL, 50);
        steps.iter().map(|step| format!("{step}\n")).collect::<String>()
    };
    assert_eq!(text(7), text(7));
    assert_ne!(text(7), text(8));
    let mut random = Random::new(1);
    let drawn: Vec<_> = (0..100).map(|_| random.below(3)).collect();
    assert!((0..3).all(|number| drawn.contains(&number)), "{drawn:?}");
}
