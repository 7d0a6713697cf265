//! The fixture: a door over an object store in memory, calls to it, and a look at all there is behind it.

use crate::sign::{HOST, Keys, Moment, UNSIGNED, canonical_query, escape, names, sha256};
use bytes::Bytes;
use cistern_access::{Access, KeySpec, Permission};
use cistern_net::Peer;
use cistern_objects::{Limits, ListBuckets, ListUploads, ListVersions, ListedVersion, MasterKeys, Objects, UploadRef};
use cistern_runtime::SystemClock;
use cistern_s3_api::{Body, S3Config, S3Door, S3Metrics};
use cistern_types::BucketName;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use std::fmt::Write as _;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// The smallest part of an upload here, so that tests need no megabytes.
pub(crate) const PART_BYTES_MIN: usize = 8;

pub(crate) struct House {
    pub(crate) door: S3Door,
    pub(crate) objects: Objects,
    pub(crate) access: Access,
    pub(crate) root: Keys,
}

/// A door with nothing behind it.
pub(crate) fn house() -> House {
    house_with(S3Config::default())
}

pub(crate) fn house_with(config: S3Config) -> House {
    let limits = Limits { part_bytes_min: PART_BYTES_MIN as u64, ..Limits::default() };
    let objects = Objects::in_memory(Arc::new(SystemClock), limits).with_master_keys(MasterKeys::generate());
    let access = Access::in_memory(Arc::new(SystemClock));
    let door = S3Door::new(objects.clone(), access.clone(), config, S3Metrics::default()).unwrap();
    let root =
        Keys { id: access.root().key.access_key_id.to_string(), secret: access.root().secret.expose().to_owned() };
    House { door, objects, access, root }
}

/// A door with an empty bucket named `photos`.
pub(crate) async fn house_with_bucket() -> House {
    let house = house();
    house.send(&Call::put("/photos")).await.expect(200);
    house
}

/// How a call is signed.
#[derive(Debug, Clone)]
enum Auth {
    None,
    Header,
    Presigned { expires: String },
}

/// A request to be.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    /// Not escaped.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    /// Sent, but not signed.
    pub(crate) unsigned_headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// `x-amz-content-sha256`; by default the hash of the body.
    pub(crate) payload: Option<String>,
    pub(crate) host: &'static str,
    pub(crate) length: Option<String>,
    pub(crate) keys: Option<Keys>,
    /// How far the client's clock is ahead.
    pub(crate) ahead: Duration,
    auth: Auth,
}

impl Call {
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            pair.split_once('=').map(|(a, b)| (a.into(), b.into())).unwrap_or((pair.into(), String::new()))
        };
        Self {
            method,
            path: path.into(),
            query: pairs.map(pair).collect(),
            headers: Vec::new(),
            unsigned_headers: Vec::new(),
            body: Bytes::new(),
            payload: None,
            host: HOST,
            length: None,
            keys: None,
            ahead: Duration::ZERO,
            auth: Auth::Header,
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn head(path: &str) -> Self {
        Self::new("HEAD", path)
    }

    pub(crate) fn put(path: &str) -> Self {
        Self::new("PUT", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub(crate) fn delete(path: &str) -> Self {
        Self::new("DELETE", path)
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn unsigned_header(mut self, name: &str, value: &str) -> Self {
        self.unsigned_headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    pub(crate) fn payload(mut self, payload: &str) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Says another length than the body has.
    pub(crate) fn length(mut self, length: &str) -> Self {
        self.length = Some(length.into());
        self
    }

    pub(crate) fn by(mut self, keys: &Keys) -> Self {
        self.keys = Some(keys.clone());
        self
    }

    pub(crate) fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    pub(crate) fn ahead(mut self, ahead: Duration) -> Self {
        self.ahead = ahead;
        self
    }

    pub(crate) fn presigned(mut self, expires: &str) -> Self {
        self.auth = Auth::Presigned { expires: expires.into() };
        self
    }

    pub(crate) fn anonymous(mut self) -> Self {
        self.auth = Auth::None;
        self
    }

    fn moment(&self) -> Moment {
        Moment::at(OffsetDateTime::now_utc() + self.ahead)
    }

    /// Signs the call; the body of an aws-chunked one is made of the signature. Answers the request's head and body.
    pub(crate) fn sign(&self, root: &Keys, chunked: impl FnOnce(&Moment, &Keys, &str) -> Vec<u8>) -> Request<Bytes> {
        let keys = self.keys.as_ref().unwrap_or(root);
        let moment = self.moment();
        let path = escape(&self.path, "/");
        let mut headers: Vec<(String, String)> = vec![("host".into(), self.host.into())];
        headers.extend(self.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())));
        let mut query = self.query.clone();
        let mut body = self.body.clone();
        match &self.auth {
            Auth::None => {}
            Auth::Header => {
                let payload = self.payload.clone().unwrap_or_else(|| sha256(&self.body));
                headers.push(("x-amz-content-sha256".into(), payload.clone()));
                headers.push(("x-amz-date".into(), moment.date.clone()));
                headers.sort();
                let target = (self.method, path.as_str(), canonical_query(&query));
                let target = (target.0, target.1, target.2.as_str());
                let signature = moment.sign_request(keys, target, &headers, &payload);
                body = if payload.starts_with("STREAMING-") { chunked(&moment, keys, &signature).into() } else { body };
                let (scope, signed) = (moment.scope(), names(&headers));
                let authorization = format!(
                    "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
                    keys.id
                );
                headers.push(("authorization".into(), authorization));
            }
            Auth::Presigned { expires } => {
                headers.sort();
                for (name, value) in [
                    ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
                    ("X-Amz-Credential", format!("{}/{}", keys.id, moment.scope())),
                    ("X-Amz-Date", moment.date.clone()),
                    ("X-Amz-Expires", expires.clone()),
                    ("X-Amz-SignedHeaders", names(&headers)),
                ] {
                    query.push((name.into(), value));
                }
                let canonical = canonical_query(&query);
                let target = (self.method, path.as_str(), canonical.as_str());
                let signature = moment.sign_request(keys, target, &headers, UNSIGNED);
                query.push(("X-Amz-Signature".into(), signature));
            }
        }
        let query = canonical_query(&query);
        let uri = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut request = Request::builder().method(self.method).uri(uri);
        for (name, value) in headers.iter().chain(&self.unsigned_headers) {
            request = request.header(name, value.as_bytes());
        }
        let length = self.length.clone().unwrap_or_else(|| body.len().to_string());
        if !length.is_empty() && !matches!(self.method, "GET" | "HEAD") {
            request = request.header("content-length", length);
        }
        request.body(body).unwrap()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The text of the first element with this name.
    pub(crate) fn element(&self, name: &str) -> String {
        self.elements(name).into_iter().next().unwrap_or_default()
    }

    /// The texts of all elements with this name.
    pub(crate) fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let parts = text.split(&format!("<{name}>")).skip(1).map(ToOwned::to_owned).collect::<Vec<_>>();
        parts.iter().map(|part| part.split(&format!("</{name}>")).next().unwrap_or_default().to_owned()).collect()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{} {:?}", self.text(), self.headers);
        self
    }

    /// Asserts an error, and that it carries the request's ids in header and XML.
    #[track_caller]
    pub(crate) fn expect_error(self, code: &str, status: u16) -> Self {
        assert_eq!((self.element("Code").as_str(), self.status.as_u16()), (code, status), "{}", self.text());
        assert_eq!(self.element("RequestId"), self.header("x-amz-request-id"));
        assert_eq!(self.element("HostId"), self.header("x-amz-id-2"));
        assert!(!self.element("Message").is_empty(), "an error says something: {}", self.text());
        self
    }
}

impl House {
    pub(crate) async fn send(&self, call: &Call) -> Answer {
        self.send_chunked(call, |_, _, _| unreachable!("not an aws-chunked call")).await
    }

    /// Sends a call as HTTP/2 does: its host stands in the address.
    pub(crate) async fn send_by_authority(&self, call: &Call) -> Answer {
        let mut request = call.sign(&self.root, |_, _, _| unreachable!("not an aws-chunked call")).map(Body::from);
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("http://{}{}", call.host, request.uri()).parse().unwrap();
        *request.version_mut() = http::Version::HTTP_2;
        self.send_request(request).await
    }

    /// Sends a call as over a connection of its own, encrypted or not.
    pub(crate) async fn send_over(&self, call: &Call, secure: bool) -> Answer {
        let mut request = call.sign(&self.root, |_, _, _| unreachable!("not an aws-chunked call")).map(Body::from);
        request.extensions_mut().insert(Peer { ip: [127, 0, 0, 1].into(), secure });
        self.send_request(request).await
    }

    /// Sends a call whose body is made once its signature is known.
    pub(crate) async fn send_chunked(
        &self,
        call: &Call,
        chunked: impl FnOnce(&Moment, &Keys, &str) -> Vec<u8>,
    ) -> Answer {
        self.send_request(call.sign(&self.root, chunked).map(Body::from)).await
    }

    pub(crate) async fn send_request(&self, request: Request<Body>) -> Answer {
        let answer = self.door.handle(request).await;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        assert_eq!(answer.header("x-amz-request-id").len(), 16, "every answer has an id");
        assert!(!answer.header("x-amz-id-2").is_empty(), "every answer has an extended id");
        answer
    }

    /// Asserts that a call is refused with this code and status and changes nothing.
    #[track_caller]
    pub(crate) fn check_refused<'a>(
        &'a self,
        call: &'a Call,
        code: &'a str,
        status: u16,
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let before = self.state().await;
            let answer = self.send(call).await;
            let found = (answer.element("Code"), answer.status.as_u16());
            assert_eq!(
                found,
                (code.to_owned(), status),
                "called at {caller}: {} {} {:?} {}",
                call.method,
                call.path,
                call.headers,
                answer.text()
            );
            answer.expect_error(code, status);
            assert_eq!(self.state().await, before, "called at {caller}: a refused request changes nothing");
        }
    }

    /// Everything there is, as text.
    pub(crate) async fn state(&self) -> String {
        let mut state = String::new();
        let all = ListBuckets { owner: None, prefix: String::new(), after: None, limit: 1000 };
        for bucket in self.objects.buckets(all).await.unwrap().buckets {
            writeln!(state, "{bucket:?}").unwrap();
            for kind in &bucket.settings.configured {
                let text = self.objects.configuration(&bucket.name, *kind).await.unwrap();
                writeln!(state, "  {kind:?}: {text:?}").unwrap();
            }
            for listed in self.versions(&bucket.name).await {
                let ListedVersion::Object { object, version, .. } = &listed else {
                    writeln!(state, "  {listed:?}").unwrap();
                    continue;
                };
                let record = self.objects.head_version(&bucket.name, &object.key, Some(*version)).await.unwrap();
                writeln!(state, "  {record:?}").unwrap();
            }
            let name = bucket.name.clone();
            let all = ListUploads {
                bucket: bucket.name,
                prefix: String::new(),
                delimiter: None,
                key_marker: None,
                upload_marker: None,
                limit: 1000,
            };
            for upload in self.objects.uploads(all).await.unwrap().uploads {
                let at = UploadRef { bucket: name.clone(), key: upload.key.clone(), upload: upload.upload };
                let parts = self.objects.parts(&at, 0, 1000).await.unwrap().parts;
                writeln!(state, "  {} {}: {parts:?}", upload.key, upload.upload).unwrap();
            }
        }
        state
    }

    async fn versions(&self, bucket: &BucketName) -> Vec<ListedVersion> {
        let all = ListVersions {
            bucket: bucket.clone(),
            prefix: String::new(),
            delimiter: None,
            key_marker: None,
            version_marker: None,
            limit: 1000,
        };
        self.objects.versions(all).await.unwrap().versions
    }

    /// A key of another kind than root's.
    pub(crate) async fn key(&self, owner: Option<&str>, bucket: Option<&str>, permission: Permission) -> Keys {
        let spec = KeySpec {
            name: format!("{owner:?} {bucket:?} {permission}"),
            owner: owner.map(Into::into),
            bucket: bucket.map(|bucket| bucket.parse().unwrap()),
            permission,
        };
        let made = self.access.create_key(spec).await.unwrap();
        Keys { id: made.record.access_key_id.to_string(), secret: made.secret.expose().to_owned() }
    }

    /// Puts an object and answers its tag.
    pub(crate) async fn put(&self, path: &str, body: &str) -> String {
        let answer = self.send(&Call::put(path).body(body.to_owned())).await.expect(200);
        answer.header("etag").to_owned()
    }
}
