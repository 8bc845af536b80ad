//! The requests that the broker answers, their versions, and the way to the handler of each.
//!
//! One file a family. A handler translates between the protocol's structs and the broker's state; what
//! may happen is decided in the state's own modules. The version ranges are those that librdkafka 2.12
//! can use, cut where a version would need something this broker has not (topic ids in Fetch).

use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages as k;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::frame::{Failed, Guarded};
use super::state::{Answer, Caller, Now, State};

pub(crate) mod committed;
pub(crate) mod configs;
pub(crate) mod fetch;
pub(crate) mod groups;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod records;
pub(crate) mod topics;
pub(crate) mod transactions;
pub(crate) mod versions;

/// The versions of one API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Supported {
    pub(crate) key: k::ApiKey,
    pub(crate) min: i16,
    pub(crate) max: i16,
}

macro_rules! apis {
    ($($api:ident $request:ident $response:ident $min:literal $max:literal;)*) => {
        /// A decoded request.
        #[derive(Debug)]
        #[allow(clippy::large_enum_variant, reason = "moved once, from the frame to its handler")]
        #[allow(dead_code, reason = "two requests say nothing that matters here")]
        pub(crate) enum Request { $($api(k::$request),)* }

        /// An answer, not yet encoded.
        #[derive(Debug)]
        #[allow(clippy::large_enum_variant, reason = "moved once, from the handler to its frame")]
        pub(crate) enum Response { $($api(k::$response),)* }

        /// What the broker speaks.
        pub(crate) const SUPPORTED: &[Supported] =
            &[$(Supported { key: k::ApiKey::$api, min: $min, max: $max },)*];

        impl Request {
            /// Reads the body of a request.
            pub(crate) fn decode(key: k::ApiKey, version: i16, body: &mut Guarded) -> Result<Self, Failed> {
                match key {
                    $(k::ApiKey::$api => Ok(Self::$api(
                        k::$request::decode(body, version).map_err(Failed::codec)?,
                    )),)*
                    _ => Err(Failed::UnknownApi),
                }
            }
        }

        impl Response {
            pub(crate) fn key(&self) -> k::ApiKey {
                match self { $(Self::$api(_) => k::ApiKey::$api,)* }
            }

            /// Writes the body of an answer.
            pub(crate) fn encode(&self, version: i16, out: &mut BytesMut) -> Result<(), Failed> {
                match self {
                    $(Self::$api(body) => body.encode(out, version).map_err(Failed::codec),)*
                }
            }
        }

        $(impl From<k::$request> for Request {
            fn from(body: k::$request) -> Self {
                Self::$api(body)
            }
        })*

        $(impl From<k::$response> for Response {
            fn from(body: k::$response) -> Self {
                Self::$api(body)
            }
        })*
    };
}

apis! {
    Produce ProduceRequest ProduceResponse 3 10;
    Fetch FetchRequest FetchResponse 4 12;
    ListOffsets ListOffsetsRequest ListOffsetsResponse 1 7;
    Metadata MetadataRequest MetadataResponse 0 12;
    OffsetCommit OffsetCommitRequest OffsetCommitResponse 2 8;
    OffsetFetch OffsetFetchRequest OffsetFetchResponse 1 7;
    FindCoordinator FindCoordinatorRequest FindCoordinatorResponse 0 2;
    JoinGroup JoinGroupRequest JoinGroupResponse 0 5;
    Heartbeat HeartbeatRequest HeartbeatResponse 0 3;
    LeaveGroup LeaveGroupRequest LeaveGroupResponse 0 4;
    SyncGroup SyncGroupRequest SyncGroupResponse 0 4;
    DescribeGroups DescribeGroupsRequest DescribeGroupsResponse 0 5;
    ListGroups ListGroupsRequest ListGroupsResponse 0 4;
    ApiVersions ApiVersionsRequest ApiVersionsResponse 0 3;
    CreateTopics CreateTopicsRequest CreateTopicsResponse 2 4;
    DeleteTopics DeleteTopicsRequest DeleteTopicsResponse 1 5;
    DeleteRecords DeleteRecordsRequest DeleteRecordsResponse 0 2;
    InitProducerId InitProducerIdRequest InitProducerIdResponse 0 4;
    AddPartitionsToTxn AddPartitionsToTxnRequest AddPartitionsToTxnResponse 0 3;
    AddOffsetsToTxn AddOffsetsToTxnRequest AddOffsetsToTxnResponse 0 3;
    EndTxn EndTxnRequest EndTxnResponse 0 3;
    TxnOffsetCommit TxnOffsetCommitRequest TxnOffsetCommitResponse 0 3;
    OffsetForLeaderEpoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse 2 4;
    DescribeConfigs DescribeConfigsRequest DescribeConfigsResponse 1 4;
    AlterConfigs AlterConfigsRequest AlterConfigsResponse 0 2;
    CreatePartitions CreatePartitionsRequest CreatePartitionsResponse 0 3;
    DeleteGroups DeleteGroupsRequest DeleteGroupsResponse 0 2;
    IncrementalAlterConfigs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse 0 1;
    OffsetDelete OffsetDeleteRequest OffsetDeleteResponse 0 0;
    DescribeCluster DescribeClusterRequest DescribeClusterResponse 0 0;
}

/// Whether the broker speaks this version of this API.
pub(crate) fn is_supported(key: k::ApiKey, version: i16) -> bool {
    SUPPORTED
        .iter()
        .any(|api| api.key == key && (api.min..=api.max).contains(&version))
}

/// Sends a request to its handler.
pub(crate) fn handle(state: &mut State, now: Now, caller: &Caller, request: Request) -> Answer {
    let response: Response = match request {
        Request::Produce(request) => return produce::produce(state, now, &request),
        Request::Fetch(request) => return fetch::fetch(state, now, caller, request),
        Request::JoinGroup(request) => return groups::join(state, now, caller, request),
        Request::SyncGroup(request) => return groups::sync(state, now, caller, request),
        Request::ApiVersions(_) => versions::versions().into(),
        Request::Metadata(request) => metadata::metadata(state, now, &request, caller.version).into(),
        Request::DescribeCluster(_) => metadata::cluster(state).into(),
        Request::FindCoordinator(request) => metadata::coordinator(state, &request).into(),
        Request::CreateTopics(request) => topics::create(state, now, &request).into(),
        Request::DeleteTopics(request) => topics::delete(state, &request).into(),
        Request::CreatePartitions(request) => topics::create_partitions(state, &request).into(),
        Request::DescribeConfigs(request) => configs::describe(state, &request).into(),
        Request::AlterConfigs(request) => configs::alter(state, &request).into(),
        Request::IncrementalAlterConfigs(request) => configs::alter_incrementally(state, &request).into(),
        Request::InitProducerId(request) => {
            transactions::init_producer_id(state, now, &request, caller.version).into()
        }
        Request::AddPartitionsToTxn(request) => {
            transactions::add_partitions(state, now, &request, caller.version).into()
        }
        Request::AddOffsetsToTxn(request) => {
            transactions::add_offsets(state, now, &request, caller.version).into()
        }
        Request::TxnOffsetCommit(request) => transactions::commit_offsets(state, &request).into(),
        Request::EndTxn(request) => transactions::end(state, now, &request, caller.version).into(),
        Request::ListOffsets(request) => offsets::list(state, &request, caller.version).into(),
        Request::OffsetForLeaderEpoch(request) => offsets::for_leader_epoch(state, &request).into(),
        Request::DeleteRecords(request) => records::delete(state, &request).into(),
        Request::Heartbeat(request) => groups::heartbeat(state, now, &request).into(),
        Request::LeaveGroup(request) => groups::leave(state, now, &request, caller.version).into(),
        Request::ListGroups(request) => groups::list(state, &request).into(),
        Request::DescribeGroups(request) => groups::describe(state, &request).into(),
        Request::DeleteGroups(request) => groups::delete(state, &request).into(),
        Request::OffsetCommit(request) => committed::commit(state, now, &request).into(),
        Request::OffsetFetch(request) => committed::fetch(state, &request).into(),
        Request::OffsetDelete(request) => committed::delete(state, &request).into(),
    };
    Answer::Ready(response)
}

/// The code of what went wrong; 0 for nothing.
pub(crate) fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

pub(crate) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}
