//! The names of all properties that librdkafka knows.

use rdkafka::bindings;

use super::borrow_text;

/// Properties with a second name, which librdkafka keeps out of its lists.
pub(in crate::kafka) const ALIASES: [(&str, &str); 11] = [
    ("acks", "request.required.acks"),
    ("bootstrap.servers", "metadata.broker.list"),
    ("compression.type", "compression.codec"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("retries", "message.send.max.retries"),
    ("sasl.mechanism", "sasl.mechanisms"),
    (
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl.oauthbearer.client.id",
    ),
    (
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
    ),
];

/// Every property of clients and topics.
pub(in crate::kafka) fn known_properties() -> Vec<String> {
    let mut names = ALIASES
        .iter()
        .map(|(alias, _)| (*alias).to_owned())
        .collect::<Vec<_>>();
    // SAFETY: the configurations are created here, dumped and destroyed; a dump of `count` strings holds
    // name and value in turn and is freed after the names were copied.
    unsafe {
        let client = bindings::rd_kafka_conf_new();
        let topic = bindings::rd_kafka_topic_conf_new();
        let mut count = 0;
        let dump = bindings::rd_kafka_conf_dump(client, &mut count);
        names.extend(
            (0..count)
                .step_by(2)
                .map(|at| borrow_text(*dump.add(at)).to_owned()),
        );
        bindings::rd_kafka_conf_dump_free(dump, count);
        let dump = bindings::rd_kafka_topic_conf_dump(topic, &mut count);
        names.extend(
            (0..count)
                .step_by(2)
                .map(|at| borrow_text(*dump.add(at)).to_owned()),
        );
        bindings::rd_kafka_conf_dump_free(dump, count);
        bindings::rd_kafka_topic_conf_destroy(topic);
        bindings::rd_kafka_conf_destroy(client);
    }
    names
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_names_are_those_of_clients_and_of_topics() {
        let names = super::known_properties();
        for name in [
            "bootstrap.servers",
            "linger.ms",
            "auto.offset.reset",
            "partitioner",
        ] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }
}
