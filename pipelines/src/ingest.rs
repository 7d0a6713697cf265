//! The HTTP endpoint: `POST /{pipeline}` with a JSON array, one object, or one object a line; plain, gzip or zstd.
//!
//! The answer `200 {"success":true,…,"result":{"committed":N}}` is given when all events of the body are durable. A body
//! is taken whole or not at all, unless the producer prefers that what is no event becomes a dead letter. Retries can be told
//! apart from new events (`retry`). Browsers of the pipeline's origins are let in (CORS). `answer` words everything. The same
//! path takes WebSockets (`websocket`).

mod answer;
mod body;
mod retry;
mod websocket;

use crate::live::Live;
use crate::pipelines::Parts;
use crate::registry::TokenDigest;
use crate::{Error, IngestAuth, Result};
use answer::Answer;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use body::{Head, Received, Unfit};
use cistern_types::PipelineName;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::sync::Arc;

/// How long a browser may remember what a preflight answered.
const PREFLIGHT_SECONDS: &str = "86400";

/// What a browser's script may send besides the plain headers.
const ALLOWED_HEADERS: &str =
    "authorization, content-encoding, content-type, idempotency-key, prefer, x-producer-id, x-producer-sequence";

/// The routes of the endpoint.
pub(crate) fn router(parts: Arc<Parts>) -> Router {
    Router::new().route("/{pipeline}", any(handle)).fallback(unknown_path).with_state(parts)
}

async fn unknown_path() -> Response {
    Answer::refusal(StatusCode::NOT_FOUND, answer::NO_SUCH_PATH, "send events to POST /PIPELINE").into_response()
}

async fn handle(State(parts): State<Arc<Parts>>, Path(name): Path<String>, request: Request) -> Response {
    let live = name.parse::<PipelineName>().ok().and_then(|name| parts.directory.find(&name).ok());
    let Some(live) = live else {
        return finish(&parts, Answer::from(Error::NoSuchPipeline { name }), None);
    };
    let origin = allowed_origin(&live, request.headers());
    let answer = match *request.method() {
        Method::OPTIONS => preflight(origin.is_some()),
        Method::POST => match post(&parts, live, request).await {
            Ok(answer) => answer,
            Err(Unfit { error, rejections }) => Answer::from(*error).with_verdicts(&rejections),
        },
        Method::GET if websocket::is_upgrade(&request) => match websocket::upgrade(&parts, &live, request) {
            Ok(response) => return response,
            Err(answer) => answer,
        },
        _ => {
            let text = "send events with POST, or over a WebSocket";
            let answer = Answer::refusal(StatusCode::METHOD_NOT_ALLOWED, answer::METHOD_NOT_ALLOWED, text);
            answer.with(header::ALLOW, "GET, POST, OPTIONS")
        }
    };
    finish(&parts, answer, origin)
}

fn finish(parts: &Parts, answer: Answer, origin: Option<HeaderValue>) -> Response {
    let mut response = answer.into_response();
    parts.metrics.answered(response.status().as_u16());
    let headers = response.headers_mut();
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// Takes the events of a body.
async fn post(parts: &Arc<Parts>, live: Arc<Live>, request: Request<Body>) -> Result<Answer, Unfit> {
    let refused = authorize(parts, &live, token_in(&request).as_ref()).and_then(|()| takes_events(&live));
    let head = match refused.and_then(|()| Head::of(request.headers(), &parts.config)) {
        Ok(head) => head,
        Err(error) => {
            body::discard(request).await;
            return Err(error.into());
        }
    };
    let received = body::receive(&parts.log, &parts.config, head, request.into_body()).await?;
    let Received { append, rejected, rejections, room } = received;
    let committed = append.events.events - rejected;
    let appended = parts.log.append(live, append, room).await?;
    Ok(Answer::committed(committed, rejected, &rejections, appended.seen))
}

/// Refuses events that a stream does not take, or not here.
fn takes_events(live: &Live) -> Result<()> {
    let record = live.record();
    if record.free.as_ref().is_some_and(|free| !free.http) {
        return Err(Error::HttpDisabled { name: record.name.clone() });
    }
    if record.draining { Err(Error::Draining { name: record.name.clone() }) } else { Ok(()) }
}

/// Refuses who brings no token that opens a stream which asks for one.
fn authorize(parts: &Parts, live: &Live, token: Option<&TokenDigest>) -> Result<()> {
    let record = live.record();
    if record.spec.auth == IngestAuth::None {
        return Ok(());
    }
    match token {
        None => Err(Error::Unauthorized { reason: "the send token is missing" }),
        Some(token) if token.opens(&record, parts.config.api_token.as_ref()) => Ok(()),
        Some(_) => Err(Error::Unauthorized { reason: "the token is not this pipeline's send token" }),
    }
}

/// The token in header or query.
fn token_in(request: &Request<Body>) -> Option<TokenDigest> {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer =
        bearer.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let query = request.uri().query().unwrap_or("");
    let query = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    bearer.map(|(_, token)| token.trim()).or(query).map(TokenDigest::of)
}

/// What a browser is told when the request comes from one of the pipeline's origins.
fn allowed_origin(live: &Live, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    let covered = live.record().spec.cors_origins.iter().any(|allowed| allowed.covers(text));
    covered.then(|| origin.clone())
}

fn origin_refused() -> Answer {
    let text = "this origin may not send to the pipeline: name it with --cors-origin when creating the pipeline";
    Answer::refusal(StatusCode::FORBIDDEN, answer::ORIGIN_NOT_ALLOWED, text)
}

fn preflight(allowed: bool) -> Answer {
    if !allowed {
        return origin_refused();
    }
    Answer::empty(StatusCode::NO_CONTENT)
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS")
        .with(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS)
        .with(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS)
}

#[cfg(test)]
mod tests;
