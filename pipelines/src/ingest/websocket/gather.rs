//! Messages of a WebSocket that came together: they go into the log as one, and each is judged for itself.

use super::MESSAGES_MAX;
use crate::claim::after;
use crate::validate::{BodyShape, Rejection, Sifted, Sifter};
use crate::{Error, Result};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use std::ops::Range;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

/// Messages up to this size are judged in place, and join others up to this size.
pub(super) const INLINE_BYTES_MAX: usize = 32 << 10;

/// An acknowledgement with so many verdicts is not added to.
pub(super) const VERDICTS_MAX: usize = 100;

/// What is wrong with an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) message: i32,
    /// Its number in the message.
    pub(super) event: u32,
    pub(super) reason: &'static str,
}

/// Messages that have come together, as long as they are small.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) messages: Vec<Bytes>,
    bytes: usize,
}

impl Gathered {
    /// Takes what the client sent; the end of the connection, with its reason if there is one to say, is an error.
    pub(super) fn take(&mut self, message: Option<Result<Message, WebSocketError>>) -> Result<(), Option<Error>> {
        let data = match message {
            Some(Ok(Message::Text(text))) => Bytes::from(text),
            Some(Ok(Message::Binary(data))) => data,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(()),
            Some(Ok(Message::Close(_))) | None => return Err(None),
            Some(Err(WebSocketError::Capacity(CapacityError::MessageTooLong { size, max_size }))) => {
                return Err(Some(Error::EventTooLarge { event: 0, bytes: size, limit_bytes: max_size }));
            }
            Some(Err(WebSocketError::Utf8(_))) => return Err(Some(Error::NotUtf8 { byte: 0 })),
            Some(Err(WebSocketError::Protocol(error))) if error != ProtocolError::ResetWithoutClosingHandshake => {
                return Err(Some(Error::BrokenFrames { reason: error.to_string() }));
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a WebSocket ended with an error");
                return Err(None);
            }
        };
        self.bytes += data.len();
        self.messages.push(data);
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= INLINE_BYTES_MAX || self.messages.len() >= MESSAGES_MAX
    }

    /// Those that go into the log as one: their bytes, one behind the other, and the length of each.
    pub(super) fn first(&self) -> (Bytes, Vec<usize>) {
        let mut bytes = 0;
        let joined = self.messages.iter().take_while(|message| {
            bytes += message.len();
            bytes <= INLINE_BYTES_MAX
        });
        let first = &self.messages[..joined.count().max(1)];
        let bytes = if let [only] = first { only.clone() } else { first.concat().into() };
        (bytes, first.iter().map(Bytes::len).collect())
    }
}

/// What has become of messages, from the first one on as far as they could be judged.
pub(super) struct Judged {
    pub(super) sifted: Sifted,
    /// How many events there were before each of them.
    pub(super) before: Vec<u32>,
    /// What they are known by.
    pub(super) digest: u64,
    /// Why there are no more.
    pub(super) stopped: Option<Error>,
}

/// Judges messages that lie one behind the other, until one has to be refused or there is enough to say about them.
pub(super) fn judge(bytes: &[u8], lengths: &[usize], event_bytes_max: usize) -> Judged {
    let mut sifter = Sifter::new(bytes, event_bytes_max);
    let (mut before, mut at, mut stopped) = (Vec::with_capacity(lengths.len()), 0, None);
    for length in lengths {
        let events = sifter.events();
        if let Err(error) = judge_one(&mut sifter, bytes, at..at + length) {
            stopped = Some(error);
            break;
        }
        before.push(events);
        at += length;
        if sifter.named() >= VERDICTS_MAX {
            break;
        }
    }
    Judged { sifted: sifter.finish(), before, digest: checksum(CrcAlgorithm::Crc64Nvme, &bytes[..at]), stopped }
}

/// The events of a message. One in which it cannot be told where an event ends, or with little but what is none, is one thing that is
/// no event.
fn judge_one(sifter: &mut Sifter<'_>, bytes: &[u8], place: Range<usize>) -> Result<()> {
    let reason = match sifter.body(place.clone(), BodyShape::Any) {
        Err(Error::Malformed { reason, .. } | Error::TooManyRejected { reason }) => reason,
        Err(Error::NoEvents) => "there is no event",
        judged => return judged,
    };
    sifter.reject(reason, &bytes[place])
}

/// Rejections as the client counts: by message, `first` being the number of the first one.
pub(super) fn verdicts(rejections: Vec<Rejection>, before: &[u32], first: i32) -> Vec<Verdict> {
    let verdict = |Rejection { event, reason }: Rejection| {
        let message = before.partition_point(|before| *before <= event) - 1;
        let number = after(first, u32::try_from(message).expect("they are few"));
        Verdict { message: number, event: event - before[message], reason }
    };
    rejections.into_iter().map(verdict).collect()
}
