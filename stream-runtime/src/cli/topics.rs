//! `topics`: those the program declares, and how they stand on the broker.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::listing::{self, Listing, description};
use super::{Program, Screen, TopicsAction};
use crate::app::TopicsReport;
use crate::app::settings::{BrokerAddress, Settings};
use crate::error::{Error, Result};
use crate::kafka::TopicSpec;
use crate::record::topic::Ownership;
use crate::topology::{TopicNode, Topology};

#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    #[command(flatten)]
    listing: listing::Flags,
    /// Compare with the broker; fails unless everything is there and as it must be
    #[arg(long, conflicts_with = "create")]
    check: bool,
    /// Create those of the program that the broker does not have
    #[arg(long)]
    create: bool,
    /// Print the commands that would create them, for who has the right to
    #[arg(long, conflicts_with_all = ["check", "create", "json"])]
    print: bool,
}

pub(super) fn run<P: Program>(
    program: &P,
    settings: &Settings,
    flags: Flags,
    screen: &mut Screen<'_>,
) -> Result<()> {
    let topology = program.topology()?;
    if flags.print {
        let report = program.topics(settings, TopicsAction::Check)?;
        return screen.print(&commands(&report.to_create, settings)?);
    }
    if flags.create {
        let report = program.topics(settings, TopicsAction::Create)?;
        compared(&topology, &report, State::Created).show(flags.listing, screen)?;
        return complain(&report.complaints);
    }
    if flags.check {
        let report = program.topics(settings, TopicsAction::Check)?;
        compared(&topology, &report, State::Missing).show(flags.listing, screen)?;
        let mut complaints = report.complaints;
        complaints.extend(absence(
            &report.missing,
            "others create it, it is declared as external",
        ));
        complaints.extend(absence(
            &report.to_create,
            "`topics --create` creates it, and so does a worker",
        ));
        return complain(&complaints);
    }
    declared(&topology).show(flags.listing, screen)
}

/// As the program declares them; no broker is asked.
fn declared(topology: &Topology) -> Listing {
    let columns = [
        "topic",
        "kind",
        "key",
        "value",
        "read by",
        "written by",
        "description",
    ];
    let mut listing = Listing::new("Topics", &columns);
    let agents = |at: &[usize]| -> Value { at.iter().map(|at| topology.agents[*at].def.name).collect() };
    for topic in &topology.topics {
        let key = if topic.knows_keys() {
            Some(topic.def.key.short_name())
        } else {
            None
        };
        listing.row([
            (*topic.name).into(),
            kind(topic).into(),
            key.into(),
            topic.def.value.short_name().into(),
            agents(&topic.read_by),
            agents(&topic.written_by),
            description(topic.def.doc),
        ]);
    }
    for table in &topology.tables {
        listing.row([
            (*table.changelog).into(),
            CHANGELOG.into(),
            table.def.key.short_name().into(),
            table.def.value.short_name().into(),
            Value::Array(Vec::new()),
            Value::Array(Vec::new()),
            format!("Changelog of {}.", table.def.name).into(),
        ]);
    }
    listing
}

const CHANGELOG: &str = "changelog";
const WORKERS: &str = "workers";

fn kind(topic: &TopicNode) -> &'static str {
    match topic.ownership {
        Ownership::External => "external",
        Ownership::Internal => "internal",
    }
}

/// How a topic stands on the broker.
#[derive(Debug, Clone, Copy)]
enum State {
    There,
    Missing,
    Created,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Missing => "missing",
            Self::Created => "created",
        }
    }
}

/// As the broker has them; `absent` is the state of those of the program that it did not have.
fn compared(topology: &Topology, report: &TopicsReport, absent: State) -> Listing {
    let mut known: BTreeMap<&str, (State, Option<u32>)> = BTreeMap::new();
    // What others create may come with another count.
    known.extend(
        report
            .missing
            .iter()
            .map(|spec| (&*spec.name, (State::Missing, None))),
    );
    for (specs, state) in [(&report.to_create, absent), (&report.present, State::There)] {
        known.extend(
            specs
                .iter()
                .map(|spec| (&*spec.name, (state, Some(spec.partitions)))),
        );
    }
    let topics = topology.topics.iter().map(|topic| (&*topic.name, kind(topic)));
    let changelogs = topology.tables.iter().map(|table| (&*table.changelog, CHANGELOG));
    let mut listing = Listing::new("Topics", &["topic", "kind", "partitions", "state"]);
    let workers = topology.workers_topic();
    // It is there for some settings only.
    let workers = Some((workers.as_str(), WORKERS)).filter(|(name, _)| known.contains_key(name));
    for (name, kind) in topics.chain(changelogs).chain(workers) {
        let (state, planned) = known.get(name).copied().unwrap_or((State::There, None));
        let partitions = report.counts.get(name).copied().or(planned);
        listing.row([name.into(), kind.into(), partitions.into(), state.name().into()]);
    }
    listing
}

fn absence<'a>(specs: &'a [TopicSpec], why: &'a str) -> impl Iterator<Item = String> + 'a {
    specs
        .iter()
        .map(move |spec| format!("topic `{}` is missing: {why}", spec.name))
}

fn complain(complaints: &[String]) -> Result<()> {
    match complaints {
        [] => Ok(()),
        [only] => Err(Error::topology(only.as_str())),
        many => Err(Error::topology(format!(
            "{} topics are not as this program needs them:\n  {}",
            many.len(),
            many.join("\n  ")
        ))),
    }
}

/// A script with Apache Kafka's own tool.
fn commands(specs: &[TopicSpec], settings: &Settings) -> Result<String> {
    let bootstrap = match settings.broker_address()? {
        BrokerAddress::Kafka { bootstrap } => bootstrap,
        BrokerAddress::Embedded { port } => format!("127.0.0.1:{port}"),
    };
    let mut script = String::new();
    for spec in specs {
        let TopicSpec {
            name,
            partitions,
            replication,
            config,
        } = spec;
        let mut line = format!(
            "kafka-topics.sh --bootstrap-server {bootstrap} --create --if-not-exists --topic {name} --partitions {partitions}"
        );
        if let Some(replication) = replication {
            let _ = write!(line, " --replication-factor {replication}");
        }
        for (key, value) in config {
            let _ = write!(line, " --config {}", quoted(&format!("{key}={value}")));
        }
        script.push_str(&line);
        script.push('\n');
    }
    Ok(script)
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '=' | ',' | ':' | '/');
    if word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::settings::Layer;

    #[test]
    fn commands_are_a_script() {
        let specs = [TopicSpec {
            name: "colors-count-changelog".to_owned(),
            partitions: 8,
            replication: Some(3),
            config: vec![
                ("cleanup.policy".to_owned(), "compact".to_owned()),
                ("note".to_owned(), "it's".to_owned()),
            ],
        }];
        let mut code = Layer::new("code");
        code.put("broker", "kafka://a,b:9093");
        let settings = Settings::resolve("colors", &[code]).expect("the settings are right");
        assert_eq!(
            commands(&specs, &settings).expect("the address is right"),
            "kafka-topics.sh --bootstrap-server a:9092,b:9093 --create --if-not-exists --topic colors-count-changelog \
             --partitions 8 --replication-factor 3 --config cleanup.policy=compact --config 'note=it'\\''s'\n"
        );
    }
}
