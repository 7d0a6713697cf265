//! The kinds of correct requests, a line each.
//!
//! A line is `METHOD /path?query`, paths and values not encoded; headers are `name: value`, where `*` stands for the digest of the body.

/// A kind of correct requests.
pub(super) struct Entry {
    pub(super) line: &'static str,
    pub(super) headers: &'static str,
    pub(super) body: &'static str,
    pub(super) statuses: &'static [u16],
}

const fn entry(line: &'static str, headers: &'static str, body: &'static str, statuses: &'static [u16]) -> Entry {
    Entry { line, headers, body, statuses }
}

const SSE_C: &str = "x-amz-server-side-encryption-customer-algorithm: AES256\n\
    x-amz-server-side-encryption-customer-key: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n\
    x-amz-server-side-encryption-customer-key-md5: KYvwGXoFFJ42a2u2GDWhwQ==";

/// Bodies of objects, which may also come in chunks.
pub(super) const WRITES: &[Entry] = &[
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

/// What changes nothing.
pub(super) const READS: &[Entry] = &[
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

/// What changes something without a body, or is refused with one.
pub(super) const CHANGES: &[Entry] = &[
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
pub(super) const DOCUMENTS: &[Entry] = &[
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
pub(super) const MANAGEMENT: &[Entry] = &[
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
    entry("GET /client/v4/accounts/<<ACCOUNT>>/pipelines/damaged", "", "", &[200, 404]),
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
pub(super) const INGEST: &[Entry] = &[
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
