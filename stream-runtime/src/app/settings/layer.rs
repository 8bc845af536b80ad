//! Where values come from: the program's code, a file, the environment, flags.

use super::{FILE_VARIABLE, SETTINGS, TEST_VARIABLES, VARIABLE_PREFIX, nearest};

/// Values of settings out of one place.
///
/// Names and values are checked when layers are resolved, so that everything that is wrong is said at once.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    name: String,
    entries: Vec<Entry>,
}

/// A value as it is written.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) origin: String,
}

impl Layer {
    /// An empty layer; the name says in errors and listings where its values came from.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            entries: Vec::new(),
        }
    }

    /// Gives a value, in the form of the file: `put("commit_interval", "250ms")`. A name with a dot is a raw
    /// setting of the client, `put("linger.ms", 0)`; one without a dot is written `kafka.acks`.
    pub fn put(&mut self, key: impl Into<String>, value: impl std::fmt::Display) {
        let origin = self.name.clone();
        self.put_from(key, value.to_string(), origin);
    }

    /// Gives a value and says exactly where it was written.
    pub(crate) fn put_from(
        &mut self,
        key: impl Into<String>,
        value: impl Into<String>,
        origin: impl Into<String>,
    ) {
        self.entries.push(Entry {
            key: key.into(),
            value: value.into(),
            origin: origin.into(),
        });
    }

    /// The values of `STREAM_…` variables: `STREAM_COMMIT_INTERVAL=250ms`, and `STREAM_KAFKA__LINGER_MS=0` for
    /// a raw setting of the client. Those that begin with `STREAM_TEST_` are for tests and no settings.
    pub fn from_env(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut layer = Self::new("environment");
        for (variable, value) in variables {
            let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else {
                continue;
            };
            if variable == FILE_VARIABLE || variable.starts_with(TEST_VARIABLES) {
                continue;
            }
            let key = match name.strip_prefix("KAFKA__") {
                Some(raw) => format!("{RAW_PREFIX}{}", raw.to_lowercase().replace('_', ".")),
                None => name.to_lowercase(),
            };
            layer.put_from(key, value, variable);
        }
        layer
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}

/// Before the name of a raw setting of the client, where it could be taken for one of ours.
const RAW_PREFIX: &str = "kafka.";

/// The key of a raw setting of the client.
pub(crate) fn raw_name(name: &str) -> String {
    format!("{RAW_PREFIX}{name}")
}

/// What a key names.
#[derive(Debug)]
pub(super) enum Name<'a> {
    Setting(&'static str),
    Raw(&'a str),
}

pub(super) fn name(key: &str) -> Result<Name<'_>, String> {
    if let Some(setting) = SETTINGS
        .iter()
        .find(|setting| setting.name == key || setting.flag() == key)
    {
        return Ok(Name::Setting(setting.name));
    }
    let raw = key.strip_prefix(RAW_PREFIX).unwrap_or(key);
    if !raw.contains('.') && raw.len() == key.len() {
        return Err(unknown(key));
    }
    match OWNED.iter().find(|(name, _)| *name == raw) {
        Some((_, instead)) => Err(format!("the client's `{raw}` is not to be set: {instead}")),
        None => Ok(Name::Raw(raw)),
    }
}

fn unknown(key: &str) -> String {
    let names = SETTINGS.iter().map(|setting| setting.name);
    match nearest(key, names.clone()) {
        Some(nearest) => format!("there is no setting `{key}`, did you mean `{nearest}`?"),
        None => {
            let all: Vec<_> = names.collect();
            format!(
                "there is no setting `{key}`; the settings are {}, and `{RAW_PREFIX}<name>` for the client's own",
                all.join(", ")
            )
        }
    }
}

/// Raw settings that correctness rests on, or that a setting of ours gives.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use `broker`"),
    ("metadata.broker.list", "use `broker`"),
    ("group.id", "it is the program's id"),
    ("group.instance.id", "use `instance_id`"),
    ("session.timeout.ms", "use `session_timeout`"),
    ("heartbeat.interval.ms", "use `heartbeat_interval`"),
    ("max.poll.interval.ms", "use `max_poll_interval`"),
    (
        "enable.auto.commit",
        "offsets are committed together with state and outputs",
    ),
    ("auto.commit.interval.ms", "use `commit_interval`"),
    (
        "enable.auto.offset.store",
        "offsets are committed together with state and outputs",
    ),
    (
        "partition.assignment.strategy",
        "tasks rest on cooperative, sticky assignment",
    ),
    (
        "partitioner",
        "keys must go where every other Kafka client puts them",
    ),
    (
        "enable.idempotence",
        "without it records could be written twice or out of order",
    ),
    ("enable.partition.eof", "restoring tables rests on it"),
    (
        "isolation.level",
        "what was never committed is not to be processed",
    ),
];
