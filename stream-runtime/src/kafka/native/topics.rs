//! Sending by topic handle.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use hashbrown::HashMap;
use rdkafka::bindings;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::queue::{EventQueue, code};
use crate::kafka::{KeyedValues, OutgoingRecord};
use crate::record::HeadersRef;

/// A producer's handles of the topics it has sent to.
///
/// `rd_kafka_producev` with a topic's *name* takes the client's write lock and searches its topics at
/// every record; with a handle it does neither.
pub(in crate::kafka) struct TopicHandles<C: ProducerContext> {
    handles: Vec<Handle>,
    /// Where each topic's is among them.
    places: HashMap<Arc<str>, usize, foldhash::fast::RandomState>,
    /// The topic of the last record and its place: the next is mostly for the same.
    last: Option<(Arc<str>, usize)>,
    /// Dropped last: the handles are part of the client in it.
    queue: EventQueue<Arc<BaseProducer<C>>>,
}

/// `RD_KAFKA_PARTITION_UA`, a macro with a cast that the bindings leave out.
const ANY_PARTITION: i32 = -1;

/// Why librdkafka did not take a record.
#[derive(Debug, Clone, Copy)]
pub(in crate::kafka) enum Refusal {
    Code(RDKafkaErrorCode),
    /// The topic's name has a NUL in it or is none.
    Name,
}

struct Handle(NonNull<bindings::rd_kafka_topic_t>);

// SAFETY: librdkafka's topic handles may be used from any thread.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the reference from `rd_kafka_topic_new` is given back once.
        unsafe { bindings::rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

impl<C: ProducerContext> TopicHandles<C> {
    pub(in crate::kafka) fn new(queue: EventQueue<Arc<BaseProducer<C>>>) -> Self {
        Self {
            handles: Vec::new(),
            places: HashMap::default(),
            last: None,
            queue,
        }
    }

    pub(in crate::kafka) fn client(&self) -> &Arc<BaseProducer<C>> {
        self.queue.client()
    }

    pub(in crate::kafka) fn queue(&mut self) -> &mut EventQueue<Arc<BaseProducer<C>>> {
        &mut self.queue
    }

    /// Queues one record; its bytes are copied.
    pub(in crate::kafka) fn produce(&mut self, record: &OutgoingRecord<'_>) -> Result<(), Refusal> {
        let client = self.client().client().native_ptr();
        let topic = self.handle(record.topic)?;
        let headers = (!record.headers.is_empty()).then(|| HeaderList::new(record.headers));
        let (key, key_length) = parts(record.key);
        let (value, value_length) = parts(record.value);
        // SAFETY: the handle belongs to this client; key and value are copied before the call returns; the
        // header list is the client's when it succeeds and stays ours when it fails.
        let error = unsafe {
            bindings::rd_kafka_producev(
                client,
                bindings::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
                topic.as_ptr(),
                bindings::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
                record.partition.unwrap_or(ANY_PARTITION),
                bindings::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                bindings::RD_KAFKA_MSG_F_COPY,
                bindings::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
                value,
                value_length,
                bindings::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
                key,
                key_length,
                bindings::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp.unwrap_or(0),
                bindings::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
                headers
                    .as_ref()
                    .map_or(ptr::null_mut(), |headers| headers.0.as_ptr()),
                bindings::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
            )
        };
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(Refusal::Code(error.into()));
        }
        // The record has them now.
        std::mem::forget(headers);
        Ok(())
    }

    /// Queues records for one partition, up to the first that is not taken; gives how many were. After one that can never be
    /// taken some may have been queued all the same. The partition is looked up and the clock read once for many records.
    pub(in crate::kafka) fn produce_all(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        records: &mut KeyedValues<'_>,
    ) -> usize {
        let Ok(topic) = self.handle(topic) else {
            return 0;
        };
        let mut batch = Vec::with_capacity(AT_ONCE);
        let mut taken = 0;
        loop {
            batch.clear();
            batch.extend(records.take(AT_ONCE).map(|(key, value)| message(key, value)));
            // SAFETY: the handle belongs to this client, which is alive; keys and values outlive the call, which copies
            // them, and writes into the messages' errors alone.
            unsafe {
                bindings::rd_kafka_produce_batch(
                    topic.as_ptr(),
                    partition,
                    bindings::RD_KAFKA_MSG_F_COPY,
                    batch.as_mut_ptr(),
                    i32::try_from(batch.len()).expect("few are sent at once"),
                );
            }
            let is_taken = |message: &&bindings::rd_kafka_message_t| code(message.err).is_none();
            let these = batch.iter().take_while(is_taken).count();
            taken += these;
            if these < AT_ONCE {
                return taken;
            }
        }
    }

    fn handle(&mut self, name: &Arc<str>) -> Result<NonNull<bindings::rd_kafka_topic_t>, Refusal> {
        let place = match &self.last {
            Some((last, place)) if Arc::ptr_eq(last, name) => *place,
            _ => {
                let place = match self.places.get(name) {
                    Some(place) => *place,
                    None => self.open(name)?,
                };
                self.last = Some((Arc::clone(name), place));
                place
            }
        };
        Ok(self.handles[place].0)
    }

    fn open(&mut self, name: &Arc<str>) -> Result<usize, Refusal> {
        let text = CString::new(name.as_bytes()).map_err(|_| Refusal::Name)?;
        let client = self.client().client().native_ptr();
        // SAFETY: the client is alive; no configuration means the client's default for topics.
        let topic = unsafe { bindings::rd_kafka_topic_new(client, text.as_ptr(), ptr::null_mut()) };
        let place = self.handles.len();
        self.handles
            .push(Handle(NonNull::new(topic).ok_or(Refusal::Name)?));
        self.places.insert(Arc::clone(name), place);
        Ok(place)
    }
}

/// So many records are given to librdkafka in one call.
const AT_ONCE: usize = 128;

/// A record for [`rd_kafka_produce_batch`](bindings::rd_kafka_produce_batch), which says the topic and the partition.
fn message(key: &[u8], value: Option<&[u8]>) -> bindings::rd_kafka_message_t {
    let (key, key_len) = parts(Some(key));
    let (payload, len) = parts(value);
    bindings::rd_kafka_message_t {
        err: RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition: ANY_PARTITION,
        payload,
        len,
        key,
        key_len,
        offset: 0,
        _private: ptr::null_mut(),
    }
}

/// A pointer and a length; the pointer is null for `None` alone, since empty is not null to Kafka.
fn parts(bytes: Option<&[u8]>) -> (*mut std::ffi::c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| {
        (bytes.as_ptr().cast_mut().cast(), bytes.len())
    })
}

struct HeaderList(NonNull<bindings::rd_kafka_headers_t>);

impl HeaderList {
    fn new(packed: &[u8]) -> Self {
        // SAFETY: the list is created here; names and values are copied into it.
        unsafe {
            let list = bindings::rd_kafka_headers_new(4);
            for (name, value) in HeadersRef::new(packed).iter() {
                let (value, length) = parts(value);
                bindings::rd_kafka_header_add(
                    list,
                    name.as_ptr().cast(),
                    name.len().cast_signed(),
                    value,
                    length.cast_signed(),
                );
            }
            Self(NonNull::new(list).expect("librdkafka aborts when memory ends"))
        }
    }
}

impl Drop for HeaderList {
    fn drop(&mut self) {
        // SAFETY: the list is ours, since no record took it.
        unsafe { bindings::rd_kafka_headers_destroy(self.0.as_ptr()) }
    }
}
