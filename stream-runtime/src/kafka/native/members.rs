//! Who a consumer is in its group, and what is committed for it.

use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka::bindings;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode;

use super::queue::code;
use super::{borrow_bytes, borrow_text};
use crate::kafka::{CommitOffset, TopicPartition};

/// A member of a group in one generation.
pub(in crate::kafka) struct Member(NonNull<bindings::rd_kafka_consumer_group_metadata_t>);

// SAFETY: a plain value of which this is the only owner, and which nothing changes.
unsafe impl Send for Member {}

impl Member {
    /// # Safety
    /// `member` is null or a value that is given to this one to own.
    pub(super) unsafe fn own(member: *mut bindings::rd_kafka_consumer_group_metadata_t) -> Option<Self> {
        NonNull::new(member).map(Self)
    }

    pub(super) fn ptr(&self) -> *const bindings::rd_kafka_consumer_group_metadata_t {
        self.0.as_ptr()
    }

    /// Negative outside any generation. Under the newer protocol, the member's epoch.
    pub(in crate::kafka) fn generation(&self) -> i32 {
        // SAFETY: the value is alive.
        unsafe { bindings::rd_kafka_consumer_group_metadata_generation_id(self.ptr()) }
    }

    /// The name that the broker knows it by.
    pub(in crate::kafka) fn id(&self) -> &str {
        // SAFETY: the text belongs to the value, which lives as long as the borrow.
        unsafe { borrow_text(bindings::rd_kafka_consumer_group_metadata_member_id(self.ptr())) }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SAFETY: the value is ours and is destroyed once.
        unsafe { bindings::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

/// The elements of a list of committed offsets, each with its own error. The wrapper would panic at metadata that is
/// no UTF-8, which another tool may have written.
pub(in crate::kafka) fn committed_in(
    list: &TopicPartitionList,
) -> Vec<(CommitOffset, Option<RDKafkaErrorCode>)> {
    // SAFETY: the list is alive, and has `cnt` initialised elements, whose names and metadata belong to it.
    unsafe {
        let list = &*list.ptr();
        let count = usize::try_from(list.cnt).unwrap_or_default();
        let elements = match count {
            0 => &[],
            count => std::slice::from_raw_parts(list.elems, count),
        };
        let offsets = elements.iter().map(|element| {
            let metadata = borrow_bytes(element.metadata, element.metadata_size).unwrap_or_default();
            let offset = CommitOffset {
                at: TopicPartition {
                    topic: Arc::from(borrow_text(element.topic)),
                    partition: element.partition,
                },
                offset: element.offset,
                metadata: String::from_utf8_lossy(metadata).into_owned(),
            };
            (offset, code(element.err))
        });
        offsets.collect()
    }
}
