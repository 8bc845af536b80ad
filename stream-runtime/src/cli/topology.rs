//! `topology`: how topics, agents and tables are connected, for people and for tools.

use super::{Program, Screen};
use crate::error::Result;

#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A page with a diagram and tables
    Markdown,
    /// The diagram alone
    Mermaid,
    /// For Graphviz
    Dot,
    /// For programs
    Json,
}

pub(super) fn run<P: Program>(program: &P, flags: Flags, screen: &mut Screen<'_>) -> Result<()> {
    let topology = program.topology()?;
    let text = match flags.format {
        Format::Markdown => topology.markdown(),
        Format::Mermaid => topology.mermaid(),
        Format::Dot => topology.dot(),
        Format::Json => topology.json(),
    };
    screen.print(text.trim_end())?;
    screen.print("\n")
}
