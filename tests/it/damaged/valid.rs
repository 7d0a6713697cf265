//! Correct requests of all kinds: what damage is done to.
//!
//! A line is `METHOD /path?query`, paths and values not encoded; headers are `name: value`, where `*` stands for the digest of the body.

use super::request::Door;
use rand::RngExt as _;
use rand::rngs::StdRng;

/// A request before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    pub(crate) what: String,
    pub(crate) door: Door,
    pub(crate) method: String,
    pub(crate) path: Vec<u8>,
    pub(crate) query: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) style: Style,
    /// The statuses of a correct answer.
    pub(crate) statuses: Vec<u16>,
}

/// How a request says who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Signed in headers, its body too.
    Headers,
    /// Signed in headers, its body not.
    UnsignedBody,
    /// Signed in headers by a temporary key.
    Session,
    /// Signed in the query.
    Presigned,
    /// Chunks that are signed.
    Chunks,
    /// Chunks that are signed, with a trailer that is too.
    ChunksAndTrailer,
    /// Chunks that are not signed, with a trailer.
    PlainChunks,
    /// By the form it carries.
    Form,
    /// By a token.
    Token,
    /// Not at all.
    Nobody,
}

/// A kind of correct requests.
struct Entry {
    line: &'static str,
    headers: &'static str,
    body: &'static str,
    statuses: &'static [u16],
}

const fn entry(line: &'static str, headers: &'static str, body: &'static str, statuses: &'static [u16]) -> Entry {
    Entry { line, headers, body, statuses }
}

const SSE_C: &str = "x-amz-server-side-encryption-customer-algorithm: AES256\n\
    x-amz-server-side-encryption-customer-key: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n\
    x-amz-server-side-encryption-customer-key-md5: KYvwGXoFFJ42a2u2GDWhwQ==";

/// Bodies of objects, which may also come in chunks.
const WRITES: &[Entry] = &[
    entry("PUT /fuzz/a", "content-type: text/plain\nx-amz-meta-color: blue\nx-amz-meta-size: 10", "hello", &[200]),
    entry(
        "PUT /fuzz/ü b/c+d",
        "cache-control: no-cache\ncontent-disposition: attachment\nexpires: Thu, 01 Dec 2094 16:00:00 GMT",
        "ü",
        &[200],
    ),
    entry("PUT /fuzz/checked", "x-amz-checksum-crc32c: *\ncontent-md5: *", "with checksums", &[200]),
    entry("PUT /fuzz/tagged", "x-amz-tagging: a=1&b=2\nx-amz-storage-class: STANDARD_IA", "tags", &[200]),
    entry("PUT /fuzz/new", "if-none-match: *", "once", &[200, 412]),
    entry("PUT /fuzz/a", "if-match: \"<<ETAG>>\"", "swap", &[200, 412]),
    entry("PUT /fuzz/sealed", "x-amz-server-side-encryption: AES256", "sealed", &[200]),
    entry("PUT /fuzz/own-key", SSE_C, "sealed with a key of the client", &[200]),
    entry("PUT /fuzz-old/a", "x-amz-acl: private", "another version", &[200]),
    entry(
        "PUT /fuzz-locked/held",
        "x-amz-object-lock-mode: GOVERNANCE\nx-amz-object-lock-retain-until-date: 2027-01-01T00:00:00Z\ncontent-md5: *",
        "held",
        &[200],
    ),
    entry("PUT /fuzz/upload?partNumber=2&uploadId=<<UPLOAD>>", "content-md5: *", "a part", &[200]),
    entry("PUT /fuzz/empty", "", "", &[200]),
];

const READS: &[Entry] = &[
    entry("GET /", "", "", &[200]),
    entry("GET /?prefix=fuzz&max-buckets=2", "", "", &[200]),
    entry(
        "GET /fuzz?list-type=2&prefix=a&delimiter=/&max-keys=3&start-after=A&encoding-type=url&fetch-owner=true",
        "",
        "",
        &[200],
    ),
    entry("GET /fuzz?prefix=&marker=a&delimiter=/&max-keys=2&encoding-type=url", "", "", &[200]),
    entry("GET /fuzz-old?versions&prefix=a&key-marker=a&version-id-marker=<<VERSION>>&max-keys=3", "", "", &[200]),
    entry("GET /fuzz?uploads&prefix=u&delimiter=/&max-uploads=5&key-marker=a", "", "", &[200]),
    entry("GET /fuzz/upload?uploadId=<<UPLOAD>>&max-parts=2&part-number-marker=0", "", "", &[200]),
    entry("HEAD /fuzz", "x-amz-expected-bucket-owner: 1", "", &[200, 400, 403]),
    entry("GET /fuzz?location", "", "", &[200]),
    entry("GET /fuzz?versioning", "", "", &[200]),
    entry("GET /fuzz?acl", "", "", &[200]),
    entry("GET /fuzz?policyStatus", "", "", &[200, 404]),
    entry("GET /fuzz?policy", "", "", &[200, 404]),
    entry("GET /fuzz?cors", "", "", &[200, 404]),
    entry("GET /fuzz?encryption", "", "", &[200, 404]),
    entry("GET /fuzz?lifecycle", "", "", &[200, 404]),
    entry("GET /fuzz?logging", "", "", &[200]),
    entry("GET /fuzz?notification", "", "", &[200]),
    entry("GET /fuzz?tagging", "", "", &[200, 404]),
    entry("GET /fuzz?website", "", "", &[200, 404]),
    entry("GET /fuzz?replication", "", "", &[200, 404]),
    entry("GET /fuzz?requestPayment", "", "", &[200]),
    entry("GET /fuzz?accelerate", "", "", &[200]),
    entry("GET /fuzz?publicAccessBlock", "", "", &[200, 404]),
    entry("GET /fuzz?ownershipControls", "", "", &[200, 404]),
    entry("GET /fuzz-locked?object-lock", "", "", &[200]),
    entry("GET /fuzz?metrics&id=1", "", "", &[501]),
    entry("GET /fuzz/a", "range: bytes=1-4\nx-amz-checksum-mode: ENABLED", "", &[206, 416]),
    entry("GET /fuzz/dir/big", "range: bytes=-100", "", &[206]),
    entry(
        "GET /fuzz/a?response-content-type=text/css&response-cache-control=no-store&response-expires=Thu, 01 Dec 2094 16:00:00 GMT",
        "",
        "",
        &[200],
    ),
    entry("GET /fuzz/a?partNumber=1", "", "", &[200, 206]),
    entry(
        "GET /fuzz/a",
        "if-none-match: \"<<ETAG>>\"\nif-modified-since: Thu, 01 Dec 1994 16:00:00 GMT",
        "",
        &[200, 304],
    ),
    entry("GET /fuzz/a", "if-match: *\nif-unmodified-since: Thu, 01 Dec 2094 16:00:00 GMT", "", &[200]),
    entry("HEAD /fuzz/ü b/c+d", "range: bytes=0-0", "", &[206]),
    entry("GET /fuzz/own-key", SSE_C, "", &[200, 404, 400]),
    entry("GET /fuzz-old/a?versionId=<<VERSION>>", "", "", &[200]),
    entry("GET /fuzz-old/a?versionId=null", "", "", &[200, 404]),
    entry(
        "GET /fuzz/a?attributes",
        "x-amz-object-attributes: ETag,Checksum,ObjectParts,ObjectSize\nx-amz-max-parts: 2",
        "",
        &[200],
    ),
    entry("GET /fuzz/a?tagging", "", "", &[200]),
    entry("GET /fuzz/a?acl", "", "", &[200]),
    entry("GET /fuzz-locked/held?retention", "", "", &[200, 404]),
    entry("GET /fuzz-locked/held?legal-hold", "", "", &[200, 404]),
    entry("GET /fuzz/a?torrent", "", "", &[501]),
];

const CHANGES: &[Entry] = &[
    entry("DELETE /fuzz/gone", "", "", &[204]),
    entry("DELETE /fuzz/gone", "if-match: \"<<ETAG>>\"", "", &[204, 404, 412]),
    entry("DELETE /fuzz-old/gone", "", "", &[204]),
    entry("DELETE /fuzz-locked/gone?versionId=<<VERSION>>", "x-amz-bypass-governance-retention: true", "", &[204]),
    entry(
        "PUT /fuzz/copied",
        "x-amz-copy-source: /fuzz/dir/big\nx-amz-metadata-directive: REPLACE\nx-amz-meta-a: b\nx-amz-copy-source-if-match: *",
        "",
        &[200],
    ),
    entry(
        "PUT /fuzz/copied",
        "x-amz-copy-source: fuzz-old/a?versionId=<<VERSION>>\nx-amz-tagging-directive: COPY",
        "",
        &[200],
    ),
    entry(
        "PUT /fuzz/upload?partNumber=3&uploadId=<<UPLOAD>>",
        "x-amz-copy-source: /fuzz/dir/big\nx-amz-copy-source-range: bytes=0-99",
        "",
        &[200],
    ),
    entry(
        "POST /fuzz/other-upload?uploads",
        "x-amz-checksum-algorithm: CRC32C\ncontent-type: text/plain\nx-amz-meta-a: b",
        "",
        &[200],
    ),
    entry("DELETE /fuzz/upload?uploadId=00000000000000000000000000000000", "", "", &[404]),
    entry("PUT /fuzz-new-1", "x-amz-object-ownership: ObjectWriter\nx-amz-acl: public-read", "", &[200, 400, 409]),
    entry(
        "PUT /fuzz-new-2",
        "",
        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>",
        &[200],
    ),
    entry("DELETE /fuzz-new-1", "", "", &[204, 404]),
    entry("DELETE /fuzz?cors", "", "", &[204]),
    entry("DELETE /fuzz?lifecycle", "", "", &[204]),
    entry("DELETE /fuzz?tagging", "", "", &[204]),
    entry("DELETE /fuzz?ownershipControls", "", "", &[204]),
    entry("DELETE /fuzz/a?tagging", "", "", &[204]),
    entry("POST /fuzz/a?restore", "", "<RestoreRequest><Days>1</Days></RestoreRequest>", &[501]),
    entry(
        "POST /fuzz/a?select&select-type=2",
        "",
        "<SelectObjectContentRequest><Expression>select * from s3object</Expression></SelectObjectContentRequest>",
        &[501],
    ),
];

/// Documents, most of them XML.
const DOCUMENTS: &[Entry] = &[
    entry(
        "POST /fuzz?delete",
        "content-md5: *",
        "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>false</Quiet><Object><Key>gone</Key></Object><Object><Key>x&lt;&#233;</Key><ETag>*</ETag></Object></Delete>",
        &[200],
    ),
    entry(
        "POST /fuzz-old?delete",
        "x-amz-checksum-crc32c: *",
        "<Delete><Object><Key>gone</Key><VersionId>e5de82f0996fffffe9b82845450be222</VersionId></Object><Object><Key>gone</Key><VersionId>null</VersionId></Object></Delete>",
        &[200],
    ),
    entry(
        "POST /fuzz/upload?uploadId=<<UPLOAD>>",
        "",
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"00000000000000000000000000000000\"</ETag></Part></CompleteMultipartUpload>",
        &[400, 404],
    ),
    entry(
        "PUT /fuzz?tagging",
        "content-md5: *",
        "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>b</Key><Value/></Tag></TagSet></Tagging>",
        &[200, 204],
    ),
    entry(
        "PUT /fuzz/a?tagging",
        "content-md5: *",
        "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>",
        &[200],
    ),
    entry(
        "PUT /fuzz?cors",
        "content-md5: *",
        "<CORSConfiguration><CORSRule><ID>1</ID><AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader><ExposeHeader>etag</ExposeHeader><MaxAgeSeconds>30</MaxAgeSeconds></CORSRule></CORSConfiguration>",
        &[200],
    ),
    entry(
        "PUT /fuzz?encryption",
        "",
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>",
        &[200],
    ),
    entry(
        "PUT /fuzz?lifecycle",
        "content-md5: *",
        "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><And><Prefix>tmp/</Prefix><Tag><Key>a</Key><Value>1</Value></Tag><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></And></Filter><Expiration><Days>365</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>5</NoncurrentDays></NoncurrentVersionExpiration></Rule><Rule><ID>s</ID><Status>Enabled</Status><Filter><Prefix>up</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload><Expiration><Date>2094-12-01T00:00:00Z</Date></Expiration></Rule></LifecycleConfiguration>",
        &[200, 400],
    ),
    entry("PUT /fuzz?notification", "", "<NotificationConfiguration/>", &[200]),
    entry(
        "PUT /fuzz?ownershipControls",
        "content-md5: *",
        "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerPreferred</ObjectOwnership></Rule></OwnershipControls>",
        &[200],
    ),
    entry(
        "PUT /fuzz?publicAccessBlock",
        "content-md5: *",
        "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>false</BlockPublicPolicy><RestrictPublicBuckets>false</RestrictPublicBuckets></PublicAccessBlockConfiguration>",
        &[200],
    ),
    entry(
        "PUT /fuzz?policy",
        "",
        "{\"Version\":\"2012-10-17\",\"Id\":\"p\",\"Statement\":[{\"Sid\":\"s\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"*\"},\"Action\":[\"s3:GetObject\",\"s3:List*\"],\"Resource\":[\"arn:aws:s3:::fuzz/*\",\"arn:aws:s3:::fuzz\"],\"Condition\":{\"StringLike\":{\"aws:Referer\":[\"http://a/*\",\"b\"]},\"IpAddress\":{\"aws:SourceIp\":\"127.0.0.0/8\"},\"DateLessThan\":{\"aws:CurrentTime\":\"2094-01-01T00:00:00Z\"},\"NumericLessThan\":{\"s3:max-keys\":\"10\"},\"Bool\":{\"aws:SecureTransport\":\"false\"}}}]}",
        &[200, 204, 400, 403],
    ),
    entry(
        "PUT /fuzz-old?versioning",
        "",
        "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status></VersioningConfiguration>",
        &[200],
    ),
    entry(
        "PUT /fuzz-locked?object-lock",
        "content-md5: *",
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>",
        &[200],
    ),
    entry("PUT /fuzz-locked/a?legal-hold", "content-md5: *", "<LegalHold><Status>OFF</Status></LegalHold>", &[200]),
    entry(
        "PUT /fuzz-locked/a?retention",
        "content-md5: *\nx-amz-bypass-governance-retention: true",
        "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2027-12-01T00:00:00Z</RetainUntilDate></Retention>",
        &[200],
    ),
    entry(
        "PUT /fuzz/a?acl",
        "",
        "<AccessControlPolicy xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>1</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>",
        &[200, 400, 403],
    ),
    entry("PUT /fuzz?acl", "x-amz-acl: private", "", &[200]),
];

/// What the management API takes.
const MANAGEMENT: &[Entry] = &[
    entry("GET /client/v4/user/tokens/verify", "", "", &[200]),
    entry("GET /client/v4/accounts", "", "", &[200]),
    entry(
        "GET /client/v4/accounts/<<ACCOUNT>>/r2/buckets?name_contains=f&per_page=3&start_after=a&order=name",
        "",
        "",
        &[200],
    ),
    entry(
        "POST /client/v4/accounts/<<ACCOUNT>>/r2/buckets",
        "cf-r2-jurisdiction: default",
        "{\"name\":\"made-by-api\",\"locationHint\":\"weur\",\"storageClass\":\"Standard\"}",
        &[200, 409],
    ),
    entry(
        "PATCH /client/v4/accounts/<<ACCOUNT>>/r2/buckets/made-by-api",
        "cf-r2-storage-class: InfrequentAccess",
        "",
        &[200, 404],
    ),
    entry("GET /client/v4/accounts/<<ACCOUNT>>/r2/buckets/fuzz", "", "", &[200]),
    entry("DELETE /client/v4/accounts/<<ACCOUNT>>/r2/buckets/made-by-api", "", "", &[200, 404, 409]),
    entry(
        "GET /client/v4/accounts/<<ACCOUNT>>/r2/buckets/fuzz/objects?prefix=d&delimiter=/&per_page=2",
        "",
        "",
        &[200],
    ),
    entry(
        "PUT /client/v4/accounts/<<ACCOUNT>>/r2/buckets/fuzz/objects/by/api",
        "content-type: text/plain\ncf-r2-storage-class: Standard",
        "by the api",
        &[200],
    ),
    entry("GET /client/v4/accounts/<<ACCOUNT>>/r2/buckets/fuzz/objects/ü b/c+d", "", "", &[200]),
    entry("HEAD /client/v4/accounts/<<ACCOUNT>>/r2/buckets/fuzz/objects/a", "", "", &[200]),
    entry("DELETE /client/v4/accounts/<<ACCOUNT>>/r2/buckets/fuzz/objects/by/api", "", "", &[200]),
    entry(
        "POST /client/v4/accounts/<<ACCOUNT>>/r2/temp-access-credentials",
        "",
        "{\"bucket\":\"fuzz\",\"parentAccessKeyId\":\"<<OWNER>>\",\"permission\":\"object-read-write\",\"ttlSeconds\":900,\"prefixes\":[\"a\"],\"objects\":[\"b\"]}",
        &[200, 400],
    ),
    entry("GET /client/v4/accounts/<<ACCOUNT>>/pipelines?per_page=2&page=1", "", "", &[200]),
    entry(
        "POST /client/v4/accounts/<<ACCOUNT>>/pipelines",
        "",
        "{\"name\":\"damaged\",\"source\":[{\"type\":\"http\",\"format\":\"json\",\"authentication\":false,\"cors\":{\"origins\":[\"https://a.example\"]}}],\"destination\":{\"type\":\"r2\",\"format\":\"json\",\"compression\":{\"type\":\"gzip\"},\"batch\":{\"max_bytes\":1000000,\"max_duration_s\":5,\"max_rows\":100,\"on_json_key\":\".a.b\"},\"path\":{\"bucket\":\"fuzz\",\"prefix\":\"p\"}},\"transforms\":[]}",
        &[200, 400, 409],
    ),
    entry("GET /client/v4/accounts/<<ACCOUNT>>/pipelines/clicks", "", "", &[200]),
    entry("DELETE /client/v4/accounts/<<ACCOUNT>>/pipelines/damaged?mode=discard", "", "", &[200, 404, 409]),
    entry(
        "POST /client/v4/accounts/<<ACCOUNT>>/cistern/keys",
        "",
        "{\"name\":\"damaged\",\"owner\":\"someone\",\"bucket\":\"fuzz\",\"permission\":\"read\"}",
        &[200, 400, 409],
    ),
    entry("GET /client/v4/accounts/<<ACCOUNT>>/cistern/keys", "", "", &[200]),
    entry("DELETE /client/v4/accounts/<<ACCOUNT>>/cistern/keys/damaged", "", "", &[200, 404]),
    entry("GET /client/v4/accounts/<<ACCOUNT>>/cistern/status", "", "", &[200]),
    entry(
        "POST /client/v4/accounts/<<ACCOUNT>>/cistern/drives/replace",
        "",
        "{\"drive\":99,\"folder\":\"/nowhere\"}",
        &[400],
    ),
    entry("GET /metrics", "", "", &[200]),
    entry("GET /readyz", "", "", &[200, 503]),
    entry("GET /", "", "", &[200]),
];

/// What the ingest listener takes.
const INGEST: &[Entry] = &[
    entry(
        "POST /clicks",
        "content-type: application/json",
        "[{\"a\":1,\"b\":{\"c\":[1,2.5e3,null,true,\"\\u00e9\\ud83d\\ude00\"]}},{\"a\":-0.0}]",
        &[200],
    ),
    entry(
        "POST /clicks",
        "content-type: application/x-ndjson",
        "{\"a\":1}\n{\"a\":\"two\",\"time\":\"2026-01-01T00:00:00Z\"}\n",
        &[200],
    ),
    entry("POST /clicks", "content-type: text/plain", "{\"single\":18446744073709551615}", &[200]),
    entry("POST /clicks", "content-encoding: gzip", "[{\"packed\":true}]", &[200]),
    entry(
        "POST /clicks",
        "content-encoding: zstd\ncontent-type: application/x-ndjson",
        "{\"packed\":true}\n",
        &[200, 415],
    ),
    entry(
        "OPTIONS /clicks",
        "origin: https://a.example\naccess-control-request-method: POST",
        "",
        &[200, 204, 403, 405],
    ),
];

/// Any correct request.
pub(crate) fn any(random: &mut StdRng) -> Plain {
    match random.random_range(0..20) {
        0..5 => of(pick(WRITES, random), Door::S3, write_style(random)),
        5..9 => of(pick(READS, random), Door::S3, read_style(random)),
        9..11 => of(pick(CHANGES, random), Door::S3, read_style(random)),
        11..14 => of(pick(DOCUMENTS, random), Door::S3, Style::Headers),
        14 => form(),
        15 => preflight(),
        16..18 => of(pick(MANAGEMENT, random), Door::Management, Style::Token),
        _ => of(pick(INGEST, random), Door::Ingest, Style::Token),
    }
}

/// Every kind in every style that fits it.
pub(crate) fn all() -> Vec<Plain> {
    const WRITE: &[Style] = &[
        Style::Headers,
        Style::UnsignedBody,
        Style::Session,
        Style::Presigned,
        Style::Chunks,
        Style::ChunksAndTrailer,
        Style::PlainChunks,
    ];
    const READ: &[Style] = &[Style::Headers, Style::Presigned];
    let tables: [(&[Entry], Door, &[Style]); 6] = [
        (WRITES, Door::S3, WRITE),
        (READS, Door::S3, READ),
        (CHANGES, Door::S3, READ),
        (DOCUMENTS, Door::S3, &[Style::Headers]),
        (MANAGEMENT, Door::Management, &[Style::Token]),
        (INGEST, Door::Ingest, &[Style::Token]),
    ];
    let mut all = vec![form(), preflight()];
    for (table, door, styles) in tables {
        all.extend(table.iter().flat_map(|entry| styles.iter().map(move |style| of(entry, door, *style))));
    }
    all
}

fn pick<'a>(table: &'a [Entry], random: &mut StdRng) -> &'a Entry {
    &table[random.random_range(0..table.len())]
}

fn write_style(random: &mut StdRng) -> Style {
    match random.random_range(0..10) {
        0 | 1 => Style::Headers,
        2 => Style::UnsignedBody,
        3 => Style::Session,
        4 => Style::Presigned,
        5 | 6 => Style::Chunks,
        7 => Style::ChunksAndTrailer,
        _ => Style::PlainChunks,
    }
}

fn read_style(random: &mut StdRng) -> Style {
    match random.random_range(0..8) {
        0 | 1 => Style::Presigned,
        2 => Style::Session,
        3 if random.random_bool(0.3) => Style::Nobody,
        _ => Style::Headers,
    }
}

fn of(entry: &Entry, door: Door, style: Style) -> Plain {
    let (method, target) = entry.line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name.into(), Some(value.into())),
        None => (pair.into(), None),
    });
    let headers = entry.headers.lines().map(|line| line.split_once(": ").unwrap());
    let mut plain = Plain {
        what: format!("{} {style:?}", entry.line),
        door,
        method: method.to_owned(),
        path: path.into(),
        query: pairs.collect(),
        headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
        body: entry.body.into(),
        style,
        statuses: entry.statuses.to_vec(),
    };
    if style == Style::Session && !path.starts_with("/fuzz/") {
        plain.style = Style::Headers;
    }
    // a checksum comes in a header or in a trailer
    if matches!(style, Style::ChunksAndTrailer | Style::PlainChunks) {
        plain.headers.retain(|(name, _)| !name.starts_with(b"x-amz-checksum-"));
    }
    // outside its scope a temporary key may do less than its owner
    if plain.style == Style::Session {
        plain.statuses.extend([400, 403]);
    }
    if door == Door::Ingest {
        plain.body = packed(&plain);
    }
    plain
}

/// The body of an event post as its encoding asks for.
fn packed(plain: &Plain) -> Vec<u8> {
    use std::io::Write as _;
    let has =
        |encoding: &[u8]| plain.headers.iter().any(|(name, value)| name == b"content-encoding" && value == encoding);
    if has(b"gzip") {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(&plain.body).unwrap();
        packer.finish().unwrap()
    } else if has(b"zstd") {
        zstd::encode_all(plain.body.as_slice(), 1).unwrap()
    } else {
        plain.body.clone()
    }
}

const POLICY: &str = r#"{"expiration":"2094-12-01T12:00:00.000Z","conditions":[{"bucket":"fuzz"},["starts-with","$key","form"],
["starts-with","$x-amz-credential",""],["starts-with","$x-amz-date",""],["starts-with","$x-amz-algorithm",""],
["starts-with","$success_action_status",""],["starts-with","$x-amz-meta-note",""],["starts-with","$content-type",""],
["content-length-range",0,1000000]]}"#;

/// The policy of the form, in base64: what its signature is of.
pub(crate) fn policy() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(POLICY)
}

/// A browser's form.
fn form() -> Plain {
    let fields = [
        ("key", "form/${filename}".to_owned()),
        ("content-type", "text/plain".to_owned()),
        ("x-amz-meta-note", "ü".to_owned()),
        ("success_action_status", "201".to_owned()),
        ("policy", policy()),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential", "<<KEY>>/<<DAY>>/auto/s3/aws4_request".to_owned()),
        ("x-amz-date", "<<STAMP>>".to_owned()),
        ("x-amz-signature", "<<SIGNATURE>>".to_owned()),
    ];
    let mut body = String::new();
    for (name, value) in fields {
        body.extend(["--edge\r\ncontent-disposition: form-data; name=\"", name, "\"\r\n\r\n", &value, "\r\n"]);
    }
    body += "--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\ncontent-type: text/plain\r\n\r\nfile\r\n--edge--\r\n";
    Plain {
        what: "POST /fuzz (form)".to_owned(),
        door: Door::S3,
        method: "POST".to_owned(),
        path: b"/fuzz".to_vec(),
        query: Vec::new(),
        headers: vec![(b"content-type".to_vec(), b"multipart/form-data; boundary=edge".to_vec())],
        body: body.into_bytes(),
        style: Style::Form,
        statuses: vec![201],
    }
}

/// What a browser asks before it asks.
fn preflight() -> Plain {
    let headers = [
        ("origin", "https://www.example.com"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "content-type, x-amz-meta-a"),
    ];
    Plain {
        what: "OPTIONS /fuzz/a".to_owned(),
        door: Door::S3,
        method: "OPTIONS".to_owned(),
        path: b"/fuzz/a".to_vec(),
        query: Vec::new(),
        headers: headers.map(|(name, value)| (name.into(), value.into())).to_vec(),
        body: Vec::new(),
        style: Style::Nobody,
        statuses: vec![200, 403],
    }
}
