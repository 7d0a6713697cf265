//! Answers, as they go onto the connection.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{Encodable, HeaderVersion};

/// Why an answer cannot be written. Always a mistake of whoever made it, never of the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    /// The message has something in it that its version does not have.
    #[error("the answer cannot be written in version {version}: {reason}")]
    Message {
        /// The version.
        version: i16,
        /// The message crate's reason.
        reason: String,
    },
    /// The length of a frame has 31 bits.
    #[error("the answer is too long: a frame may have {} bytes, this one has {bytes}", i32::MAX)]
    TooLong {
        /// How many.
        bytes: usize,
    },
}

/// An answer to the request `correlation_id` as a whole frame: length, header, body. `version` is the request's, but 0 for
/// an ApiVersions that asked in a version too new.
pub(crate) fn encode<R: Encodable + HeaderVersion>(
    correlation_id: i32,
    version: i16,
    response: &R,
) -> Result<Bytes, EncodeError> {
    const LENGTH_BYTES: usize = size_of::<i32>();
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header
        .encode(&mut frame, R::header_version(version))
        .and_then(|()| response.encode(&mut frame, version))
        .map_err(|error| EncodeError::Message { version, reason: error.to_string() })?;
    let bytes = frame.len() - LENGTH_BYTES;
    let length = i32::try_from(bytes).map_err(|_| EncodeError::TooLong { bytes })?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{
        ApiVersionsResponse, DescribeClusterResponse, InitProducerIdResponse, MetadataResponse, ProduceResponse,
        SaslHandshakeResponse,
    };
    use kafka_protocol::protocol::Decodable;
    use std::fmt::Debug;

    /// `header` is how many bytes stand between length and body.
    #[track_caller]
    fn check<R: Encodable + Decodable + HeaderVersion + PartialEq + Debug>(response: &R, version: i16, header: usize) {
        let mut frame = encode(-7, version, response).unwrap();
        assert_eq!(usize::try_from(frame.get_i32()).unwrap(), frame.len());
        assert_eq!((&*frame).get_i32(), -7);
        assert!(frame[4..header].iter().all(|byte| *byte == 0));
        frame.advance(header);
        assert_eq!(&R::decode(&mut frame, version).unwrap(), response);
        assert!(frame.is_empty());
    }

    #[test]
    fn an_answer_has_its_length_its_correlation_id_and_tagged_fields_where_flexible() {
        check(&ProduceResponse::default(), 8, 4);
        check(&ProduceResponse::default(), 9, 5);
        check(&MetadataResponse::default(), 8, 4);
        check(&MetadataResponse::default(), 12, 5);
        check(&InitProducerIdResponse::default(), 1, 4);
        check(&InitProducerIdResponse::default(), 2, 5);
        check(&SaslHandshakeResponse::default(), 1, 4);
        check(&DescribeClusterResponse::default(), 0, 5);
    }

    #[test]
    fn the_answer_to_api_versions_never_has_tagged_fields_in_its_header() {
        let listed = vec![ApiVersion::default().with_api_key(18).with_max_version(4)];
        for version in 0..=4 {
            check(&ApiVersionsResponse::default().with_error_code(35).with_api_keys(listed.clone()), version, 4);
        }
    }

    #[test]
    fn what_a_version_does_not_have_is_an_error() {
        let response = InitProducerIdResponse::default();
        assert!(matches!(encode(1, 99, &response), Err(EncodeError::Message { version: 99, .. })));
    }
}
