//! A request's body on its way to the log: read within its limits, unpacked and judged off the runtime's threads.

use super::retry::Retry;
use crate::claim::Claim;
use crate::decompress::{ContentEncoding, decompress};
use crate::event_log::{Append, EventLog, Room};
use crate::validate::{BodyShape, Rejection, ValidEvents, sift, validate};
use crate::{Error, PipelinesConfig, Result};
use axum::body::Body;
use bytes::Bytes;
use cistern_runtime::offload;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt as _;
use std::time::Duration;
use tokio::time::timeout;

/// Plain bodies up to this size are judged in place: it takes less than the hop to another thread twice.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// So much is allocated for a body before it comes.
const AHEAD_BYTES: usize = 1 << 20;
/// How much of a refused body is read, and for how long.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
const DISCARD_MAX: Duration = Duration::from_secs(10);
/// A body of which nothing comes for so long is given up.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// What a body turned out to be.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) append: Append,
    /// How many of the events are none: dead letters, as the producer asked.
    pub(super) rejected: u32,
    /// The first of them.
    pub(super) rejections: Vec<Rejection>,
    /// Covers the events until they are in the log.
    pub(super) room: Room,
}

/// Why a body was not taken.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) error: Box<Error>,
    /// The events that are none, when it can be told which those are.
    pub(super) rejections: Vec<Rejection>,
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Self {
        Self { error: Box::new(error), rejections: Vec::new() }
    }
}

/// What the head of a request says about its body.
pub(super) struct Head {
    encoding: ContentEncoding,
    announced: Option<usize>,
    judge: Judge,
}

impl Head {
    pub(super) fn of(headers: &HeaderMap, config: &PipelinesConfig) -> Result<Self> {
        let limit_bytes = config.body_bytes_max;
        let announced = text_of(headers, &header::CONTENT_LENGTH).and_then(|text| text.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > limit_bytes) {
            return Err(Error::BodyTooLarge { limit_bytes });
        }
        let judge = Judge {
            shape: shape_of(headers),
            lenient: prefers_lenient(headers),
            retry: Retry::from_headers(headers)?,
            event_bytes_max: config.event_bytes_max,
        };
        let encoding = ContentEncoding::from_header(text_of(headers, &header::CONTENT_ENCODING))?;
        Ok(Self { encoding, announced, judge })
    }
}

/// Reads and judges a body.
pub(super) async fn receive(
    log: &EventLog,
    config: &PipelinesConfig,
    head: Head,
    mut body: Body,
) -> Result<Received, Unfit> {
    let Head { encoding, announced, judge } = head;
    let limit_bytes = config.body_bytes_max;
    let (body, mut room) = match read(log, &mut body, announced, limit_bytes).await {
        Ok(read) => read,
        Err(error) => {
            drain(&mut body).await;
            return Err(error.into());
        }
    };
    if encoding != ContentEncoding::Identity {
        room.join(log.room(limit_bytes.saturating_sub(body.len())).await?);
    }
    let Judged { events, claim, rejected, rejections } =
        if encoding == ContentEncoding::Identity && body.len() <= INLINE_BYTES_MAX {
            judge.judge(body)?
        } else {
            offload(move || judge.judge(decompress(encoding, body, limit_bytes)?)).await?
        };
    room.fit(log, events.lines.len()).await?;
    Ok(Received { append: Append { events, shard: 0, claim }, rejected, rejections, room })
}

/// Throws away the body of a request that is refused: left unread it would break the connection, and the answer might be lost with
/// it. Who waits to be asked for the body has not sent it.
pub(super) async fn discard(request: Request<Body>) {
    if request.headers().contains_key(header::EXPECT) {
        return;
    }
    drain(&mut request.into_body()).await;
}

/// Throws away what is left of a body.
async fn drain(body: &mut Body) {
    let rest = async {
        let mut left = DISCARDED_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = less;
        }
    };
    drop(timeout(DISCARD_MAX, rest).await);
}

/// What a judge finds.
struct Judged {
    events: ValidEvents,
    claim: Option<Claim>,
    rejected: u32,
    rejections: Vec<Rejection>,
}

/// How a body is judged.
struct Judge {
    shape: BodyShape,
    /// Whether events that are none become dead letters instead of the whole body being refused.
    lenient: bool,
    retry: Option<Retry>,
    event_bytes_max: usize,
}

impl Judge {
    fn judge(self, body: Vec<u8>) -> Result<Judged, Unfit> {
        let claim = self.retry.map(|retry| retry.claim(&body));
        let body = Bytes::from(body);
        match validate(&body, self.shape, self.event_bytes_max) {
            Ok(events) => Ok(Judged { events, claim, rejected: 0, rejections: Vec::new() }),
            Err(error @ (Error::Malformed { .. } | Error::NotUtf8 { .. })) => {
                let sifted = sift(&body, self.shape, self.event_bytes_max);
                match sifted {
                    Ok(mut sifted) if self.lenient => {
                        let (rejected, rejections) = (sifted.rejected(), sifted.take_rejections());
                        Ok(Judged { events: sifted.into_lines(), claim, rejected, rejections })
                    }
                    Ok(mut sifted) => Err(Unfit { error: Box::new(error), rejections: sifted.take_rejections() }),
                    Err(error @ Error::TooManyRejected { .. }) if self.lenient => Err(error.into()),
                    Err(_) => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads a body as it comes, with room for what came: a client that announces much and sends nothing takes nothing from others.
async fn read(
    log: &EventLog,
    body: &mut Body,
    announced: Option<usize>,
    limit_bytes: usize,
) -> Result<(Vec<u8>, Room)> {
    let mut whole = Vec::with_capacity(announced.unwrap_or(0).min(AHEAD_BYTES));
    // A body may end with a newline more than it came with.
    let mut room = log.room(1).await?;
    while let Some(frame) = timeout(IDLE_MAX, body.frame()).await.map_err(|_| Error::IncompleteBody)? {
        let Ok(data) = frame.map_err(|_| Error::IncompleteBody)?.into_data() else {
            continue;
        };
        if whole.len() + data.len() > limit_bytes {
            return Err(Error::BodyTooLarge { limit_bytes });
        }
        room.join(log.room(data.len()).await?);
        if let Some(announced) = announced
            && whole.len() + data.len() > whole.capacity()
        {
            // Once, and no more than comes: a batch may hold on to it.
            whole.reserve_exact(announced.saturating_sub(whole.len()));
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole, room))
}

fn text_of<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    // A header that is not text is not one of ours: it fails as an unknown value would.
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn shape_of(headers: &HeaderMap) -> BodyShape {
    let content_type = text_of(headers, &header::CONTENT_TYPE).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            BodyShape::Lines
        }
        _ => BodyShape::Any,
    }
}

/// Whether the request has `Prefer: handling=lenient` (RFC 7240).
fn prefers_lenient(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).into_iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';']));
    preferences.any(|preference| {
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        name.trim().eq_ignore_ascii_case("handling") && value.trim().trim_matches('"').eq_ignore_ascii_case("lenient")
    })
}

/// The header by which a client says how it would like to be treated.
const PREFER: http::HeaderName = http::HeaderName::from_static("prefer");
