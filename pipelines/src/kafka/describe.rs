//! What clients ask besides reading and writing: versions, brokers, topics, settings, producer ids; and what is refused, each with
//! a code on which clients give up instead of trying for ever.

use super::connection::Context;
use super::errors::Refusal;
use super::request::ADVERTISED;
use super::session::{Session, key_may_in};
use crate::live::Live;
use crate::spec::SHARDS_MAX;
use crate::{PipelineSpec, Result, StreamSpec};
use cistern_access::Action;
use cistern_types::PipelineName;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, CreateTopicsRequest, CreateTopicsResponse, DescribeClusterResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::str::FromStr;
use std::sync::Arc;

/// The code for a version that is not answered.
pub(super) const UNSUPPORTED_VERSION: i16 = ResponseError::UnsupportedVersion.code();

/// There is one broker, this process.
const BROKER: BrokerId = BrokerId(1);

/// FindCoordinator asks for groups, or for transactions.
const TRANSACTION_KEY: i8 = 1;

const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;

/// The versions there are.
pub(super) fn api_versions(error_code: i16) -> ApiVersionsResponse {
    let listed = ADVERTISED.iter().map(|(api, first, last)| {
        ApiVersion::default().with_api_key(api.number()).with_min_version(*first).with_max_version(*last)
    });
    ApiVersionsResponse::default().with_error_code(error_code).with_api_keys(listed.collect())
}

/// Host and port under which this client shall find the broker.
fn address(context: &Context) -> (StrBytes, i32) {
    match &context.kafka.config.advertised {
        Some((host, port)) => (StrBytes::from_string(host.clone()), i32::from(*port)),
        None => (StrBytes::from_string(context.local.ip().to_string()), i32::from(context.local.port())),
    }
}

/// Brokers and topics.
pub(super) async fn metadata(
    context: &Context,
    session: &Session,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    // In version 0 no topics means all of them.
    let asked = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let directory = &context.kafka.parts.directory;
    let mut topics = Vec::new();
    match asked {
        None => {
            for live in directory.all() {
                if let Ok(true) = may_see(context, session, &live).await {
                    topics.push(topic(&live, version));
                }
            }
        }
        Some(asked) => {
            for asked in asked {
                let live = if let Some(name) = &asked.name {
                    name.parse::<PipelineName>().ok().and_then(|name| directory.find(&name).ok())
                } else {
                    let id = asked.topic_id.simple().to_string();
                    directory.all().into_iter().find(|live| live.id().to_string() == id)
                };
                let seen = match live {
                    None if asked.name.is_none() => Err(ResponseError::UnknownTopicId.into()),
                    None => Err(ResponseError::UnknownTopicOrPartition.into()),
                    Some(live) => match may_see(context, session, &live).await {
                        Ok(true) => Ok(live),
                        Ok(false) => Err(ResponseError::TopicAuthorizationFailed.into()),
                        Err(error) => Err(Refusal::from(error)),
                    },
                };
                topics.push(match seen {
                    Ok(live) => topic(&live, version),
                    Err(refusal) => {
                        let response = MetadataResponseTopic::default().with_error_code(refusal.error.code());
                        let name = asked.name.or_else(|| (version < 12).then(TopicName::default));
                        let response = response.with_name(name);
                        if version >= 10 { response.with_topic_id(asked.topic_id) } else { response }
                    }
                });
            }
        }
    }
    let (host, port) = address(context);
    let broker = MetadataResponseBroker::default().with_node_id(BROKER).with_host(host).with_port(port);
    let response = MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics);
    let response = if version >= 1 { response.with_controller_id(BROKER) } else { response };
    if version >= 2 { response.with_cluster_id(Some(cluster_id(context))) } else { response }
}

async fn may_see(context: &Context, session: &Session, live: &Live) -> Result<bool> {
    if live.record().draining {
        return Ok(false);
    }
    Ok(session.may_write(&context.kafka, live).await? || session.may_read(&context.kafka, live).await?)
}

fn cluster_id(context: &Context) -> StrBytes {
    StrBytes::from_string(context.kafka.config.cluster_id.clone())
}

/// The id of a topic is the id of this life of the pipeline.
fn topic_id<T: FromStr + Default>(live: &Live) -> T {
    live.id().to_string().parse().unwrap_or_default()
}

fn topic(live: &Arc<Live>, version: i16) -> MetadataResponseTopic {
    let record = live.record();
    let partitions = (0..record.spec.shards).map(|shard| {
        let partition = MetadataResponsePartition::default()
            .with_partition_index(i32::from(shard))
            .with_leader_id(BROKER)
            .with_replica_nodes(vec![BROKER])
            .with_isr_nodes(vec![BROKER]);
        if version >= 7 { partition.with_leader_epoch(0) } else { partition }
    });
    let response = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(record.name.to_string()))))
        .with_partitions(partitions.collect());
    if version >= 10 { response.with_topic_id(topic_id(live)) } else { response }
}

/// The broker.
pub(super) fn describe_cluster(context: &Context, version: i16) -> DescribeClusterResponse {
    let (host, port) = address(context);
    let broker = DescribeClusterBroker::default().with_broker_id(BROKER).with_host(host).with_port(port);
    let response = DescribeClusterResponse::default()
        .with_cluster_id(cluster_id(context))
        .with_controller_id(BROKER)
        .with_brokers(vec![broker]);
    if version >= 1 { response.with_endpoint_type(1) } else { response }
}

/// The few settings that clients look at, of topics they may see and of the broker.
pub(super) async fn describe_configs(
    context: &Context,
    session: &Session,
    request: DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResponse {
    let mut results = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        let error = match resource.resource_type {
            BROKER_RESOURCE => None,
            TOPIC_RESOURCE => {
                let name = resource.resource_name.parse::<PipelineName>().ok();
                let live = name.and_then(|name| context.kafka.parts.directory.find(&name).ok());
                match live {
                    None => Some(ResponseError::UnknownTopicOrPartition),
                    Some(live) => match may_see(context, session, &live).await {
                        Ok(true) => None,
                        Ok(false) => Some(ResponseError::TopicAuthorizationFailed),
                        Err(error) => Some(Refusal::from(error).error),
                    },
                }
            }
            _ => Some(ResponseError::InvalidRequest),
        };
        results.push(match error {
            Some(error) => result.with_error_code(error.code()),
            None => result.with_configs(settings(
                context,
                resource.configuration_keys.as_deref().unwrap_or_default(),
                version,
            )),
        });
    }
    DescribeConfigsResponse::default().with_results(results)
}

/// Those that are asked for; all when none is named.
fn settings(context: &Context, wanted: &[StrBytes], version: i16) -> Vec<DescribeConfigsResourceResult> {
    const DEFAULT_SOURCE: i8 = 5;
    let is_asked = |name: &str| wanted.is_empty() || wanted.iter().any(|asked| asked.as_str() == name);
    let asked = all_settings(context).into_iter().filter(|(name, _)| is_asked(name));
    asked
        .map(|(name, value)| {
            let result = DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_string(value)))
                .with_read_only(true);
            if version >= 1 { result.with_config_source(DEFAULT_SOURCE) } else { result }
        })
        .collect()
}

/// What Kafka calls the settings of a topic, and what they are here, for every topic.
fn all_settings(context: &Context) -> [(&'static str, String); 5] {
    let bytes_max = context.kafka.parts.config.body_bytes_max.to_string();
    [
        ("cleanup.policy", "delete".to_owned()),
        ("max.message.bytes", bytes_max.clone()),
        ("message.max.bytes", bytes_max),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("min.insync.replicas", "1".to_owned()),
    ]
}

/// A producer id that nobody else has.
pub(super) async fn init_producer_id(
    context: &Context,
    request: &InitProducerIdRequest,
    client_id: Option<&str>,
) -> InitProducerIdResponse {
    let refused = |error: ResponseError| {
        InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id((-1).into())
            .with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        tracing::warn!(client_id, "a Kafka client asked for transactions, which are not supported");
        return refused(ResponseError::TransactionalIdAuthorizationFailed);
    }
    match context.kafka.producer_ids.next(&context.kafka.parts.objects).await {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(id.into()).with_producer_epoch(0),
        Err(error) => refused(Refusal::from(error).error),
    }
}

/// There are no groups and no transactions to coordinate.
pub(super) fn find_coordinator(request: &FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    let (error, text) = if request.key_type == TRANSACTION_KEY {
        (ResponseError::TransactionalIdAuthorizationFailed, "transactions are not supported")
    } else {
        (
            ResponseError::GroupAuthorizationFailed,
            "consumer groups are not supported: assign partitions and read without a group",
        )
    };
    let text = Some(StrBytes::from_static_str(text));
    let response = FindCoordinatorResponse::default();
    if version >= 4 {
        let refused = |key: &StrBytes| {
            let coordinator = Coordinator::default().with_key(key.clone()).with_node_id((-1).into()).with_port(-1);
            coordinator.with_error_code(error.code()).with_error_message(text.clone())
        };
        return response.with_coordinators(request.coordinator_keys.iter().map(refused).collect());
    }
    let response = response.with_error_code(error.code()).with_node_id((-1).into()).with_port(-1);
    if version >= 1 { response.with_error_message(text) } else { response }
}

/// Makes pipelines as the template says, where there is one.
pub(super) async fn create_topics(
    context: &Context,
    session: &Session,
    request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let made = create_topic(context, session, &topic, request.validate_only).await;
        let result = CreatableTopicResult::default().with_name(topic.name);
        results.push(match made {
            Ok(spec) if version >= 5 => result
                .with_num_partitions(i32::from(spec.stream.shards))
                .with_replication_factor(1)
                .with_configs(Some(Vec::new())),
            Ok(_) => result,
            Err(Refusal { error, text }) => {
                let result = result.with_error_code(error.code()).with_error_message(text.map(StrBytes::from_string));
                if version >= 5 { result.with_configs(Some(Vec::new())) } else { result }
            }
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

async fn create_topic(
    context: &Context,
    session: &Session,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<PipelineSpec, Refusal> {
    let refuse = |error: ResponseError, text: &str| Err(Refusal { error, text: Some(text.to_owned()) });
    let kafka = &context.kafka;
    let Some(template) = &kafka.config.topic_template else {
        let text = "topics are pipelines: make one with `cistern pipelines create`, or set kafka.topic_template";
        return refuse(ResponseError::PolicyViolation, text);
    };
    let Ok(template) = kafka.pipelines.get(template) else {
        return refuse(ResponseError::PolicyViolation, "the pipeline that kafka.topic_template names does not exist");
    };
    let may = match session.key() {
        Some(id) => key_may_in(kafka, id, &template.spec.output.bucket, Action::WriteObject).await?,
        None => false,
    };
    if !may {
        let text = "to make topics, log in with an access key that may write the bucket of kafka.topic_template";
        return refuse(ResponseError::TopicAuthorizationFailed, text);
    }
    let Ok(name) = topic.name.parse::<PipelineName>() else {
        return refuse(
            ResponseError::InvalidTopicException,
            "use 1 to 63 letters, digits, hyphens and underscores, as pipelines have",
        );
    };
    if !topic.assignments.is_empty() {
        return refuse(ResponseError::InvalidReplicaAssignment, "there is one broker: name a number of partitions");
    }
    if !matches!(topic.replication_factor, -1 | 1) {
        return refuse(ResponseError::InvalidReplicationFactor, "there is one broker: use 1, or -1");
    }
    let settings = all_settings(context);
    let is_so = |name: &str, value: &str| settings.iter().any(|(known, is)| *known == name && is == value);
    let other =
        topic.configs.iter().find(|config| !config.value.as_ref().is_none_or(|value| is_so(&config.name, value)));
    if let Some(config) = other {
        let text = format!(
            "{} cannot be set: topics get the settings of the pipeline that kafka.topic_template names",
            config.name.as_str()
        );
        return refuse(ResponseError::InvalidConfig, &text);
    }
    let partitions = topic.num_partitions;
    let shards = if partitions == -1 { Some(template.spec.stream.shards) } else { u8::try_from(partitions).ok() };
    let Some(shards) = shards.filter(|shards| (1..=SHARDS_MAX).contains(shards)) else {
        return refuse(ResponseError::InvalidPartitions, "use 1 to 16 partitions");
    };
    let spec = PipelineSpec { name, stream: StreamSpec { shards, ..template.spec.stream }, ..template.spec };
    if validate_only {
        return Ok(spec.checked()?);
    }
    Ok(kafka.pipelines.create(spec).await?.record.spec)
}
