//! The properties of each kind of client.
//!
//! Raw properties of the user come last and may change everything but what the guarantees rest on.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaConfRes;

use super::ClientSettings;
use super::native::{ALIASES, known_properties};
use crate::error::{Error, Result};

/// Properties that are not the user's to set, and what to do instead.
const RESERVED: [(&str, &str); 16] = [
    ("bootstrap.servers", "set `broker`"),
    ("metadata.broker.list", "set `broker`"),
    ("client.id", "it is made from the program's id"),
    ("group.id", "it is the program's id"),
    ("group.instance.id", "set the instance id of the worker"),
    (
        "enable.auto.commit",
        "offsets are committed with the state they belong to",
    ),
    (
        "auto.commit.enable",
        "offsets are committed with the state they belong to",
    ),
    (
        "enable.auto.offset.store",
        "offsets are committed with the state they belong to",
    ),
    (
        "isolation.level",
        "what was never committed is not to be processed",
    ),
    (
        "enable.partition.eof",
        "it tells where restores end, and where transactions do",
    ),
    (
        "enable.idempotence",
        "without it a retry duplicates and reorders records",
    ),
    (
        "partitioner",
        "joins need the partitioner of the Java client, `murmur2_random`",
    ),
    ("partition.assignment.strategy", "set the group protocol"),
    ("delivery.report.only.error", "acknowledgements are counted"),
    ("transactional.id", "it is set by the guarantee"),
    ("transaction.timeout.ms", "it is set by the guarantee"),
];

/// The properties of a member of the group.
pub(super) fn group_consumer(settings: &ClientSettings) -> ClientConfig {
    let mut config = common(settings);
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        // Offsets behind the markers of transactions are to be committed, and no record leads there.
        .set("enable.partition.eof", "true")
        .set("max.poll.interval.ms", millis(settings.max_poll_interval));
    if let Some(instance) = &settings.instance_id {
        config.set("group.instance.id", instance);
    }
    // librdkafka refuses these three under the newer protocol, where the broker has them.
    if !settings.has_newer_group_protocol() {
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", millis(settings.session_timeout))
            .set("heartbeat.interval.ms", millis(settings.heartbeat_interval));
    }
    // Fetched ahead: with 4 MB records are still in the processor's cache when they are taken (copying 1.1 to 1.3 times as fast
    // as with 32 MB, and 20 to 40 MiB less in memory). One fetch comes on top, which librdkafka takes apart as a whole, into
    // one piece of memory a record: with a megabyte together, and not one from each partition, a keyed count under exactly
    // once is 1.18 times as fast. Partitions take turns at being the first, of which a batch of any size comes.
    fetching(&mut config, 4 * 1024);
    raw(&mut config, settings);
    if config.get("fetch.max.bytes").is_none() {
        // librdkafka refuses less than a record may have.
        let record = config
            .get("message.max.bytes")
            .and_then(|bytes| bytes.parse().ok());
        let bytes = record.unwrap_or(0).max(FETCH_BYTES);
        config.set("fetch.max.bytes", bytes.to_string());
    }
    config
}

/// What a member's fetch asks a broker for at most, all partitions together.
const FETCH_BYTES: u32 = 1 << 20;

/// Where a partition begins of which the group has committed nothing, as `auto.offset.reset` says.
pub(super) fn reset_to(settings: &ClientSettings) -> Offset {
    match group_consumer(settings).get("auto.offset.reset") {
        Some("smallest" | "earliest" | "beginning") => Offset::Beginning,
        Some("largest" | "latest" | "end") => Offset::End,
        // librdkafka finds out by itself, and says that there is nothing.
        _ => Offset::Invalid,
    }
}

/// The properties of a reader of changelogs. It has the group's id because librdkafka wants one (and looks
/// up its coordinator), but never joins or commits.
pub(super) fn partition_reader(settings: &ClientSettings) -> ClientConfig {
    let mut config = common(settings);
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed");
    fetching(&mut config, 64 * 1024);
    raw(&mut config, settings);
    never_joins(&mut config);
    // A changelog that lost its beginning is to be noticed, whatever the user wishes for input topics.
    config.set("auto.offset.reset", "error");
    config
}

/// The properties of a worker thread's producer.
pub(super) fn producer(settings: &ClientSettings) -> ClientConfig {
    let mut config = producing(settings);
    config
        .set("linger.ms", "5")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "131072")
        // Where changelogs end is known from their acknowledgements. A report costs once a batch, and less than
        // none: with them, the records are freed by the thread that made them and not by librdkafka's, which
        // would take the same locks (730 ns of processor time a record, against 1250; 1.45 million records a
        // second against 1.0, two cores with the broker on them).
        .set("delivery.report.only.error", "false")
        // A record in the queue waits for the broker however long that is away: giving up would stop the
        // task, and starting that again would send the same record.
        .set("message.timeout.ms", "0");
    raw(&mut config, settings);
    config
}

/// The properties of a worker thread's producer under exactly-once.
pub(super) fn transactional_producer(settings: &ClientSettings, id: &str, timeout: Duration) -> ClientConfig {
    let mut config = producer(settings);
    // librdkafka takes no longer one than this, nor would a record count that is delivered after its transaction
    // was ended by the broker. One that is not delivered in this time fails its transaction.
    let of_user = ["delivery.timeout.ms", "message.timeout.ms"]
        .into_iter()
        .filter_map(|name| config.get(name)?.parse::<u64>().ok())
        .filter(|time| *time > 0)
        .min();
    let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    config.remove("delivery.timeout.ms");
    config
        .set(
            "message.timeout.ms",
            of_user.unwrap_or(timeout).min(timeout).to_string(),
        )
        .set("transactional.id", id)
        .set("transaction.timeout.ms", timeout.to_string());
    // Some calls wait this long for a coordinator that is away, whatever they are told.
    if config.get("socket.timeout.ms").is_none() {
        let patience = timeout.saturating_sub(100).clamp(900, 10_000);
        config.set("socket.timeout.ms", patience.to_string());
    }
    config
}

/// The properties of the producer for sends from outside agents, where somebody waits for each record.
pub(super) fn acknowledged_producer(settings: &ClientSettings) -> ClientConfig {
    let mut config = producing(settings);
    config.set("linger.ms", "1").set("message.timeout.ms", "30000");
    raw(&mut config, settings);
    config
}

/// The properties of the client for questions to the cluster.
pub(super) fn admin(settings: &ClientSettings) -> ClientConfig {
    let mut config = common(settings);
    raw(&mut config, settings);
    config
}

/// The properties of a consumer that asks for a group's offsets and never joins it.
pub(super) fn offsets(settings: &ClientSettings, group: &str) -> ClientConfig {
    let mut config = common(settings);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        // An offset that an open transaction may still change is asked for again this soon.
        .set("retry.backoff.ms", "50")
        .set("retry.backoff.max.ms", "100");
    raw(&mut config, settings);
    never_joins(&mut config);
    // Only so the broker is asked for stable offsets, whatever else the user's consumers read.
    config.set("isolation.level", "read_committed");
    config
}

/// Refuses raw properties that nobody knows, that are not the user's, or whose values are wrong.
pub(super) fn check(settings: &ClientSettings) -> Result<()> {
    for (name, _) in &settings.raw {
        if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
            return Err(Error::config(format!(
                "the Kafka property `{name}` cannot be set: {instead}"
            )));
        }
    }
    for config in [group_consumer(settings), producer(settings)] {
        config.create_native_config().map_err(refusal)?;
    }
    Ok(())
}

/// What to tell the user of a client that could not be made.
pub(super) fn refusal(error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
            let near = known_properties()
                .into_iter()
                .map(|known| (strsim::damerau_levenshtein(&known, &name), known))
                .min()
                .filter(|(distance, _)| *distance <= 1 + name.len() / 4);
            Error::config(match near {
                Some((_, near)) => format!("no Kafka property is called `{name}`: is `{near}` meant?"),
                None => format!("no Kafka property is called `{name}`"),
            })
        }
        // Not the value: it may be a password.
        KafkaError::ClientConfig(_, reason, name, _) => {
            Error::config(format!("the Kafka property `{name}` cannot be set so: {reason}"))
        }
        KafkaError::ClientCreation(reason) => {
            Error::config(format!("the Kafka properties do not go together: {reason}"))
        }
        error => Error::broker("a Kafka client could not be made").with_source(error),
    }
}

fn common(settings: &ClientSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.bootstrap)
        .set("client.id", &settings.client_id)
        // A broker that restarts is back within seconds; the default waits up to ten between attempts.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        // Idle connections that a broker closes are no news.
        .set("log.connection.close", "false");
    let debug = settings.raw.iter().any(|(name, _)| name == "debug");
    config.set_log_level(if debug {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Info
    });
    config
}

fn producing(settings: &ClientSettings) -> ClientConfig {
    let mut config = common(settings);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4");
    config
}

fn fetching(config: &mut ClientConfig, queue_kilobytes: u32) {
    config
        // How long a fetch that finds nothing holds back the next one, which may be for new partitions.
        .set("fetch.wait.max.ms", "100")
        // The default of a second starves a reader that has just emptied a full queue: 115,000 records/s
        // against 350,000 through consume, count and produce.
        .set("fetch.queue.backoff.ms", "5")
        // A broker does not lead a partition at once that was just made, or whose leader has moved: the default of half a second
        // is what a first start would wait, several times with a thousand partitions.
        .set("fetch.error.backoff.ms", "100")
        .set("queued.max.messages.kbytes", queue_kilobytes.to_string())
        .set("allow.auto.create.topics", "false");
}

/// Takes out what only members of a group have.
fn never_joins(config: &mut ClientConfig) {
    config.remove("group.protocol");
    config.remove("group.remote.assignor");
}

fn raw(config: &mut ClientConfig, settings: &ClientSettings) {
    for (name, value) in &settings.raw {
        // Under both names a property would be set twice, in no certain order.
        for (alias, full) in ALIASES {
            if name == alias {
                config.remove(full);
            } else if name == full {
                config.remove(alias);
            }
        }
        config.set(name, value);
    }
}

impl ClientSettings {
    /// Whether members join under the protocol of KIP-848.
    pub(super) fn has_newer_group_protocol(&self) -> bool {
        let mut raw = self.raw.iter();
        raw.any(|(name, value)| name == "group.protocol" && value.eq_ignore_ascii_case("consumer"))
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Settings with nothing special about them.
    pub(in crate::kafka) fn settings(bootstrap: &str, group: &str) -> ClientSettings {
        ClientSettings {
            bootstrap: bootstrap.to_owned(),
            group: group.to_owned(),
            client_id: format!("{group}-0"),
            instance_id: None,
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_millis(500),
            max_poll_interval: Duration::from_secs(60),
            raw: Vec::new(),
        }
    }

    fn with_raw(name: &str, value: &str) -> ClientSettings {
        ClientSettings {
            raw: vec![(name.to_owned(), value.to_owned())],
            ..settings("localhost:9092", "shop")
        }
    }

    fn complaint(name: &str, value: &str) -> String {
        check(&with_raw(name, value))
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn a_fetch_has_room_for_the_largest_record_unless_the_user_says_otherwise() {
        let fetches = |name, value| {
            group_consumer(&with_raw(name, value))
                .get("fetch.max.bytes")
                .map(str::to_owned)
        };
        assert_eq!(fetches("acks", "all").as_deref(), Some("1048576"));
        assert_eq!(fetches("message.max.bytes", "1000").as_deref(), Some("1048576"));
        assert_eq!(
            fetches("message.max.bytes", "5000000").as_deref(),
            Some("5000000")
        );
        assert_eq!(fetches("fetch.max.bytes", "2000000").as_deref(), Some("2000000"));
    }

    #[test]
    fn all_properties_are_known_to_librdkafka() {
        let settings = settings("localhost:9092", "shop");
        check(&settings).expect("group consumer and producer");
        for config in [
            partition_reader(&settings),
            acknowledged_producer(&settings),
            admin(&settings),
            offsets(&settings, "shop"),
            transactional_producer(&settings, "shop-0", Duration::from_secs(60)),
        ] {
            config.create_native_config().expect("known properties");
        }
    }

    #[test]
    fn an_unknown_property_is_named_with_its_neighbour() {
        assert_eq!(
            complaint("linger.msec", "3"),
            "no Kafka property is called `linger.msec`: is `linger.ms` meant?"
        );
        assert_eq!(complaint("colour", "red"), "no Kafka property is called `colour`");
    }

    #[test]
    fn a_wrong_value_is_explained_without_repeating_it() {
        let complaint = complaint("linger.ms", "secret");
        assert!(complaint.contains("`linger.ms`"), "{complaint}");
        assert!(!complaint.contains("secret"), "{complaint}");
    }

    #[test]
    fn what_guarantees_rest_on_cannot_be_set() {
        assert_eq!(
            complaint("enable.auto.commit", "true"),
            "the Kafka property `enable.auto.commit` cannot be set: \
             offsets are committed with the state they belong to"
        );
        for name in [
            "bootstrap.servers",
            "group.id",
            "group.instance.id",
            "enable.auto.offset.store",
            "isolation.level",
            "enable.partition.eof",
            "enable.idempotence",
            "partitioner",
            "partition.assignment.strategy",
            "delivery.report.only.error",
            "transactional.id",
            "transaction.timeout.ms",
        ] {
            let complaint = complaint(name, "1");
            assert!(complaint.contains("cannot be set"), "{complaint}");
        }
    }

    #[test]
    fn a_record_of_a_transaction_is_not_waited_for_longer_than_the_transaction() {
        let of = |settings: &ClientSettings, seconds: u64| {
            let config = transactional_producer(settings, "shop-0", Duration::from_secs(seconds));
            let native: Result<rdkafka::producer::BaseProducer, _> = config.create();
            native.expect("librdkafka takes them");
            let of = |name: &str| config.get(name).map(str::to_owned);
            (
                of("message.timeout.ms"),
                of("delivery.timeout.ms"),
                of("socket.timeout.ms"),
            )
        };
        let millis = |millis: &str| Some(millis.to_owned());
        let plain = settings("localhost:9092", "shop");
        assert_eq!(of(&plain, 60), (millis("60000"), None, millis("10000")));
        assert_eq!(of(&plain, 2), (millis("2000"), None, millis("1900")));
        let shorter = with_raw("delivery.timeout.ms", "700");
        assert_eq!(of(&shorter, 60), (millis("700"), None, millis("10000")));
        let longer = with_raw("message.timeout.ms", "99000");
        assert_eq!(of(&longer, 60), (millis("60000"), None, millis("10000")));
        let endless = with_raw("message.timeout.ms", "0");
        assert_eq!(of(&endless, 60), (millis("60000"), None, millis("10000")));
    }

    #[test]
    fn raw_properties_come_last_and_the_new_group_protocol_leaves_out_what_it_forbids() {
        assert_eq!(
            producer(&with_raw("linger.ms", "40")).get("linger.ms"),
            Some("40")
        );
        let config = producer(&with_raw("queue.buffering.max.ms", "40"));
        assert_eq!(
            (config.get("linger.ms"), config.get("queue.buffering.max.ms")),
            (None, Some("40"))
        );
        let config = group_consumer(&with_raw("group.protocol", "consumer"));
        assert_eq!(config.get("session.timeout.ms"), None);
        assert_eq!(config.get("partition.assignment.strategy"), None);
    }
}
