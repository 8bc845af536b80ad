//! What tells topics of one name apart.

use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;

use super::borrow_text;
use super::queue::code;

/// The ids of those of these topics that the broker knows and gives ids to. Waits for the answer.
pub(in crate::kafka) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    within: Duration,
) -> Result<HashMap<String, String>, RDKafkaErrorCode> {
    let names = names.iter().map(|name| CString::new(name.as_str()));
    let names = names
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
    let mut texts = names
        .iter()
        .map(|name| name.as_ptr())
        .collect::<Vec<*const c_char>>();
    let millis = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    let client = client.native_ptr();
    // SAFETY: the client is alive; what is made here is destroyed here, once, after its last use; the names outlive
    // the call that copies them, and what is read from the event is copied before it goes.
    unsafe {
        let topics = bindings::rd_kafka_TopicCollection_of_topic_names(texts.as_mut_ptr(), texts.len());
        let operation = bindings::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = bindings::rd_kafka_AdminOptions_new(client, operation);
        bindings::rd_kafka_AdminOptions_set_request_timeout(options, millis, ptr::null_mut(), 0);
        let queue = bindings::rd_kafka_queue_new(client);
        bindings::rd_kafka_DescribeTopics(client, topics, options, queue);
        bindings::rd_kafka_AdminOptions_destroy(options);
        bindings::rd_kafka_TopicCollection_destroy(topics);
        // The request has the time-out, and its end comes as an event in any case.
        let event = bindings::rd_kafka_queue_poll(queue, -1);
        let ids = ids_in(event);
        bindings::rd_kafka_event_destroy(event);
        bindings::rd_kafka_queue_destroy(queue);
        ids
    }
}

/// # Safety
/// `event` is alive, or null, and nobody else uses it.
unsafe fn ids_in(
    event: *mut bindings::rd_kafka_event_t,
) -> Result<HashMap<String, String>, RDKafkaErrorCode> {
    // SAFETY: the caller guarantees that the event is alive, and all that is read belongs to it.
    unsafe {
        let result = bindings::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        if let Some(code) = code(bindings::rd_kafka_event_error(event)) {
            return Err(code);
        }
        let mut count = 0;
        let topics = bindings::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let mut ids = HashMap::new();
        for at in 0..count {
            let topic = *topics.add(at);
            let error = bindings::rd_kafka_TopicDescription_error(topic);
            match code(bindings::rd_kafka_error_code(error)) {
                None => {}
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::InvalidTopic) => continue,
                Some(code) => return Err(code),
            }
            let id = bindings::rd_kafka_TopicDescription_topic_id(topic);
            // An older broker sends none, which reads as zeros.
            let bits = bindings::rd_kafka_Uuid_most_significant_bits(id)
                | bindings::rd_kafka_Uuid_least_significant_bits(id);
            if bits != 0 {
                // Kafka's own tools print the form that is safe in URLs.
                let text = borrow_text(bindings::rd_kafka_Uuid_base64str(id));
                let name = borrow_text(bindings::rd_kafka_TopicDescription_name(topic));
                ids.insert(name.to_owned(), text.replace('+', "-").replace('/', "_"));
            }
        }
        Ok(ids)
    }
}
