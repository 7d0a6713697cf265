//! `S3Door`: the whole S3 protocol as one function from request to answer, in front of `s3s` and behind it.
//!
//! The most usual requests go past it ([`direct`](crate::direct)).
//! Every request gets an id before anything else happens and every answer carries it, also inside error XML; what s3s
//! would let pass is refused; what s3s words wrongly is put right.

use crate::access_check::{AccessCheck, names_sub_resource};
use crate::auth::{KeyAuth, in_session, session_of};
use crate::body_idle::limit_idle;
use crate::body_watch::watch;
use crate::checksum::ClaimedDigests;
use crate::cors::{self, CorsConfiguration};
use crate::direct::Direct;
use crate::encryption::hide_secrets;
use crate::error_map::{Refusal, refusal, words_of};
use crate::form_upload::{FormUploads, check_head};
use crate::host::BucketHost;
use crate::judge::Judge;
use crate::lenient::{AsSent, Lenient, second_pass};
use crate::notes::{BodySeen, Notes, Respelled};
use crate::ops::Operations;
use crate::ops::cors::rules_of;
use crate::query::{Query, decode_path};
use crate::rechunk::{ChunkKind, rechunk, unchunk};
use crate::screen::{Screen, Signature, is_form};
use crate::signature::CONTENT_SHA256;
use crate::xml_text::{escape, fits, refer_to_carriage_returns};
use crate::{Result, S3Config, S3Metrics};
use bytes::Bytes;
use cistern_access::Access;
use cistern_net::{Listener, ServeLimits, Served, serve_http};
use cistern_objects::{ConfigurationKind, Objects};
use cistern_runtime::{Clock, Shutdown};
use cistern_types::BucketName;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST, ORIGIN, SERVER, VARY};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use s3s::config::{S3ConfigProvider, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tokio::time::Instant;

/// Answers S3 requests. Clones share everything.
#[derive(Debug, Clone)]
pub struct S3Door {
    service: S3Service,
    /// The same for second passes, see `lenient.rs`.
    again: S3Service,
    direct: Arc<Direct>,
    objects: Objects,
    judge: Judge,
    hosts: Option<BucketHost>,
    clock: Arc<dyn Clock>,
    config: Arc<S3Config>,
    metrics: S3Metrics,
}

impl S3Door {
    /// A door to `objects` for the keys of `access`.
    pub fn new(objects: Objects, access: Access, config: S3Config, metrics: S3Metrics) -> Result<Self> {
        let clock = Arc::clone(objects.clock());
        let mut below = s3s::config::S3Config::default();
        below.xml_max_body_size = config.xml_bytes_max;
        below.post_object_max_file_size = 0; // forms never get that far, see `screen.rs`
        // s3s asks the system's clock; the screen in front asks ours and is exact, so s3s only must not be stricter.
        below.presigned_url_max_skew_time_secs =
            u32::try_from(config.clock_skew_max.as_secs()).unwrap_or(u32::MAX).saturating_add(SKEW_SLACK_SECONDS);
        let judge = Judge::new(access, objects.clone());
        let below: Arc<dyn S3ConfigProvider> = Arc::new(StaticConfigProvider::new(Arc::new(below)));
        let hosts = config.domain.as_deref().map(BucketHost::new).transpose()?;
        let access_check = AccessCheck { judge: judge.clone(), objects: objects.clone() };
        let service = || {
            let mut builder = S3ServiceBuilder::new(Operations::new(objects.clone(), judge.clone(), hosts.clone()));
            builder.set_config(Arc::clone(&below));
            builder.set_auth(KeyAuth { access: judge.access.clone() });
            builder.set_access(access_check.clone());
            if let Some(hosts) = hosts.clone() {
                builder.set_host(hosts);
            }
            builder
        };
        let again = service().build();
        let mut first = service();
        first.set_route(Lenient { again: again.clone() });
        let (service, config) = (first.build(), Arc::new(config));
        let direct = Arc::new(Direct::new(objects.clone(), access_check));
        Ok(Self { service, again, direct, objects, judge, hosts, clock, config, metrics })
    }

    /// Answers the requests of a listener until `shutdown` begins.
    pub async fn serve(self, listener: Listener, limits: &ServeLimits, shutdown: Shutdown) -> Served {
        let door = Arc::new(self);
        serve_http(listener, limits, shutdown, move |request| {
            let door = Arc::clone(&door);
            async move { door.handle(request.map(Body::from)).await }
        })
        .await
    }

    /// Answers one request. Every answer has `x-amz-request-id` and `x-amz-id-2`.
    pub async fn handle(&self, mut request: Request<Body>) -> Response<Body> {
        name_host(&mut request);
        let began = Instant::now();
        let notes = Notes::new(self.clock.now());
        let head = request.method() == Method::HEAD;
        let asks = Asks::of(&request, self.hosts.as_ref());
        let answer = if request.method() == Method::OPTIONS {
            self.preflight(request.headers(), asks.bucket.as_deref()).await
        } else if request.method() == Method::POST && is_form(request.headers()) {
            Box::pin(self.take_form(request, &asks, &notes)).await
        } else {
            self.call(request, &asks, &notes).await
        };
        let mut answer = finish(answer, &notes, head);
        self.add_cors(&mut answer, &asks, &notes).await;
        self.metrics.answered(notes.operation(), answer.status(), began.elapsed());
        tracing::debug!(
            request_id = notes.request_id,
            operation = notes.operation(),
            status = answer.status().as_u16(),
            "answered"
        );
        answer
    }

    async fn call(&self, request: Request<Body>, asks: &Asks, notes: &Arc<Notes>) -> Response<Body> {
        let request = match self.prepare(request, asks, notes).await {
            Ok(request) => request,
            Err(error) => return error_answer(error),
        };
        let request = match self.direct(request, asks, notes).await {
            Ok(answer) => return answer,
            Err(request) => request,
        };
        let is_xml = request.extensions().get::<XmlHead>().is_some();
        let kept = is_xml.then(|| (request.method().clone(), request.extensions().clone()));
        let answer = ask(&self.service, request, notes).await;
        let (Some((method, extensions)), Some(respelled)) = (kept, notes.respelled()) else { return answer };
        match again(method, extensions, respelled, notes) {
            Ok(request) => ask(&self.again, request, notes).await,
            Err(refusal) => error_answer(refusal.into_s3()),
        }
    }

    /// The answer to a plain request, or the request.
    async fn direct(
        &self,
        request: Request<Body>,
        asks: &Asks,
        notes: &Notes,
    ) -> std::result::Result<Response<Body>, Request<Body>> {
        let (Some(bucket), Some(key), false) = (&asks.bucket, &asks.key, asks.by_host) else { return Err(request) };
        let answer = self.direct.answer(request, (bucket, key), notes).await?;
        Ok(answer.unwrap_or_else(|refusal| error_answer(refusal.logged(notes))))
    }

    /// Answers a browser that asks what it may ask. Neither signatures nor access play a part: the answer says nothing but the rules.
    async fn preflight(&self, headers: &HeaderMap, bucket: Option<&str>) -> Response<Body> {
        let rules = self.cors_rules(bucket).await;
        let allowed = match rules {
            Ok(rules) => cors::preflight_headers(rules.as_ref(), headers).map_err(Refusal::from),
            Err(refusal) => Err(refusal),
        };
        match allowed {
            Ok(headers) => {
                let mut answer = Response::new(Body::empty());
                *answer.headers_mut() = headers;
                answer
            }
            Err(refusal) => error_answer(refusal.into_s3()),
        }
    }

    async fn cors_rules(&self, bucket: Option<&str>) -> std::result::Result<Option<CorsConfiguration>, Refusal> {
        let Some(Ok(bucket)) = bucket.map(str::parse::<BucketName>) else { return Ok(None) };
        match rules_of(&self.objects, &bucket).await {
            Err(refusal) if refusal.is("NoSuchBucket") => Ok(None),
            rules => rules,
        }
    }

    /// Adds what the bucket's rules let a page of another origin read, to errors too.
    async fn add_cors(&self, answer: &mut Response<Body>, asks: &Asks, notes: &Notes) {
        let known = notes.known_bucket().is_some_and(|bucket| bucket.has(ConfigurationKind::Cors));
        let Some(origin_headers) = &asks.origin_headers else {
            if known {
                answer.headers_mut().append(VARY, HeaderValue::from_static(CORS_VARY));
            }
            return;
        };
        if asks.method == Method::OPTIONS || (notes.known_bucket().is_some() && !known) {
            return;
        }
        if let Ok(Some(rules)) = self.cors_rules(asks.bucket.as_deref()).await {
            for (name, value) in &rules.actual_headers(&asks.method, origin_headers) {
                answer.headers_mut().append(name, value.clone());
            }
        }
    }

    async fn take_form(&self, request: Request<Body>, asks: &Asks, notes: &Arc<Notes>) -> Response<Body> {
        notes.set_operation("PostObject");
        let (parts, body) = request.into_parts();
        let body = limit_idle(body, self.config.body_idle_max);
        let uploads = FormUploads { objects: &self.objects, judge: &self.judge, hosts: self.hosts.as_ref(), notes };
        let stored = match (check_head(&parts, asks.key.as_deref()), asks.bucket.as_deref()) {
            (Err(refusal), _) => Err(refusal),
            (Ok(()), None) => Err(Refusal::from(method_not_allowed())),
            (Ok(()), Some(bucket)) => uploads.answer(&parts, bucket, body).await,
        };
        stored.unwrap_or_else(|refusal| error_answer(refusal.logged(notes)))
    }

    /// Judges the head, and puts the body and the notes in order for what follows.
    async fn prepare(
        &self,
        request: Request<Body>,
        asks: &Asks,
        notes: &Arc<Notes>,
    ) -> std::result::Result<Request<Body>, S3Error> {
        let (mut parts, body) = request.into_parts();
        check_method(&parts, asks)?;
        let screen = Screen { now: notes.received, clock_skew_max: self.config.clock_skew_max };
        let is_signed = screen.check(&parts.uri, &mut parts.headers)? != Signature::Missing;
        hide_secrets(&mut parts.headers);
        if let Some(session) = session_of(&self.judge.access, &parts).await.map_err(|refusal| refusal.logged(notes))? {
            notes.set_session(session);
        }
        let bodiless = matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE);
        let body = if bodiless { body } else { limit_idle(body, self.config.body_idle_max) };
        let body = match (chunk_kind(&parts), may_be_xml(&parts, asks)) {
            (Some(_), true) => {
                return Err(refusal(
                    ("InvalidRequest", 400),
                    "Only the bytes of objects may come in aws-chunked coding.",
                ));
            }
            (Some(ChunkKind::Signed), false) if !is_signed => {
                return Err(refusal(("InvalidRequest", 400), "Chunks with signatures need a signed request."));
            }
            (Some(ChunkKind::Unsigned), false) if !is_signed => {
                let (body, trailers) = unchunk(body);
                parts.extensions.insert(trailers);
                parts.headers.remove(&CONTENT_SHA256);
                parts.headers.remove(CONTENT_LENGTH); // that of the coding
                body
            }
            (Some(kind), false) => rechunk(body, kind),
            (None, true) => {
                let query = parts.uri.query().map(Query::parse).unwrap_or_default();
                check_empty(&parts.headers, &body)?;
                // on the completion of an upload the checksum is that of the object
                let digests = ClaimedDigests::new(&parts.headers, !query.has("uploadId")).map_err(Refusal::into_s3)?;
                parts.extensions.insert(XmlHead { headers: parts.headers.clone(), uri: parts.uri.clone() });
                let is_xml = !query.has("policy"); // that is JSON
                watch(body, Arc::clone(notes), digests, self.config.xml_bytes_max, is_xml)
            }
            (None, false) => body,
        };
        parts.extensions.insert(Arc::clone(notes));
        Ok(Request::from_parts(parts, body))
    }
}

/// Refuses methods that S3 does not have, or not there.
fn check_method(parts: &Parts, asks: &Asks) -> std::result::Result<(), S3Error> {
    let names_operation = || parts.uri.query().is_some_and(names_sub_resource);
    match parts.method {
        Method::POST if asks.bucket.is_some() && asks.key.is_none() && !names_operation() => Err(refusal(
            ("PreconditionFailed", 412),
            "At least one of the pre-conditions you specified did not hold. Bucket POST must be of the enclosure-type \
             multipart/form-data",
        )),
        Method::POST if asks.key.is_some() && !names_operation() => Err(method_not_allowed()),
        _ if asks.bucket.is_none() && parts.method != Method::GET => Err(method_not_allowed()),
        Method::GET | Method::PUT | Method::DELETE | Method::POST | Method::HEAD => Ok(()),
        _ => Err(method_not_allowed()),
    }
}

fn method_not_allowed() -> S3Error {
    refusal(("MethodNotAllowed", 405), "The specified method is not allowed against this resource.")
}

/// Refuses a body of no bytes that should have some: s3s does not look at the hash of one that it need not read.
fn check_empty(headers: &HeaderMap, body: &Body) -> std::result::Result<(), S3Error> {
    let is_empty = http_body::Body::size_hint(body).exact() == Some(0);
    if is_empty { check_claimed_hash(headers, EMPTY_SHA256) } else { Ok(()) }
}

/// Refuses a body whose SHA-256 is `computed`, in hex, and not the one that the request promised, if it promised one.
fn check_claimed_hash(headers: &HeaderMap, computed: &str) -> std::result::Result<(), S3Error> {
    let claimed = headers.get(&CONTENT_SHA256).map(HeaderValue::as_bytes);
    let is_other = |claimed: &[u8]| claimed.len() == computed.len() && claimed != computed.as_bytes();
    if claimed.is_some_and(is_other) { Err(hash_mismatch()) } else { Ok(()) }
}

fn hash_mismatch() -> S3Error {
    let text = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    refusal(("XAmzContentSHA256Mismatch", 400), text)
}

/// The SHA-256 of nothing.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// HTTP/2 names the host in the address; whatever reads a request later finds it where HTTP/1 has it.
fn name_host(request: &mut Request<Body>) {
    if !request.headers().contains_key(HOST)
        && let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    {
        request.headers_mut().insert(HOST, host);
    }
}

/// The head of a request with an XML body, as it came.
#[derive(Debug, Clone)]
struct XmlHead {
    headers: HeaderMap,
    uri: Uri,
}

/// The request once more, with a body that s3s reads rightly. Its signature does not cover that, but was found right before the body was
/// read; what it says of the body is checked here.
fn again(
    method: Method,
    mut extensions: Extensions,
    respelled: &Respelled,
    notes: &Notes,
) -> std::result::Result<Request<Body>, Refusal> {
    let head = extensions.remove::<XmlHead>().ok_or_else(|| Refusal::internal(std::fmt::Error))?;
    check_claimed_hash(&head.headers, &hex::encode(Sha256::digest(&respelled.original)))?;
    let signer = notes.asker().map(|asker| asker.key.access_key_id.to_string());
    let sent = AsSent { headers: head.headers, uri: head.uri, signer, trailers: None };
    let mut request = second_pass(method, sent, extensions, Body::from(respelled.body.clone()))?;
    request.headers_mut().remove(&CONTENT_SHA256);
    request.headers_mut().insert(CONTENT_LENGTH, respelled.body.len().into());
    notes.set_body_seen(BodySeen::Unread);
    Ok(request)
}

async fn ask(service: &S3Service, request: Request<Body>, notes: &Arc<Notes>) -> Response<Body> {
    // Boxed: s3s's future is large, and this one is moved around with its connection.
    match in_session(notes.session().cloned(), Box::pin(service.call(request))).await {
        Ok(answer) => answer,
        Err(error) => {
            let error: s3s::StdError = error.into();
            tracing::error!(request_id = notes.request_id, %error, "an answer could not be written");
            error_answer(Refusal::internal(std::io::Error::other(error)).into_s3())
        }
    }
}

/// What answers of a bucket with CORS rules depend on.
const CORS_VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// What a request asks for, as far as the front needs it once the request is gone.
struct Asks {
    method: Method,
    /// Whether the host names the bucket.
    by_host: bool,
    bucket: Option<String>,
    key: Option<String>,
    /// The headers, when a page of some origin sends it.
    origin_headers: Option<HeaderMap>,
}

impl Asks {
    fn of(request: &Request<Body>, hosts: Option<&BucketHost>) -> Self {
        let path = decode_path(request.uri().path());
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let by_host = hosts.zip(host).and_then(|(hosts, host)| hosts.bucket(host));
        let (bucket, key) = if let Some(bucket) = by_host {
            (bucket.to_ascii_lowercase(), path.strip_prefix('/').unwrap_or(&path))
        } else {
            let path = path.trim_start_matches('/');
            let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
            (bucket.to_owned(), key)
        };
        Self {
            method: request.method().clone(),
            by_host: by_host.is_some(),
            bucket: Some(bucket).filter(|bucket| !bucket.is_empty()),
            key: Some(key.to_owned()).filter(|key| !key.is_empty()),
            origin_headers: request.headers().contains_key(ORIGIN).then(|| request.headers().clone()),
        }
    }
}

/// How much later than the screen s3s may look at its clock.
const SKEW_SLACK_SECONDS: u32 = 3600;

/// How the body is coded, if it is aws-chunked.
fn chunk_kind(parts: &Parts) -> Option<ChunkKind> {
    match parts.headers.get(&CONTENT_SHA256)?.as_bytes() {
        b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Some(ChunkKind::Unsigned),
        value if value.starts_with(b"STREAMING-") => Some(ChunkKind::Signed),
        _ => None,
    }
}

/// Sub-resources of an object that a PUT describes in XML.
const XML_SUB_RESOURCES: [&str; 4] = ["acl", "legal-hold", "retention", "tagging"];

/// Whether s3s may gather the body and parse it: any POST, a PUT to a bucket, and one to a sub-resource of an object. Objects'
/// own bodies are streamed.
fn may_be_xml(parts: &Parts, asks: &Asks) -> bool {
    let names_object = asks.key.is_some();
    let describes = || {
        let query = parts.uri.query().map(Query::parse).unwrap_or_default();
        XML_SUB_RESOURCES.iter().any(|name| query.has(name))
    };
    parts.method == Method::POST || (parts.method == Method::PUT && (!names_object || describes()))
}

fn error_answer(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
}

static REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
static EXTENDED_ID: HeaderName = HeaderName::from_static("x-amz-id-2");

/// Puts the ids everywhere, and right what s3s words wrongly.
fn finish(answer: Response<Body>, notes: &Notes, head: bool) -> Response<Body> {
    let mut answer = match body_fault(&answer, notes) {
        Some(error) => error_answer(error),
        None => answer,
    };
    let status = answer.status();
    if status == StatusCode::NOT_MODIFIED || (head && is_error(status)) {
        // Neither has a body, and its length must not be that of one.
        *answer.body_mut() = Body::empty();
        answer.headers_mut().remove(CONTENT_TYPE);
        answer.headers_mut().remove(CONTENT_LENGTH);
    } else if head && status == StatusCode::OK && answer.headers().contains_key(CONTENT_RANGE) {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT; // s3s has but one for HEAD
    } else if is_error(status) {
        with_ids(&mut answer, notes);
    } else if notes.operation() == Some("GetObjectAttributes") {
        unquote_tag(&mut answer);
    } else if notes.operation() != Some("GetObject") {
        refer_to_returns(&mut answer);
    }
    let headers = answer.headers_mut();
    for (name, value) in [(&REQUEST_ID, &notes.request_id), (&EXTENDED_ID, &notes.extended_id)] {
        headers.insert(name, HeaderValue::try_from(value).expect("hex and base64 are header text"));
    }
    headers.insert(SERVER, HeaderValue::from_static("Cistern"));
    answer
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// An internal error of s3s that is really a fault of an XML body it gathered.
fn body_fault(answer: &Response<Body>, notes: &Notes) -> Option<S3Error> {
    if answer.status() != StatusCode::INTERNAL_SERVER_ERROR || notes.reached() {
        return None;
    }
    Some(match notes.body_seen() {
        BodySeen::Unread | BodySeen::Misspelled => return None,
        BodySeen::BadDigest => {
            refusal(("BadDigest", 400), "The Content-MD5 or checksum you specified did not match what we received.")
        }
        BodySeen::TooLarge => refusal(("MaxMessageLengthExceeded", 400), "Your request was too big."),
        BodySeen::Broken => refusal(("IncompleteBody", 400), "The request body terminated unexpectedly."),
        BodySeen::Sound => hash_mismatch(),
    })
}

fn exchange_body(answer: &mut Response<Body>, body: impl Into<Bytes>) {
    answer.headers_mut().remove(CONTENT_LENGTH);
    *answer.body_mut() = Body::from(body.into());
}

/// Writes carriage returns in XML, which keys may have, as readers take them for what they are: raw ones become line feeds.
fn refer_to_returns(answer: &mut Response<Body>) {
    let is_xml = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/xml"));
    let Some(referring) = answer.body().bytes().filter(|_| is_xml).and_then(|xml| refer_to_carriage_returns(&xml))
    else {
        return;
    };
    exchange_body(answer, referring);
}

/// Takes the quotes off the one tag that S3 shows without.
fn unquote_tag(answer: &mut Response<Body>) {
    let Some(xml) = answer.body().bytes() else { return };
    let Ok(text) = std::str::from_utf8(&xml) else { return };
    let plain = text.replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>");
    exchange_body(answer, plain);
}

/// Adds the ids to an error's XML, what it is about, and words when it has none.
fn with_ids(answer: &mut Response<Body>, notes: &Notes) {
    const END: &str = "</Error>";
    let Some(xml) = answer.body().bytes() else { return };
    let Ok(text) = std::str::from_utf8(&xml) else { return };
    let Some(before) = text.trim_end().strip_suffix(END) else { return };
    let Notes { request_id, extended_id, .. } = notes;
    let code = before.split("<Code>").nth(1).and_then(|rest| rest.split("</Code>").next()).unwrap_or_default();
    let words = if before.contains("<Message>") { "" } else { words_of(code) };
    let message = if words.is_empty() { String::new() } else { format!("<Message>{words}</Message>") };
    // A text that XML cannot hold would make the code unreadable too.
    let members = notes.about().iter().filter(|(_, text)| fits(text));
    let members = members.map(|(name, text)| format!("<{name}>{}</{name}>", escape(text)));
    let about = members.collect::<Vec<_>>().concat();
    let ids = format!("<RequestId>{request_id}</RequestId><HostId>{extended_id}</HostId>");
    let whole = format!("{before}{message}{about}{ids}{END}");
    exchange_body(answer, whole);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, uri: &str, host: &str, bucket: Option<&str>, xml: bool) {
        let hosts = BucketHost::new("s3.example.com").unwrap();
        let request = Request::builder().method(method).uri(uri).header(HOST, host).body(Body::empty()).unwrap();
        let asks = Asks::of(&request, Some(&hosts));
        assert_eq!(asks.bucket.as_deref(), bucket, "{host} {uri}");
        assert_eq!(may_be_xml(&request.into_parts().0, &asks), xml, "{host} {uri}");
    }

    #[test]
    fn bodies_of_objects_are_streamed_however_the_bucket_is_named() {
        check(Method::PUT, "/photos", "localhost", Some("photos"), true);
        check(Method::PUT, "/photos/film.mp4", "localhost", Some("photos"), false);
        check(Method::PUT, "/photos/film.mp4?tagging", "localhost", Some("photos"), true);
        check(Method::PUT, "/film.mp4", "Photos.s3.example.com:9000", Some("photos"), false);
        check(Method::PUT, "/?versioning", "photos.s3.example.com", Some("photos"), true);
        check(Method::POST, "/photos/film.mp4?uploads", "localhost", Some("photos"), true);
        check(Method::GET, "/", "localhost", None, false);
    }

    #[test]
    fn a_key_may_begin_with_slashes_when_the_host_names_the_bucket() {
        let hosts = BucketHost::new("s3.example.com").unwrap();
        for (uri, key) in [("/", None), ("//", Some("/")), ("///a", Some("//a")), ("/%2Fa", Some("/a"))] {
            let request =
                Request::builder().uri(uri).header(HOST, "photos.s3.example.com").body(Body::empty()).unwrap();
            let asks = Asks::of(&request, Some(&hosts));
            assert_eq!((asks.bucket.as_deref(), asks.key.as_deref()), (Some("photos"), key), "{uri}");
        }
    }
}
