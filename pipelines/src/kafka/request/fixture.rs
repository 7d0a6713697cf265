//! Requests for the tests, written by the message crate. Stands alone: the allocation test includes this file too.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, CreateTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, FetchRequest,
    FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest, ProducerId,
    RequestHeader, SaslAuthenticateRequest, SaslHandshakeRequest, TopicName, TransactionalId,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// A request as it comes, and what is in it.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<&'static str>,
    pub(crate) frame: Bytes,
    /// How the body prints itself.
    pub(crate) body: String,
}

/// Several of every request in every version.
pub(crate) fn samples() -> Vec<Sample> {
    let mut all = Vec::new();
    add(&mut all, 0, 3..=11, 9, produce);
    add(&mut all, 1, 4..=16, 12, fetch);
    add(&mut all, 2, 1..=8, 6, list_offsets);
    add(&mut all, 3, 0..=12, 9, metadata);
    add(&mut all, 10, 0..=6, 3, find_coordinator);
    add(&mut all, 17, 0..=1, i16::MAX, sasl_handshake);
    add(&mut all, 18, 0..=4, 3, api_versions);
    add(&mut all, 19, 2..=7, 5, create_topics);
    add(&mut all, 22, 0..=5, 2, init_producer_id);
    add(&mut all, 32, 1..=4, 4, describe_configs);
    add(&mut all, 36, 0..=2, 2, sasl_authenticate);
    add(&mut all, 60, 0..=1, 0, describe_cluster);
    all
}

fn add<R: Encodable + HeaderVersion + Debug>(
    all: &mut Vec<Sample>,
    key: i16,
    versions: std::ops::RangeInclusive<i16>,
    flexible_from: i16,
    make: impl Fn(i16, Tags) -> Vec<R>,
) {
    for version in versions {
        let flexible = version >= flexible_from;
        for tags in [Tags::new(), Tags::from([(77, "later".into()), (70_000, Bytes::new())])] {
            if !tags.is_empty() && !flexible {
                continue;
            }
            for (number, body) in (1..).zip(make(version, tags.clone())) {
                let client_id = [None, Some("rdkafka"), Some("")][all.len() % 3];
                let header = RequestHeader::default()
                    .with_request_api_key(key)
                    .with_request_api_version(version)
                    .with_correlation_id(-number)
                    .with_client_id(client_id.map(StrBytes::from_static_str))
                    .with_unknown_tagged_fields(tags.clone());
                let mut frame = BytesMut::new();
                assert_eq!(R::header_version(version), if flexible { 2 } else { 1 }, "{key} {version}");
                header.encode(&mut frame, R::header_version(version)).unwrap();
                body.encode(&mut frame, version).unwrap();
                let (frame, body) = (frame.freeze(), format!("{body:?}"));
                all.push(Sample { key, version, correlation_id: -number, client_id, frame, body });
            }
        }
    }
}

type Tags = BTreeMap<i32, Bytes>;

const NO_ID: &str = "00000000-0000-0000-0000-000000000000";
const AN_ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic(name: &'static str) -> TopicName {
    TopicName(text(name))
}

fn produce(_: i16, tags: Tags) -> Vec<ProduceRequest> {
    let partition = |index, records| {
        PartitionProduceData::default().with_index(index).with_records(records).with_unknown_tagged_fields(tags.clone())
    };
    let topics = ["clicks", "", "größe"].map(|name| {
        TopicProduceData::default()
            .with_name(topic(name))
            .with_partition_data(vec![
                partition(0, Some(Bytes::from_static(&[7; 300]))),
                partition(1, None),
                partition(i32::MAX, Some(Bytes::new())),
            ])
            .with_unknown_tagged_fields(tags.clone())
    });
    let plain = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_transactional_id(None);
    let empty_topic = TopicProduceData::default().with_name(topic("none"));
    vec![
        plain.clone(),
        plain.clone().with_topic_data(vec![empty_topic]),
        plain
            .with_transactional_id(Some(TransactionalId(text("tx"))))
            .with_topic_data(topics.into())
            .with_unknown_tagged_fields(tags),
    ]
}

fn fetch(version: i16, tags: Tags) -> Vec<FetchRequest> {
    let since = |first: i16, value: i32, default: i32| if version >= first { value } else { default };
    let partition = FetchPartition::default()
        .with_partition(3)
        .with_current_leader_epoch(since(9, 5, -1))
        .with_fetch_offset(1 << 40)
        .with_last_fetched_epoch(since(12, 9, -1))
        .with_log_start_offset(since(5, 8, -1).into())
        .with_partition_max_bytes(1 << 20)
        .with_unknown_tagged_fields(tags.clone());
    let (name, id) = if version <= 12 { (topic("clicks"), NO_ID) } else { (topic(""), AN_ID) };
    let topics = FetchTopic::default()
        .with_topic(name.clone())
        .with_topic_id(id.parse().unwrap())
        .with_partitions(vec![partition.clone(), partition])
        .with_unknown_tagged_fields(tags.clone());
    let forgotten = ForgottenTopic::default()
        .with_topic(name)
        .with_topic_id(id.parse().unwrap())
        .with_partitions(vec![1, 2, 3])
        .with_unknown_tagged_fields(tags.clone());
    let plain = FetchRequest::default().with_max_wait_ms(500).with_min_bytes(1).with_isolation_level(1);
    let mut full = plain.clone().with_topics(vec![topics.clone(), topics]).with_unknown_tagged_fields(tags);
    if version >= 7 {
        full = full.with_session_id(11).with_session_epoch(12).with_forgotten_topics_data(vec![forgotten]);
    }
    if version >= 11 {
        full = full.with_rack_id(text("rack"));
    }
    if version >= 12 {
        full = full.with_cluster_id(Some(text("cluster")));
    }
    if version >= 15 {
        full = full.with_replica_state(ReplicaState::default().with_replica_id(BrokerId(4)).with_replica_epoch(17));
    }
    vec![plain, full]
}

fn list_offsets(version: i16, tags: Tags) -> Vec<ListOffsetsRequest> {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(2)
        .with_current_leader_epoch(if version >= 4 { 6 } else { -1 })
        .with_timestamp(-1)
        .with_unknown_tagged_fields(tags.clone());
    let topics = ["a", "b"].map(|name| {
        ListOffsetsTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![partition.clone(); 3])
            .with_unknown_tagged_fields(tags.clone())
    });
    let plain = ListOffsetsRequest::default().with_replica_id(BrokerId(-1));
    let full = plain
        .clone()
        .with_isolation_level(i8::from(version >= 2))
        .with_topics(topics.into())
        .with_unknown_tagged_fields(tags);
    vec![plain, full]
}

fn metadata(version: i16, tags: Tags) -> Vec<MetadataRequest> {
    let id = if version >= 10 { AN_ID } else { NO_ID };
    let named = MetadataRequestTopic::default()
        .with_topic_id(id.parse().unwrap())
        .with_name(Some(topic("clicks")))
        .with_unknown_tagged_fields(tags.clone());
    let by_id = named.clone().with_name(None);
    let mut full = MetadataRequest::default().with_topics(Some(vec![named.clone(), named]));
    if version >= 4 {
        full = full.with_allow_auto_topic_creation(false);
    }
    if version >= 8 {
        full = full.with_include_topic_authorized_operations(true);
    }
    if (8..=10).contains(&version) {
        full = full.with_include_cluster_authorized_operations(true);
    }
    let mut all = vec![MetadataRequest::default().with_topics(Some(Vec::new())), full.clone()];
    if version >= 1 {
        all.push(MetadataRequest::default().with_topics(None).with_unknown_tagged_fields(tags.clone()));
    }
    if version >= 10 {
        all.push(full.with_topics(Some(vec![by_id; 2])).with_unknown_tagged_fields(tags));
    }
    all
}

fn find_coordinator(version: i16, tags: Tags) -> Vec<FindCoordinatorRequest> {
    let mut request = FindCoordinatorRequest::default().with_unknown_tagged_fields(tags);
    if version >= 1 {
        request = request.with_key_type(1);
    }
    if version <= 3 {
        return vec![request.clone(), request.with_key(text("group"))];
    }
    vec![request.clone(), request.with_coordinator_keys(vec![text("g1"), text(""), text("g3")])]
}

fn sasl_handshake(_: i16, _: Tags) -> Vec<SaslHandshakeRequest> {
    ["PLAIN", "", "SCRAM-SHA-512"].map(|name| SaslHandshakeRequest::default().with_mechanism(text(name))).into()
}

fn api_versions(version: i16, tags: Tags) -> Vec<ApiVersionsRequest> {
    let plain = ApiVersionsRequest::default();
    if version < 3 {
        return vec![plain];
    }
    let named = plain.clone().with_client_software_name(text("librdkafka")).with_client_software_version(text("2.0.2"));
    vec![plain, named.with_unknown_tagged_fields(tags)]
}

fn create_topics(_: i16, tags: Tags) -> Vec<CreateTopicsRequest> {
    let assignment = CreatableReplicaAssignment::default()
        .with_partition_index(1)
        .with_broker_ids(vec![BrokerId(1), BrokerId(2)])
        .with_unknown_tagged_fields(tags.clone());
    let config = CreatableTopicConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("1000")))
        .with_unknown_tagged_fields(tags.clone());
    let full = CreatableTopic::default()
        .with_name(topic("clicks"))
        .with_num_partitions(4)
        .with_replication_factor(1)
        .with_assignments(vec![assignment.clone(), assignment])
        .with_configs(vec![config.clone(), config.with_value(None)])
        .with_unknown_tagged_fields(tags.clone());
    let plain = CreateTopicsRequest::default().with_timeout_ms(9);
    let topics = vec![full, CreatableTopic::default()];
    vec![plain.clone(), plain.with_validate_only(true).with_topics(topics).with_unknown_tagged_fields(tags)]
}

fn init_producer_id(version: i16, tags: Tags) -> Vec<InitProducerIdRequest> {
    let plain = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
    let mut full = plain.clone().with_transactional_id(Some(TransactionalId(text("tx"))));
    if version >= 3 {
        full = full.with_producer_id(ProducerId(1 << 50)).with_producer_epoch(3);
    }
    vec![plain, full.with_unknown_tagged_fields(tags)]
}

fn describe_configs(version: i16, tags: Tags) -> Vec<DescribeConfigsRequest> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("clicks"))
        .with_unknown_tagged_fields(tags.clone());
    let resources = vec![
        resource.clone().with_configuration_keys(None),
        resource.clone().with_configuration_keys(Some(Vec::new())),
        resource.with_configuration_keys(Some(vec![text("retention.ms"), text("")])),
    ];
    let plain = DescribeConfigsRequest::default();
    let full = plain.clone().with_include_synonyms(true).with_include_documentation(version >= 3);
    vec![plain, full.with_resources(resources).with_unknown_tagged_fields(tags)]
}

fn sasl_authenticate(_: i16, tags: Tags) -> Vec<SaslAuthenticateRequest> {
    let with = |bytes| SaslAuthenticateRequest::default().with_auth_bytes(bytes);
    vec![with(Bytes::new()), with(Bytes::from_static(b"\0ada\0secret")).with_unknown_tagged_fields(tags)]
}

fn describe_cluster(version: i16, tags: Tags) -> Vec<DescribeClusterRequest> {
    let plain = DescribeClusterRequest::default();
    let full = plain.clone().with_include_cluster_authorized_operations(true);
    vec![plain, full.with_endpoint_type(if version >= 1 { 2 } else { 1 }).with_unknown_tagged_fields(tags)]
}
