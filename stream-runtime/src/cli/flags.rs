//! A flag for every setting, made from the table of settings.

use std::path::PathBuf;

use clap::error::ErrorKind as UsageKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::app::settings::{DEFAULT_FILE, FILE_VARIABLE, Layer, SETTINGS, Setting};

/// Shown by `-h`; the rest by `--help`.
const COMMON: &[&str] = &["broker", "store", "datadir", "log", "threads"];
/// Kept for later and refused when given, so not shown.
const RESERVED: &[&str] = &["web_port"];

const CONFIG: &str = "config";
const SET: &str = "set";
const HEADING: &str = "Settings";

/// The settings given as flags, before or after the command.
#[derive(Debug, Clone, Default)]
pub(super) struct Flags {
    /// The file to read instead of the default one.
    pub(super) config: Option<PathBuf>,
    pub(super) layer: Layer,
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.arg(config()).arg(set()).args(SETTINGS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>(CONFIG).cloned();
        for pair in matches.get_many::<String>(SET).into_iter().flatten() {
            let Some((name, value)) = pair.split_once('=') else {
                let problem =
                    format!("`--set {pair}`: write `--set name=value`, such as `--set linger.ms=0`\n");
                return Err(clap::Error::raw(UsageKind::ValueValidation, problem));
            };
            self.layer.put_from(name.trim(), value.trim(), "--set");
        }
        for setting in SETTINGS {
            if let Some(value) = matches.get_one::<String>(setting.name) {
                self.layer
                    .put_from(setting.name, value, format!("--{}", setting.flag()));
            }
        }
        Ok(())
    }
}

fn config() -> Arg {
    Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help_heading(HEADING)
        .help(format!(
            "The file with settings [{FILE_VARIABLE}] [default: {DEFAULT_FILE}, if there is one]"
        ))
}

fn set() -> Arg {
    Arg::new(SET)
        .long(SET)
        .value_name("NAME=VALUE")
        .action(ArgAction::Append)
        .global(true)
        .help_heading(HEADING)
        .help("Any setting, or one of the Kafka client such as linger.ms=0; may be repeated")
}

fn flag(setting: &'static Setting) -> Arg {
    let prose = setting.prose().replace('`', "");
    let default = match setting.default.replace("{id}", "<id>") {
        none if none.is_empty() => none,
        default => format!(" [default: {default}]"),
    };
    let sentence = prose.find(". ").map_or(prose.as_str(), |end| &prose[..=end]);
    let arg = Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.kind.to_uppercase().replace(' ', "-"))
        .global(true)
        .help_heading(HEADING)
        .hide(RESERVED.contains(&setting.name))
        .hide_short_help(!COMMON.contains(&setting.name))
        .help(format!("{}{default}", sentence.trim_end_matches('.')))
        .long_help(format!("{prose} [{}]{default}", setting.variable()));
    match setting.name {
        "log" => arg.short('l'),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_name_settings() {
        for name in COMMON.iter().chain(RESERVED) {
            assert!(SETTINGS.iter().any(|setting| setting.name == *name), "{name}");
        }
    }
}
