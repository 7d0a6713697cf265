//! rdkafka, librdkafka for Rust, on pipelines: producers through kill -9, a reader, what is refused.

mod producing;
mod reading;
mod refused;

use cistern_tests::{Pipeline, Server, wait};
use rdkafka::config::ClientConfig;
use std::time::Duration;

/// The longest a client may take for anything it is expected to do or to be told.
const LIMIT: Duration = Duration::from_mins(1);
/// The bucket of the pipelines.
const BUCKET: &str = "lake";

/// Settings of a client of the server without a login.
fn settings(server: &Server) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", server.kafka_host()).set("topic.metadata.propagation.max.ms", "500");
    settings
}

/// The same with a login.
fn login(server: &Server, user: &str, password: &str) -> ClientConfig {
    let mut settings = settings(server);
    settings.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanism", "SCRAM-SHA-256");
    settings.set("sasl.username", user).set("sasl.password", password);
    settings
}

/// The same with the send token of a pipeline.
fn with_token(server: &Server, pipeline: &Pipeline) -> ClientConfig {
    login(server, &pipeline.name, pipeline.token.as_deref().unwrap())
}

/// The same with the root key.
fn with_key(server: &Server) -> ClientConfig {
    let keys = server.root_keys();
    login(server, &keys.access_key_id, &keys.secret_access_key)
}

/// Ends the pipeline; everything it has taken is in objects afterwards.
fn drain(server: &Server, pipeline: &Pipeline) {
    let path = format!("/pipelines/{}", pipeline.name);
    server.api("DELETE", &format!("{path}?mode=drain"), b"").unwrap().ok().unwrap();
    let gone = || Ok((server.api("GET", &path, b"")?.status == 404).then_some(()));
    wait::until("the pipeline is drained", LIMIT, gone).unwrap();
}
