//! The shape of every request that is answered, version by version: which fields follow each other, and how each is
//! written. `walk` reads frames by it.
//!
//! A version is flexible or it is not. In flexible versions lengths and counts are varints, one more than they say with 0 for
//! null, and every structure ends with tagged fields; in the others they are 16 or 32 bits with -1 for null.

use super::ApiKey;

/// A version that never comes.
const NEVER: i16 = i16::MAX;

/// The body of a request.
#[derive(Debug)]
pub(super) struct Shape {
    /// The first flexible version.
    pub(super) flexible_from: i16,
    /// Its fields.
    pub(super) body: Structure,
}

/// Fields one after the other.
#[derive(Debug)]
pub(super) struct Structure {
    /// In the order they are written.
    pub(super) fields: &'static [Field],
    /// Those of the tagged fields that have a meaning; all others are passed over.
    pub(super) tagged: &'static [(u32, Field)],
}

/// One field of a structure.
#[derive(Debug)]
pub(super) struct Field {
    /// The protocol's name for it, in snake case.
    pub(super) name: &'static str,
    kind: Kind,
    first: i16,
    last: i16,
    null_from: i16,
}

/// How a value is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// This many bytes: numbers, booleans, UUIDs.
    Fixed(usize),
    /// A length and UTF-8.
    String,
    /// A length and bytes.
    Bytes,
    /// A count and as many of these.
    Array(&'static Kind),
    /// These.
    Structure(&'static Structure),
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, first: 0, last: NEVER, null_from: NEVER }
    }

    /// It exists from this version on.
    const fn since(mut self, version: i16) -> Self {
        self.first = version;
        self
    }

    /// It exists up to this version.
    const fn until(mut self, version: i16) -> Self {
        self.last = version;
        self
    }

    /// It may be null from this version on.
    const fn nullable(mut self, version: i16) -> Self {
        self.null_from = version;
        self
    }

    /// How it is written in `version`, if it exists there.
    pub(super) fn kind(&self, version: i16) -> Option<Kind> {
        (self.first..=self.last).contains(&version).then_some(self.kind)
    }

    /// Whether it may be null in `version`.
    pub(super) fn may_be_null(&self, version: i16) -> bool {
        self.null_from <= version
    }
}

impl Kind {
    /// The fewest bytes that a value takes, at least 1.
    pub(super) fn bytes_min(self, version: i16, flexible: bool) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::String => [2, 1][usize::from(flexible)],
            Self::Bytes | Self::Array(_) => [4, 1][usize::from(flexible)],
            Self::Structure(structure) => {
                let kinds = structure.fields.iter().filter_map(|field| field.kind(version));
                let fields: usize = kinds.map(|kind| kind.bytes_min(version, flexible)).sum();
                (fields + usize::from(flexible)).max(1)
            }
        }
    }
}

/// The shape of the body of `api`.
pub(super) fn shape(api: ApiKey) -> &'static Shape {
    match api {
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::SaslHandshake => &SASL_HANDSHAKE,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::SaslAuthenticate => &SASL_AUTHENTICATE,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
    }
}

const fn flag(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(1))
}
const fn int8(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(1))
}
const fn int16(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(2))
}
const fn int32(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(4))
}
const fn int64(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(8))
}
const fn uuid(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(16))
}
const fn string(name: &'static str) -> Field {
    Field::new(name, Kind::String)
}
const fn bytes(name: &'static str) -> Field {
    Field::new(name, Kind::Bytes)
}
const fn array(name: &'static str, element: &'static Kind) -> Field {
    Field::new(name, Kind::Array(element))
}
const fn plain(fields: &'static [Field]) -> Structure {
    Structure { fields, tagged: &[] }
}
const fn each(structure: &'static Structure) -> Kind {
    Kind::Structure(structure)
}

static PRODUCE: Shape = Shape {
    flexible_from: 9,
    body: plain(&[
        string("transactional_id").nullable(3),
        int16("acks"),
        int32("timeout_ms"),
        array(
            "topic_data",
            &each(&plain(&[
                string("name"),
                array("partition_data", &each(&plain(&[int32("index"), bytes("records").nullable(0)]))),
            ])),
        ),
    ]),
};

static FETCH: Shape = Shape {
    flexible_from: 12,
    body: Structure {
        fields: &[
            int32("replica_id").until(14),
            int32("max_wait_ms"),
            int32("min_bytes"),
            int32("max_bytes"),
            int8("isolation_level"),
            int32("session_id").since(7),
            int32("session_epoch").since(7),
            array("topics", &each(&FETCH_TOPIC)),
            array("forgotten_topics_data", &each(&FORGOTTEN_TOPIC)).since(7),
            string("rack_id").since(11),
        ],
        tagged: &[
            (0, string("cluster_id").since(12).nullable(12)),
            (1, Field::new("replica_state", each(&plain(&[int32("replica_id"), int64("replica_epoch")]))).since(15)),
        ],
    },
};

static FETCH_TOPIC: Structure = plain(&[
    string("topic").until(12),
    uuid("topic_id").since(13),
    array(
        "partitions",
        &each(&Structure {
            fields: &[
                int32("partition"),
                int32("current_leader_epoch").since(9),
                int64("fetch_offset"),
                int32("last_fetched_epoch").since(12),
                int64("log_start_offset").since(5),
                int32("partition_max_bytes"),
            ],
            tagged: &[(0, uuid("replica_directory_id").since(17)), (1, int64("high_watermark").since(18))],
        }),
    ),
]);

static FORGOTTEN_TOPIC: Structure =
    plain(&[string("topic").until(12), uuid("topic_id").since(13), array("partitions", &Kind::Fixed(4))]);

static LIST_OFFSETS: Shape = Shape {
    flexible_from: 6,
    body: plain(&[
        int32("replica_id"),
        int8("isolation_level").since(2),
        array(
            "topics",
            &each(&plain(&[
                string("name"),
                array(
                    "partitions",
                    &each(&plain(&[
                        int32("partition_index"),
                        int32("current_leader_epoch").since(4),
                        int64("timestamp"),
                    ])),
                ),
            ])),
        ),
    ]),
};

static METADATA: Shape = Shape {
    flexible_from: 9,
    body: plain(&[
        array("topics", &each(&plain(&[uuid("topic_id").since(10), string("name").nullable(10)]))).nullable(1),
        flag("allow_auto_topic_creation").since(4),
        flag("include_cluster_authorized_operations").since(8).until(10),
        flag("include_topic_authorized_operations").since(8),
    ]),
};

static FIND_COORDINATOR: Shape = Shape {
    flexible_from: 3,
    body: plain(&[
        string("key").until(3),
        int8("key_type").since(1),
        array("coordinator_keys", &Kind::String).since(4),
    ]),
};

static SASL_HANDSHAKE: Shape = Shape { flexible_from: NEVER, body: plain(&[string("mechanism")]) };

static API_VERSIONS: Shape = Shape {
    flexible_from: 3,
    body: plain(&[string("client_software_name").since(3), string("client_software_version").since(3)]),
};

static CREATE_TOPICS: Shape = Shape {
    flexible_from: 5,
    body: plain(&[
        array(
            "topics",
            &each(&plain(&[
                string("name"),
                int32("num_partitions"),
                int16("replication_factor"),
                array("assignments", &each(&plain(&[int32("partition_index"), array("broker_ids", &Kind::Fixed(4))]))),
                array("configs", &each(&plain(&[string("name"), string("value").nullable(0)]))),
            ])),
        ),
        int32("timeout_ms"),
        flag("validate_only"),
    ]),
};

static INIT_PRODUCER_ID: Shape = Shape {
    flexible_from: 2,
    body: plain(&[
        string("transactional_id").nullable(0),
        int32("transaction_timeout_ms"),
        int64("producer_id").since(3),
        int16("producer_epoch").since(3),
    ]),
};

static DESCRIBE_CONFIGS: Shape = Shape {
    flexible_from: 4,
    body: plain(&[
        array(
            "resources",
            &each(&plain(&[
                int8("resource_type"),
                string("resource_name"),
                array("configuration_keys", &Kind::String).nullable(0),
            ])),
        ),
        flag("include_synonyms"),
        flag("include_documentation").since(3),
    ]),
};

static SASL_AUTHENTICATE: Shape = Shape { flexible_from: 2, body: plain(&[bytes("auth_bytes")]) };

static DESCRIBE_CLUSTER: Shape = Shape {
    flexible_from: 0,
    body: plain(&[flag("include_cluster_authorized_operations"), int8("endpoint_type").since(1)]),
};
