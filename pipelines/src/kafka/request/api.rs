//! Which requests are answered, and in which versions.

use std::fmt;

/// A request that is answered, by its number in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub(crate) enum ApiKey {
    /// Append record batches.
    Produce = 0,
    /// Read record batches.
    Fetch = 1,
    /// Ask for the offset at a time.
    ListOffsets = 2,
    /// Ask for brokers, topics, and partitions.
    Metadata = 3,
    /// Ask which broker looks after a group or a transaction.
    FindCoordinator = 10,
    /// Choose a SASL mechanism.
    SaslHandshake = 17,
    /// Ask for this very list.
    ApiVersions = 18,
    /// Make topics.
    CreateTopics = 19,
    /// Get a producer id, for idempotence.
    InitProducerId = 22,
    /// Ask for the settings of topics and brokers.
    DescribeConfigs = 32,
    /// One step of a SASL exchange.
    SaslAuthenticate = 36,
    /// Ask for the brokers alone.
    DescribeCluster = 60,
}

/// Every request that is answered, with its first and last version, in the order of their numbers.
pub(crate) const SERVED: &[(ApiKey, i16, i16)] = &TABLE;

/// What the answer to ApiVersions lists: as [`SERVED`], but Produce from version 0.
///
/// Older librdkafka (2.0.2 for one) takes a first version above 0 for a broker that knows no gzip, snappy, or lz4, and sends
/// plain batches without a word. It sends 7 all the same; 0 to 2 are refused.
pub(crate) const ADVERTISED: &[(ApiKey, i16, i16)] = &advertised();

const TABLE: [(ApiKey, i16, i16); 12] = [
    // 12 goes with transactions, which are not offered
    (ApiKey::Produce, 3, 11),
    (ApiKey::Fetch, 4, 16),
    (ApiKey::ListOffsets, 1, 8),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::SaslHandshake, 0, 1),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::InitProducerId, 0, 5),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::SaslAuthenticate, 0, 2),
    (ApiKey::DescribeCluster, 0, 1),
];

const fn advertised() -> [(ApiKey, i16, i16); 12] {
    let mut table = TABLE;
    table[0].1 = 0;
    table
}

impl ApiKey {
    /// The request with this number, if it is answered.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        SERVED.iter().map(|(api, ..)| *api).find(|api| api.number() == number)
    }

    /// Its number in the protocol.
    pub(crate) fn number(self) -> i16 {
        self as i16
    }

    /// Whether this version of it is answered.
    pub(crate) fn serves(self, version: i16) -> bool {
        SERVED.iter().any(|(api, first, last)| *api == self && (*first..=*last).contains(&version))
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages as k;
    use kafka_protocol::protocol::{HeaderVersion, Message};

    #[test]
    fn numbers_are_those_of_the_protocol() {
        for (api, ..) in SERVED {
            let number = api.number();
            assert_eq!(format!("{:?}", k::ApiKey::try_from(number).unwrap()), format!("{api:?}"));
            assert_eq!(ApiKey::from_number(number), Some(*api));
        }
        for absent in [-1, 4, 8, 11, 71, i16::MAX, i16::MIN] {
            assert_eq!(ApiKey::from_number(absent), None);
        }
        assert!(SERVED.is_sorted());
    }

    #[test]
    fn the_message_crate_knows_every_version_served() {
        fn check<R: Message + HeaderVersion, A: Message + HeaderVersion>(api: ApiKey) {
            let (_, first, last) = SERVED.iter().find(|(served, ..)| *served == api).unwrap();
            for range in [R::VERSIONS, A::VERSIONS] {
                assert!(range.min <= *first && *last <= range.max, "{api}");
            }
        }
        check::<k::ProduceRequest, k::ProduceResponse>(ApiKey::Produce);
        check::<k::FetchRequest, k::FetchResponse>(ApiKey::Fetch);
        check::<k::ListOffsetsRequest, k::ListOffsetsResponse>(ApiKey::ListOffsets);
        check::<k::MetadataRequest, k::MetadataResponse>(ApiKey::Metadata);
        check::<k::FindCoordinatorRequest, k::FindCoordinatorResponse>(ApiKey::FindCoordinator);
        check::<k::SaslHandshakeRequest, k::SaslHandshakeResponse>(ApiKey::SaslHandshake);
        check::<k::ApiVersionsRequest, k::ApiVersionsResponse>(ApiKey::ApiVersions);
        check::<k::CreateTopicsRequest, k::CreateTopicsResponse>(ApiKey::CreateTopics);
        check::<k::InitProducerIdRequest, k::InitProducerIdResponse>(ApiKey::InitProducerId);
        check::<k::DescribeConfigsRequest, k::DescribeConfigsResponse>(ApiKey::DescribeConfigs);
        check::<k::SaslAuthenticateRequest, k::SaslAuthenticateResponse>(ApiKey::SaslAuthenticate);
        check::<k::DescribeClusterRequest, k::DescribeClusterResponse>(ApiKey::DescribeCluster);
    }

    #[test]
    fn what_is_advertised_keeps_clients_on_the_new_batches_and_off_transactions() {
        let advertised =
            |api| ADVERTISED.iter().find(|(listed, ..)| *listed == api).map(|(_, first, last)| (*first, *last));
        // from 0, or old librdkafka compresses nothing; to 11, or clients try transactions
        assert_eq!(advertised(ApiKey::Produce), Some((0, 11)));
        // without these librdkafka writes the batches of 2015: MsgVer2 and zstd look at Fetch 4 and 10, lz4 at FindCoordinator 0
        assert_eq!(advertised(ApiKey::Fetch), Some((4, 16)));
        assert_eq!(advertised(ApiKey::FindCoordinator), Some((0, 6)));
        assert_eq!(advertised(ApiKey::ListOffsets), Some((1, 8)));
        // Java and kafka-python ask for a producer id by default
        assert_eq!(advertised(ApiKey::InitProducerId), Some((0, 5)));
        // v4 kcat, v5 aiokafka, v6 kafkajs, v12 the rest
        assert_eq!(advertised(ApiKey::Metadata), Some((0, 12)));
        assert_eq!(advertised(ApiKey::ApiVersions), Some((0, 4)));

        for ((listed, first, last), (served, from, to)) in ADVERTISED.iter().zip(SERVED) {
            assert_eq!((listed, last), (served, to));
            assert!(first == from || *listed == ApiKey::Produce);
        }
        assert!(!ApiKey::Produce.serves(0) && !ApiKey::Produce.serves(2) && ApiKey::Produce.serves(3));
        assert!(ApiKey::Produce.serves(11) && !ApiKey::Produce.serves(12) && !ApiKey::Metadata.serves(-1));
    }
}
