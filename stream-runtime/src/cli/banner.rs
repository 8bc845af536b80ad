//! What a worker says of itself when it starts.

use std::path::Path;

use super::listing::{self, Style};
use crate::app::settings::{BrokerAddress, Settings};
use crate::topology::Topology;

/// The box, with the names of the program's parts.
pub(super) fn banner(topology: &Topology, settings: &Settings, host: Option<&str>, style: Style) -> String {
    let agents: Vec<_> = topology.agents.iter().map(|agent| agent.def.name).collect();
    let tables: Vec<_> = topology.tables.iter().map(|table| table.def.name).collect();
    draw(
        &Facts {
            id: &topology.app,
            pid: std::process::id(),
            host,
            agents: &agents,
            tables: &tables,
        },
        settings,
        style,
    )
}

/// What the settings do not know.
#[derive(Debug)]
struct Facts<'a> {
    id: &'a str,
    pid: u32,
    host: Option<&'a str>,
    agents: &'a [&'a str],
    tables: &'a [&'a str],
}

fn draw(facts: &Facts<'_>, settings: &Settings, style: Style) -> String {
    let mut rows = vec![
        ("id", facts.id.to_owned()),
        ("broker", broker(settings)),
        ("store", settings.store.clone()),
        ("guarantee", settings.processing_guarantee.to_string()),
        ("log", format!("-stderr- ({})", settings.log)),
        ("pid", facts.pid.to_string()),
    ];
    if let Some(host) = facts.host {
        rows.push(("host", host.to_owned()));
    }
    rows.extend([
        ("datadir", absolute(&settings.datadir)),
        ("threads", settings.threads.to_string()),
        ("agents", names(facts.agents)),
        ("tables", names(facts.tables)),
    ]);
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    listing::draw(style, concat!("stream v", env!("CARGO_PKG_VERSION")), None, rows)
}

/// The embedded broker says what it is for.
fn broker(settings: &Settings) -> String {
    match settings.broker_address() {
        Ok(BrokerAddress::Embedded { port: 0 }) => "embedded:// (for development)".to_owned(),
        Ok(BrokerAddress::Embedded { port }) => format!("embedded://127.0.0.1:{port} (for development)"),
        _ => settings.broker.clone(),
    }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string()
}

fn names(names: &[&str]) -> String {
    if names.is_empty() {
        return "-".to_owned();
    }
    names.join(", ")
}

/// The name of this machine, where the system tells it without a call.
pub(super) fn host() -> Option<String> {
    let of_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let of_environment = || {
        std::env::var("HOSTNAME")
            .or_else(|_| std::env::var("COMPUTERNAME"))
            .ok()
    };
    let name = of_kernel.or_else(of_environment)?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::settings::Layer;

    fn drawn(style: Style) -> String {
        let mut code = Layer::new("code");
        code.put("datadir", "/var/lib/colors");
        let settings = Settings::resolve("colors", &[code]).expect("the settings are right");
        let facts = Facts {
            id: "colors",
            pid: 46034,
            host: Some("here"),
            agents: &["count_colors", "filter_colors"],
            tables: &[],
        };
        draw(&facts, &settings, style).replace(env!("CARGO_PKG_VERSION"), "0.1.0")
    }

    #[test]
    fn a_box_on_a_terminal() {
        assert_eq!(
            drawn(Style::Box),
            "\
┌stream v0.1.0┬─────────────────────────────┐
│ id          │ colors                      │
│ broker      │ kafka://localhost:9092      │
│ store       │ memory://                   │
│ guarantee   │ at_least_once               │
│ log         │ -stderr- (warn)             │
│ pid         │ 46034                       │
│ host        │ here                        │
│ datadir     │ /var/lib/colors             │
│ threads     │ 1                           │
│ agents      │ count_colors, filter_colors │
│ tables      │ -                           │
└─────────────┴─────────────────────────────┘
"
        );
    }

    #[test]
    fn ascii_elsewhere() {
        let drawn = drawn(Style::Ascii);
        assert!(drawn.is_ascii());
        assert!(drawn.starts_with("+stream v0.1.0+--"), "{drawn}");
        assert!(drawn.contains("\n| id          | colors "), "{drawn}");
    }
}
