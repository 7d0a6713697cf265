//! What a request says about itself so that sending it again does no harm.
//!
//! | headers | meaning |
//! | --- | --- |
//! | `Idempotency-Key: KEY` | this request happens once; kept for an hour at least |
//! | `X-Producer-Id: NAME`, `X-Producer-Sequence: N` | the N-th request of this producer; the next one has N + 1; kept for a day at least |
//!
//! With either, the same request is answered as before and stored once, and another body under the same key or number is refused.

use crate::claim::{Claim, Producer};
use crate::{Error, Result};
use crc_fast::{CrcAlgorithm, checksum};
use http::{HeaderMap, HeaderName};

/// The longest key or name, in bytes.
const NAME_BYTES_MAX: usize = 255;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PRODUCER_ID: HeaderName = HeaderName::from_static("x-producer-id");
const PRODUCER_SEQUENCE: HeaderName = HeaderName::from_static("x-producer-sequence");

/// How a request is known again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    producer: Producer,
    sequence: i32,
}

impl Retry {
    /// What the headers say; `None` when they say nothing.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Option<Self>> {
        let key = name_of(headers, &IDEMPOTENCY_KEY)?;
        let producer = name_of(headers, &PRODUCER_ID)?;
        let sequence = headers.get(&PRODUCER_SEQUENCE);
        match (key, producer, sequence) {
            (None, None, None) => Ok(None),
            (Some(key), None, None) => Ok(Some(Self { producer: Producer::key(key), sequence: 0 })),
            (None, Some(name), Some(sequence)) => {
                let sequence = sequence.to_str().ok().and_then(|text| text.parse().ok()).filter(|number| *number >= 0);
                let sequence =
                    sequence.ok_or_else(|| refuse(&PRODUCER_SEQUENCE, "use a number from 0 to 2147483647"))?;
                Ok(Some(Self { producer: Producer::named(name), sequence }))
            }
            (None, ..) => Err(refuse(&PRODUCER_ID, "send x-producer-id and x-producer-sequence together")),
            (Some(_), ..) => {
                Err(refuse(&IDEMPOTENCY_KEY, "send it, or x-producer-id and x-producer-sequence, not both"))
            }
        }
    }

    /// The claim of a request with this body.
    pub(super) fn claim(self, body: &[u8]) -> Claim {
        let digest = checksum(CrcAlgorithm::Crc64Nvme, body);
        Claim { producer: self.producer, epoch: 0, first: self.sequence, count: 1, digest }
    }
}

fn name_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|text| (1..=NAME_BYTES_MAX).contains(&text.len()));
    text.map(Some).ok_or_else(|| refuse(name, "use 1 to 255 characters of ASCII"))
}

fn refuse(header: &HeaderName, rule: &'static str) -> Error {
    Error::InvalidHeader { header: header.to_string(), rule }
}
