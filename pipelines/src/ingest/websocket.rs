//! The WebSocket endpoint: `GET /{pipeline}` with an upgrade, events in messages, acknowledgements in messages.
//!
//! A message of the client holds events as a body of the HTTP endpoint does: one object, an array, or one object a line. Messages are
//! numbered from the `next` of the `welcome` on. What the server says:
//!
//! ```text
//! {"type":"welcome","pipeline":…,"next":0,"credit":{"messages":8192,"bytes":8388608}}
//! {"type":"ack","through":3,"messages":2,"committed":20,"dead_letters":1,"verdicts":[{"message":3,"event":0,"reason":…}]}
//! {"type":"error","code":1018,"message":…}                                             and then it closes
//! ```
//! Messages that have come together go into the log as one, so a client that sends many small ones costs little more than one with bodies.
//! An `ack` says that every message up to number `through` is durable. What is no event becomes a dead letter and has a verdict. A client
//! may have as much on its way as `credit` says; what is more waits in the socket.
//!
//! With `?producer=NAME` the numbers are the producer's: a client that comes back is told the number after the last one that was stored,
//! drops what has been, and sends the rest again. It takes its name over from whoever had it: nothing of theirs is stored after that.

mod gather;

use super::answer::Answer;
use super::{authorize, takes_events, token_in};
use crate::claim::{Claim, Producer, after, take_over};
use crate::event_log::{Append, Pending};
use crate::live::Live;
use crate::pipelines::Parts;
use crate::registry::TokenDigest;
use crate::{Error, IngestAuth, Result};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cistern_net::AfterUpgrade;
use cistern_runtime::{Shutdown, offload};
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use gather::{Gathered, INLINE_BYTES_MAX, Judged, VERDICTS_MAX, Verdict, judge, verdicts};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

/// How many messages of a connection may wait for their acknowledgement: as many as one that sends small ones needs for a few flushes
/// of the log at once.
const MESSAGES_MAX: usize = 8192;

/// How many groups of messages that came together may wait for it; and be on their way to the side that says so.
const GROUPS_MAX: usize = 1024;

/// How much more than the largest event a message may have, in bytes.
const MESSAGE_SLACK_BYTES: usize = 64 << 10;

/// How often the client is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// A client of which nothing is heard for so long is let go; it answers pings.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// How long a client without a token may take to send one.
const TOKEN_WAIT: Duration = Duration::from_secs(10);

/// How long events wait for room before the client is told to come back.
const ROOM_WAIT: Duration = Duration::from_secs(30);

/// How long a message may take to be sent; a client that does not read is let go.
const WRITE_MAX: Duration = Duration::from_mins(1);

/// How long the client may take to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How much is thrown away at once of what comes after a close.
const DISCARDED_PIECE_BYTES: usize = 16 << 10;

/// The longest reason of a close, in bytes, as RFC 6455 has it.
const CLOSE_REASON_BYTES: usize = 123;

/// The longest name of a producer, in bytes.
const PRODUCER_BYTES_MAX: usize = 255;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Whether a request wants to become a WebSocket.
pub(super) fn is_upgrade(request: &Request<Body>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|upgrade| upgrade.split(',').any(|name| name.trim().eq_ignore_ascii_case("websocket")))
}

/// Answers the upgrade of a connection; what follows is done when the answer has been sent.
pub(super) fn upgrade(parts: &Arc<Parts>, live: &Arc<Live>, mut request: Request<Body>) -> Result<Response, Answer> {
    let origin = request.headers().get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default().to_owned());
    check_origin(live, origin.as_deref()).map_err(|_| super::origin_refused())?;
    let wants = Wants::from_query(request.uri().query().unwrap_or_default())?;
    let token = token_in(&request);
    if token.is_some() {
        authorize(parts, live, token.as_ref())?;
    }
    takes_events(live)?;
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version != "13") {
        let answer = Answer::refusal(StatusCode::UPGRADE_REQUIRED, 1022, "only version 13 of WebSocket is spoken here");
        return Err(answer.with(header::SEC_WEBSOCKET_VERSION, "13"));
    }
    let bad = |text| Answer::refusal(StatusCode::BAD_REQUEST, 1022, text);
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let key = key.and_then(|key| HeaderValue::from_str(&key).ok());
    let key = key.ok_or_else(|| bad("sec-websocket-key is missing"))?;
    let extensions = request.extensions_mut();
    let (Some(after), Some(upgrade)) = (extensions.get::<AfterUpgrade>().cloned(), extensions.remove::<OnUpgrade>())
    else {
        return Err(bad("WebSockets need HTTP/1.1"));
    };
    let session = Session { parts: Arc::clone(parts), live: Arc::clone(live), wants, origin, token };
    after.set(async move |shutdown| match upgrade.await {
        Ok(upgraded) => session.serve(TokioIo::new(upgraded), shutdown).await,
        Err(error) => tracing::debug!(%error, "a connection did not become a WebSocket"),
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    Ok(response)
}

/// Browsers let every page open a WebSocket and say which page it is: here is where that is looked at.
fn check_origin(live: &Live, origin: Option<&str>) -> Result<()> {
    let Some(origin) = origin else { return Ok(()) };
    if live.record().spec.cors_origins.iter().any(|allowed| allowed.covers(origin)) {
        return Ok(());
    }
    Err(Error::Unauthorized { reason: "this origin may not send to the pipeline any more" })
}

/// What a client asks for in the query.
#[derive(Debug, Default)]
struct Wants {
    producer: Option<Producer>,
}

impl Wants {
    fn from_query(query: &str) -> Result<Self> {
        let value = query.split('&').find_map(|pair| pair.strip_prefix("producer="));
        let Some(value) = value else { return Ok(Self::default()) };
        if value.is_empty() || value.len() > PRODUCER_BYTES_MAX {
            return Err(Error::InvalidHeader { header: "producer".to_owned(), rule: "use 1 to 255 characters" });
        }
        Ok(Self { producer: Some(Producer::socket(value)) })
    }
}

/// The first message of a client that has not sent its token otherwise.
#[derive(Debug, Deserialize)]
struct TokenMessage {
    token: String,
}

/// A connection that has become a WebSocket.
struct Session {
    parts: Arc<Parts>,
    live: Arc<Live>,
    wants: Wants,
    /// The page that it came from.
    origin: Option<String>,
    /// Where there is none and one is needed, it is the first message.
    token: Option<TokenDigest>,
}

/// What the writing side says next.
enum Saying {
    /// A message whose events are on their way.
    Waiting(Waiting),
    /// The last thing that is said, if anything.
    Last(Option<Error>),
}

/// Messages that wait to be acknowledged: they went into the log as one.
struct Waiting {
    /// The number of the last one.
    through: i32,
    messages: u32,
    /// How many events they had, good and bad.
    events: u32,
    rejected: u32,
    verdicts: Vec<Verdict>,
    pending: Pending,
}

/// The numbers of a producer's messages.
#[derive(Debug, Clone, Copy)]
struct Numbering {
    producer: Option<(Producer, i32)>,
    next: i32,
}

impl Numbering {
    fn claim(self, count: u32, digest: u64) -> Option<Claim> {
        let (producer, epoch) = self.producer?;
        Some(Claim { producer, epoch, first: self.next, count, digest })
    }
}

impl Session {
    async fn serve(mut self, io: TokioIo<Upgraded>, shutdown: Shutdown) {
        let bytes_max = self.parts.config.event_bytes_max + MESSAGE_SLACK_BYTES;
        let config = WebSocketConfig::default().max_message_size(Some(bytes_max)).max_frame_size(Some(bytes_max));
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let begun = tokio::select! {
            begun = self.begin(&mut socket) => begun,
            () = shutdown.begun() => Err(Error::Stopping),
        };
        let numbering = match begun {
            Ok(numbering) => numbering,
            Err(error) => {
                end(&mut socket, Some(&error)).await;
                return let_go(socket.get_mut()).await;
            }
        };
        let (sink, mut stream) = socket.split();
        let (say, queue) = mpsc::channel(GROUPS_MAX);
        let mut writing = pin!(write(sink, queue));
        let sink = {
            let reading = self.read(&mut stream, say, numbering, shutdown);
            tokio::select! {
                sink = writing.as_mut() => sink,
                () = reading => writing.await,
            }
        };
        if let Ok(mut socket) = sink.reunite(stream) {
            let_go(socket.get_mut()).await;
        }
    }

    /// Lets the client in and says from which number on it counts.
    async fn begin(&mut self, socket: &mut Socket) -> Result<Numbering> {
        if self.token.is_none() && self.live.record().spec.auth == IngestAuth::Token {
            self.token = Some(self.take_token(socket).await?);
        }
        let mut numbering = Numbering { producer: None, next: 0 };
        if let Some(producer) = self.wants.producer {
            let (epoch, next) = take_over(&self.parts.objects, &self.live, producer).await?;
            numbering = Numbering { producer: Some((producer, epoch)), next };
        }
        let welcome = json!({
            "type": "welcome",
            "pipeline": self.live.name(),
            "next": numbering.next,
            "credit": { "messages": MESSAGES_MAX, "bytes": self.parts.config.flush_bytes_max },
        });
        let sent = socket.send(Message::text(welcome.to_string())).await;
        sent.map_err(|_| Error::IncompleteBody)?;
        Ok(numbering)
    }

    async fn take_token(&self, socket: &mut Socket) -> Result<TokenDigest> {
        const MISSING: Error = Error::Unauthorized { reason: "the send token is missing" };
        let first = timeout(TOKEN_WAIT, next_data(socket)).await.map_err(|_| MISSING)?.ok_or(MISSING)?;
        let message: TokenMessage = serde_json::from_slice(&first).map_err(|_| Error::Unauthorized {
            reason: "the first message must be {\"token\":\"…\"}, as there was no token in header or query",
        })?;
        let token = TokenDigest::of(&message.token);
        authorize(&self.parts, &self.live, Some(&token)).map(|()| token)
    }

    /// Reads messages until the client is done or something ends it.
    async fn read(
        &self,
        stream: &mut SplitStream<Socket>,
        say: mpsc::Sender<Saying>,
        mut numbering: Numbering,
        shutdown: Shutdown,
    ) {
        let last = loop {
            let message = tokio::select! {
                () = shutdown.begun() => break Some(Error::Stopping),
                message = timeout(SILENCE_MAX, stream.next()) => message,
            };
            let Ok(message) = message else { break None };
            let mut gathered = Gathered::default();
            let mut heard = gathered.take(message);
            while heard.is_ok() && !gathered.is_full() {
                let Some(message) = stream.next().now_or_never() else { break };
                heard = gathered.take(message);
            }
            let sent = self.log(gathered, &mut numbering, &say).await;
            match sent.map_err(Some).and(heard) {
                Ok(()) => {}
                Err(last) => break last,
            }
        };
        // Who does not listen any more need not be told.
        drop(say.send(Saying::Last(last)).await);
    }

    /// Refuses what comes after the pipeline was changed so that this client would not be let in now.
    fn check_still_let_in(&self) -> Result<()> {
        authorize(&self.parts, &self.live, self.token.as_ref())?;
        check_origin(&self.live, self.origin.as_deref())?;
        takes_events(&self.live)
    }

    /// Queues messages for the log, and for the side that says when they are durable.
    async fn log(&self, mut gathered: Gathered, numbering: &mut Numbering, say: &mpsc::Sender<Saying>) -> Result<()> {
        self.check_still_let_in()?;
        while !gathered.messages.is_empty() {
            let (waiting, stopped) = self.queue(&gathered, numbering).await?;
            gathered.messages.drain(..waiting.messages as usize);
            if say.send(Saying::Waiting(waiting)).await.is_err() {
                return Err(Error::IncompleteBody); // the writing side has ended, and nobody listens to this
            }
            if let Some(error) = stopped {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Queues the events of the first messages for the log, as one, and says what stopped it from taking more of them.
    async fn queue(&self, gathered: &Gathered, numbering: &mut Numbering) -> Result<(Waiting, Option<Error>)> {
        let (bytes, lengths) = gathered.first();
        let mut room = self.parts.log.room_within(bytes.len() + lengths.len(), ROOM_WAIT).await?;
        let event_bytes_max = self.parts.config.event_bytes_max;
        let inline = bytes.len() <= INLINE_BYTES_MAX;
        let judge = move || judge(&bytes, &lengths, event_bytes_max);
        let Judged { mut sifted, before, digest, stopped } = if inline { judge() } else { offload(judge).await };
        let messages = u32::try_from(before.len()).expect("they are few");
        let stopped = match stopped {
            Some(error) if messages == 0 => return Err(error),
            stopped => stopped,
        };
        let (events, rejected) = (sifted.events(), sifted.rejected());
        let verdicts = verdicts(sifted.take_rejections(), &before, numbering.next);
        let lines = sifted.into_lines();
        room.fit(&self.parts.log, lines.lines.len()).await?;
        let append = Append { events: lines, shard: 0, claim: numbering.claim(messages, digest) };
        let pending = self.parts.log.queue(Arc::clone(&self.live), append, room).await?;
        let through = after(numbering.next, messages - 1);
        numbering.next = after(through, 1);
        Ok((Waiting { through, messages, events, rejected, verdicts, pending }, stopped))
    }
}

/// The next message with data; `None` when there is none.
async fn next_data(socket: &mut Socket) -> Option<Bytes> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return Some(text.into()),
            Message::Binary(data) => return Some(data),
            Message::Close(_) => return None,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Says what happened to the messages, in their order, and asks now and then whether the client is there.
async fn write(mut sink: SplitSink<Socket, Message>, mut queue: mpsc::Receiver<Saying>) -> SplitSink<Socket, Message> {
    let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    let mut last = None;
    while last.is_none() || !waiting.is_empty() {
        let more = last.is_none() && waiting.len() < GROUPS_MAX;
        let first_done = async {
            match waiting.front_mut() {
                Some(first) => (&mut first.pending).await,
                None => std::future::pending().await,
            }
        };
        let saying = tokio::select! {
            done = first_done => {
                let Some(first) = waiting.pop_front() else { continue };
                match acknowledge(first, done, &mut waiting) {
                    Ok(ack) => Message::text(ack.to_string()),
                    Err(error) => {
                        last = Some(Some(error));
                        break;
                    }
                }
            }
            said = queue.recv(), if more => {
                match said {
                    Some(Saying::Waiting(message)) => waiting.push_back(message),
                    Some(Saying::Last(error)) => last = Some(error),
                    None => last = Some(None),
                }
                continue;
            }
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        match timeout(WRITE_MAX, sink.send(saying)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                last = Some(None); // the client is gone, or has said that it hears no more
                break;
            }
            Err(_) => return sink, // it does not read
        }
    }
    end(&mut sink, last.flatten().as_ref()).await;
    sink
}

/// Reads what the client still sends and throws it away until it closes too: a connection that is dropped with unread bytes is
/// reset, and the last words with it.
async fn let_go(connection: &mut TokioIo<Upgraded>) {
    let rest = async {
        connection.shutdown().await?;
        let mut piece = vec![0; DISCARDED_PIECE_BYTES];
        while connection.read(&mut piece).await? > 0 {}
        std::io::Result::Ok(())
    };
    drop(timeout(CLOSE_WAIT, rest).await);
}

/// One acknowledgement for the first message and all behind it that are durable too.
fn acknowledge(
    first: Waiting,
    done: Result<crate::event_log::Appended>,
    waiting: &mut VecDeque<Waiting>,
) -> Result<Value> {
    let (mut messages, mut events, mut dead_letters, mut through) = (0, 0, 0, 0);
    let mut verdicts = Vec::new();
    let mut next = Some((first, done));
    while let Some((message, done)) = next.take() {
        if let Err(error) = done {
            if messages == 0 {
                return Err(error);
            }
            // What is durable is said first; this one is asked again when its turn comes.
            waiting.push_front(Waiting { pending: Pending::failed(error), ..message });
            break;
        }
        (messages, through) = (messages + u64::from(message.messages), message.through);
        events += u64::from(message.events);
        dead_letters += u64::from(message.rejected);
        verdicts.extend(
            message.verdicts.iter().map(
                |Verdict { message, event, reason }| json!({ "message": message, "event": event, "reason": reason }),
            ),
        );
        if verdicts.len() >= VERDICTS_MAX {
            break;
        }
        next = waiting.front_mut().and_then(|after| (&mut after.pending).now_or_never()).and_then(|done| {
            let message = waiting.pop_front()?;
            Some((message, done))
        });
    }
    Ok(json!({
        "type": "ack",
        "through": through,
        "messages": messages,
        "committed": events - dead_letters,
        "dead_letters": dead_letters,
        "verdicts": verdicts,
    }))
}

/// Says why, if there is a reason, and closes.
async fn end<S>(sink: &mut S, error: Option<&Error>)
where
    S: futures::Sink<Message, Error = WebSocketError> + Unpin,
{
    let close = async {
        if let Some(error) = error {
            let (status, code, text) = super::answer::words(error);
            let message = json!({ "type": "error", "code": code, "message": text });
            sink.send(Message::text(message.to_string())).await?;
            let reason: String = text.chars().filter(char::is_ascii).take(CLOSE_REASON_BYTES).collect();
            let frame = CloseFrame { code: close_code(error, status), reason: reason.into() };
            sink.send(Message::Close(Some(frame))).await?;
        }
        sink.close().await // answers a close of the client too
    };
    if let Ok(Err(error)) = timeout(CLOSE_WAIT, close).await {
        tracing::debug!(%error, "a WebSocket was not closed in order");
    }
}

fn close_code(error: &Error, status: StatusCode) -> CloseCode {
    match (error, status) {
        (Error::Stopping, _) => CloseCode::Away,
        (Error::NotUtf8 { .. }, _) => CloseCode::Invalid,
        (Error::BrokenFrames { .. }, _) => CloseCode::Protocol,
        (Error::EventTooLarge { .. } | Error::BodyTooLarge { .. }, _) => CloseCode::Size,
        (_, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => CloseCode::Again,
        (_, StatusCode::INTERNAL_SERVER_ERROR) => CloseCode::Error,
        _ => CloseCode::Policy,
    }
}

#[cfg(test)]
mod tests;
