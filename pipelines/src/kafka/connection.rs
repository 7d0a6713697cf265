//! One connection: frames are read one after another, answers go out in their order.
//!
//! A request that writes is read, checked and queued for the log before the next one is read; its answer waits for the log while
//! the next ones come. When there is no room nothing is read: that is how a producer that is too fast is slowed down.

use super::Shared;
use super::describe;
use super::fetch::{self, Fetching};
use super::produce;
use super::request::{ApiKey, Frame, Request, RequestError, decode};
use super::response::encode;
use super::session::{Authenticated, Session};
use crate::event_log::Room;
use bytes::{BufMut as _, Bytes, BytesMut};
use cistern_net::{Connection, Stream};
use cistern_runtime::Shutdown;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

/// The largest frame, in bytes: three of the largest batches there may be.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// The largest frame of a client that has not logged in, in bytes: one of the largest batches. They take from a pool of their own.
const STRANGERS_FRAME_BYTES_MAX: usize = 8 << 20;

/// Frames up to this size need no room: those of all connections together are less than the room for the others.
const SMALL_FRAME_BYTES: usize = 16 << 10;

/// How many requests of a connection may wait for their answers.
const IN_FLIGHT_MAX: usize = 64;

/// How long a connection may be idle between two requests; as long as Kafka's brokers allow.
const IDLE_MAX: Duration = Duration::from_mins(10);

/// How long a frame that has begun may pause, and how long a client may take for its first one.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// How long a frame may take from its first byte to its last. Frames take from a pool of their own until they are answered, so
/// that slow ones keep nobody out but each other.
const FRAME_MAX: Duration = Duration::from_mins(2);

/// How long a whole frame waits for room in the log before the connection is closed.
const ROOM_WAIT: Duration = Duration::from_secs(30);

/// How long an answer may take to be sent; a client that does not read is let go.
const WRITE_MAX: Duration = Duration::from_mins(2);

/// How much of a frame is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// A whole frame.
    Frame(Bytes),
    /// Nothing is expected.
    Nothing,
    /// The connection ends: the only answer there is.
    Close,
}

/// A reply, now or later.
pub(super) type Answer = BoxFuture<'static, Reply>;

/// An answer in its place in the queue.
struct Queued {
    answer: Answer,
    /// What its request takes of memory.
    permit: OwnedSemaphorePermit,
}

/// What a connection is about, for whoever answers.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) kafka: Arc<Shared>,
    /// The address the client came to.
    pub(super) local: SocketAddr,
    pub(super) shutdown: Shutdown,
}

/// Serves a connection to its end.
pub(super) async fn serve_connection(kafka: Arc<Shared>, connection: Connection) {
    let Connection { stream, peer, local, shutdown } = connection;
    let (reader, writer) = tokio::io::split(stream);
    let (answers, queue) = mpsc::channel(IN_FLIGHT_MAX);
    let context = Context { kafka, local, shutdown };
    let conversation = Conversation { context, peer, session: Session::default(), software: None };
    let mut writing = pin!(write_answers(writer, queue));
    tokio::select! {
        () = writing.as_mut() => {}
        () = conversation.read_requests(reader, answers) => writing.await,
    }
}

async fn write_answers(mut writer: WriteHalf<Stream>, mut queue: mpsc::Receiver<Queued>) {
    while let Some(answer) = queue.recv().await {
        let Queued { answer, permit } = answer;
        match answer.await {
            Reply::Frame(frame) => {
                let sent = async {
                    writer.write_all(&frame).await?;
                    writer.flush().await
                };
                if !matches!(timeout(WRITE_MAX, sent).await, Ok(Ok(()))) {
                    return; // the client is gone, or does not read
                }
                drop(permit);
            }
            Reply::Nothing => {}
            Reply::Close => break,
        }
    }
    drop(timeout(PAUSE_MAX, writer.shutdown()).await);
}

/// The reading side of a connection.
struct Conversation {
    context: Context,
    peer: SocketAddr,
    session: Session,
    /// Name and version of the client's library, when it says so.
    software: Option<String>,
}

impl Conversation {
    async fn read_requests(mut self, mut reader: ReadHalf<Stream>, answers: mpsc::Sender<Queued>) {
        let mut idle_max = PAUSE_MAX;
        let shutdown = self.context.shutdown.clone();
        loop {
            let frame = tokio::select! {
                () = shutdown.begun() => return,
                frame = self.read_frame(&mut reader, idle_max) => frame,
            };
            let (frame, permit) = match frame {
                Ok(Some(read)) => read,
                Ok(None) => return,
                Err(error) => return self.say("its bytes could not be read", &error),
            };
            idle_max = IDLE_MAX;
            let room = match self.context.kafka.parts.log.room_within(frame.len() + 1, ROOM_WAIT).await {
                Ok(room) => room,
                Err(error) => return self.say("there was no room for its request", &error),
            };
            // Only writing goes on while others wait for their answers: those to anything else may be large.
            let places = if is_produce(&frame) { 1 } else { IN_FLIGHT_MAX };
            let Ok(mut places) = answers.reserve_many(places).await else { return };
            let answer = self.answer(frame, room).await;
            if let Some(place) = places.next() {
                place.send(Queued { answer, permit });
            }
        }
    }

    /// The next frame without its length, with what it takes of the pool; `None` when the client is done.
    async fn read_frame(
        &self,
        reader: &mut ReadHalf<Stream>,
        idle_max: Duration,
    ) -> io::Result<Option<(Bytes, OwnedSemaphorePermit)>> {
        let mut length = [0; 4];
        match timeout(idle_max, reader.read_exact(&mut length)).await {
            Err(_) => return Ok(None),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Ok(read) => read?,
        };
        let bytes_max = if self.session.is_logged_in() { FRAME_BYTES_MAX } else { STRANGERS_FRAME_BYTES_MAX };
        let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| *length <= bytes_max);
        let length = length.ok_or_else(|| {
            let text = format!(
                "a frame may have {FRAME_BYTES_MAX} bytes, before a login {STRANGERS_FRAME_BYTES_MAX}: send smaller batches; or \
                 this is not Kafka's protocol"
            );
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        let read = timeout(FRAME_MAX, self.read_body(reader, length)).await;
        read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(Some)
    }

    async fn read_body(
        &self,
        reader: &mut ReadHalf<Stream>,
        length: usize,
    ) -> io::Result<(Bytes, OwnedSemaphorePermit)> {
        let kafka = &self.context.kafka;
        let pool = if self.session.is_logged_in() { &kafka.frames } else { &kafka.strangers_frames };
        let take = async |bytes: usize| {
            let bytes = if length <= SMALL_FRAME_BYTES { 0 } else { bytes };
            let permits = u32::try_from(bytes).map_err(io::Error::other)?;
            Arc::clone(pool).acquire_many_owned(permits).await.map_err(io::Error::other)
        };
        let mut permit = take(0).await?;
        let mut frame = BytesMut::with_capacity(length.min(PIECE_BYTES));
        while frame.len() < length {
            let piece = (length - frame.len()).min(PIECE_BYTES);
            frame.reserve(piece);
            let mut limited = (&mut frame).limit(piece);
            let read = timeout(PAUSE_MAX, reader.read_buf(&mut limited)).await;
            let read = read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            permit.merge(take(read).await?);
        }
        Ok((frame.freeze(), permit))
    }

    async fn answer(&mut self, frame: Bytes, room: Room) -> Answer {
        if self.session.takes_raw_messages() {
            return ready(self.raw_message(&frame).await);
        }
        match decode(frame) {
            Ok(frame) => self.dispatch(frame, room).await,
            Err(error) => ready(self.refuse(&error)),
        }
    }

    async fn dispatch(&mut self, frame: Frame, room: Room) -> Answer {
        let Frame { api, version, correlation_id, client_id, body } = frame;
        let write = Writer { api, version, correlation_id };
        let context = &self.context;
        match body {
            Request::ApiVersions(request) => {
                if !request.client_software_name.is_empty() {
                    let (name, number) = (&request.client_software_name, &request.client_software_version);
                    self.software = Some(shortened(&format!("{name} {number}")));
                }
                write.now(&describe::api_versions(0))
            }
            Request::SaslHandshake(request) => write.now(&self.session.begin(&request.mechanism, version > 0)),
            Request::SaslAuthenticate(request) => {
                let response = self.session.authenticate(&context.kafka, &request.auth_bytes).await;
                self.note_login(&response);
                write.now(&response.into_response())
            }
            Request::Produce(request) => produce::produce(context, &self.session, request, write, room).await,
            Request::Fetch(request) => {
                let fetching = Fetching::new(context, &self.session, request, version).await;
                async move { write.reply(&fetching.answer().await) }.boxed()
            }
            Request::ListOffsets(request) => write.now(&fetch::list_offsets(context, &self.session, request).await),
            Request::Metadata(request) => {
                write.now(&describe::metadata(context, &self.session, request, version).await)
            }
            Request::CreateTopics(request) => {
                write.now(&describe::create_topics(context, &self.session, request, version).await)
            }
            Request::InitProducerId(request) => {
                write.now(&describe::init_producer_id(context, &request, client_id.as_deref()).await)
            }
            Request::FindCoordinator(request) => write.now(&describe::find_coordinator(&request, version)),
            Request::DescribeConfigs(request) => {
                write.now(&describe::describe_configs(context, &self.session, request, version).await)
            }
            Request::DescribeCluster(_) => write.now(&describe::describe_cluster(context, version)),
        }
    }

    /// A message of SASL as clients send it after version 0 of the handshake: a frame of its own.
    async fn raw_message(&mut self, message: &[u8]) -> Reply {
        let response = self.session.authenticate(&self.context.kafka, message).await;
        self.note_login(&response);
        match response.into_raw() {
            Some(bytes) => {
                let mut frame = BytesMut::with_capacity(bytes.len() + 4);
                frame.put_u32(u32::try_from(bytes.len()).expect("messages of SASL are short"));
                frame.extend_from_slice(&bytes);
                Reply::Frame(frame.freeze())
            }
            None => Reply::Close,
        }
    }

    fn note_login(&self, response: &Authenticated) {
        if let Authenticated::Refused(error) = response {
            tracing::warn!(peer = %self.peer, %error, "a Kafka client was not let in");
        }
    }

    /// What cannot be read as a request has no answer, except for the question which versions there are.
    fn refuse(&self, error: &RequestError) -> Reply {
        match error {
            RequestError::UnsupportedVersion { api: ApiKey::ApiVersions, correlation_id, .. } => {
                let response = describe::api_versions(describe::UNSUPPORTED_VERSION);
                return Writer { api: ApiKey::ApiVersions, version: 0, correlation_id: *correlation_id }
                    .reply(&response);
            }
            RequestError::UnsupportedKey { client_id, .. } | RequestError::UnsupportedVersion { client_id, .. } => {
                let client = client_id.as_deref().map(shortened);
                let software = self.software.as_deref();
                // Clients say "disconnected" and try for ever: this line is where one can see why.
                tracing::warn!(peer = %self.peer, client, software, %error, "a Kafka client asked for what is not there");
            }
            RequestError::Malformed { .. } => self.say("its request cannot be read", error),
        }
        Reply::Close
    }

    fn say(&self, what: &str, error: &dyn std::error::Error) {
        tracing::info!(peer = %self.peer, software = self.software.as_deref(), %error, "a Kafka client was disconnected: {what}");
    }
}

/// Whether a frame holds record batches, as its first two bytes say.
fn is_produce(frame: &Bytes) -> bool {
    frame.starts_with(&ApiKey::Produce.number().to_be_bytes())
}

/// A text of the client's, short enough for a log line.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

fn ready(reply: Reply) -> Answer {
    std::future::ready(reply).boxed()
}

/// Makes frames of answers to one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    pub(super) api: ApiKey,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
}

impl Writer {
    /// The answer as a frame.
    pub(super) fn reply<R: Encodable + HeaderVersion>(self, response: &R) -> Reply {
        match encode(self.correlation_id, self.version, response) {
            Ok(frame) => Reply::Frame(frame),
            Err(error) => {
                tracing::error!(api = %self.api, version = self.version, %error, "an answer could not be written");
                Reply::Close
            }
        }
    }

    /// The same, at once.
    pub(super) fn now<R: Encodable + HeaderVersion>(self, response: &R) -> Answer {
        ready(self.reply(response))
    }
}
