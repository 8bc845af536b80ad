//! What was asked for: `--name value`, in this process and in those it starts.

use crate::Outcome;

/// The broker's address, once it is known.
const BROKER: &str = "SPEED_BROKER";

pub(crate) fn text(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

pub(crate) fn number(name: &str, default: u64) -> Outcome<u64> {
    match text(name) {
        Some(text) => Ok(text
            .replace('_', "")
            .parse()
            .map_err(|error| format!("{name} {text}: {error}"))?),
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
