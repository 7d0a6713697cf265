//! The endpoint over real connections, spoken to in frames.

use super::*;
use crate::fixture::{House, Running};
use crate::kafka::record_batch::write_batch;
use crate::{IngestAuth, PipelineSpec};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use cistern_access::{KeySpec, Permission};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, FetchRequest,
    FetchResponse, FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
    RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest, TopicName, describe_configs_request,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::RecordBatchDecoder;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

struct Door {
    address: SocketAddr,
    shutdown: Shutdown,
    ended: JoinHandle<Served>,
    access: Access,
}

impl Door {
    async fn open(house: &House, running: &Running, config: KafkaConfig) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener { socket, tls: None, open: Gauge::default() };
        let access = Access::in_memory(Arc::clone(&house.clock));
        let endpoint = KafkaEndpoint::new(running.pipelines.clone(), access.clone(), config);
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let ended = tokio::spawn(async move { endpoint.serve(listener, &ServeLimits::default(), stop).await });
        Self { address, shutdown, ended, access }
    }

    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), sent: 0 }
    }
}

fn config() -> KafkaConfig {
    KafkaConfig { cluster_id: "c".into(), advertised: None, topic_template: None }
}

async fn house_with(change: impl FnOnce(&mut PipelineSpec)) -> (House, Running, Door, Option<String>) {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    // Time is not paused: it would run ahead while bytes are on their way.
    spec.output.batch.timeout = Duration::from_secs(1);
    change(&mut spec);
    let token = running.create(spec).await.send_token;
    let door = Door::open(&house, &running, config()).await;
    (house, running, door, token)
}

struct Client {
    stream: TcpStream,
    sent: i32,
}

impl Client {
    async fn send<R: Request + Sync>(&mut self, version: i16, request: &R) {
        self.sent += 1;
        let mut body = BytesMut::new();
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.sent)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        header.encode(&mut body, R::header_version(version)).unwrap();
        request.encode(&mut body, version).unwrap();
        self.stream.write_u32(u32::try_from(body.len()).unwrap()).await.unwrap();
        self.stream.write_all(&body).await.unwrap();
    }

    async fn frame(&mut self) -> Option<Bytes> {
        let length = self.stream.read_u32().await.ok()?;
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }

    /// The next answer, which must be to request `number`.
    async fn receive<R: Request>(&mut self, version: i16, number: i32) -> R::Response {
        let mut frame = self.frame().await.expect("an answer");
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, number);
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty());
        response
    }

    async fn ask<R: Request + Sync>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version, self.sent).await
    }

    async fn login(&mut self, user: &str, password: &str) -> i16 {
        let mechanism = StrBytes::from_static_str("PLAIN");
        let response = self.ask(1, &SaslHandshakeRequest::default().with_mechanism(mechanism)).await;
        assert_eq!(response.error_code, 0);
        let message = Bytes::from(format!("\0{user}\0{password}"));
        self.ask(2, &SaslAuthenticateRequest::default().with_auth_bytes(message)).await.error_code
    }

    /// Error code and offset of one batch.
    async fn produce(&mut self, batch: Bytes) -> (i16, i64) {
        let response = self.ask(9, &produce(0, -1, batch)).await;
        let partition = &response.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }
}

fn init() -> InitProducerIdRequest {
    InitProducerIdRequest::default().with_transactional_id(None)
}

fn topic(name: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(name))
}

fn produce(index: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(index).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(topic("clicks")).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_topic_data(vec![topic])
}

/// A batch of events with numbers of a producer, or without.
fn batch(values: &[&str], producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut out = BytesMut::new();
    let records = values.iter().enumerate().map(|(number, value)| (i64::try_from(number).unwrap(), value.as_bytes()));
    write_batch(&mut out, 0, 1, records).unwrap();
    if let Some((id, epoch, sequence)) = producer {
        (&mut out[43..]).put_i64(id);
        (&mut out[51..]).put_i16(epoch);
        (&mut out[53..]).put_i32(sequence);
        record_batch::fuzz::make_good(&mut out);
    }
    out.freeze()
}

async fn ids(house: &House) -> Vec<u64> {
    house.all_rows().await.iter().filter_map(|row| row["id"].as_u64()).collect()
}

#[tokio::test]
async fn records_become_events_and_what_is_none_a_dead_letter() {
    let (house, running, door, _) = house_with(|_| ()).await;
    let mut client = door.connect().await;
    assert_eq!(client.produce(batch(&[r#"{"id":1}"#, "oops", "{\"id\":\n2}"], None)).await, (0, 0));
    assert_eq!(client.produce(batch(&[r#"{"id":3}"#], None)).await, (0, 3));
    running.settle().await;
    assert_eq!(ids(&house).await, [1, 2, 3]);
    assert_eq!(running.pipelines.health()[0].dead_letters, 1);
    let mut broken = batch(&["{}"], None).to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(client.produce(broken.into()).await.0, ResponseError::CorruptMessage.code());
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000));
    assert_eq!(client.produce(batch(&[&large], None)).await.0, ResponseError::MessageTooLarge.code());
    let elsewhere = client.ask(9, &produce(1, -1, batch(&["{}"], None))).await;
    let code = elsewhere.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ResponseError::UnknownTopicOrPartition.code(), "there is one shard");
    assert_eq!(running.pipelines.health()[0].events_accepted, 4, "what is refused changes nothing");
    door.shutdown.begin();
    assert_eq!(door.ended.await.unwrap(), Served { cut: 0 });
}

#[tokio::test]
async fn every_version_that_is_served_answers() {
    let (_house, _running, door, _) = house_with(|spec| spec.stream.shards = 2).await;
    let mut client = door.connect().await;
    for version in 3..=11 {
        let response = client.ask(version, &produce(0, -1, batch(&["{}"], None))).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "produce {version}");
        let refused = client.ask(version, &produce(7, -1, batch(&["{}"], None))).await;
        assert_ne!(refused.responses[0].partition_responses[0].error_code, 0, "produce {version}");
    }
    for version in 0..=12 {
        let mut asked = MetadataRequest::default();
        let names = ["clicks", "none"].map(|name| MetadataRequestTopic::default().with_name(Some(topic(name))));
        asked.topics = Some(names.to_vec());
        let response = client.ask(version, &asked).await;
        assert_eq!((response.topics[0].error_code, response.topics[0].partitions.len()), (0, 2), "metadata {version}");
        assert_eq!(response.topics[1].error_code, ResponseError::UnknownTopicOrPartition.code());
        assert_eq!(response.brokers[0].port, i32::from(door.address.port()));
        let all = MetadataRequest::default().with_topics(if version == 0 { Some(Vec::new()) } else { None });
        assert_eq!(client.ask(version, &all).await.topics.len(), 1, "metadata {version}");
    }
    for version in 0..=5 {
        let response = client.ask(version, &init().with_transaction_timeout_ms(1)).await;
        assert_eq!((response.error_code, response.producer_epoch), (0, 0), "init producer id {version}");
        let transactional = init().with_transactional_id(Some(StrBytes::from_static_str("t").into()));
        let refused = client.ask(version, &transactional).await;
        assert_eq!(refused.error_code, ResponseError::TransactionalIdAuthorizationFailed.code());
    }
    for version in 0..=6 {
        let mut group = FindCoordinatorRequest::default();
        if version >= 4 {
            group.coordinator_keys = vec![StrBytes::from_static_str("g")];
        } else {
            group.key = StrBytes::from_static_str("g");
        }
        let response = client.ask(version, &group).await;
        let code = if version >= 4 { response.coordinators[0].error_code } else { response.error_code };
        assert_eq!(code, ResponseError::GroupAuthorizationFailed.code(), "find coordinator {version}");
    }
    for version in 0..=1 {
        assert_eq!(client.ask(version, &DescribeClusterRequest::default()).await.brokers.len(), 1);
    }
    for version in 1..=4 {
        let resource = describe_configs_request::DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(StrBytes::from_static_str("clicks"));
        let response = client.ask(version, &DescribeConfigsRequest::default().with_resources(vec![resource])).await;
        assert!(!response.results[0].configs.is_empty(), "describe configs {version}");
    }
    for version in 2..=7 {
        let topics =
            vec![CreatableTopic::default().with_name(topic("more")).with_num_partitions(1).with_replication_factor(1)];
        let response = client.ask(version, &CreateTopicsRequest::default().with_topics(topics)).await;
        assert_eq!(response.topics[0].error_code, ResponseError::PolicyViolation.code(), "create topics {version}");
    }
    for version in 0..=4 {
        let response = client.ask(version, &ApiVersionsRequest::default()).await;
        assert_eq!((response.error_code, response.api_keys.len()), (0, 12), "api versions {version}");
    }
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_logged_once_also_after_a_restart() {
    let (house, running, door, _) = house_with(|_| ()).await;
    let mut client = door.connect().await;
    let id = client.ask(4, &init()).await.producer_id.0;
    let numbered = |ids: &[&str], sequence| batch(ids, Some((id, 0, sequence)));
    let (first, second) = (numbered(&[r#"{"id":1}"#, r#"{"id":2}"#], 0), numbered(&[r#"{"id":3}"#], 2));
    // Several on their way at once, one of them twice.
    for request in [&first, &second, &first] {
        client.send(9, &produce(0, -1, request.clone())).await;
    }
    let mut offsets = Vec::new();
    for number in 2..5 {
        let response = client.receive::<ProduceRequest>(9, number).await;
        let partition = &response.responses[0].partition_responses[0];
        offsets.push((partition.error_code, partition.base_offset));
    }
    assert_eq!(offsets, [(0, 0), (0, 2), (0, 0)]);
    let gap = client.produce(numbered(&["{}"], 7)).await;
    assert_eq!(gap.0, ResponseError::OutOfOrderSequenceNumber.code());
    door.shutdown.begin();
    door.ended.await.unwrap();
    running.stop().await;
    let running = house.open().await;
    let door = Door::open(&house, &running, config()).await;
    let mut client = door.connect().await;
    assert_eq!(client.produce(second).await, (0, 2));
    assert_eq!(client.produce(numbered(&[r#"{"id":4}"#], 3)).await, (0, 3));
    assert_ne!(client.ask(4, &init()).await.producer_id.0, id, "ids are given out once");
    running.settle().await;
    assert_eq!(ids(&house).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn without_acks_nothing_is_answered_and_an_error_ends_the_connection() {
    let (_house, running, door, _) = house_with(|_| ()).await;
    let mut client = door.connect().await;
    client.send(9, &produce(0, 0, batch(&["{}"], None))).await;
    assert_eq!(client.produce(batch(&["{}"], None)).await, (0, 1), "the next answer is to the next request");
    client.send(9, &produce(5, 0, batch(&["{}"], None))).await;
    assert_eq!(client.frame().await, None);
    assert_eq!(running.pipelines.health()[0].events_accepted, 2);
}

#[tokio::test]
async fn who_may_write_and_read_is_a_matter_of_the_login() {
    let (_house, running, door, token) = house_with(|spec| spec.stream.auth = IngestAuth::Token).await;
    let token = token.unwrap();
    let denied = ResponseError::TopicAuthorizationFailed.code();
    let key = async |name: &str, owner: &str, permission| {
        let spec = KeySpec { name: name.into(), owner: Some(owner.into()), bucket: None, permission };
        let key = door.access.create_key(spec).await.unwrap();
        (key.record.access_key_id.to_string(), key.secret.expose().to_owned())
    };
    let owner = "ada";
    let reader = key("reader", owner, Permission::Read).await;
    let writer = key("writer", owner, Permission::ReadWrite).await;
    let stranger = key("stranger", "bob", Permission::Admin).await;
    let anonymous = (String::new(), String::new());
    let pipeline = ("clicks".to_owned(), token);
    for (who, login, may_write, may_read) in [
        ("nobody", &anonymous, false, false),
        ("the pipeline", &pipeline, true, false),
        ("a reader", &reader, false, true),
        ("a writer", &writer, true, true),
        ("a stranger", &stranger, false, false),
    ] {
        let mut client = door.connect().await;
        if !login.0.is_empty() {
            assert_eq!(client.login(&login.0, &login.1).await, 0, "{who}");
        }
        let written = client.produce(batch(&["{}"], None)).await.0;
        assert_eq!(written, if may_write { 0 } else { denied }, "{who} writes");
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topics = vec![ListOffsetsTopic::default().with_name(topic("clicks")).with_partitions(vec![partition])];
        let offsets = client.ask(5, &ListOffsetsRequest::default().with_topics(topics)).await;
        let read = offsets.topics[0].partitions[0].error_code;
        assert_eq!(read, if may_read { 0 } else { denied }, "{who} reads");
        let listed = client.ask(9, &MetadataRequest::default().with_topics(None)).await.topics.len();
        assert_eq!(listed, usize::from(may_write || may_read), "{who} sees");
    }
    // A token that was exchanged opens nothing any more, not to those that are logged in either.
    let mut client = door.connect().await;
    assert_eq!(client.login(&pipeline.0, &pipeline.1).await, 0);
    let spec = running.pipelines.list()[0].spec.clone();
    running.pipelines.update(spec, None, true).await.unwrap();
    assert_eq!(client.produce(batch(&["{}"], None)).await.0, denied);
    for (user, password) in [("clicks", "wrong"), ("nobody", "x"), (reader.0.as_str(), "wrong")] {
        let mut client = door.connect().await;
        assert_eq!(client.login(user, password).await, ResponseError::SaslAuthenticationFailed.code(), "{user}");
        assert_eq!(client.produce(batch(&["{}"], None)).await.0, denied);
    }
}

fn fetch(offset: i64, wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topics = vec![FetchTopic::default().with_topic(topic("clicks")).with_partitions(vec![partition])];
    FetchRequest::default().with_max_wait_ms(wait_ms).with_min_bytes(1).with_max_bytes(1 << 20).with_topics(topics)
}

/// Offsets and values of the records of an answer.
fn values(response: &FetchResponse) -> Vec<(i64, Value)> {
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.error_code, 0);
    let mut bytes = data.records.clone().unwrap_or_default();
    let mut read = Vec::new();
    for set in RecordBatchDecoder::decode_all(&mut bytes).unwrap() {
        read.extend(set.records.into_iter().map(|record| {
            (record.offset, record.value.map_or(Value::Null, |value| serde_json::from_slice(&value).unwrap()))
        }));
    }
    read
}

#[tokio::test]
async fn readers_follow_what_is_in_the_log() {
    let (_house, running, door, _) = house_with(|_| ()).await;
    let spec = KeySpec { name: "r".into(), owner: Some("ada".into()), bucket: None, permission: Permission::Read };
    let key = door.access.create_key(spec).await.unwrap();
    let mut writer = door.connect().await;
    writer.produce(batch(&[r#"{"id":0}"#, "oops", r#"{"id":2}"#], None)).await;
    let mut reader = door.connect().await;
    assert_eq!(reader.login(key.record.access_key_id.as_str(), key.secret.expose()).await, 0);
    for version in 4..=12 {
        let response = reader.ask(version, &fetch(0, 0)).await;
        let read = values(&response);
        assert_eq!(
            read.iter().map(|(_, value)| value["id"].as_u64()).collect::<Vec<_>>(),
            [Some(0), None, Some(2)],
            "{version}"
        );
        assert_eq!(response.responses[0].partitions[0].high_watermark, 3);
    }
    // One that waits hears of new events at once, and of nothing when there are none.
    reader.send(11, &fetch(3, 50_000)).await;
    writer.produce(batch(&[r#"{"id":3}"#], None)).await;
    let number = reader.sent;
    let response = reader.receive::<FetchRequest>(11, number).await;
    assert_eq!(values(&response), [(3, serde_json::json!({"id":3}))]);
    assert_eq!(values(&reader.ask(11, &fetch(4, 100)).await), []);
    let (at, newest) = list_offset(&mut reader, 7, -3).await;
    assert_eq!((newest, list_offset(&mut reader, 7, at).await), (3, (at, 3)), "the first event of the newest time");
    assert_eq!(list_offset(&mut reader, 7, -1).await, (-1, 4));
    let out_of_range = reader.ask(11, &fetch(9, 0)).await;
    assert_eq!(out_of_range.responses[0].partitions[0].error_code, ResponseError::OffsetOutOfRange.code());
    // Once it is all in objects, the log begins at its end.
    running.settle().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for version in 1..=8 {
        assert_eq!(list_offset(&mut reader, version, -2).await, (-1, 4), "{version}");
    }
    assert_eq!(list_offset(&mut reader, 7, -3).await, (-1, -1), "there is none");
}

/// The time and offset that ListOffsets finds.
async fn list_offset(client: &mut Client, version: i16, timestamp: i64) -> (i64, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
    let topics = vec![ListOffsetsTopic::default().with_name(topic("clicks")).with_partitions(vec![partition])];
    let response = client.ask(version, &ListOffsetsRequest::default().with_topics(topics)).await;
    let found = &response.topics[0].partitions[0];
    assert_eq!(found.error_code, 0);
    (found.timestamp, found.offset)
}

#[tokio::test]
async fn topics_are_made_after_the_template_where_there_is_one() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("template");
    spec.stream.shards = 4;
    running.create(spec).await;
    let with_template = KafkaConfig { topic_template: Some("template".parse().unwrap()), ..config() };
    let door = Door::open(&house, &running, with_template).await;
    let spec = KeySpec { name: "w".into(), owner: Some("ada".into()), bucket: None, permission: Permission::ReadWrite };
    let key = door.access.create_key(spec).await.unwrap();
    let mut client = door.connect().await;
    let make = async |client: &mut Client, name: &'static str, partitions: i32| {
        let wanted = CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(partitions)
            .with_replication_factor(-1);
        let response = client.ask(5, &CreateTopicsRequest::default().with_topics(vec![wanted])).await;
        (response.topics[0].error_code, response.topics[0].num_partitions)
    };
    assert_eq!(make(&mut client, "a", -1).await.0, ResponseError::TopicAuthorizationFailed.code());
    assert_eq!(client.login(key.record.access_key_id.as_str(), key.secret.expose()).await, 0);
    assert_eq!(make(&mut client, "a", -1).await, (0, 4));
    assert_eq!(make(&mut client, "b", 2).await, (0, 2));
    assert_eq!(make(&mut client, "a", 1).await.0, ResponseError::TopicAlreadyExists.code());
    assert_eq!(make(&mut client, "not a name", 1).await.0, ResponseError::InvalidTopicException.code());
    assert_eq!(make(&mut client, "c", 99).await.0, ResponseError::InvalidPartitions.code());
    assert_eq!(running.pipelines.list().len(), 3);
    // What a topic cannot have is refused instead of passed over.
    let plain = || CreatableTopic::default().with_name(topic("d")).with_num_partitions(1).with_replication_factor(1);
    let setting = |name: &'static str, value: &'static str| {
        let config = CreatableTopicConfig::default().with_name(name.into()).with_value(Some(value.into()));
        plain().with_configs(vec![config])
    };
    for (wanted, error) in [
        (plain().with_replication_factor(3), ResponseError::InvalidReplicationFactor),
        (
            plain().with_assignments(vec![CreatableReplicaAssignment::default()]),
            ResponseError::InvalidReplicaAssignment,
        ),
        (setting("cleanup.policy", "compact"), ResponseError::InvalidConfig),
        (setting("retention.ms", "1"), ResponseError::InvalidConfig),
    ] {
        let response = client.ask(5, &CreateTopicsRequest::default().with_topics(vec![wanted])).await;
        assert_eq!(response.topics[0].error_code, error.code(), "{:?}", response.topics[0].error_message);
    }
    assert_eq!(running.pipelines.list().len(), 3);
    let wanted = vec![setting("cleanup.policy", "delete")];
    assert_eq!(client.ask(5, &CreateTopicsRequest::default().with_topics(wanted)).await.topics[0].error_code, 0);
}

#[tokio::test]
async fn what_is_no_request_ends_the_connection_and_a_version_too_new_is_told_which_there_are() {
    let (_house, _running, door, _) = house_with(|_| ()).await;
    let mut client = door.connect().await;
    let mut frame = BytesMut::new();
    frame.put_slice(b"\x00\x12\x00\x63\x00\x00\x00\x07\xff\xff\x00");
    client.stream.write_u32(u32::try_from(frame.len()).unwrap()).await.unwrap();
    client.stream.write_all(&frame).await.unwrap();
    let mut answer = client.frame().await.unwrap();
    assert_eq!((answer.get_i32(), answer.get_i16()), (7, 35));
    for bytes in [
        b"\x7f\xff\xff\xff".as_slice(),
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x03abc",
        b"\x00\x00\x00\x0a\x00\x0b\x00\x00\x00\x00\x00\x01\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = door.connect().await;
        client.stream.write_all(bytes).await.unwrap();
        assert_eq!(client.frame().await, None, "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_stops_half_way_and_a_client_that_says_nothing_are_let_go() {
    let (_house, _running, door, _) = house_with(|_| ()).await;
    for said in [b"".as_slice(), b"\x00", b"\x00\x00\x01\x00abc"] {
        let mut stalled = door.connect().await;
        stalled.stream.write_all(said).await.unwrap();
        assert_eq!(stalled.frame().await, None, "{said:?}");
    }
}
