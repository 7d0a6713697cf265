//! A request's body on its way to the log: read within its limits, unpacked and validated off the runtime's threads.

use crate::decompress::{ContentEncoding, decompress};
use crate::event_log::{EventLog, Room};
use crate::validate::{BodyShape, ValidEvents, validate};
use crate::{Error, PipelinesConfig, Result};
use axum::body::Body;
use cistern_runtime::offload;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt as _;
use std::time::Duration;
use tokio::time::timeout;

/// Plain bodies up to this size are validated in place: it takes less than the hop to another thread twice.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// So much is allocated for a body before it comes.
const AHEAD_BYTES: usize = 1 << 20;
/// A body of which nothing comes for so long is given up.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// Reads and judges a body. The room covers the events until they are in the log.
pub(super) async fn receive(
    log: &EventLog,
    config: &PipelinesConfig,
    request: Request<Body>,
) -> Result<(ValidEvents, Room)> {
    let limit_bytes = config.body_bytes_max;
    let headers = request.headers();
    let encoding = ContentEncoding::from_header(text_of(headers, &header::CONTENT_ENCODING))?;
    let shape = shape_of(headers);
    let announced = text_of(headers, &header::CONTENT_LENGTH).and_then(|text| text.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > limit_bytes) {
        return Err(Error::BodyTooLarge { limit_bytes });
    }
    let (body, mut room) = read(log, request.into_body(), announced, limit_bytes).await?;
    if encoding != ContentEncoding::Identity {
        room.join(log.room(limit_bytes.saturating_sub(body.len())).await?);
    }
    let event_bytes_max = config.event_bytes_max;
    let events = if encoding == ContentEncoding::Identity && body.len() <= INLINE_BYTES_MAX {
        validate(body, shape, event_bytes_max)?
    } else {
        offload(move || validate(decompress(encoding, body, limit_bytes)?, shape, event_bytes_max)).await?
    };
    room.shrink(events.lines.len());
    Ok((events, room))
}

/// Reads a body as it comes, with room for what came: a client that announces much and sends nothing takes nothing from others.
async fn read(log: &EventLog, mut body: Body, announced: Option<usize>, limit_bytes: usize) -> Result<(Vec<u8>, Room)> {
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
