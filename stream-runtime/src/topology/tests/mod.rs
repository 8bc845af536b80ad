//! Declarations made by hand, as the macros would make them, and what is checked of them.

mod connected;
mod counted;
mod drawn;
mod printed;
mod properties;
mod refused;

use std::collections::BTreeMap;

use super::Topology;
use crate::agent::def::AgentParts;
use crate::agent::def::tests::PLAIN;
use crate::agent::{AgentDef, Form, OnError, TopicUse};
use crate::error::{ErrorKind, Result};
use crate::record::Location;
use crate::table::TableEntry;

/// A `#[topic]` static: identifier, name, `Key => Value`, further options; or `named`, a topic that an agent
/// names by a string.
macro_rules! topic {
    (named $name:expr, $value:ty) => {
        topic!(@ "", $name, AnyKey as AnyKeyCodec, $value as Auto,)
    };
    (named $name:expr, $key:ty => $value:ty) => {
        topic!(@ "", $name, $key as Auto, $value as Auto,)
    };
    ($ident:ident, $name:expr, $key:ty => $value:ty as $codec:ty $(, $field:ident: $set:expr)* $(,)?) => {
        topic!(@ stringify!($ident), $name, $key as Auto, $value as $codec, $($field: $set),*)
    };
    ($ident:ident, $name:expr, $key:ty => $value:ty $(, $field:ident: $set:expr)* $(,)?) => {
        topic!(@ stringify!($ident), $name, $key as Auto, $value as Auto, $($field: $set),*)
    };
    (@ $ident:expr, $name:expr, $key:ty as $key_codec:ty, $value:ty as $codec:ty, $($field:ident: $set:expr),*) => {{
        use $crate::record::codecs::*;
        use $crate::record::topic::*;
        static TOPIC: Topic<$key, $value> = Topic::__new::<$key_codec, $codec>(TopicOptions {
            ident: $ident,
            $($field: $set,)*
            ..TopicOptions::named($name, $crate::topology::tests::at("src/topics.rs", line!()))
        });
        (|| TOPIC.def()) as $crate::agent::TopicUse
    }};
}

/// A `#[table]` static: identifier, name, further options.
macro_rules! table {
    ($ident:ident, $name:expr $(, $field:ident: $set:expr)* $(,)?) => {{
        use $crate::record::codecs::Postcard;
        use $crate::table::{Table, TableEntry, TableOptions};
        const PLAIN: TableOptions = TableOptions {
            name: $name,
            ident: stringify!($ident),
            config: &[],
            doc: "",
            location: $crate::topology::tests::at("src/tables.rs", 5),
        };
        #[allow(clippy::needless_update, reason = "not every table sets something")]
        static TABLE: Table<String, u64> =
            $crate::table::declare::declare_table::<_, _, Postcard>(TableOptions { $($field: $set,)* ..PLAIN }, u64::default);
        TableEntry::__new(|| TABLE.def(), || Table::__open(&TABLE))
    }};
}

pub(super) use {table, topic};

pub(super) const fn at(file: &'static str, line: u32) -> Location {
    Location {
        file,
        line,
        module: "app",
    }
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// An agent in `src/<name>.rs:10` that does nothing else.
fn agent(name: &'static str, input: TopicUse) -> AgentParts {
    AgentParts {
        name,
        location: at(leak(format!("src/{name}.rs")), 10),
        input,
        ..PLAIN
    }
}

/// The agent with these paths in its body.
fn mentions(agent: AgentParts, mentions: &[&'static str]) -> AgentParts {
    AgentParts {
        mentions: leak(mentions.to_vec()),
        ..agent
    }
}

/// The agent with these sinks.
fn sinks(agent: AgentParts, sinks: &[TopicUse]) -> AgentParts {
    AgentParts {
        sinks: leak(sinks.to_vec()),
        ..agent
    }
}

fn build_as(
    app: &str,
    agents: &[AgentParts],
    topics: &[TopicUse],
    tables: &[TableEntry],
) -> Result<Topology> {
    let agents: Vec<&AgentDef> = agents.iter().map(|parts| leak(AgentDef::__new(*parts))).collect();
    let topics: Vec<_> = topics.iter().map(|topic| topic()).collect();
    Topology::build(app, &agents, &topics, tables)
}

#[track_caller]
fn build(agents: &[AgentParts], topics: &[TopicUse], tables: &[TableEntry]) -> Topology {
    build_as("app", agents, topics, tables).expect("fits together")
}

/// What is wrong with these declarations.
#[track_caller]
fn refused(agents: &[AgentParts], topics: &[TopicUse], tables: &[TableEntry]) -> String {
    message(build_as("app", agents, topics, tables))
}

#[track_caller]
fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.expect_err("must be refused");
    assert_eq!(error.kind(), ErrorKind::Topology);
    error.to_string()
}

/// The topics on a broker.
fn broker(topics: &[(&str, u32)]) -> BTreeMap<String, u32> {
    let topics = topics.iter();
    topics.map(|&(name, count)| (name.to_owned(), count)).collect()
}
