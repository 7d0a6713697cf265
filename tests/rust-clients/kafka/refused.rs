//! What clients are told that ask for something there is not, or for more than they may.

use super::{BUCKET, LIMIT, login, settings, with_key, with_token};
use crate::sandbox::server_with_bucket;
use cistern_tests::{Pipeline, wait};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseProducer, FutureProducer, FutureRecord, NoCustomPartitioner, Producer as _, ProducerContext,
};
use rdkafka::types::RDKafkaRespErr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The code of the report of one record.
async fn refused(settings: &ClientConfig, topic: &str, event: &str) -> RDKafkaErrorCode {
    let producer: FutureProducer = settings.create().unwrap();
    let record = FutureRecord::to(topic).payload(event).key("");
    match producer.send(record, LIMIT).await {
        Ok(place) => panic!("it was stored: {place:?}"),
        Err((KafkaError::MessageProduction(code), _)) => code,
        Err((error, _)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_topic_there_is_not_is_unknown_and_all_others_are_told() {
    let (_sandbox, server, _s3) = server_with_bucket(BUCKET);
    Pipeline::create(&server, "known", &["--destination-bucket=lake", "--shard-count=3"]).unwrap();
    let key = with_key(&server);
    let reader: BaseConsumer = key.create().unwrap();
    let told = reader.fetch_metadata(Some("unknown"), LIMIT).unwrap();
    let topic = &told.topics()[0];
    assert_eq!((topic.name(), topic.partitions().len()), ("unknown", 0));
    assert_eq!(topic.error(), Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART));
    let all = reader.fetch_metadata(None, LIMIT).unwrap();
    let known = all.topics().iter().map(|topic| (topic.name(), topic.partitions().len(), topic.error()));
    assert_eq!(known.collect::<Vec<_>>(), [("known", 3, None)]);
    let code = refused(&key, "unknown", "{}").await;
    assert!(matches!(code, RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition), "{code}");
}

#[tokio::test]
async fn a_producer_is_told_what_it_may_not_and_what_is_too_large() {
    let (_sandbox, server, _s3) = server_with_bucket(BUCKET);
    let closed = Pipeline::create(&server, "closed", &["--destination-bucket=lake"]).unwrap();
    let other = Pipeline::create(&server, "other", &["--destination-bucket=lake"]).unwrap();
    let code = refused(&settings(&server), "closed", "{}").await;
    assert_eq!(code, RDKafkaErrorCode::TopicAuthorizationFailed, "without a login");
    let code = refused(&with_token(&server, &other), "closed", "{}").await;
    assert_eq!(code, RDKafkaErrorCode::TopicAuthorizationFailed, "with the token of another pipeline");
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000));
    let mut settings = with_token(&server, &closed);
    let code = refused(settings.set("message.max.bytes", "8000000"), "closed", &large).await;
    assert_eq!(code, RDKafkaErrorCode::MessageSizeTooLarge);
}

/// Keeps what a client says when something is wrong with it as a whole.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<(KafkaError, String)>>>);

impl ClientContext for Said {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.lock().unwrap().push((error, reason.to_owned()));
    }
}

impl ProducerContext<NoCustomPartitioner> for Said {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::producer::DeliveryResult<'_>, _: ()) {}
}

#[test]
fn a_wrong_token_and_an_unknown_user_are_told_at_once() {
    let (_sandbox, server, _s3) = server_with_bucket(BUCKET);
    let pipeline = Pipeline::create(&server, "closed", &["--destination-bucket=lake"]).unwrap();
    for (user, password) in [("closed", "wrong"), ("nobody", pipeline.token.as_deref().unwrap())] {
        let said = Said::default();
        let producer: BaseProducer<Said> = login(&server, user, password).create_with_context(said.clone()).unwrap();
        let refused = wait::until("the login is refused", LIMIT, || {
            producer.poll(Duration::from_millis(50));
            let said = said.0.lock().unwrap();
            Ok(said
                .iter()
                .find(|(error, _)| error.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication))
                .cloned())
        });
        let (_, reason) = refused.unwrap();
        assert!(reason.contains("user or password is wrong"), "{reason}");
        assert!(producer.client().fatal_error().is_none());
    }
}
