//! The topology for other programs.

use std::time::Duration;

use serde::Serialize;

use super::{AgentNode, SubTopology, TableNode, TopicNode, Topology, prose};
use crate::agent::{Form, Verdict};
use crate::record::TypeInfo;
use crate::record::topic::Ownership;

impl Topology {
    /// The topology as JSON text, the same for the same program. Everything is referred to by its name:
    /// topics by that on the broker.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(&JsonTopology::new(self));
        text.expect("it consists of text, numbers and lists") + "\n"
    }
}

#[derive(Debug, Serialize)]
struct JsonTopology<'a> {
    app: &'a str,
    topics: Vec<JsonTopic<'a>>,
    agents: Vec<JsonAgent<'a>>,
    tables: Vec<JsonTable<'a>>,
    sub_topologies: Vec<JsonSubTopology<'a>>,
}

#[derive(Debug, Serialize)]
struct JsonTopic<'a> {
    name: &'a str,
    declared: &'a str,
    ownership: &'a str,
    /// As declared.
    partitions: Option<u32>,
    /// `null` where nothing in the program looks at keys.
    key: Option<JsonType>,
    value: JsonType,
    written_by: Vec<&'a str>,
    read_by: Vec<&'a str>,
    /// That reads it.
    sub_topology: Option<&'a str>,
    description: String,
    module: &'a str,
}

#[derive(Debug, Serialize)]
struct JsonType {
    r#type: String,
    codec: &'static str,
}

#[derive(Debug, Serialize)]
struct JsonAgent<'a> {
    name: &'a str,
    form: &'a str,
    input: &'a str,
    sinks: Vec<&'a str>,
    sends: Vec<&'a str>,
    tables: Vec<&'a str>,
    dead_letters: Option<&'a str>,
    on_error: JsonOnError,
    sub_topology: &'a str,
    description: String,
    module: &'a str,
}

#[derive(Debug, Serialize)]
struct JsonOnError {
    retries: u32,
    backoff_ms: u64,
    max_backoff_ms: u64,
    then: &'static str,
}

#[derive(Debug, Serialize)]
struct JsonTable<'a> {
    name: &'a str,
    key: String,
    value: JsonType,
    changelog: &'a str,
    used_by: Vec<&'a str>,
    sub_topology: &'a str,
    description: String,
    module: &'a str,
}

#[derive(Debug, Serialize)]
struct JsonSubTopology<'a> {
    name: &'a str,
    lead: &'a str,
    inputs: Vec<&'a str>,
    agents: Vec<&'a str>,
    tables: Vec<&'a str>,
}

impl<'a> JsonTopology<'a> {
    fn new(topology: &'a Topology) -> Self {
        let tables = topology.tables.iter().enumerate();
        let subs = topology.sub_topologies.iter();
        Self {
            app: &topology.app,
            topics: topology
                .topics
                .iter()
                .map(|topic| JsonTopic::new(topology, topic))
                .collect(),
            agents: topology
                .agents
                .iter()
                .map(|agent| JsonAgent::new(topology, agent))
                .collect(),
            tables: tables
                .map(|(at, table)| JsonTable::new(topology, at, table))
                .collect(),
            sub_topologies: subs.map(|sub| JsonSubTopology::new(topology, sub)).collect(),
        }
    }
}

impl<'a> JsonTopic<'a> {
    fn new(topology: &'a Topology, topic: &'a TopicNode) -> Self {
        Self {
            name: &topic.name,
            declared: topic.declared,
            ownership: match topic.ownership {
                Ownership::External => "external",
                Ownership::Internal => "internal",
            },
            partitions: topic.def.partitions,
            key: (topic.knows_keys()).then(|| JsonType::new(topic.def.key, topic.def.key_codec)),
            value: JsonType::new(topic.def.value, topic.def.value_codec),
            written_by: topology.agent_names(&topic.written_by),
            read_by: topology.agent_names(&topic.read_by),
            sub_topology: topology.reader_of(topic).map(|sub| &*sub.name),
            description: prose::summary(topic.def.doc),
            module: topic.def.location.module,
        }
    }
}

impl JsonType {
    fn new(of: TypeInfo, codec: &'static str) -> Self {
        Self {
            r#type: of.short_name(),
            codec,
        }
    }
}

impl<'a> JsonAgent<'a> {
    fn new(topology: &'a Topology, agent: &AgentNode) -> Self {
        let def = agent.def;
        Self {
            name: def.name,
            form: match def.form {
                Form::Stream => "stream",
                Form::Record => "record",
            },
            input: &topology.topics[agent.input].name,
            sinks: topology.topic_names(&agent.sinks),
            sends: topology.topic_names(&agent.sends),
            tables: topology.table_names(&agent.tables),
            dead_letters: agent.dead_letters.map(|at| &*topology.topics[at].name),
            on_error: JsonOnError {
                retries: def.on_error.retries,
                backoff_ms: millis(def.on_error.backoff),
                max_backoff_ms: millis(def.on_error.max_backoff),
                then: match def.on_error.then {
                    Verdict::Stop => "stop",
                    Verdict::Skip => "skip",
                    Verdict::DeadLetter(_) => "dead_letter",
                },
            },
            sub_topology: &topology.sub_topologies[agent.sub_topology].name,
            description: prose::summary(def.doc),
            module: def.location.module,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<'a> JsonTable<'a> {
    fn new(topology: &'a Topology, at: usize, table: &'a TableNode) -> Self {
        Self {
            name: table.def.name,
            key: table.def.key.short_name(),
            value: JsonType::new(table.def.value, table.def.value_codec),
            changelog: &table.changelog,
            used_by: topology.agent_names(&topology.users_of(at)),
            sub_topology: &topology.sub_topologies[table.sub_topology].name,
            description: prose::summary(table.def.doc),
            module: table.def.location.module,
        }
    }
}

impl<'a> JsonSubTopology<'a> {
    fn new(topology: &'a Topology, sub: &'a SubTopology) -> Self {
        Self {
            name: &sub.name,
            lead: &topology.topics[sub.lead].name,
            inputs: topology.topic_names(&sub.inputs),
            agents: topology.agent_names(&sub.agents),
            tables: topology.table_names(&sub.tables),
        }
    }
}
