//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs: settings of topics, and a few of the broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, incremental_alter_configs_request,
    incremental_alter_configs_response,
};
use kafka_protocol::protocol::StrBytes;

use super::super::config::{KNOWN, Known, TopicConfig};
use super::super::state::State;
use super::super::topics::Refusal;
use super::text;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from.
const FROM_TOPIC: i8 = 1;
const FROM_BROKER: i8 = 4;
const FROM_DEFAULT: i8 = 5;

/// Settings and where they come from.
pub(crate) fn describe(state: &State, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request
        .resources
        .iter()
        .map(|resource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match describe_one(state, resource, request.include_synonyms) {
                Ok(configs) => result.with_configs(configs),
                Err(refusal) => result
                    .with_error_code(refusal.code.code())
                    .with_error_message(Some(text(refusal.message))),
            }
        })
        .collect();
    DescribeConfigsResponse::default().with_results(results)
}

fn describe_one(
    state: &State,
    resource: &DescribeConfigsResource,
    with_synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let is_wanted = |name: &str| {
        let keys = resource.configuration_keys.as_ref();
        keys.is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key.as_str() == name))
    };
    match resource.resource_type {
        TOPIC => {
            let topic = topic(state, &resource.resource_name)?;
            let wanted = KNOWN.iter().filter(|known| is_wanted(known.name));
            Ok(wanted
                .map(|known| describe_topic_setting(known, topic, with_synonyms))
                .collect())
        }
        BROKER => {
            let wanted = broker_settings(state)
                .into_iter()
                .filter(|(name, _)| is_wanted(name));
            Ok(wanted
                .map(|(name, value)| setting(name, value, FROM_BROKER).with_read_only(true))
                .collect())
        }
        other => Err(unknown_resource(other)),
    }
}

fn describe_topic_setting(
    known: &Known,
    config: &TopicConfig,
    with_synonyms: bool,
) -> DescribeConfigsResourceResult {
    let set = config.set(known.name);
    let source = if set.is_some() { FROM_TOPIC } else { FROM_DEFAULT };
    let mut result = setting(known.name, set.unwrap_or(known.default).to_owned(), source)
        .with_config_type(known.kind.code());
    if with_synonyms {
        let synonym = |value: &str, source| {
            DescribeConfigsSynonym::default()
                .with_name(text(known.name))
                .with_value(Some(text(value)))
                .with_source(source)
        };
        result
            .synonyms
            .extend(set.map(|value| synonym(value, FROM_TOPIC)));
        result.synonyms.push(synonym(known.default, FROM_DEFAULT));
    }
    result
}

fn setting(name: &str, value: String, source: i8) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_config_source(source)
}

fn broker_settings(state: &State) -> Vec<(&'static str, String)> {
    let delay = state.identity.initial_rebalance_delay.as_millis();
    vec![
        (
            "auto.create.topics.enable",
            state.identity.auto_create_topics.to_string(),
        ),
        ("default.replication.factor", "1".to_owned()),
        ("group.initial.rebalance.delay.ms", delay.to_string()),
        ("num.partitions", "1".to_owned()),
    ]
}

fn topic<'a>(state: &'a State, name: &str) -> Result<&'a TopicConfig, Refusal> {
    let found = state.topics.get(name).map(|topic| &topic.config);
    found.ok_or_else(|| {
        Refusal::new(
            ResponseError::UnknownTopicOrPartition,
            format!("There is no topic {name}."),
        )
    })
}

fn unknown_resource(kind: i8) -> Refusal {
    Refusal::new(
        ResponseError::InvalidRequest,
        format!("Resources of type {kind} have no settings in this broker."),
    )
}

/// Puts settings in place of all that a topic has.
pub(crate) fn alter(state: &mut State, request: &AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::new();
    for resource in &request.resources {
        let pairs = resource
            .configs
            .iter()
            .filter_map(|config| Some((&*config.name, &**config.value.as_ref()?)));
        let apply = |_: &TopicConfig| TopicConfig::new(pairs);
        let result = change(
            state,
            resource.resource_type,
            &resource.resource_name,
            request.validate_only,
            apply,
        );
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        responses.push(match result {
            Ok(()) => response,
            Err(refusal) => response
                .with_error_code(refusal.code.code())
                .with_error_message(Some(text(refusal.message))),
        });
    }
    AlterConfigsResponse::default().with_responses(responses)
}

/// Sets, unsets, or changes the lists of single settings of a topic.
pub(crate) fn alter_incrementally(
    state: &mut State,
    request: &IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::new();
    for resource in &request.resources {
        let apply = |config: &TopicConfig| apply_changes(config, &resource.configs);
        let result = change(
            state,
            resource.resource_type,
            &resource.resource_name,
            request.validate_only,
            apply,
        );
        let response = incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        responses.push(match result {
            Ok(()) => response,
            Err(refusal) => response
                .with_error_code(refusal.code.code())
                .with_error_message(Some(text(refusal.message))),
        });
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn change(
    state: &mut State,
    kind: i8,
    name: &StrBytes,
    validate_only: bool,
    apply: impl FnOnce(&TopicConfig) -> Result<TopicConfig, String>,
) -> Result<(), Refusal> {
    if kind != TOPIC {
        return Err(unknown_resource(kind));
    }
    let changed =
        apply(topic(state, name)?).map_err(|why| Refusal::new(ResponseError::InvalidConfig, why))?;
    if !validate_only && let Some(topic) = state.topics.get_mut(name) {
        topic.config = changed;
    }
    Ok(())
}

fn apply_changes(
    config: &TopicConfig,
    changes: &[incremental_alter_configs_request::AlterableConfig],
) -> Result<TopicConfig, String> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;
    let mut result = config.clone();
    for change in changes {
        let name = change.name.as_str();
        let default = KNOWN
            .iter()
            .find(|known| known.name == name)
            .map_or("", |known| known.default);
        let before: Vec<&str> = config
            .set(name)
            .unwrap_or(default)
            .split(',')
            .filter(|w| !w.is_empty())
            .collect();
        let words: Vec<&str> = change.value.as_deref().unwrap_or_default().split(',').collect();
        let value = match (change.config_operation, &change.value) {
            (SET, Some(value)) => Some(value.to_string()),
            (DELETE, _) => None,
            (APPEND, Some(_)) => {
                let new = words.iter().filter(|word| !before.contains(word));
                Some(before.iter().chain(new).copied().collect::<Vec<_>>().join(","))
            }
            (SUBTRACT, Some(_)) => {
                let kept = before.iter().filter(|word| !words.contains(word));
                Some(kept.copied().collect::<Vec<_>>().join(","))
            }
            _ => {
                return Err(format!(
                    "Unknown operation or missing value for configuration {name}"
                ));
            }
        };
        result = result.changed([(name, value.as_deref())])?;
    }
    Ok(result)
}
