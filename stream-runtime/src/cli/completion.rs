//! `completion`: a script for the user's shell.

use clap_complete::Shell;

use super::{Cli, Program, Screen};
use crate::error::Result;

#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    /// The shell
    shell: Shell,
}

pub(super) fn run<P: Program>(program: &P, flags: Flags, screen: &mut Screen<'_>) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(
        flags.shell,
        &mut Cli::command_of(program),
        executable(program),
        &mut script,
    );
    screen.print(&String::from_utf8_lossy(&script))
}

/// The name the shell knows the program by.
fn executable<P: Program>(program: &P) -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from);
    let stem = path.as_deref().and_then(std::path::Path::file_stem);
    stem.map_or_else(
        || program.id().to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}
