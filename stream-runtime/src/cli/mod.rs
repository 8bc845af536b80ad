//! The command line: flags, subcommands, the banner, the log.
//!
//! A program is seen through the narrow trait [`Program`]; what a subcommand prints it makes as a value
//! ([`listing::Listing`]) and writes once, as a table or as JSON.
//!
//! Not here: what settings mean (`app::settings`), what running, sending and topics take (`app`).

mod agents;
mod banner;
mod broker;
mod completion;
mod dlq;
mod flags;
mod listing;
mod log;
mod program;
mod restores;
mod send;
mod settings;
mod tables;
mod terminal;
mod topics;
mod topology;
mod worker;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind as UsageKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::App;
use crate::app::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use listing::Style;
use program::{Program, SendRequest, TopicsAction, WorkerOptions};

/// What a program of this framework takes on its command line.
#[derive(Debug, Parser)]
#[command(
    about = "A stream processor; without a command, its worker",
    disable_help_subcommand = true,
    max_term_width = 110,
    after_help = "Settings also come from stream.toml and from STREAM_… variables."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Those of the worker, which runs when no command is named.
    #[command(flatten)]
    worker: worker::Flags,
    #[command(flatten)]
    settings: flags::Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a worker until Ctrl-C (what happens without a command)
    Worker(worker::Flags),
    /// List the agents, what they read, write and keep
    Agents(listing::Flags),
    /// List the tables and their changelogs
    Tables(listing::Flags),
    /// List the topics, compare them with the broker's, create those of the program
    Topics(topics::Flags),
    /// Print how topics, agents and tables are connected
    Topology(topology::Flags),
    /// Send records to a topic or an agent
    Send(send::Flags),
    /// List records that agents gave up, and send them back to where they came from
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Serve the embedded development broker, alone, until Ctrl-C
    Broker(broker::Flags),
    /// List the settings, their values and where those come from
    Settings(listing::Flags),
    /// Print a completion script for a shell
    Completion(completion::Flags),
}

impl App {
    /// Runs what the command line of this process asks for; without a command, a worker.
    ///
    /// Gives 0 when all went well (being stopped by a signal is no failure), 1 when it did not, and 2 when
    /// the command line or a setting is wrong. Starts the log, unless the program has a `tracing` subscriber
    /// of its own. `--help` tells the rest.
    #[must_use = "the exit code is what the shell sees: return it from `main`"]
    pub fn main(self) -> ExitCode {
        main(self)
    }
}

fn main<P: Program>(program: P) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::read(&program, arguments) {
        Ok(cli) => cli,
        // Prints to where it belongs; help and version are no failures.
        Err(asked) => asked.exit(),
    };
    // A variable that is no Unicode is none of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()))
        .collect();
    let mut screen = Screen {
        // Not locked: agents print from their own threads as long as the worker runs.
        out: &mut std::io::stdout(),
        style: Style::of(&std::io::stdout()),
        variables,
    };
    match cli.run(program, &mut screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            exit_code(&error)
        }
    }
}

/// Where a command writes, and what it knows of its surroundings.
struct Screen<'a> {
    out: &'a mut dyn Write,
    style: Style,
    variables: Vec<(String, String)>,
}

impl Screen<'_> {
    /// Writes to standard output. A reader who has seen enough (`| head`) is no error.
    fn print(&mut self, text: &str) -> Result<()> {
        let written = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        match written {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::usage("cannot write to standard output").with_source(error))
            }
            _ => Ok(()),
        }
    }
}

impl Cli {
    /// Reads a command line that begins with the program's path, as that program understands it.
    fn read<P: Program>(program: &P, arguments: Vec<OsString>) -> std::result::Result<Self, clap::Error> {
        let mut command = Self::command_of(program);
        let matches = command.try_get_matches_from_mut(arguments)?;
        let cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        let of_worker = match &cli.command {
            None => cli.worker,
            Some(Command::Worker(flags)) => cli.worker.or(*flags),
            Some(_) if cli.worker.any() => {
                let problem = "`--demo` and `--quiet` belong to the worker";
                return Err(command.error(UsageKind::ArgumentConflict, problem));
            }
            Some(_) => return Ok(cli),
        };
        if of_worker.demo && !program.has_demo() {
            let problem = "`--demo`: this program defines no demo feed";
            return Err(command.error(UsageKind::UnknownArgument, problem));
        }
        Ok(Self {
            command: None,
            worker: of_worker,
            ..cli
        })
    }

    /// The command line of this program, under its own name.
    fn command_of<P: Program>(program: &P) -> clap::Command {
        let runtime = concat!("(stream-runtime ", env!("CARGO_PKG_VERSION"), ")");
        let command = Self::command().name(program.id().to_owned()).version(runtime);
        if program.has_demo() {
            return command;
        }
        let hide = |command: clap::Command| command.mut_arg("demo", |demo| demo.hide(true));
        hide(command).mut_subcommand("worker", hide)
    }

    fn run<P: Program>(self, program: P, screen: &mut Screen<'_>) -> Result<()> {
        let flags = self.settings;
        match self.command {
            None | Some(Command::Worker(_)) => {
                let settings = settings_of(&program, flags, screen)?;
                worker::run(program, &settings, self.worker, screen)
            }
            Some(Command::Agents(flags)) => agents::run(&program, flags, screen),
            Some(Command::Tables(flags)) => tables::run(&program, flags, screen),
            Some(Command::Topics(topics)) => {
                let settings = settings_of(&program, flags, screen)?;
                topics::run(&program, &settings, topics, screen)
            }
            Some(Command::Topology(topology)) => topology::run(&program, topology, screen),
            Some(Command::Send(send)) => {
                let settings = settings_of(&program, flags, screen)?;
                send::run(&program, &settings, send)
            }
            Some(Command::Dlq(dlq)) => {
                let settings = settings_of(&program, flags, screen)?;
                dlq::run(&program, &settings, dlq, screen)
            }
            Some(Command::Broker(broker)) => {
                let settings = settings_of(&program, flags, screen)?;
                broker::run(program, &settings, broker)
            }
            Some(Command::Settings(listing)) => {
                let values = settings_of(&program, flags, screen)?;
                settings::run(&values, listing, screen)
            }
            Some(Command::Completion(shell)) => completion::run(&program, shell, screen),
        }
    }
}

/// Resolves the settings and starts the log that they ask for.
fn settings_of<P: Program>(program: &P, flags: flags::Flags, screen: &Screen<'_>) -> Result<Settings> {
    let (config, flags) = (flags.config, flags.layer);
    let settings = Settings::gather(
        program.id(),
        program.layer(),
        config.as_deref(),
        &screen.variables,
        flags,
    )?;
    log::start(&settings)?;
    Ok(settings)
}

/// Says on standard error what went wrong, with what lies beneath it.
/// So many of something, in words.
fn counted(count: u64, one: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {one}{end}")
}

fn report(error: &Error) {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str("\n  caused by: ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    // There is nowhere left to say that standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

/// 2 where the reader must correct what was written, as for a flag that does not exist; else 1.
fn exit_code(error: &Error) -> ExitCode {
    match error.kind() {
        ErrorKind::Config => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}
