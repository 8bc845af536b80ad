//! `dlq`: dead letters, listed and replayed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::listing::Listing;
use super::{Program, Screen, counted};
use crate::app::settings::Settings;
use crate::app::{Letter, Replay, ReplayReport};
use crate::error::{Error, Result};
use crate::topology::Topology;

#[derive(Debug, Clone, clap::Subcommand)]
pub(super) enum Command {
    /// List the newest dead letters: where they came from, and why
    List(ListFlags),
    /// Send dead letters back to the topics they came from, each once unless asked again
    Replay(ReplayFlags),
}

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct ListFlags {
    /// The topic of the dead letters; the program's only one need not be named
    topic: Option<String>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct ReplayFlags {
    /// The topic of the dead letters; the program's only one need not be named
    topic: Option<String>,
    /// Those of this agent only
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Those that came from this topic only, by its name on the broker
    #[arg(long = "topic", value_name = "TOPIC")]
    source: Option<String>,
    /// Those in this partition of the dead letters only
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Those from this offset on, of one partition
    #[arg(long, value_name = "NUMBER", requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    from_offset: Option<i64>,
    /// How many at most
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Also those that were replayed before
    #[arg(long)]
    again: bool,
    /// List those that would be sent, and send none
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run<P: Program>(
    program: &P,
    settings: &Settings,
    command: Command,
    screen: &mut Screen<'_>,
) -> Result<()> {
    let topology = program.topology()?;
    match command {
        Command::List(flags) => {
            let topic = find(&topology, flags.topic.as_deref())?;
            let found = program.dead_letters(settings, &topic, flags.limit)?;
            if flags.json {
                screen.print(&to_json(&found.letters))?;
            } else {
                let text = listing(&topic, &found.letters).draw(screen.style);
                screen.print(&text)?;
            }
            if found.older > 0 {
                eprintln!(
                    "up to {} of {topic} not shown: `--limit` shows more",
                    counted(found.older, "record")
                );
            }
            if found.strangers > 0 {
                eprintln!(
                    "{} of {topic} not shown: no dead letters of this program",
                    counted(found.strangers, "record")
                );
            }
            Ok(())
        }
        Command::Replay(flags) => {
            let topic = find(&topology, flags.topic.as_deref())?;
            let dry_run = flags.dry_run;
            let replay = Replay {
                agent: flags.agent,
                source: flags.source,
                partition: flags.partition,
                from_offset: flags.from_offset,
                limit: flags.limit,
                again: flags.again,
                dry_run,
            };
            let report = program.replay(settings, &topic, &replay)?;
            if dry_run {
                let text = listing(&topic, &report.letters).draw(screen.style);
                screen.print(&text)?;
            }
            eprintln!("{}", told(&topic, &report, dry_run));
            Ok(())
        }
    }
}

/// The topic of dead letters that is meant.
fn find(topology: &Topology, given: Option<&str>) -> Result<Arc<str>> {
    let all = || topology.topics.iter();
    if let Some(given) = given {
        let found = all()
            .find(|topic| &*topic.name == given)
            .or_else(|| all().find(|topic| topic.declared == given));
        // Agents may have given records up under another policy, into a topic that is named nowhere any more.
        return Ok(found.map_or_else(|| given.into(), |topic| Arc::clone(&topic.name)));
    }
    let mut known: Vec<usize> = topology
        .agents
        .iter()
        .filter_map(|agent| agent.dead_letters)
        .collect();
    known.sort_unstable();
    known.dedup();
    match known[..] {
        [only] => Ok(Arc::clone(&topology.topics[only].name)),
        [] => Err(Error::config(
            "no agent of this program has dead letters (`on_error = dead_letter`): name the topic to look at",
        )),
        _ => {
            let names: Vec<_> = known.iter().map(|at| &*topology.topics[*at].name).collect();
            Err(Error::config(format!(
                "the dead letters of this program are in several topics, name one of them: {}",
                names.join(", ")
            )))
        }
    }
}

fn listing(topic: &str, letters: &[Letter]) -> Listing {
    let columns = [
        "partition",
        "offset",
        "failed at",
        "agent",
        "from",
        "error",
        "attempts",
        "replays",
        "replayed",
        "message",
    ];
    let mut listing = Listing::new(topic, &columns);
    for letter in letters {
        let from = &letter.provenance;
        listing.row([
            letter.partition.into(),
            letter.offset.into(),
            time(from.failed_at).into(),
            from.agent.as_str().into(),
            format!("{}/{} offset {}", from.topic, from.partition, from.offset).into(),
            from.error.as_str().into(),
            from.attempts.into(),
            from.replays.into(),
            if letter.replayed { "yes" } else { "no" }.into(),
            one_line(&from.message).into(),
        ]);
    }
    listing
}

fn to_json(letters: &[Letter]) -> String {
    let letters: Value = letters
        .iter()
        .map(|letter| {
            let from = &letter.provenance;
            json!({
                "partition": letter.partition,
                "offset": letter.offset,
                "key": letter.key.as_deref().map(String::from_utf8_lossy),
                "app": from.app,
                "agent": from.agent,
                "from_topic": from.topic,
                "from_partition": from.partition,
                "from_offset": from.offset,
                "timestamp": from.timestamp,
                "error": from.error,
                "message": from.message,
                "attempts": from.attempts,
                "failed_at": from.failed_at,
                "replays": from.replays,
                "replayed": letter.replayed,
            })
        })
        .collect();
    format!("{letters:#}\n")
}

/// What a replay did, in words.
fn told(topic: &str, report: &ReplayReport, dry_run: bool) -> String {
    let total = report.total();
    let to: Vec<_> = report
        .sent
        .iter()
        .map(|(topic, count)| format!("{count} to {topic}"))
        .collect();
    let mut text = match (total, dry_run) {
        (0, _) => format!("nothing to replay in {topic}"),
        (_, true) => format!(
            "would replay {} of {topic}: {}",
            counted(total, "dead letter"),
            to.join(", ")
        ),
        (_, false) => format!(
            "replayed {} of {topic}: {}",
            counted(total, "dead letter"),
            to.join(", ")
        ),
    };
    if report.before > 0 {
        text += &format!(
            "\n{} passed over, which earlier replays have done (`--again` sends their letters again)",
            // Where there are transactions, their marks have offsets too.
            counted(report.before, "offset")
        );
    }
    if report.unwanted > 0 {
        text += &format!(
            "\n{} left that were not asked for",
            counted(report.unwanted, "dead letter")
        );
    }
    if report.strangers > 0 {
        text += &format!(
            "\n{} passed over that are no dead letters of this program",
            counted(report.strangers, "record")
        );
    }
    if report.no_memory && total > 0 {
        text += "\nnothing was known of earlier replays: there was none, or the last is longer ago than the broker \
                 remembers (`offsets.retention.minutes`)";
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Milliseconds since 1970 as `2026-01-31 12:00:05`, in UTC.
fn time(millis: i64) -> String {
    let seconds = millis.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin with March have the odd day at their end; 400 of them are always as long.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (400 * era + year, month + 3),
        _ => (400 * era + year + 1, month - 9),
    };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (millis, date) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399_999, "2000-02-28 23:59:59"),
            (951_782_400_000, "2000-02-29 00:00:00"),
            (951_868_800_000, "2000-03-01 00:00:00"),
            (1_767_225_599_000, "2025-12-31 23:59:59"),
            (1_769_860_805_000, "2026-01-31 12:00:05"),
            (4_107_542_400_000, "2100-03-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
        ] {
            assert_eq!(time(millis), date);
        }
    }
}
