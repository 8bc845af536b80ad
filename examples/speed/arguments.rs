//! What was asked for: `--name value`, in this process and in those it starts.

use crate::Outcome;

/// The broker's address, once it is known.
const BROKER: &str = "SPEED_BROKER";

/// What may be asked for, with a value and without.
const OPTIONS: [&str; 9] = [
    "--broker",
    "--records",
    "--users",
    "--partitions",
    "--rounds",
    "--least",
    "--most",
    "--only",
    "--set",
];
const FLAGS: [&str; 1] = ["--floors"];

/// What is to be measured: the first argument, if it is no option. Refuses whatever is unknown.
pub(crate) fn mode(modes: &[&'static str]) -> Outcome<Option<&'static str>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let is_mode = |argument: &String| !argument.starts_with('-');
    let mode = match arguments.next_if(is_mode) {
        Some(asked) => Some(one_of(modes, &asked)?),
        None => None,
    };
    while let Some(argument) = arguments.next() {
        let option = one_of(&[&OPTIONS[..], &FLAGS[..]].concat(), &argument)?;
        if OPTIONS.contains(&option) {
            arguments
                .next()
                .ok_or_else(|| format!("{option} wants a value behind it"))?;
        }
    }
    Ok(mode)
}

fn one_of(known: &[&'static str], asked: &str) -> Outcome<&'static str> {
    let found = known.iter().find(|known| **known == asked);
    Ok(*found.ok_or_else(|| format!("`{asked}` is none of {}", known.join(", ")))?)
}

/// Those of the contenders that `--only` names, or all that this build has.
pub(crate) fn contenders(all: &[&'static str]) -> Outcome<Vec<&'static str>> {
    let is_here = |name: &str| cfg!(feature = "rocksdb") || !name.contains("rocksdb");
    let Some(only) = text("--only") else {
        let (here, left_out) = all.iter().partition::<Vec<_>, _>(|name| is_here(name));
        if !left_out.is_empty() {
            println!("left out without `--features rocksdb`: {}", left_out.join(", "));
        }
        return Ok(here);
    };
    let find = |name: &str| match one_of(all, name)? {
        known if is_here(known) => Ok(known),
        known => Err(format!("{known} is there with `--features rocksdb` only").into()),
    };
    only.split(',').map(find).collect()
}

pub(crate) fn text(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

pub(crate) fn number(name: &str, default: u64) -> Outcome<u64> {
    match text(name) {
        Some(text) => match text.replace('_', "").parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name} takes a whole number of 1 or more, not `{text}`").into()),
        },
        None => Ok(default),
    }
}

pub(crate) fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

pub(crate) fn broker() -> String {
    std::env::var(BROKER).unwrap_or_default()
}

/// For the processes started from now on.
pub(crate) fn pass_on_broker(command: &mut std::process::Command, broker: &str) {
    command.env(BROKER, broker);
}
