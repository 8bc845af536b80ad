//! What must hold between and beyond the single values.

use std::time::Duration;

use super::{BrokerAddress, ProcessingGuarantee, Settings, Size, format_duration, nearest};

impl Settings {
    /// Adds to `problems` what is wrong.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let mut wrong = |name: &'static str, problem: String| {
            problems.push(format!("`{name}` ({}): {problem}", self.source(name)));
        };
        if let Err(problem) = self.broker.parse::<BrokerAddress>() {
            wrong("broker", problem);
        }
        if let Err(problem) = check_store(&self.store) {
            wrong("store", problem);
        }
        if let Err(problem) = check_log(&self.log) {
            wrong("log", problem);
        }
        if self.memory_budget.bytes() < SMALLEST_BUDGET.bytes() {
            wrong(
                "memory_budget",
                format!(
                    "{} is too little to work with; give {SMALLEST_BUDGET} at least",
                    self.memory_budget
                ),
            );
        }
        if self.threads == 0 {
            wrong("threads", "there must be one thread at least".to_owned());
        }
        if self.partitions == 0 {
            wrong("partitions", "a topic has one partition at least".to_owned());
        }
        if self.replication == Some(0) {
            wrong(
                "replication",
                "a topic has one replica at least; leave it out for the broker's default".to_owned(),
            );
        }
        for (name, duration) in [
            ("commit_interval", self.commit_interval()),
            ("transaction_timeout", self.transaction_timeout),
            ("session_timeout", self.session_timeout),
            ("heartbeat_interval", self.heartbeat_interval),
            ("max_poll_interval", self.max_poll_interval),
            ("startup_timeout", self.startup_timeout),
            ("stuck_after", self.stuck_after),
            ("purge_interval", self.purge_interval),
        ] {
            if duration.is_zero() {
                wrong(name, "must be longer than nothing".to_owned());
            } else if duration > LONGEST {
                wrong(
                    name,
                    format!("must not be longer than {}", format_duration(LONGEST)),
                );
            }
        }
        if self.restore_ahead > LONGEST {
            wrong(
                "restore_ahead",
                format!("must not be longer than {}", format_duration(LONGEST)),
            );
        }
        for (name, shorter, other, longer) in [
            (
                "heartbeat_interval",
                self.heartbeat_interval,
                "session_timeout",
                self.session_timeout,
            ),
            (
                "commit_interval",
                self.commit_interval(),
                "max_poll_interval",
                self.max_poll_interval,
            ),
        ] {
            if shorter >= longer && !longer.is_zero() {
                wrong(name, not_shorter(shorter, other, longer));
            }
        }
        if self.processing_guarantee == ProcessingGuarantee::ExactlyOnce
            && self.commit_interval() * 2 > self.transaction_timeout
        {
            wrong(
                "transaction_timeout",
                format!(
                    "{} must be twice `commit_interval` ({}) at least, or the broker aborts what is about to be committed",
                    format_duration(self.transaction_timeout),
                    format_duration(self.commit_interval())
                ),
            );
        }
        if self.session_timeout > self.max_poll_interval && !self.max_poll_interval.is_zero() {
            wrong(
                "session_timeout",
                format!(
                    "{} is longer than `max_poll_interval` ({}), which the client refuses",
                    format_duration(self.session_timeout),
                    format_duration(self.max_poll_interval)
                ),
            );
        }
        if self.instance_id.as_deref().is_some_and(|id| !is_topic_name(id)) {
            wrong(
                "instance_id",
                "may hold letters, digits, `.`, `_` and `-`, 249 at most".to_owned(),
            );
        }
        if self.web_port.is_some() {
            wrong(
                "web_port",
                "the name is reserved, this build has no web pages to serve".to_owned(),
            );
        }
    }
}

/// Below this, RocksDB would write its buffers out at every batch.
const SMALLEST_BUDGET: Size = Size::from_bytes(16 << 20);

/// The client takes no longer interval than this.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn not_shorter(duration: Duration, other: &str, longer: Duration) -> String {
    format!(
        "{} must be shorter than `{other}` ({})",
        format_duration(duration),
        format_duration(longer)
    )
}

/// Whether Kafka takes this as the name of a topic.
fn is_topic_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 249 && name.chars().all(legal) && !matches!(name, "." | "..")
}

fn check_store(store: &str) -> Result<(), String> {
    match store.split_once("://") {
        Some(("memory", "")) => Ok(()),
        Some(("rocksdb", "")) if cfg!(feature = "rocksdb") => Ok(()),
        Some(("rocksdb", "")) => Err(
            "this build has no RocksDB: give the dependency `stream-runtime` the feature `rocksdb`, or use `memory://`"
                .to_owned(),
        ),
        Some((scheme @ ("memory" | "rocksdb"), rest)) => Err(format!(
            "`{scheme}://` takes nothing behind it, found `{rest}`; the directory is the setting `datadir`"
        )),
        Some((scheme, _)) => Err(format!(
            "there is no store `{scheme}://`; use `memory://` or `rocksdb://`"
        )),
        None => Err(format!(
            "`{store}` names no store; use `memory://` or `rocksdb://`"
        )),
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Refuses what the filter would take for a target of that name and so for silence, such as `inof`.
fn check_log(filter: &str) -> Result<(), String> {
    for directive in filter.split(',').map(str::trim) {
        let level = match directive.rsplit_once('=') {
            Some((_, level)) => level,
            None if directive.contains('[') => continue,
            None => directive,
        };
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            let nearest = nearest(level, LEVELS.iter().copied());
            let hint = nearest.map_or_else(
                || format!("the levels are {}", LEVELS.join(", ")),
                |nearest| format!("did you mean `{nearest}`?"),
            );
            return Err(format!("`{level}` is not a level: {hint}"));
        }
    }
    match tracing_subscriber::EnvFilter::try_new(filter) {
        Ok(_) => Ok(()),
        Err(problem) => Err(format!("`{filter}` is not a filter: {problem}")),
    }
}
