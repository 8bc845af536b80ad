//! `worker`: what happens without a command as well.

use std::io::Write;

use super::listing::{Listing, Style};
use super::{Program, Screen, WorkerOptions, banner};
use crate::app::settings::Settings;
use crate::error::Result;

/// The flags of a worker, beside its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Also run the program's demo feed
    #[arg(long)]
    pub(super) demo: bool,
    /// Show neither the banner nor how restores go
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl Flags {
    pub(super) fn any(self) -> bool {
        self.demo || self.quiet
    }

    /// Given before or after the command.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            demo: self.demo || other.demo,
            quiet: self.quiet || other.quiet,
        }
    }
}

pub(super) fn run<P: Program>(
    program: P,
    settings: &Settings,
    flags: Flags,
    screen: &mut Screen<'_>,
) -> Result<()> {
    if !flags.quiet {
        let banner = banner::banner(
            &program.topology()?,
            settings,
            banner::host().as_deref(),
            stderr_style(),
        );
        // A worker whose standard error is closed works all the same.
        let _ = std::io::stderr().write_all(banner.as_bytes());
    }
    let shown = program.run_worker(
        settings,
        WorkerOptions {
            demo: flags.demo,
            quiet: flags.quiet,
        },
    )?;
    for (table, entries) in shown {
        let mut listing = Listing::new(table, &["key", "value"]);
        for (key, value) in entries {
            listing.row([key.into(), value.into()]);
        }
        screen.print(&listing.draw(screen.style))?;
    }
    Ok(())
}

fn stderr_style() -> Style {
    match Style::of(&std::io::stderr()) {
        Style::Box => Style::Box,
        Style::Ascii | Style::Plain => Style::Ascii,
    }
}
