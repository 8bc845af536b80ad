//! The text of a cut: its way back, and what of others' texts is one.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::super::Cut;
use crate::tests::property::holds;

/// Tables are named as topics are.
fn table() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9._-]{1,12}"
}

fn cuts() -> impl Strategy<Value = Cut> {
    let changelogs = btree_map(table(), 0..=i64::MAX, 0..5);
    (any::<u64>(), changelogs).prop_map(|(number, changelogs)| Cut { number, changelogs })
}

#[test]
fn a_cut_comes_back_and_is_no_longer_than_was_said() {
    holds(cuts(), |cut| {
        let text = cut.to_string();
        let longest = Cut::longest(cut.changelogs.keys().map(String::as_str));
        prop_assert!(text.len() <= longest, "{text}");
        prop_assert_eq!(Cut::newest([text.as_str()]), Some(cut));
        Ok(())
    });
}

/// Whether a text is a cut, word by word.
fn is_cut(text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let [format, number, changelogs @ ..] = &words[..] else {
        return false;
    };
    let is_changelog = |word: &&str| {
        let equals = word.find('=');
        equals.is_some_and(|at| word[at + 1..].parse::<i64>().is_ok())
    };
    *format == "1" && number.parse::<u64>().is_ok() && changelogs.iter().all(is_changelog)
}

/// Texts that are often nearly one.
fn texts() -> impl Strategy<Value = String> {
    let damaged = (cuts(), any::<prop::sample::Index>(), any::<char>()).prop_map(|(cut, at, char)| {
        let mut chars: Vec<char> = cut.to_string().chars().collect();
        let at = at.index(chars.len());
        chars[at] = char;
        chars.into_iter().collect()
    });
    prop_oneof![
        any::<String>(),
        "1( [0-9]{0,3}){0,2}( [a-z=]{0,3}[0-9]{0,2}){0,3}",
        "[0-2+]{0,2} [0-9]{1,3}( [a-z]=[0-9]{1,3}){0,2}",
        damaged
    ]
}

#[test]
fn what_is_no_cut_is_passed_over() {
    holds(texts(), |text| {
        let found = Cut::newest([text.as_str()]);
        prop_assert_eq!(found.is_some(), is_cut(&text), "{:?}", found);
        Ok(())
    });
}

#[test]
fn of_several_cuts_the_one_with_the_highest_number_counts() {
    let several = vec(
        prop_oneof![3 => cuts().prop_map(Ok), 1 => texts().prop_map(Err)],
        0..6,
    );
    holds(several, |several| {
        let mut texts = Vec::new();
        let mut highest: Option<u64> = None;
        for one in several {
            match one {
                Ok(cut) => {
                    highest = highest.max(Some(cut.number));
                    texts.push(cut.to_string());
                }
                Err(text) if is_cut(&text) => {}
                Err(text) => texts.push(text),
            }
        }
        let newest = Cut::newest(texts.iter().map(String::as_str));
        prop_assert_eq!(newest.as_ref().map(|cut| cut.number), highest);
        if let Some(newest) = newest {
            prop_assert!(texts.contains(&newest.to_string()));
        }
        Ok(())
    });
}
