//! `settings`: what the program would run with, and why.

use serde_json::Value;

use super::Screen;
use super::listing::{Flags, Listing};
use crate::app::settings::Settings;
use crate::error::Result;

pub(super) fn run(settings: &Settings, flags: Flags, screen: &mut Screen<'_>) -> Result<()> {
    listing(settings).show(flags, screen)
}

fn listing(settings: &Settings) -> Listing {
    let mut listing = Listing::new("Settings", &["name", "value", "source"]);
    for (name, value, source) in settings.rows() {
        let value = if value.is_empty() {
            Value::Null
        } else {
            value.into()
        };
        listing.row([name.into(), value, source.into()]);
    }
    for (name, value, source) in settings.raw_rows() {
        let value = if is_secret(name) { "***" } else { value };
        listing.row([format!("kafka.{name}").into(), value.into(), source.into()]);
    }
    listing
}

/// Listings are pasted into tickets.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "sasl.jaas", "oauthbearer", ".pem"]
        .iter()
        .any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::settings::Layer;

    #[test]
    fn values_have_sources_and_secrets_are_kept() {
        let mut layer = Layer::new("code");
        layer.put("threads", 2);
        layer.put("sasl.password", "hunter2");
        let settings = Settings::resolve("colors", &[layer]).expect("the settings are right");
        let json: Value = serde_json::from_str(&listing(&settings).to_json()).expect("JSON");
        let rows = json.as_array().expect("an array");
        let row = |name: &str| {
            rows.iter()
                .find(|row| row["name"] == name)
                .expect("the row is there")
        };
        assert_eq!(row("threads")["value"], "2");
        assert_eq!(row("threads")["source"], "code");
        assert_eq!(row("replication")["value"], Value::Null);
        assert_eq!(row("kafka.sasl.password")["value"], "***");
    }
}
