//! What the endpoint answers: Cloudflare's v4 envelope, one table from our errors to statuses and codes.

#![deny(clippy::wildcard_enum_match_arm)]

use crate::validate::Rejection;
use crate::{Error, ErrorKind};
use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

pub(super) const NO_SUCH_PATH: u32 = 7003;
pub(super) const METHOD_NOT_ALLOWED: u32 = 10405;
pub(super) const ORIGIN_NOT_ALLOWED: u32 = 10403;
const HTTP_DISABLED: u32 = 1023;

/// How long a producer that was too fast, or came at a bad moment, shall wait.
const RETRY_AFTER_SECONDS: &str = "1";

/// An answer on its way out.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, &'static str)>,
    body: Option<Value>,
}

impl Answer {
    /// `committed` events are stored; `rejected` others are dead letters, the first of which are `rejections`. `seen` says that all that had happened before.
    pub(super) fn committed(committed: u32, rejected: u32, rejections: &[Rejection], seen: bool) -> Self {
        let mut result = json!({ "committed": committed });
        if rejected > 0 {
            result["dead_letters"] = rejected.into();
            result["verdicts"] = verdicts(rejections);
        }
        if seen {
            result["duplicate"] = true.into();
        }
        let body = json!({ "success": true, "errors": [], "messages": [], "result": result });
        Self { status: StatusCode::OK, headers: Vec::new(), body: Some(body) }
    }

    /// The same with the events that are to blame.
    pub(super) fn with_verdicts(mut self, rejections: &[Rejection]) -> Self {
        if let Some(body) = self.body.as_mut().filter(|_| !rejections.is_empty()) {
            body["verdicts"] = verdicts(rejections);
        }
        self
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: None }
    }

    pub(super) fn refusal(status: StatusCode, code: u32, message: &str) -> Self {
        let errors = json!([{"code": code, "message": message}]);
        let body = json!({"success": false, "errors": errors, "messages": [], "result": null});
        Self { status, headers: Vec::new(), body: Some(body) }
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn into_response(self) -> Response {
        let body = self.body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let json = HeaderValue::from_static("application/json");
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        for (name, value) in self.headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        let (status, code, text) = words(&error);
        let answer = Self::refusal(status, code, &text);
        match status {
            StatusCode::UNAUTHORIZED => answer.with(header::WWW_AUTHENTICATE, "Bearer"),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                answer.with(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
            }
            _ => answer,
        }
    }
}

fn verdicts(rejections: &[Rejection]) -> Value {
    rejections.iter().map(|rejection| json!({ "event": rejection.event, "reason": rejection.reason })).collect()
}

/// Status, code and text for a producer.
pub(super) fn words(error: &Error) -> (StatusCode, u32, String) {
    let (status, code) = status_of(error);
    let text = match status {
        _ if matches!(error, Error::Stopping) => error.to_string(),
        // What went wrong inside is in the log; the producer needs to know what to do.
        StatusCode::SERVICE_UNAVAILABLE => "events cannot be stored at the moment: send them again".to_owned(),
        StatusCode::INTERNAL_SERVER_ERROR => {
            tracing::error!(error = %error, "a request failed");
            "internal error: the server's log says more".to_owned()
        }
        _ => error.to_string(),
    };
    (status, code, text)
}

fn status_of(error: &Error) -> (StatusCode, u32) {
    match error {
        Error::NoSuchPipeline { .. } | Error::OfStreams { .. } => (StatusCode::NOT_FOUND, 1000),
        Error::Draining { .. } => (StatusCode::GONE, 1001),
        Error::HttpDisabled { .. } => (StatusCode::FORBIDDEN, HTTP_DISABLED),
        Error::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, 10000),
        Error::NotUtf8 { .. }
        | Error::Malformed { .. }
        | Error::NoEvents
        | Error::TooManyRejected { .. }
        | Error::BrokenEncoding { .. }
        | Error::BrokenFrames { .. }
        | Error::IncompleteBody => (StatusCode::BAD_REQUEST, 1003),
        Error::InvalidHeader { .. } => (StatusCode::BAD_REQUEST, 1004),
        Error::FencedProducer { .. }
        | Error::SequenceGap { .. }
        | Error::UnknownProducer { .. }
        | Error::OldSequence { .. }
        | Error::ReusedSequence { .. }
        | Error::ReusedKey => (StatusCode::CONFLICT, 1021),
        Error::EventTooLarge { .. } => (StatusCode::BAD_REQUEST, 1018),
        Error::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, 1019),
        Error::UnsupportedEncoding { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, 1020),
        Error::TooMuchBuffered { .. } | Error::Backlog { .. } | Error::TooMuchContention { .. } => {
            (StatusCode::TOO_MANY_REQUESTS, 10429)
        }
        Error::Stopping => (StatusCode::SERVICE_UNAVAILABLE, 10503),
        Error::Flush(error) => status_of(error),
        Error::PipelineExists { .. }
        | Error::NoSuchStream { .. }
        | Error::NoSuchSink { .. }
        | Error::NameTaken { .. }
        | Error::SinkInUse { .. }
        | Error::InvalidSql { .. }
        | Error::NotDeadLetters { .. }
        | Error::NotInLog { .. }
        | Error::ChangedMeanwhile { .. }
        | Error::NoSuchBucket { .. }
        | Error::InvalidSetting { .. }
        | Error::InvalidPath { .. }
        | Error::Superseded { .. }
        | Error::DamagedLog { .. }
        | Error::Sql(_)
        | Error::Columns { .. }
        | Error::Parquet { .. }
        | Error::Compress(_)
        | Error::Access(_)
        | Error::Metadata(_)
        | Error::Blobs(_)
        | Error::Objects(_) => match error.kind() {
            ErrorKind::Busy | ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, 10503),
            ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::Invalid
            | ErrorKind::Unauthorized
            | ErrorKind::TooLarge
            | ErrorKind::Corrupt
            | ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, 10500),
        },
    }
}
