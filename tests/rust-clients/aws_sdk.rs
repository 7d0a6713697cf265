//! The AWS SDK for Rust as applications make it: credentials, region and address from an `aws_config`, everything else by
//! default, so that each write carries a checksum and each read is checked.

mod buckets;
mod checksums;
mod conditions;
mod encryption;
mod listing;
mod locks;
mod multipart;
mod objects;
mod presigned;
mod tagging;
mod versions;

use crate::sandbox::Sandbox;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use cistern_tests::Server;
use std::fmt::Debug;

/// The bucket most tests have.
const BUCKET: &str = "shelf";

/// A server and a client of its root.
struct Store {
    client: Client,
    server: Server,
    sandbox: Sandbox,
}

impl Store {
    /// A fresh server.
    async fn new() -> Self {
        let sandbox = Sandbox::new();
        let server = sandbox.start();
        let keys = server.root_keys();
        let credentials = Credentials::new(&keys.access_key_id, &keys.secret_access_key, None, None, "test");
        let settings = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("auto"))
            .endpoint_url(server.s3_url())
            .credentials_provider(credentials)
            .load()
            .await;
        let settings = aws_sdk_s3::config::Builder::from(&settings).force_path_style(true).build();
        Self { client: Client::from_conf(settings), server, sandbox }
    }

    /// A fresh server with a bucket.
    async fn with_bucket() -> Self {
        let store = Self::new().await;
        store.client.create_bucket().bucket(BUCKET).send().await.unwrap();
        store
    }

    /// Stores an object in the bucket; answers its entity tag.
    async fn put(&self, key: &str, body: &[u8]) -> String {
        let put = self.client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body.to_vec()));
        put.send().await.unwrap().e_tag.unwrap()
    }

    /// Reads an object of the bucket, checked by the checksum it is stored with.
    async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().to_vec()
    }

    /// All keys of the bucket.
    async fn keys(&self) -> Vec<String> {
        let listed = self.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }
}

/// The status and the code of an answer that is a refusal.
#[track_caller]
fn refused<T: Debug, E: ProvideErrorMetadata + Debug>(
    result: Result<T, SdkError<E, HttpResponse>>,
) -> (u16, Option<String>) {
    let error = result.expect_err("it was not refused");
    let status = error.raw_response().unwrap_or_else(|| panic!("no answer: {error:?}")).status().as_u16();
    (status, error.code().map(str::to_owned))
}

/// What [`refused`] answers.
#[expect(clippy::unnecessary_wraps, reason = "to be compared with a code that may be missing")]
fn refusal(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}
