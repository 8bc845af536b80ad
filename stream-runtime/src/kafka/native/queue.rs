//! A client's queue of events, read one at a time as borrowed values.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use tokio::sync::Notify;

use super::members::Member;
use super::{borrow_bytes, borrow_text};
use crate::record::{HeadersRef, RecordRef, pack_header};

/// What a queue gives. Borrows end with the call that got them.
pub(in crate::kafka) enum Event<'a> {
    Record(RecordRef<'a>),
    /// A partition was read up to here.
    EndOfPartition {
        topic: &'a str,
        partition: i32,
        offset: i64,
    },
    /// Partitions to take on or to give back.
    Rebalance {
        assign: bool,
        partitions: Vec<(String, i32)>,
    },
    /// A commit ended; `failures` has the partitions with an error of their own.
    Commit {
        error: Option<RDKafkaErrorCode>,
        failures: Vec<(String, i32, RDKafkaErrorCode)>,
    },
    /// Records of one batch were delivered. `next` is the offset behind the last of them, where the broker told it.
    Delivered {
        topic: &'a str,
        partition: i32,
        next: Option<i64>,
    },
    /// Records of one batch could not be delivered; the place is that of the first.
    DeliveryFailed {
        error: RDKafkaErrorCode,
        topic: &'a str,
        partition: i32,
        records: usize,
    },
    /// Anything that went wrong in the client; `at` when it is about one partition.
    Error {
        error: RDKafkaErrorCode,
        fatal: bool,
        text: &'a str,
        at: Option<(&'a str, i32)>,
    },
    Log {
        level: i32,
        facility: &'a str,
        text: &'a str,
    },
    /// Statistics and other things nobody asked for.
    Other,
}

/// The queue of a client, and the client itself, which it keeps alive.
pub(in crate::kafka) struct EventQueue<T> {
    queue: NonNull<bindings::rd_kafka_queue_t>,
    /// Where the ends of a consumer's commits arrive: on the queue of records they would wait behind all that was
    /// fetched ahead.
    commits: Option<NonNull<bindings::rd_kafka_queue_t>>,
    /// A commit is under way.
    committing: bool,
    /// Where the headers of the record at hand are packed; kept for its capacity. Empty while they are not wanted.
    headers: Vec<u8>,
    /// Whether they are looked for at all.
    wants_headers: bool,
    /// Notified from librdkafka's threads; dropped after the queue has forgotten it.
    wake: Option<Arc<Notify>>,
    /// Dropped last: the queue is part of it.
    client: T,
}

// SAFETY: librdkafka's queues may be used from any thread, and this type has one owner.
unsafe impl<T: Send> Send for EventQueue<T> {}

impl<C: ConsumerContext> EventQueue<BaseConsumer<C>> {
    /// The queue of a consumer with a group, on which everything arrives; `None` without a group.
    pub(in crate::kafka) fn of_consumer(client: BaseConsumer<C>) -> Option<Self> {
        // SAFETY: the client is alive, and `Self` keeps it so for longer than the queue.
        let queue = unsafe { bindings::rd_kafka_queue_get_consumer(client.client().native_ptr()) };
        // SAFETY: as above; the queue is ours.
        let commits = unsafe { bindings::rd_kafka_queue_new(client.client().native_ptr()) };
        let mut this = Self::new(queue, client)?;
        this.commits = NonNull::new(commits);
        Some(this)
    }

    /// Starts a commit whose end comes as [`Event::Commit`]. The end of one that is started through the
    /// wrapper's `commit` comes nowhere: librdkafka tells it to a C callback alone, and only logs failures.
    pub(in crate::kafka) fn commit(&mut self, offsets: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
        self.committing = true;
        // SAFETY: client and queue are alive; the list is copied before the call returns.
        let error = unsafe {
            bindings::rd_kafka_commit_queue(
                self.client.client().native_ptr(),
                offsets.ptr(),
                self.commits.unwrap_or(self.queue).as_ptr(),
                None,
                ptr::null_mut(),
            )
        };
        code(error).map_or(Ok(()), Err)
    }

    /// The high watermark of a partition in the newest answer to a fetch; `None` when there is none.
    pub(in crate::kafka) fn high_watermark(&self, topic: &str, partition: i32) -> Option<i64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive, and so is the name during the call; no broker is asked.
        let error = unsafe {
            bindings::rd_kafka_get_watermark_offsets(
                self.client.client().native_ptr(),
                topic.as_ptr(),
                partition,
                &mut low,
                &mut high,
            )
        };
        (error == NO_ERROR && high >= 0).then_some(high)
    }

    /// Who this member is in its group now; `None` when it is in none.
    pub(in crate::kafka) fn membership(&self) -> Option<Member> {
        // SAFETY: the client is alive; what it gives is ours.
        unsafe {
            Member::own(bindings::rd_kafka_consumer_group_metadata(
                self.client.client().native_ptr(),
            ))
        }
    }
}

impl<C: ProducerContext> EventQueue<Arc<BaseProducer<C>>> {
    /// The queue of a producer, on which everything arrives. Several may read it, of which one is notified.
    pub(in crate::kafka) fn of_producer(client: Arc<BaseProducer<C>>) -> Option<Self> {
        // SAFETY: the client is alive, and `Self` keeps it so for longer than the queue.
        let queue = unsafe { bindings::rd_kafka_queue_get_main(client.client().native_ptr()) };
        Self::new(queue, client)
    }
}

impl<T> EventQueue<T> {
    fn new(queue: *mut bindings::rd_kafka_queue_t, client: T) -> Option<Self> {
        Some(Self {
            queue: NonNull::new(queue)?,
            commits: None,
            committing: false,
            headers: Vec::new(),
            wants_headers: true,
            wake: None,
            client,
        })
    }

    pub(in crate::kafka) fn client(&self) -> &T {
        &self.client
    }

    /// Notifies `wake` whenever the queue stops being empty. Edge-triggered: who is woken reads until
    /// [`next`](Self::next) says false.
    pub(in crate::kafka) fn notify(&mut self, wake: Arc<Notify>) {
        unsafe extern "C" fn nonempty(_: *mut bindings::rd_kafka_t, wake: *mut c_void) {
            // SAFETY: the pointer is that of the `Notify` which `EventQueue` holds until it has unset this
            // callback; librdkafka calls it under the queue's lock, so none is running after that.
            unsafe { &*wake.cast::<Notify>() }.notify_one();
        }
        let opaque = Arc::as_ptr(&wake).cast_mut().cast();
        for queue in self.queues() {
            // SAFETY: the queue is ours until `drop`, which unsets the callback before `wake` goes.
            unsafe { bindings::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(nonempty), opaque) };
        }
        self.wake = Some(wake);
    }

    /// Whether records have their headers from now on, or none.
    pub(in crate::kafka) fn set_headers_wanted(&mut self, wanted: bool) {
        self.wants_headers = wanted;
        self.headers.clear();
    }

    fn queues(&self) -> impl Iterator<Item = NonNull<bindings::rd_kafka_queue_t>> + use<T> {
        [Some(self.queue), self.commits].into_iter().flatten()
    }

    /// Takes the next event, if there is one, without waiting. False when the queue is empty.
    pub(in crate::kafka) fn next(&mut self, visit: impl FnOnce(Event<'_>)) -> bool {
        let Some(event) = self.end_of_commit().or_else(|| take(self.queue)) else {
            return false;
        };
        // SAFETY: the event is alive until the end of this function, after `visit` has returned.
        unsafe { read(event.0.as_ptr(), self.wants_headers, &mut self.headers, visit) };
        true
    }

    /// Takes the end of the commit that is under way, without waiting and past all that was fetched. False when there is
    /// none.
    pub(in crate::kafka) fn next_commit(&mut self, visit: impl FnOnce(Event<'_>)) -> bool {
        let Some(event) = self.end_of_commit() else {
            return false;
        };
        // SAFETY: as in `next`.
        unsafe { read(event.0.as_ptr(), self.wants_headers, &mut self.headers, visit) };
        true
    }

    fn end_of_commit(&mut self) -> Option<OwnedEvent> {
        let commits = self.commits.filter(|_| self.committing)?;
        let event = take(commits)?;
        self.committing = false;
        Some(event)
    }
}

/// The next event of a queue that is alive.
fn take(queue: NonNull<bindings::rd_kafka_queue_t>) -> Option<OwnedEvent> {
    // SAFETY: the queues of an `EventQueue` are its own until it is dropped.
    let event = unsafe { bindings::rd_kafka_queue_poll(queue.as_ptr(), 0) };
    NonNull::new(event).map(OwnedEvent)
}

impl<T> Drop for EventQueue<T> {
    fn drop(&mut self) {
        for queue in self.queues() {
            // SAFETY: the callback, if it is of this one, is unset before `wake` is dropped, and the reference taken
            // on creation is given back once, before the client goes.
            unsafe {
                if self.wake.is_some() {
                    bindings::rd_kafka_queue_cb_event_enable(queue.as_ptr(), None, ptr::null_mut());
                }
                bindings::rd_kafka_queue_destroy(queue.as_ptr());
            }
        }
    }
}

struct OwnedEvent(NonNull<bindings::rd_kafka_event_t>);

impl Drop for OwnedEvent {
    fn drop(&mut self) {
        // SAFETY: the event came from `rd_kafka_queue_poll` and is destroyed once.
        unsafe { bindings::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// Reads one event and gives it to `visit`.
///
/// # Safety
/// `event` is a live event that nobody else uses during this call.
unsafe fn read(
    event: *mut bindings::rd_kafka_event_t,
    wants_headers: bool,
    headers: &mut Vec<u8>,
    visit: impl FnOnce(Event<'_>),
) {
    // SAFETY: the event is alive and ours, here and below; what is taken from it lives as long as it does.
    match unsafe { bindings::rd_kafka_event_type(event) } {
        bindings::RD_KAFKA_EVENT_FETCH => {
            // SAFETY: as above; a fetch event has one message.
            let message = unsafe { bindings::rd_kafka_event_message_next(event).as_ref() };
            if let Some(message) = message {
                if wants_headers {
                    headers.clear();
                    // SAFETY: the message belongs to the event.
                    unsafe { pack_headers(message, headers) };
                }
                // SAFETY: as above.
                visit(Event::Record(unsafe { record(message, headers) }));
            }
        }
        bindings::RD_KAFKA_EVENT_ERROR => {
            // SAFETY: as above; the place is a copy that is destroyed once.
            unsafe {
                let place = bindings::rd_kafka_event_topic_partition(event);
                visit(error(event, place.as_ref()));
                if !place.is_null() {
                    bindings::rd_kafka_topic_partition_destroy(place);
                }
            }
        }
        bindings::RD_KAFKA_EVENT_REBALANCE => {
            // SAFETY: as above.
            let (error, places) = unsafe { (bindings::rd_kafka_event_error(event), places(event)) };
            visit(Event::Rebalance {
                assign: error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS,
                partitions: places.iter().map(place_of).collect(),
            });
        }
        bindings::RD_KAFKA_EVENT_OFFSET_COMMIT => {
            // SAFETY: as above.
            let (error, places) = unsafe { (bindings::rd_kafka_event_error(event), places(event)) };
            let failed = places.iter().filter_map(|place| {
                let (topic, partition) = place_of(place);
                Some((topic, partition, code(place.err)?))
            });
            visit(Event::Commit {
                error: code(error),
                failures: failed.collect(),
            });
        }
        bindings::RD_KAFKA_EVENT_DR => {
            // SAFETY: as above; a delivery report has at least one message.
            unsafe {
                let records = bindings::rd_kafka_event_message_count(event);
                let Some(first) = bindings::rd_kafka_event_message_next(event).as_ref() else {
                    return visit(Event::Other);
                };
                let (topic, partition) = (
                    borrow_text(bindings::rd_kafka_topic_name(first.rkt)),
                    first.partition,
                );
                visit(match code(bindings::rd_kafka_event_error(event)) {
                    Some(error) => Event::DeliveryFailed {
                        error,
                        topic,
                        partition,
                        records,
                    },
                    None => Event::Delivered {
                        topic,
                        partition,
                        next: behind(first.offset, records),
                    },
                });
            }
        }
        bindings::RD_KAFKA_EVENT_LOG => {
            let (mut level, mut facility, mut text) = (0, ptr::null(), ptr::null());
            // SAFETY: as above; a log event sets all three.
            unsafe {
                bindings::rd_kafka_event_log(event, &mut facility, &mut text, &mut level);
                visit(Event::Log {
                    level,
                    facility: borrow_text(facility),
                    text: borrow_text(text),
                });
            }
        }
        _ => visit(Event::Other),
    }
}

/// The offset behind a batch whose first record has this one.
///
/// When the broker has answered a repeated batch without its offset, librdkafka counts the offsets of its records
/// up from −1001, so that the last of a large batch seems to have a real one: only the first tells.
fn behind(first: i64, records: usize) -> Option<i64> {
    (first >= 0).then(|| first.saturating_add(i64::try_from(records).unwrap_or(i64::MAX)))
}

/// # Safety
/// `message` belongs to a live event.
unsafe fn record<'a>(message: &'a bindings::rd_kafka_message_t, headers: &'a [u8]) -> RecordRef<'a> {
    // SAFETY: what a message points to lives as long as its event.
    unsafe {
        RecordRef {
            topic: borrow_text(bindings::rd_kafka_topic_name(message.rkt)),
            partition: message.partition,
            offset: message.offset,
            timestamp: bindings::rd_kafka_message_timestamp(message, ptr::null_mut()),
            key: borrow_bytes(message.key, message.key_len),
            value: borrow_bytes(message.payload, message.len),
            headers: HeadersRef::new(headers),
        }
    }
}

/// # Safety
/// `message` belongs to a live event.
unsafe fn pack_headers(message: &bindings::rd_kafka_message_t, packed: &mut Vec<u8>) {
    let mut list = ptr::null_mut();
    // SAFETY: the list belongs to the message, as do the names and values in it.
    unsafe {
        if bindings::rd_kafka_message_headers(message, &mut list) != NO_ERROR {
            return;
        }
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        for at in 0.. {
            if bindings::rd_kafka_header_get_all(list, at, &mut name, &mut value, &mut length) != NO_ERROR {
                return;
            }
            pack_header(packed, borrow_text(name), borrow_bytes(value, length));
        }
    }
}

/// # Safety
/// `event` is a live error event and `place`, if any, is what it gave.
unsafe fn error<'a>(
    event: *mut bindings::rd_kafka_event_t,
    place: Option<&'a bindings::rd_kafka_topic_partition_t>,
) -> Event<'a> {
    // SAFETY: the texts belong to the event, the topic to the place; both outlive what is returned here,
    // which `read` hands on before it destroys them.
    unsafe {
        let error = bindings::rd_kafka_event_error(event);
        let at = place.map(|place| (borrow_text(place.topic), place.partition));
        match (error, at, place) {
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF, Some((topic, partition)), Some(place)) => {
                Event::EndOfPartition {
                    topic,
                    partition,
                    offset: place.offset,
                }
            }
            _ => Event::Error {
                error: error.into(),
                fatal: bindings::rd_kafka_event_error_is_fatal(event) != 0,
                text: borrow_text(bindings::rd_kafka_event_error_string(event)),
                at,
            },
        }
    }
}

/// The list of partitions that an event carries, empty when it has none.
///
/// # Safety
/// `event` is alive for `'a`.
unsafe fn places<'a>(event: *mut bindings::rd_kafka_event_t) -> &'a [bindings::rd_kafka_topic_partition_t] {
    // SAFETY: the list belongs to the event and has `cnt` initialised elements.
    unsafe {
        match bindings::rd_kafka_event_topic_partition_list(event).as_ref() {
            Some(list) if list.cnt > 0 => std::slice::from_raw_parts(list.elems, list.cnt as usize),
            _ => &[],
        }
    }
}

fn place_of(place: &bindings::rd_kafka_topic_partition_t) -> (String, i32) {
    // SAFETY: an element of a list owns its topic's name.
    let topic = unsafe { borrow_text(place.topic) };
    (topic.to_owned(), place.partition)
}

const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

pub(super) fn code(error: RDKafkaRespErr) -> Option<RDKafkaErrorCode> {
    (error != NO_ERROR).then(|| error.into())
}

#[cfg(test)]
mod tests {
    use super::behind;

    #[test]
    fn the_end_of_a_batch_is_known_when_its_first_offset_is() {
        assert_eq!(behind(0, 1), Some(1));
        assert_eq!(behind(40, 5), Some(45));
        assert_eq!(behind(-1, 1), None);
        assert_eq!(
            behind(-1001, 5000),
            None,
            "the last of these seems to have offset 3998"
        );
    }
}
