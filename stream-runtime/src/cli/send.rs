//! `send`: records from the command line or from standard input.

use std::io::BufRead;

use super::{Program, SendRequest, counted};
use crate::app::settings::{Settings, nearest};
use crate::error::{Error, Result};
use crate::record::TypeInfo;
use crate::topology::{TopicNode, Topology};

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    /// A topic, by its declared name or its name on the broker, or @ and an agent
    #[arg(value_name = "TOPIC|@AGENT")]
    target: String,
    /// The value, as text or JSON; - or nothing for one record a line of standard input
    #[arg(allow_hyphen_values = true, default_value = STDIN, hide_default_value = true)]
    value: String,
    /// The key of every record
    #[arg(short, long)]
    key: Option<String>,
}

const STDIN: &str = "-";

pub(super) fn run<P: Program>(program: &P, settings: &Settings, flags: Flags) -> Result<()> {
    let topology = program.topology()?;
    let topic = find(&topology, &flags.target)?;
    let key = flags.key.map(String::into_bytes);
    match &key {
        Some(key) if topic.knows_keys() => check(topic, "key", topic.def.key, topic.def.key_codec, key)?,
        None if needs_key(topic) => {
            return Err(Error::config(format!(
                "topic `{}` has keys of type `{}`: give one with `--key`, else the record goes to any partition, and \
                 agents that need its key stop at it",
                topic.name,
                topic.def.key.short_name()
            )));
        }
        _ => {}
    }
    let are_lines = flags.value == STDIN;
    let values: Box<dyn Iterator<Item = Result<Vec<u8>>>> = if are_lines {
        Box::new(lines(std::io::stdin().lock()))
    } else {
        Box::new(std::iter::once(Ok(flags.value.into_bytes())))
    };
    let node = topic.clone();
    let checked = (1_u64..).zip(values).map(move |(line, value)| {
        let value = value?;
        match check(&node, "value", node.def.value, node.def.value_codec, &value) {
            Ok(()) => Ok(value),
            Err(error) if are_lines => {
                let problem = format!("line {line} of standard input is not sent; those before it were");
                Err(Error::config(problem).with_source(error))
            }
            Err(error) => Err(error),
        }
    });
    let count = program.send(
        settings,
        SendRequest {
            topic: topic.name.clone(),
            key,
            values: Box::new(checked),
        },
    )?;
    eprintln!("sent {} to {}", counted(count, "record"), topic.name);
    Ok(())
}

fn lines(input: impl BufRead) -> impl Iterator<Item = Result<Vec<u8>>> {
    input.split(b'\n').map(|line| {
        let mut line = line.map_err(|error| Error::usage("cannot read standard input").with_source(error))?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    })
}

/// The topic that is meant, or the known ones with the nearest.
fn find<'a>(topology: &'a Topology, target: &str) -> Result<&'a TopicNode> {
    if let Some(name) = target.strip_prefix('@') {
        let Some(agent) = topology.agents.iter().find(|agent| agent.def.name == name) else {
            let known: Vec<_> = topology.agents.iter().map(|agent| agent.def.name).collect();
            return Err(unknown("agent", name, "@", &known));
        };
        return Ok(&topology.topics[agent.input]);
    }
    let on_broker = topology.topics.iter().find(|topic| &*topic.name == target);
    let declared = || topology.topics.iter().find(|topic| topic.declared == target);
    on_broker.or_else(declared).ok_or_else(|| {
        let known: Vec<_> = topology.topics.iter().map(|topic| topic.declared).collect();
        unknown("topic", target, "", &known)
    })
}

fn unknown(what: &str, name: &str, prefix: &str, known: &[&str]) -> Error {
    let question = match nearest(name, known.iter().copied()) {
        Some(nearest) => format!(", did you mean `{prefix}{nearest}`?"),
        None => ".".to_owned(),
    };
    let list: String = known.iter().map(|name| format!("\n  {prefix}{name}")).collect();
    Error::config(format!(
        "this program has no {what} `{name}`{question} Its {what}s:{list}"
    ))
}

/// Refuses what the topic's readers could not decode, before it stops them.
fn check(topic: &TopicNode, what: &str, of_type: TypeInfo, codec: &str, bytes: &[u8]) -> Result<()> {
    let name = &topic.name;
    let short = of_type.short_name();
    match codec {
        "postcard" => Err(Error::config(format!(
            "the {what}s of topic `{name}` are `{short}` in postcard, which is no text: send them from a program"
        ))),
        "json" | "auto" if codec == "json" || !is_written_plainly(of_type) => {
            let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
            parsed.map(drop).map_err(|error| {
                let given = String::from_utf8_lossy(bytes);
                let problem =
                    format!("the {what}s of topic `{name}` are `{short}` in JSON, and `{given}` is none");
                Error::config(problem).with_source(error)
            })
        }
        _ => Ok(()),
    }
}

/// Whether a record without a key does not decode, or belongs to no partition in particular.
fn needs_key(topic: &TopicNode) -> bool {
    let key = topic.def.key.short_name();
    topic.knows_keys() && key != "()" && !key.starts_with("Option<")
}

/// The types for which [`Auto`](crate::codecs::Auto) writes no JSON.
fn is_written_plainly(of_type: TypeInfo) -> bool {
    [
        TypeInfo::of::<String>(),
        TypeInfo::of::<Option<String>>(),
        TypeInfo::of::<Vec<u8>>(),
        TypeInfo::of::<Option<Vec<u8>>>(),
        TypeInfo::of::<()>(),
    ]
    .contains(&of_type)
}
