//! `broker`: the embedded broker alone, for several workers of one machine.

use super::Program;
use crate::app::settings::{BrokerAddress, Settings};
use crate::error::{Error, Result};

/// Kafka's own.
const USUAL_PORT: u16 = 9092;

#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    /// The port on the loopback interface; 0 takes any that is free [default: that of the setting broker, if it is
    /// an embedded one, else 9092]
    #[arg(long)]
    port: Option<u16>,
}

pub(super) fn run<P: Program>(program: P, settings: &Settings, flags: Flags) -> Result<()> {
    if !cfg!(feature = "embedded") {
        return Err(Error::config(
            "this build has no embedded broker; build it with the feature `embedded`",
        ));
    }
    let port = match (flags.port, settings.broker_address()?) {
        (Some(port), _) => port,
        (None, BrokerAddress::Embedded { port }) if port != 0 => port,
        // Others must find it: never any free port unasked.
        (None, _) => USUAL_PORT,
    };
    program.run_broker(settings, port)
}
