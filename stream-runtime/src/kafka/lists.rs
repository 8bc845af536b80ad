//! Partitions as librdkafka takes them.

use std::sync::Arc;

use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{CommitOffset, StartOffset, TopicPartition};

/// One list for librdkafka, without offsets.
pub(super) fn list_of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for at in partitions {
        list.add_partition(&at.topic, at.partition);
    }
    list
}

/// One list for librdkafka, with the offsets at which to start.
pub(super) fn list_from<'a>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, Offset)>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (at, offset) in partitions {
        let set: Result<(), KafkaError> = list.add_partition(&at.topic, at.partition).set_offset(offset);
        set.expect("these offsets can be represented");
    }
    list
}

/// Where to start, for librdkafka; `None` where that has to be asked of the group.
pub(super) fn offset_of(start: StartOffset) -> Option<Offset> {
    match start {
        StartOffset::Committed => None,
        StartOffset::Beginning => Some(Offset::Beginning),
        StartOffset::At(offset) => Some(Offset::Offset(offset.max(0))),
    }
}

/// As many of these as it is known of where to start.
pub(super) fn starts_of(
    partitions: &[(TopicPartition, StartOffset)],
) -> impl Iterator<Item = (&TopicPartition, Offset)> {
    let starts = partitions.iter();
    starts.filter_map(|(at, start)| Some((at, offset_of(*start)?)))
}

/// One list for librdkafka, with the offsets to commit.
///
/// # Errors
/// When an offset is negative.
pub(super) fn list_with(offsets: &[CommitOffset]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for offset in offsets {
        let mut element = list.add_partition(&offset.at.topic, offset.at.partition);
        element.set_offset(Offset::Offset(offset.offset))?;
        // Each call allocates, and an empty one means the same as none.
        if !offset.metadata.is_empty() {
            element.set_metadata(&offset.metadata);
        }
    }
    Ok(list)
}

/// `topic[0], topic[1]`, for messages.
pub(super) fn named<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> String {
    let names = partitions
        .into_iter()
        .map(|at| format!("{}[{}]", at.topic, at.partition))
        .collect::<Vec<_>>();
    if names.is_empty() {
        "no partition".to_owned()
    } else {
        names.join(", ")
    }
}

/// The same places, with one allocation a topic.
pub(super) fn shared_names(partitions: Vec<(String, i32)>) -> Vec<TopicPartition> {
    let mut last: Option<Arc<str>> = None;
    partitions
        .into_iter()
        .map(|(topic, partition)| {
            let topic = match &last {
                Some(last) if **last == *topic => Arc::clone(last),
                _ => last.insert(Arc::from(topic)).clone(),
            };
            TopicPartition { topic, partition }
        })
        .collect()
}
