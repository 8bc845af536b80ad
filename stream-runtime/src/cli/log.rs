//! The log: to standard error, as the setting `log` asks.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::terminal::Log;
use crate::app::settings::Settings;
use crate::error::{Error, Result};

/// Starts it, unless the program has a subscriber of its own, which then stays.
pub(super) fn start(settings: &Settings) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|error| {
        Error::config(format!("`log`: `{}` is no filter", settings.log)).with_source(error)
    })?;
    let coloured =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|text| text.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_writer(Log)
        .with_ansi(coloured)
        .finish();
    // An error means that a subscriber is there already.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        Log::passes();
    }
    Ok(())
}
