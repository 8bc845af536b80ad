//! Who a consumer is in its group.

/// What [`GroupMembership`](crate::kafka::GroupMembership) holds: goes with the offsets of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) group: String,
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    pub(crate) instance_id: Option<String>,
}
