//! The door as clients meet it: every path over in-memory objects, readiness, and each kind of bad input.

use crate::{AbsentSet, Admin, Storage, StorageStatus, register_process_metrics, router};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use cistern_access::Access;
use cistern_drives::{DriveState, DriveStatus, LogStatus, PassKind, Passes, SpaceUsage, Stats};
use cistern_net::Endpoint;
use cistern_objects::{Limits, Objects};
use cistern_pipelines::{Pipelines, PipelinesConfig};
use cistern_runtime::{Clock, Shutdown, Supervisor, TestClock};
use cistern_types::Timestamp;
use http::{HeaderMap, Method, Request, StatusCode};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

mod v1;

const ANSWER_BYTES_MAX: usize = 8 << 20;

fn live_storage() -> StorageStatus {
    let drive = |index: usize| DriveStatus {
        index,
        label: format!("/mnt/d{index}"),
        state: DriveState::Live,
        free_bytes: Some(1 << 30),
        stale: false,
    };
    let set = LogStatus {
        number: 0,
        data: 2,
        parity: 1,
        drives: (0..3).map(drive).collect(),
        passes: Passes::default(),
        writable: true,
        read_only_reason: None,
        full: false,
        degraded: false,
        segments: 1,
        space: Some(SpaceUsage { live_bytes: 1 << 20, allocated_bytes: 2 << 20 }),
        counters: Stats { syncs: 7, ..Stats::default() },
    };
    let infrequent = LogStatus { number: 16, ..set.clone() };
    StorageStatus { drives: set.drives.clone(), sets: vec![set, infrequent], absent: Vec::new() }
}

/// Drives that stay as they are; number 1 may be replaced.
#[derive(Debug)]
struct FixedStorage(StorageStatus);

#[async_trait]
impl Storage for FixedStorage {
    fn status(&self) -> StorageStatus {
        self.0.clone()
    }

    fn request_pass(&self, _: PassKind) {}

    async fn replace_drive(&self, drive: usize, folder: &Path) -> Result<Vec<u8>, cistern_drives::Error> {
        let drive_label = folder.display().to_string();
        match drive {
            1 => Ok(vec![0, 16]),
            _ => Err(cistern_drives::Error::NotReplaceable { drive: drive_label, reason: "it is not empty".into() }),
        }
    }
}

/// A door over memory, and its token.
struct Door {
    router: Router,
    ingest: Router,
    token: String,
    account: String,
    stopping: Shutdown,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Door {
    async fn new() -> Self {
        Self::over(live_storage()).await
    }

    async fn over(storage: StorageStatus) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::at(Timestamp::from_millis(1_700_000_000_000)));
        Self::at(clock, storage, None).await
    }

    async fn at(clock: Arc<dyn Clock>, storage: StorageStatus, late_max: Option<Duration>) -> Self {
        let objects = Objects::in_memory(Arc::clone(&clock), Limits::default());
        let access = Access::in_memory(Arc::clone(&clock));
        let supervisor = Supervisor::new(Shutdown::new());
        let config = PipelinesConfig::default();
        let pipelines = Pipelines::open(objects.clone(), clock, supervisor.clone(), config).await.unwrap();
        let storage: Arc<dyn Storage> = Arc::new(FixedStorage(storage));
        let mut registry = Registry::default();
        register_process_metrics(&mut registry, Arc::clone(&storage), supervisor.clone());
        let (token, account) = ("test-api-token".to_owned(), access.account_id().to_string());
        let stopping = Shutdown::new();
        let at = |port| Endpoint { address: ([127, 0, 0, 1], port).into(), tls: false };
        let admin = Admin {
            objects,
            access,
            pipelines,
            supervisor,
            storage,
            registry: Arc::new(registry),
            stopping: stopping.clone(),
            s3: at(9000),
            ingest: at(8443),
            kafka: at(9092),
            kafka_advertised: None,
            late_max,
        };
        let ingest = admin.pipelines.ingest_router();
        Self { router: router(admin), ingest, token, account, stopping }
    }

    async fn raw(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, ANSWER_BYTES_MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A request with the token and these headers; `path` begins after the account.
    fn request(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/client/v4/accounts/{}{path}", self.account))
            .header("authorization", format!("Bearer {}", self.token));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(body.into()).unwrap()
    }

    /// Its answer, without more headers.
    async fn call(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        self.raw(self.request(method, path, &[], body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, Body::empty()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, body.to_string()).await
    }

    /// The result of a GET that must succeed.
    async fn result(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        let body = answer.json();
        assert_eq!((&body["success"], &body["errors"]), (&json!(true), &json!([])), "{path}");
        body["result"].clone()
    }

    async fn open(&self, path: &str, token: Option<&str>) -> Answer {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        self.raw(request.body(Body::empty()).unwrap()).await
    }

    async fn with_bucket() -> Self {
        let door = Self::new().await;
        let made = door.post("/r2/buckets", &json!({ "name": "logs" })).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text());
        door
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: u32, text: &str) {
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["errors"][0]["code"]), (status, &json!(code)), "{}", answer.text());
    assert_eq!((&body["success"], &body["result"]), (&json!(false), &Value::Null));
    let message = body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains(text), "{message:?} lacks {text:?}");
}

#[tokio::test]
async fn without_the_right_token_nothing_under_the_api_answers() {
    let door = Door::new().await;
    let paths = ["/user", "/accounts", "/user/tokens/verify", "/memberships"].map(|path| format!("/client/v4{path}"));
    let bucket = format!("/client/v4/accounts/{}/r2/buckets", door.account);
    let schemes =
        [None, Some("Bearer wrong".to_owned()), Some("Bearer ".to_owned()), Some(format!("Basic {}", door.token))];
    for path in paths.iter().chain([&bucket]) {
        for token in &schemes {
            let answer = door.open(path, token.as_deref()).await;
            refused(&answer, 401, 10000, "Authorization: Bearer");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
        let right = format!("bearer {}", door.token);
        assert_eq!(door.open(path, Some(&right)).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_accounts_and_methods_are_envelopes() {
    let door = Door::new().await;
    refused(&door.open("/nothing", None).await, 404, 7003, "/nothing");
    refused(&door.open("/client/v4/nothing", None).await, 404, 7003, "/client/v4/nothing");
    refused(&door.get("/r2/nothing").await, 404, 7003, "Could not route");
    let token = format!("Bearer {}", door.token);
    let other = format!("/client/v4/accounts/{}/r2/buckets", "0".repeat(32));
    refused(&door.open(&other, Some(&token)).await, 404, 7003, "Could not route");
    refused(&door.call(Method::PATCH, "/cistern/keys", "").await, 405, 10405, "PATCH");
}

#[tokio::test]
async fn clients_that_look_around_first_find_one_account() {
    let door = Door::new().await;
    let token = format!("Bearer {}", door.token);
    let look = async |path: &str| door.open(&format!("/client/v4{path}"), Some(&token)).await.json();
    assert_eq!(look("/user/tokens/verify").await["result"]["status"], "active");
    let accounts = look("/accounts?page=1").await;
    assert_eq!(
        (&accounts["result"][0]["id"], &accounts["result_info"]["total_count"]),
        (&json!(door.account), &json!(1))
    );
    assert_eq!(look("/accounts?page=2").await["result"], json!([]), "a second page ends the look-up");
    assert_eq!(look("/memberships?page=1").await["result"][0]["account"]["id"], json!(door.account));
    assert_eq!(door.result("").await["id"], json!(door.account));
}

#[tokio::test]
async fn a_bucket_is_made_shown_listed_and_deleted() {
    let door = Door::new().await;
    let body = json!({ "name": "logs", "storageClass": "InfrequentAccess", "locationHint": "weur" });
    let expected = json!({
        "name": "logs", "creation_date": "2023-11-14T22:13:20Z", "location": "weur", "storage_class": "InfrequentAccess",
        "jurisdiction": "default",
    });
    assert_eq!(door.post("/r2/buckets", &body).await.json()["result"], expected);
    assert_eq!(door.result("/r2/buckets/logs").await, expected);
    assert_eq!(door.result("/r2/buckets").await, json!({ "buckets": [expected] }));
    assert_eq!(door.call(Method::DELETE, "/r2/buckets/logs", "").await.status, StatusCode::OK);
    refused(&door.get("/r2/buckets/logs").await, 404, 10006, "no bucket logs");
}

#[tokio::test]
async fn the_class_of_a_bucket_is_changed_by_header() {
    let door = Door::with_bucket().await;
    let patch = |class: &str| {
        Request::patch(format!("/client/v4/accounts/{}/r2/buckets/logs", door.account))
            .header("authorization", format!("Bearer {}", door.token))
            .header("cf-r2-storage-class", class)
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(door.raw(patch("InfrequentAccess")).await.json()["result"]["storage_class"], "InfrequentAccess");
    refused(&door.raw(patch("Cold")).await, 400, 10040, "Cold");
    refused(&door.call(Method::PATCH, "/r2/buckets/logs", "").await, 400, 10040, "cf-r2-storage-class");
    assert_eq!(door.result("/r2/buckets/logs").await["storage_class"], "InfrequentAccess");
}

#[tokio::test]
async fn buckets_are_listed_in_pages_and_by_part_of_their_name() {
    let door = Door::new().await;
    for name in ["a-logs", "b-photos", "c-logs", "d-logs"] {
        door.post("/r2/buckets", &json!({ "name": name })).await;
    }
    let names = |answer: &Value| -> Vec<String> {
        let buckets = answer["result"]["buckets"].as_array().unwrap();
        buckets.iter().map(|bucket| bucket["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = door.get("/r2/buckets?per_page=2&name_contains=logs").await.json();
    assert_eq!(
        (names(&first), &first["result_info"]["cursor"]),
        (vec!["a-logs".into(), "c-logs".into()], &json!("c-logs"))
    );
    let second = door.get("/r2/buckets?per_page=2&name_contains=logs&cursor=c-logs").await.json();
    assert_eq!((names(&second), &second["result_info"]["cursor"]), (vec!["d-logs".into()], &json!("")));
    assert_eq!(names(&door.get("/r2/buckets?start_after=b-photos").await.json()), ["c-logs", "d-logs"]);
    refused(&door.get("/r2/buckets?per_page=many").await, 400, 10040, "per_page");
    for other in ["order=size", "direction=desc", "direction=sideways"] {
        refused(&door.get(&format!("/r2/buckets?{other}")).await, 400, 10040, "by name");
    }
    assert_eq!(names(&door.get("/r2/buckets?order=name&direction=asc&start_after=c-logs").await.json()), ["d-logs"]);
}

#[tokio::test]
async fn a_bad_bucket_request_says_what_is_wrong_and_changes_nothing() {
    let door = Door::with_bucket().await;
    refused(&door.post("/r2/buckets", &json!({ "name": "logs" })).await, 409, 10073, "exists already");
    refused(&door.post("/r2/buckets", &json!({ "name": "LOGS" })).await, 400, 10005, "lower-case");
    refused(
        &door.post("/r2/buckets", &json!({ "name": "new", "colour": 1 })).await,
        400,
        10040,
        "unknown field `colour`",
    );
    refused(&door.post("/r2/buckets", &json!({ "name": "new", "storageClass": "Cold" })).await, 400, 10040, "Cold");
    refused(&door.post("/r2/buckets", &json!({})).await, 400, 10040, "missing field `name`");
    refused(&door.call(Method::POST, "/r2/buckets", "{\"name\":").await, 400, 10040, "EOF");
    refused(&door.post("/r2/buckets", &json!(["new", null, null])).await, 400, 10040, "send a JSON object");
    for (method, path) in [(Method::POST, "/r2/buckets"), (Method::DELETE, "/r2/buckets/logs")] {
        let elsewhere = door.request(method, path, &[("cf-r2-jurisdiction", "eu")], r#"{"name":"new"}"#);
        refused(&door.raw(elsewhere).await, 400, 10040, "no jurisdiction but `default`");
    }
    refused(&door.call(Method::POST, "/r2/buckets", vec![b' '; (1 << 20) + 1]).await, 413, 100_100, "1048576");
    door.call(Method::PUT, "/r2/buckets/logs/objects/k", "x").await;
    refused(&door.call(Method::DELETE, "/r2/buckets/logs", "").await, 409, 10008, "still holds objects");
    refused(&door.call(Method::DELETE, "/r2/buckets/none", "").await, 404, 10006, "no bucket none");
    let left = door.result("/r2/buckets").await;
    assert_eq!(left["buckets"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_object_goes_in_and_comes_out_with_its_headers() {
    let door = Door::with_bucket().await;
    let put = Request::put(format!("/client/v4/accounts/{}/r2/buckets/logs/objects/a/b%20c+%C3%BC", door.account))
        .header("authorization", format!("Bearer {}", door.token))
        .header("content-type", "text/plain")
        .header("cache-control", "max-age=5")
        .header("cf-r2-storage-class", "InfrequentAccess")
        .body(Body::from("hello"))
        .unwrap();
    let stored = door.raw(put).await.json()["result"].clone();
    assert_eq!((&stored["key"], &stored["size"]), (&json!("a/b c+ü"), &json!("5")));
    assert_eq!(stored["etag"], "5d41402abc4b2a76b9719d911017c592");
    let read = door.get("/r2/buckets/logs/objects/a%2Fb%20c+%C3%BC").await;
    assert_eq!((read.status, read.text().as_str()), (StatusCode::OK, "hello"));
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-length", "5"),
        ("cache-control", "max-age=5"),
        ("etag", "\"5d41402abc4b2a76b9719d911017c592\""),
        ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("cf-r2-storage-class", "InfrequentAccess"),
    ] {
        assert_eq!(read.headers[name], value, "{name}");
    }
    let head = door.call(Method::HEAD, "/r2/buckets/logs/objects/a%2Fb%20c+%C3%BC", "").await;
    assert_eq!((head.headers["content-length"].to_str().unwrap(), head.body.len()), ("5", 0));
    let gone = door.call(Method::DELETE, "/r2/buckets/logs/objects/a%2Fb%20c+%C3%BC", "").await;
    assert_eq!(gone.json()["result"], json!({ "key": "a/b c+ü" }));
    refused(&door.get("/r2/buckets/logs/objects/a%2Fb%20c+%C3%BC").await, 404, 10007, "no object a/b c+ü");
}

#[tokio::test]
async fn reads_of_objects_ask_for_a_state_and_for_a_part() {
    const TAG: &str = "\"5d41402abc4b2a76b9719d911017c592\"";
    let door = Door::with_bucket().await;
    let path = "/r2/buckets/logs/objects/k";
    door.call(Method::PUT, path, "hello").await;
    for (header, value, status, body) in [
        ("range", "bytes=1-2", 206, "el"),
        ("range", "bytes=-2", 206, "lo"),
        ("range", "lines=1-2", 200, "hello"),
        ("if-match", TAG, 200, "hello"),
        ("if-none-match", "\"zzz\"", 200, "hello"),
        ("if-none-match", TAG, 304, ""),
        ("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT", 304, ""),
    ] {
        let read = door.raw(door.request(Method::GET, path, &[(header, value)], "")).await;
        assert_eq!((read.status.as_u16(), read.text().as_str()), (status, body), "{header}: {value}");
        assert_eq!(read.headers["etag"], TAG, "{header}: {value}");
        let head = door.raw(door.request(Method::HEAD, path, &[(header, value)], "")).await;
        assert_eq!(head.status.as_u16(), if status == 206 { 200 } else { status }, "{header}: {value}");
    }
    let part = door.raw(door.request(Method::GET, path, &[("range", "bytes=1-2")], "")).await;
    assert_eq!(
        (&part.headers["content-range"], &part.headers["content-length"]),
        (&"bytes 1-2/5".parse().unwrap(), &"2".parse().unwrap())
    );
    for (header, value, status, code) in [("if-match", "\"zzz\"", 412, 10031), ("range", "bytes=9-", 416, 10039)] {
        refused(&door.raw(door.request(Method::GET, path, &[(header, value)], "")).await, status, code, "");
    }
}

#[tokio::test]
async fn writes_of_objects_keep_to_conditions_and_digests() {
    let door = Door::with_bucket().await;
    let path = "/r2/buckets/logs/objects/k";
    door.call(Method::PUT, path, "hello").await;
    for (method, header, value, status, code) in [
        (Method::PUT, "if-none-match", "*", 412, 10031),
        (Method::PUT, "if-match", "\"zzz\"", 412, 10031),
        (Method::DELETE, "if-match", "\"zzz\"", 412, 10031),
        (Method::PUT, "content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", 400, 10037),
        (Method::PUT, "content-md5", "AAAA", 400, 10014),
    ] {
        let answer = door.raw(door.request(method, path, &[(header, value)], "other")).await;
        refused(&answer, status, code, "");
        assert_eq!(door.get(path).await.text(), "hello", "{header}: {value}");
    }
    let headers = [("if-match", "\"5d41402abc4b2a76b9719d911017c592\""), ("content-md5", "eV+HZIyfdpzvSxQ8JnJ4yg==")];
    refused(&door.raw(door.request(Method::PUT, path, &headers, "other")).await, 400, 10037, "");
    let headers = [("if-none-match", "*"), ("content-md5", "XUFAKrxLKna5cZ2REBfFkg==")];
    let made = door.raw(door.request(Method::PUT, "/r2/buckets/logs/objects/new", &headers, "hello")).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text());
}

#[tokio::test]
async fn metadata_is_stored_shown_and_listed() {
    let door = Door::with_bucket().await;
    let path = "/r2/buckets/logs/objects/k";
    let headers = [("content-type", "text/plain"), ("cache-control", "no-cache"), ("x-amz-meta-colour", "red")];
    door.raw(door.request(Method::PUT, path, &headers, "hello")).await;
    let head = door.call(Method::HEAD, path, "").await;
    for (name, value) in headers {
        assert_eq!(head.headers[name], value);
    }
    let listed = &door.result("/r2/buckets/logs/objects").await[0];
    assert_eq!(listed["http_metadata"], json!({ "contentType": "text/plain", "cacheControl": "no-cache" }));
    assert_eq!((&listed["custom_metadata"], &listed["ssec"]), (&json!({ "colour": "red" }), &json!(false)));
}

#[tokio::test]
async fn keys_may_look_like_paths() {
    let door = Door::with_bucket().await;
    for (path, key) in [("a%2F..%2Fb", "a/../b"), ("%2F", "/"), ("a//b/", "a//b/"), ("/lead", "/lead")] {
        let stored = door.call(Method::PUT, &format!("/r2/buckets/logs/objects/{path}"), key).await;
        assert_eq!(stored.json()["result"]["key"], json!(key), "{path}");
        assert_eq!(door.get(&format!("/r2/buckets/logs/objects/{path}")).await.text(), key);
    }
}

#[tokio::test]
async fn objects_are_listed_in_pages_with_folded_prefixes() {
    let door = Door::with_bucket().await;
    for key in ["a%2F1", "a%2F2", "b", "c"] {
        door.call(Method::PUT, &format!("/r2/buckets/logs/objects/{key}"), "x").await;
    }
    let keys = |answer: &Value| -> Vec<String> {
        let objects = answer["result"].as_array().unwrap();
        objects.iter().map(|object| object["key"].as_str().unwrap().to_owned()).collect()
    };
    let folded = door.get("/r2/buckets/logs/objects?delimiter=/").await.json();
    assert_eq!((keys(&folded), &folded["result_info"]["delimited"]), (vec!["b".into(), "c".into()], &json!(["a/"])));
    let first = door.get("/r2/buckets/logs/objects?per_page=3").await.json();
    assert_eq!(keys(&first), ["a/1", "a/2", "b"]);
    assert_eq!((&first["result_info"]["is_truncated"], &first["result_info"]["cursor"]), (&json!(true), &json!("b")));
    let rest = door.get("/r2/buckets/logs/objects?per_page=3&cursor=b").await.json();
    assert_eq!((keys(&rest), &rest["result_info"]["is_truncated"]), (vec!["c".into()], &json!(false)));
    assert_eq!(keys(&door.get("/r2/buckets/logs/objects?prefix=a/").await.json()), ["a/1", "a/2"]);
    refused(&door.get("/r2/buckets/none/objects").await, 404, 10006, "no bucket none");
}

#[tokio::test]
async fn a_bad_object_request_stores_nothing() {
    let door = Door::with_bucket().await;
    let long = format!("/r2/buckets/logs/objects/{}", "k".repeat(1025));
    refused(&door.call(Method::PUT, &long, "x").await, 400, 10020, "1 to 1024 bytes");
    refused(&door.call(Method::PUT, "/r2/buckets/logs/objects/%FF", "x").await, 400, 10040, "UTF-8");
    refused(&door.call(Method::PUT, "/r2/buckets/none/objects/k", "x").await, 404, 10006, "no bucket none");
    let cut = futures::stream::iter([Ok("begin"), Err(std::io::Error::other("the client left"))]);
    refused(&door.call(Method::PUT, "/r2/buckets/logs/objects/k", Body::from_stream(cut)).await, 400, 10054, "body");
    let short = Request::put(format!("/client/v4/accounts/{}/r2/buckets/logs/objects/k", door.account))
        .header("authorization", format!("Bearer {}", door.token))
        .header("content-length", "9")
        .body(Body::from("hello"));
    refused(&door.raw(short.unwrap()).await, 400, 10013, "5 bytes, the request says 9");
    assert_eq!(door.result("/r2/buckets/logs/objects").await, json!([]));
}

#[tokio::test]
async fn temporary_credentials_are_made_under_a_key_that_reaches_as_far() {
    let door = Door::new().await;
    let key = door.post("/cistern/keys", &json!({ "name": "ci", "permission": "read-write" })).await.json();
    let wanted = |more: Value| {
        let mut body = json!({
            "bucket": "logs", "parentAccessKeyId": key["result"]["access_key_id"],
            "permission": "object-read-only", "ttlSeconds": 60, "prefixes": ["a/"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let path = "/r2/temp-access-credentials";
    let made = door.post(path, &wanted(json!({}))).await.json()["result"].clone();
    assert!(made["accessKeyId"].as_str().unwrap().starts_with("CT"), "{made}");
    assert!(made["secretAccessKey"].as_str().unwrap().len() >= 40 && made["sessionToken"].as_str().unwrap().len() > 80);
    for (more, status, code, words) in [
        (json!({ "parentAccessKeyId": "CKNOBODY" }), 404, 20004, "CKNOBODY"),
        (json!({ "permission": "admin-read-write" }), 400, 20001, "no more than the parent key's"),
        (json!({ "permission": "everything" }), 400, 10040, "object-read-only"),
        (json!({ "ttlSeconds": 0 }), 400, 20001, "604800"),
        (json!({ "ttlSeconds": 604_801 }), 400, 20001, "604800"),
        (json!({ "prefixes": [] }), 400, 20001, "at least one prefix"),
        (json!({ "bucket": "Not A Bucket" }), 400, 10005, "bucket name"),
        (json!({ "colour": 1 }), 400, 10040, "colour"),
    ] {
        refused(&door.post(path, &wanted(more)).await, status, code, words);
    }
}

#[tokio::test]
async fn a_key_is_made_with_its_secret_listed_without_and_revoked() {
    let door = Door::new().await;
    let body = json!({ "name": "ci", "owner": "ada", "bucket": "logs", "permission": "read" });
    let made = door.post("/cistern/keys", &body).await.json()["result"].clone();
    assert_eq!(
        (&made["name"], &made["owner_name"], &made["permission"]),
        (&json!("ci"), &json!("ada"), &json!("read"))
    );
    assert!(made["secret_access_key"].as_str().unwrap().len() >= 40);
    let listed = door.result("/cistern/keys").await;
    let names: Vec<&Value> = listed.as_array().unwrap().iter().map(|key| &key["name"]).collect();
    assert_eq!(names, ["root", "ci"]);
    assert!(!listed.to_string().contains("secret"), "{listed}");
    refused(&door.post("/cistern/keys", &body).await, 409, 20009, "a key of that name exists");
    assert_eq!(door.call(Method::DELETE, "/cistern/keys/ci", "").await.status, StatusCode::OK);
    refused(&door.call(Method::DELETE, "/cistern/keys/ci", "").await, 404, 20004, "ci");
    refused(&door.call(Method::DELETE, "/cistern/keys/root", "").await, 400, 20001, "root");
    refused(&door.post("/cistern/keys", &json!({ "name": "" })).await, 400, 20001, "key name");
    refused(&door.post("/cistern/keys", &json!({ "name": "x", "permission": "all" })).await, 400, 10040, "read-write");
    refused(
        &door.post("/cistern/keys", &json!({ "name": "x", "colour": 1 })).await,
        400,
        10040,
        "unknown field `colour`",
    );
}

fn clicks() -> Value {
    json!({
        "name": "clicks",
        "source": [{ "type": "http", "format": "json", "authentication": true }],
        "destination": { "batch": { "max_bytes": 1_000_000, "on_json_key": ".merchantId" }, "path": { "bucket": "logs" } },
    })
}

#[tokio::test]
async fn a_pipeline_is_made_with_its_token_shown_without_and_deleted() {
    let door = Door::with_bucket().await;
    let made = door.post("/pipelines", &clicks()).await.json()["result"].clone();
    assert_eq!(made["endpoint"], "http://127.0.0.1:8443/clicks");
    assert_eq!(
        made["endpoints"],
        json!([
            { "label": "HTTPS", "address": "http://127.0.0.1:8443/clicks" },
            { "label": "WebSocket", "address": "ws://127.0.0.1:8443/clicks" },
            {
                "label": "Kafka",
                "address": "127.0.0.1:9092 (topic: clicks)",
                "bootstrap": "127.0.0.1:9092",
                "security_protocol": "SASL_PLAINTEXT",
            },
        ])
    );
    assert!(!made["send_token"].as_str().unwrap().is_empty());
    let shown = door.result("/pipelines/clicks").await;
    assert!(shown.get("send_token").is_none());
    assert_eq!(shown["destination"]["batch"]["on_json_key"], ".merchantId");
    assert_eq!(shown["destination"]["format"], "parquet");
    assert_eq!((&shown["status"]["state"], &shown["status"]["lag_events"]), (&json!("ready"), &json!(0)));
    let listed = door.get("/pipelines").await.json();
    assert_eq!((&listed["result"][0]["name"], &listed["results"][0]["name"]), (&json!("clicks"), &json!("clicks")));
    assert_eq!(door.get("/pipelines?page=2").await.json()["result"], json!([]));
    let gone = door.call(Method::DELETE, "/pipelines/clicks?mode=discard", "").await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text());
    refused(&door.get("/pipelines/clicks").await, 404, 1000, "no pipeline clicks");
}

#[tokio::test]
async fn a_pipeline_open_to_all_has_no_token() {
    let door = Door::with_bucket().await;
    let mut body = clicks();
    body["source"][0]["authentication"] = json!(false);
    let made = door.post("/pipelines", &body).await.json()["result"].clone();
    assert!(made.get("send_token").is_none());
    assert_eq!(made["source"][0]["authentication"], json!(false));
}

#[tokio::test]
async fn a_bad_pipeline_request_makes_none() {
    let door = Door::with_bucket().await;
    let with = |pointer: &str, value: Value| {
        let mut body = clicks();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let missing = with("/destination/path/bucket", json!("none"));
    refused(&door.post("/pipelines", &missing).await, 404, 10006, "bucket none does not exist");
    refused(&door.post("/pipelines", &with("/name", json!("v1"))).await, 400, 1001, "pipeline name");
    let path = with("/destination/batch/on_json_key", json!("merchantId"));
    refused(&door.post("/pipelines", &path).await, 400, 1001, "json key");
    refused(&door.post("/pipelines", &with("/destination", json!({ "colour": 1 }))).await, 400, 10040, "colour");
    assert_eq!(door.result("/pipelines").await, json!([]));
    refused(&door.call(Method::DELETE, "/pipelines/clicks", "").await, 404, 1000, "no pipeline clicks");
    door.post("/pipelines", &clicks()).await;
    refused(&door.post("/pipelines", &clicks()).await, 409, 1002, "exists already");
    refused(
        &door.call(Method::DELETE, "/pipelines/clicks?mode=burn", "").await,
        400,
        1001,
        "mode=drain or mode=discard",
    );
}

#[tokio::test]
async fn a_compaction_says_where_to_go_on_and_refuses_what_cannot_be() {
    let door = Door::with_bucket().await;
    door.post("/pipelines", &clicks()).await;
    let path = "/pipelines/clicks/compact";
    let done = door.post(path, &json!({})).await.json()["result"].clone();
    assert_eq!(done, json!({ "merged": null, "left": [], "cursor": null }));
    let asked = json!({ "prefix": "clicks/", "target_bytes": 1_000_000, "dry_run": true, "cursor": "clicks/k" });
    assert_eq!(door.post(path, &asked).await.json()["result"], done);
    for (body, code, words) in [
        (json!({ "target_bytes": 999_999 }), 1001, "target size 999999: use 1MB to 1GB"),
        (json!({ "target_bytes": "1MB" }), 10040, "expected u64"),
        (json!({ "colour": 1 }), 10040, "unknown field `colour`"),
    ] {
        refused(&door.post(path, &body).await, 400, code, words);
    }
    refused(&door.post("/pipelines/other/compact", &json!({})).await, 404, 1000, "no pipeline other");
    refused(&door.post("/pipelines/v1x%20/compact", &json!({})).await, 400, 1001, "pipeline name");
    door.call(Method::DELETE, "/r2/buckets/logs", "").await;
    refused(&door.post(path, &json!({})).await, 404, 10006, "destination bucket logs does not exist");
}

#[tokio::test]
async fn readiness_follows_storage_and_stop() {
    let door = Door::new().await;
    let ready = door.open("/readyz", None).await;
    assert_eq!((ready.status, ready.json()), (StatusCode::OK, json!({ "ready": true, "reasons": [], "notes": [] })));
    door.stopping.begin();
    let stopping = door.open("/readyz", None).await;
    assert_eq!(stopping.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stopping.json()["reasons"], json!(["the server is stopping"]));
    assert_eq!(door.open("/healthz", None).await.status, StatusCode::OK, "it lives until it has stopped");
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_is_behind_is_a_note_until_it_is_later_than_was_allowed() {
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let late_max = Some(Duration::from_mins(10));
    let door = Door::at(Arc::clone(&clock) as Arc<dyn Clock>, live_storage(), late_max).await;
    assert_eq!(door.post("/r2/buckets", &json!({ "name": "logs" })).await.status, StatusCode::OK);
    let mut open = clicks();
    open["source"][0]["authentication"] = json!(false);
    door.post("/pipelines", &open).await;
    assert_eq!(door.call(Method::DELETE, "/r2/buckets/logs", "").await.status, StatusCode::OK);
    let sent = Request::post("/clicks").body(Body::from("{}")).unwrap();
    assert_eq!(door.ingest.clone().oneshot(sent).await.unwrap().status(), StatusCode::OK);
    let timeout = door.result("/pipelines/clicks").await["destination"]["batch"]["max_duration_s"].as_u64().unwrap();
    clock.advance(Duration::from_secs(timeout) + Duration::from_mins(10));
    let waits = "pipeline clicks waits: destination bucket logs does not exist: create it again";
    let mut answer = door.open("/readyz", None).await;
    while answer.json()["notes"].as_array().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        answer = door.open("/readyz", None).await;
    }
    let behind = |late| format!("pipeline clicks is behind: 1 events wait, the oldest for {late} too long");
    assert_eq!((answer.status, &answer.json()["notes"]), (StatusCode::OK, &json!([behind("10m"), waits])));
    clock.advance(Duration::from_secs(1));
    let answer = door.open("/readyz", None).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((&answer.json()["reasons"], &answer.json()["notes"]), (&json!([behind("601s")]), &json!([waits])));
    assert_eq!(door.result("/pipelines/clicks").await["status"]["lag_seconds"], json!(601 + timeout));
}

#[tokio::test]
async fn a_drive_that_is_out_is_a_note_and_read_only_storage_a_reason() {
    let mut storage = live_storage();
    storage.drives[1].state = DriveState::Out { reason: "write failed".into() };
    storage.drives[2].state = DriveState::Missing { reason: "the folder does not exist".into() };
    storage.sets[0].degraded = true;
    let notes = json!(["drive /mnt/d1 is out: write failed", "drive /mnt/d2 is missing: the folder does not exist"]);
    let degraded = Door::over(storage.clone()).await.open("/readyz", None).await;
    assert_eq!((degraded.status, &degraded.json()["notes"]), (StatusCode::OK, &notes));
    storage.sets[0].writable = false;
    storage.sets[0].read_only_reason = Some("1 of 3 drives live, 2 needed".into());
    let read_only = Door::over(storage).await.open("/readyz", None).await;
    assert_eq!(read_only.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(read_only.json()["reasons"], json!(["the storage is read-only: 1 of 3 drives live, 2 needed"]));
    assert_eq!(read_only.json()["notes"], notes);
}

#[tokio::test]
async fn full_drives_are_a_note() {
    let mut storage = live_storage();
    storage.sets[0].full = true;
    let door = Door::over(storage).await;
    let answer = door.open("/readyz", None).await;
    let notes = json!(["set 0 is full: it takes no bodies until something is deleted"]);
    assert_eq!((answer.status, &answer.json()["notes"]), (StatusCode::OK, &notes));
    let status = door.result("/cistern/status").await;
    assert_eq!((&status["storage"]["full"], &status["storage"]["sets"][1]["full"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn a_set_without_the_rows_that_takes_nothing_is_a_note() {
    let mut storage = live_storage();
    storage.sets[1].writable = false;
    storage.sets[1].read_only_reason = Some("1 of 3 drives live, 2 needed".into());
    storage.absent.push(AbsentSet { number: 1, reason: "3 of the set's drives are missing".into() });
    let notes = json!([
        "set 1 cannot be read: 3 of the set's drives are missing",
        "set 16 takes no new objects: 1 of 3 drives live, 2 needed",
    ]);
    let answer = Door::over(storage).await.open("/readyz", None).await;
    assert_eq!((answer.status, &answer.json()["notes"]), (StatusCode::OK, &notes));
}

#[tokio::test]
async fn status_names_drives_workers_and_endpoints() {
    let door = Door::new().await;
    let status = door.result("/cistern/status").await;
    assert_eq!(
        status["endpoints"],
        json!({
            "s3": "http://127.0.0.1:9000", "ingest": "http://127.0.0.1:8443", "kafka": "127.0.0.1:9092",
        })
    );
    assert_eq!(status["storage"]["drives"][2]["path"], "/mnt/d2");
    let sets = &status["storage"]["sets"];
    assert_eq!((&sets[0]["class"], &sets[0]["code"]), (&json!("STANDARD"), &json!("2+1")));
    assert_eq!((&sets[1]["number"], &sets[1]["class"]), (&json!(16), &json!("STANDARD_IA")));
    assert_eq!((&status["ready"], &status["storage"]["writable"]), (&json!(true), &json!(true)));
    assert!(status["workers"].is_array() && status["version"].is_string());
}

#[tokio::test]
async fn metrics_show_process_drives_and_workers() {
    let door = Door::new().await;
    let page = door.open("/metrics", None).await;
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = page.text();
    for line in [
        "cistern_drives_syncs_total 14",
        "cistern_drives_live{drive=\"2\"} 1",
        "cistern_drives_writable 1",
        "cistern_runtime_workers{state=\"failing\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(
        text.contains("\ncistern_process_resident_bytes ") && text.contains("\ncistern_process_cpu_seconds_total ")
    );
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_dashboard_needs_no_token_and_loads_nothing() {
    let door = Door::new().await;
    let page = door.open("/", None).await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let html = page.text();
    for outside in ["src=", "href=", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
}

/// What clients are told for each kind of failure: reviewed like code.
#[test]
fn the_table_of_codes() {
    use crate::error::Error;
    use cistern_access::Error as Access;
    use cistern_objects::Error as Objects;
    use cistern_pipelines::Error as Pipelines;
    let (bucket, key): (cistern_types::BucketName, cistern_types::ObjectKey) =
        ("logs".parse().unwrap(), "k".parse().unwrap());
    let errors: Vec<Error> = vec![
        Error::Unauthorized,
        Error::NoRoute { path: "/x".into() },
        Error::MethodNotAllowed { method: "PATCH".into() },
        Error::Malformed { reason: "malformed".into() },
        Error::BodyTooLarge { limit_bytes: 1 },
        Error::PipelineSetting { field: "mode", reason: "use drain".into() },
        Objects::NoSuchBucket { bucket: bucket.clone() }.into(),
        Objects::NoSuchKey { bucket: bucket.clone(), key, marker: None }.into(),
        Objects::BucketAlreadyExists { bucket: bucket.clone() }.into(),
        Objects::BucketAlreadyOwnedByYou { bucket: bucket.clone() }.into(),
        Objects::BucketNotEmpty { bucket: bucket.clone() }.into(),
        Objects::EntityTooLarge { size_bytes: 2, limit_bytes: 1 }.into(),
        Objects::MetadataTooLarge { size_bytes: 2, limit_bytes: 1 }.into(),
        Objects::IncompleteBody { expected_bytes: 2, received_bytes: 1 }.into(),
        Objects::TooMuchContention { tries: 64 }.into(),
        Access::NoSuchKey { name_or_id: "ci".into() }.into(),
        Access::NameTaken { name: "ci".into() }.into(),
        Access::RootKey.into(),
        Access::TooMuchContention { tries: 64 }.into(),
        Pipelines::NoSuchPipeline { name: "clicks".into() }.into(),
        Pipelines::PipelineExists { name: "clicks".parse().unwrap() }.into(),
        Pipelines::NoSuchBucket { bucket }.into(),
        Pipelines::NoSuchStream { name: "events".into() }.into(),
        Pipelines::NoSuchSink { name: "lake".into() }.into(),
        Pipelines::NameTaken { what: "sink", name: "lake".parse().unwrap() }.into(),
        Pipelines::SinkInUse { name: "lake".parse().unwrap(), pipeline: "flow".parse().unwrap() }.into(),
        Pipelines::InvalidSql { reason: "statement 1: there is no column a".into() }.into(),
        Pipelines::InvalidSetting { field: "batch size", given: "1".into(), rule: "use 1KB to 1GB" }.into(),
        Pipelines::Stopping.into(),
    ];
    let lines: Vec<String> = errors
        .iter()
        .map(|error| {
            let (status, code) = error.coded();
            format!("{} {code:>6}  {}", status.as_u16(), error.message((status, code)))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
