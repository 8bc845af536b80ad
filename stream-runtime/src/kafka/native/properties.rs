//! The names of all properties that librdkafka knows.

use rdkafka::bindings;

use super::borrow_text;

/// Every property of clients and topics, in librdkafka's order.
pub(in crate::kafka) fn known_properties() -> Vec<String> {
    let mut names = Vec::new();
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
