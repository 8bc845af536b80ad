//! ApiVersions.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};

use super::{SUPPORTED, Supported};

/// The versions that the broker speaks.
pub(crate) fn versions() -> ApiVersionsResponse {
    let describe = |api: &Supported| {
        // librdkafka takes a Produce that does not begin at 0 for a broker without compression; Apache
        // Kafka, which does not speak those versions either, claims them for the same reason.
        let min = if api.key == ApiKey::Produce { 0 } else { api.min };
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(min)
            .with_max_version(api.max)
    };
    ApiVersionsResponse::default().with_api_keys(SUPPORTED.iter().map(describe).collect())
}
