//! Every operation of docs/s3-compatibility.md as a request about an object of a bucket, for the tests of who may do what.
//!
//! The page is made from the server's own table and held against it by a test there, so a row that is missing here is found:
//! `every_operation_of_the_page_has_a_row`. What each takes is read from the page too, not asked of the server.

use crate::house::{Answer, Call, House};
use crate::sign::{Keys, Moment};
use base64::Engine as _;
use cistern_access::Permission;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use time::OffsetDateTime;

/// What an operation speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// The buckets of an owner.
    Account,
    /// That a bucket is there, and where.
    Presence,
    /// A bucket as a whole: what it is told to do, and its life.
    Bucket,
    /// All keys of a bucket.
    AllKeys,
    /// The keys that begin with the place's key.
    Keys,
    /// The object, or uploads to it.
    Object,
}

/// A request, and what it is answered when it is allowed.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) about: About,
    /// The least permission it takes.
    pub(crate) needs: Permission,
    /// The grant of an access list that opens it to others, as the page words it.
    pub(crate) grant: &'static str,
    pub(crate) status: u16,
    call: Call,
    /// The bucket and the key of a browser's form, which is signed in its body.
    form: Option<(String, String)>,
}

/// What requests are signed with.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    pub(crate) keys: Keys,
    pub(crate) token: Option<String>,
    pub(crate) presigned: bool,
}

impl Row {
    /// The request, not signed.
    pub(crate) fn anonymous(&self) -> Call {
        match &self.form {
            Some((bucket, key)) => form_of(bucket, &[("key", key.clone())]),
            None => self.call.clone().anonymous(),
        }
    }

    /// The request, signed.
    pub(crate) fn by(&self, pass: &Pass) -> Call {
        let Pass { keys, token, presigned } = pass;
        if let Some((bucket, key)) = &self.form {
            return form(bucket, key, keys, token.as_deref());
        }
        let call = self.call.clone().by(keys);
        match (token, presigned) {
            (Some(token), true) => call.query("X-Amz-Security-Token", token).presigned("60"),
            (None, true) => call.presigned("60"),
            (Some(token), false) => call.header("x-amz-security-token", token),
            (None, false) => call,
        }
    }

    /// Whether the answer is this refusal. Those to HEAD have no body that tells a code.
    pub(crate) fn is_refused(&self, answer: &Answer, code: &str, status: u16) -> bool {
        answer.status == status && (self.call.method == "HEAD" || answer.element("Code") == code)
    }

    /// Whether it takes more than the one grant: it is about another's upload, a lock or an old version, or reads a source too.
    pub(crate) fn takes_more(&self) -> bool {
        const LOCKS: [&str; 2] = ["x-amz-object-lock-legal-hold", "x-amz-bypass-governance-retention"];
        let headers = self.call.headers.iter().map(|(name, _)| name.as_str());
        let query = self.call.query.iter().map(|(name, _)| name.as_str());
        headers.chain(query).any(|name| LOCKS.contains(&name) || ["uploadId", "versionId", SOURCE].contains(&name))
    }

    /// The same with another source, if it copies.
    pub(crate) fn with_source(mut self, source: &str) -> Option<Self> {
        let (_, value) = self.call.headers.iter_mut().find(|(name, _)| name == SOURCE)?;
        source.clone_into(value);
        Some(self)
    }

    /// Whether the answer refuses it as S3 refuses what is not allowed; of several keys each for itself.
    pub(crate) fn is_denied(&self, answer: &Answer) -> bool {
        let one_by_one = answer.status == 200 && self.name == "DeleteObjects";
        self.is_refused(answer, "AccessDenied", 403) || (one_by_one && answer.elements("Code") == ["AccessDenied"])
    }

    /// Whether the answer is that of a request which was allowed.
    pub(crate) fn is_done(&self, answer: &Answer) -> bool {
        answer.status == self.status && !(self.name == "DeleteObjects" && answer.text().contains("<Error>"))
    }
}

/// An object of a bucket, with all that an operation may want to name.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// An old version, which nothing holds.
    version: String,
    /// The newest, which is retained under governance.
    retained: String,
    upload: String,
    etag: String,
    /// Whether the bucket has a policy.
    policy: bool,
}

impl Place {
    /// A place where nothing is, with ids that might be.
    pub(crate) fn of_nothing(bucket: &str, key: &str) -> Self {
        let [version, retained, upload] = [1, 2, 3].map(|id| format!("{id:032x}"));
        let (bucket, key) = (bucket.into(), key.into());
        Self { bucket, key, version, retained, upload, etag: "\"0\"".into(), policy: false }
    }
}

/// What a bucket opens to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    /// Nothing.
    Not,
    /// All that access lists and a policy can open, to everybody.
    Wide,
}

const SOURCE: &str = "x-amz-copy-source";
const UNTIL: &str =
    "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2140-01-01T00:00:00Z</RetainUntilDate></Retention>";
const CORS: &str = "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
                    </CORSRule></CORSConfiguration>";
const ENCRYPTION: &str = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
                          <SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>\
                          </ServerSideEncryptionConfiguration>";
const LIFECYCLE: &str = "<LifecycleConfiguration><Rule><Expiration><Days>9</Days></Expiration><ID>r</ID>\
                         <Prefix>old/</Prefix><Status>Enabled</Status></Rule></LifecycleConfiguration>";
const OWNERSHIP: &str =
    "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
const BLOCK: &str = "<PublicAccessBlockConfiguration><BlockPublicPolicy>false</BlockPublicPolicy>\
                     </PublicAccessBlockConfiguration>";
const TAGGING: &str = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
const OTHER_TAGGING: &str = "<Tagging><TagSet><Tag><Key>a</Key><Value>c</Value></Tag></TagSet></Tagging>";

/// Makes a bucket that has one of everything.
pub(crate) async fn furnish(house: &House, keys: &Keys, bucket: &str, open: Open) {
    let put = |what: &str, body: &str| Call::put(&format!("/{bucket}?{what}")).body(body.to_owned()).by(keys);
    house.send(&make(bucket, "private").by(keys)).await.expect(200);
    for (what, body) in [
        ("cors", CORS),
        ("encryption", ENCRYPTION),
        ("lifecycle", LIFECYCLE),
        ("publicAccessBlock", BLOCK),
        ("tagging", TAGGING),
    ] {
        house.send(&put(what, body)).await.expect(200);
    }
    if open == Open::Wide {
        house.send(&put("acl", "").header("x-amz-acl", "public-read-write")).await.expect(200);
        house.send(&put("policy", &wide_policy(bucket))).await.expect(204);
    }
}

/// Makes a bucket; answered the same again where nothing would be different.
fn make(bucket: &str, acl: &str) -> Call {
    let call = Call::put(&format!("/{bucket}")).header("x-amz-bucket-object-lock-enabled", "true");
    call.header("x-amz-object-ownership", "ObjectWriter").header("x-amz-acl", acl)
}

fn wide_policy(bucket: &str) -> String {
    format!(
        r#"{{"Statement":{{"Effect":"Allow","Principal":"*","Action":"s3:*",
            "Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}}}"#
    )
}

/// Puts an object of two versions there, and an upload with a part.
pub(crate) async fn place(house: &House, keys: &Keys, bucket: &str, key: &str, open: Open) -> Place {
    let path = format!("/{bucket}/{key}");
    let call = |what: &str| Call::put(&format!("{path}{what}")).by(keys);
    let version = house.send(&call("").body("old")).await.expect(200).header("x-amz-version-id").to_owned();
    let new = call("").header("x-amz-tagging", "a=b").body("new");
    let retained = house.send(&new).await.expect(200).header("x-amz-version-id").to_owned();
    house.send(&call("?retention").body(UNTIL)).await.expect(200);
    house.send(&call("?legal-hold").body("<LegalHold><Status>OFF</Status></LegalHold>")).await.expect(200);
    if open == Open::Wide {
        house.send(&call("?acl").header("x-amz-acl", "public-read-write")).await.expect(200);
    }
    let upload = house.send(&Call::post(&format!("{path}?uploads")).by(keys)).await.expect(200).element("UploadId");
    let part = call(&format!("?partNumber=1&uploadId={upload}")).body("12345678");
    let etag = house.send(&part).await.expect(200).header("etag").to_owned();
    let policy = open == Open::Wide;
    Place { bucket: bucket.into(), key: key.into(), version, retained, upload, etag, policy }
}

/// All requests about a place, at least one an operation.
pub(crate) fn rows(at: &Place) -> Vec<Row> {
    let mut rows = [object_reads(at), object_writes(at), lists(at), bucket_reads(at), bucket_writes(at)].concat();
    let page = page();
    for row in &mut rows {
        let listed = page.iter().find(|listed| listed.name == row.name);
        let listed = listed.unwrap_or_else(|| panic!("the page has no {}", row.name));
        (row.needs, row.grant) = (listed.needs, listed.grant);
    }
    rows.extend(governance(at));
    rows
}

/// A line of the page.
struct Listed {
    name: &'static str,
    needs: Permission,
    grant: &'static str,
}

fn page() -> Vec<Listed> {
    let page = include_str!("../../../docs/s3-compatibility.md");
    let lines = page.lines().filter_map(|line| line.strip_prefix("| ")).filter(|line| !line.starts_with("---"));
    let listed = lines.skip(1).map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        Listed { name: cells[0].split(' ').next().unwrap(), needs: cells[1].parse().unwrap(), grant: cells[3] }
    });
    listed.collect()
}

#[test]
fn every_operation_of_the_page_has_a_row() {
    let rows: BTreeSet<_> = rows(&Place::of_nothing("b", "k")).iter().map(|row| row.name).collect();
    let listed: BTreeSet<_> = page().iter().map(|listed| listed.name).collect();
    assert!(listed.len() > 60, "the page was not read: {listed:?}");
    assert_eq!(rows, listed);
}

fn row(name: &'static str, about: About, status: u16, call: Call) -> Row {
    Row { name, about, needs: Permission::Admin, grant: "", status, call, form: None }
}

fn object_reads(at: &Place) -> Vec<Row> {
    let Place { bucket, key, version, upload, .. } = at;
    let of = |what: &str| format!("/{bucket}/{key}{what}");
    let attributes = Call::get(&of("?attributes")).header("x-amz-object-attributes", "ETag");
    [
        ("GetObject", Call::get(&of(""))),
        ("GetObject", Call::get(&of("")).query("versionId", version)),
        ("HeadObject", Call::head(&of(""))),
        ("HeadObject", Call::head(&of("")).query("versionId", version)),
        ("GetObjectAcl", Call::get(&of("?acl"))),
        ("GetObjectAttributes", attributes),
        ("GetObjectLegalHold", Call::get(&of("?legal-hold"))),
        ("GetObjectRetention", Call::get(&of("?retention"))),
        ("GetObjectTagging", Call::get(&of("?tagging"))),
        ("ListParts", Call::get(&of(&format!("?uploadId={upload}")))),
    ]
    .map(|(name, call)| row(name, About::Object, 200, call))
    .to_vec()
}

fn object_writes(at: &Place) -> Vec<Row> {
    let Place { bucket, key, version, upload, etag, .. } = at;
    let of = |what: &str| format!("/{bucket}/{key}{what}");
    let source = format!("{bucket}/{key}");
    let copy = Call::put(&of("")).header(SOURCE, &source).header("x-amz-metadata-directive", "REPLACE");
    let part_copy = Call::put(&of(&format!("?partNumber=2&uploadId={upload}"))).header(SOURCE, &source);
    let part = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
    let whole = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
    let many = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
    let hold = "<LegalHold><Status>ON</Status></LegalHold>";
    let later = UNTIL.replace("2140", "2141");
    let dressed = Call::put(&of("")).header("x-amz-tagging", "x=y").header("x-amz-acl", "public-read").body("x");
    let locked = Call::put(&of("")).header("x-amz-object-lock-legal-hold", "ON").body("x");
    let mut rows = [
        ("AbortMultipartUpload", 204, Call::delete(&of(&format!("?uploadId={upload}")))),
        ("CompleteMultipartUpload", 200, Call::post(&of(&format!("?uploadId={upload}"))).body(whole)),
        ("CopyObject", 200, copy),
        ("CreateMultipartUpload", 200, Call::post(&of("?uploads"))),
        ("DeleteObject", 204, Call::delete(&of(""))),
        ("DeleteObject", 204, Call::delete(&of("")).query("versionId", version)),
        ("DeleteObjectTagging", 204, Call::delete(&of("?tagging"))),
        ("DeleteObjects", 200, Call::post(&format!("/{bucket}?delete")).body(many)),
        ("PutObject", 200, Call::put(&of("")).body("x")),
        ("PutObject", 200, dressed),
        ("PutObject", 200, locked),
        ("PutObjectAcl", 200, Call::put(&of("?acl")).header("x-amz-acl", "authenticated-read")),
        ("PutObjectLegalHold", 200, Call::put(&of("?legal-hold")).body(hold)),
        ("PutObjectRetention", 200, Call::put(&of("?retention")).body(later)),
        ("PutObjectTagging", 200, Call::put(&of("?tagging")).body(OTHER_TAGGING)),
        ("UploadPart", 200, Call::put(&of(&format!("?partNumber=2&uploadId={upload}"))).body("x")),
        ("UploadPartCopy", 200, part_copy),
    ]
    .map(|(name, status, call)| row(name, About::Object, status, call))
    .to_vec();
    let form = Some((bucket.clone(), key.clone()));
    rows.push(Row { form, ..row("PostObject", About::Object, 204, Call::post(&format!("/{bucket}"))) });
    rows
}

/// What passes over governance takes more than the operation does.
fn governance(at: &Place) -> Vec<Row> {
    const BYPASS: (&str, &str) = ("x-amz-bypass-governance-retention", "true");
    let Place { bucket, key, retained, .. } = at;
    let one = Call::delete(&format!("/{bucket}/{key}")).query("versionId", retained);
    let many = format!("<Delete><Object><Key>{key}</Key><VersionId>{retained}</VersionId></Object></Delete>");
    let many = Call::post(&format!("/{bucket}?delete")).body(many);
    let shorter = Call::put(&format!("/{bucket}/{key}?retention")).body(UNTIL.replace("2140", "2139"));
    [("DeleteObject", 204, one), ("DeleteObjects", 200, many), ("PutObjectRetention", 200, shorter)]
        .map(|(name, status, call)| row(name, About::Object, status, call.header(BYPASS.0, BYPASS.1)))
        .to_vec()
}

fn lists(at: &Place) -> Vec<Row> {
    let Place { bucket, key, .. } = at;
    let plain = [
        ("ListObjects", format!("/{bucket}")),
        ("ListObjectsV2", format!("/{bucket}?list-type=2")),
        ("ListObjectVersions", format!("/{bucket}?versions")),
        ("ListMultipartUploads", format!("/{bucket}?uploads")),
    ];
    let all = plain.clone().map(|(name, path)| row(name, About::AllKeys, 200, Call::get(&path)));
    let some = plain.map(|(name, path)| row(name, About::Keys, 200, Call::get(&path).query("prefix", key)));
    all.into_iter().chain(some).collect()
}

fn bucket_reads(at: &Place) -> Vec<Row> {
    let Place { bucket, policy, .. } = at;
    let mut rows = [
        ("GetBucketAccelerateConfiguration", 200, "accelerate"),
        ("GetBucketAcl", 200, "acl"),
        ("GetBucketCors", 200, "cors"),
        ("GetBucketEncryption", 200, "encryption"),
        ("GetBucketLifecycleConfiguration", 200, "lifecycle"),
        ("GetBucketLogging", 200, "logging"),
        ("GetBucketNotificationConfiguration", 200, "notification"),
        ("GetBucketOwnershipControls", 200, "ownershipControls"),
        ("GetBucketPolicy", if *policy { 200 } else { 404 }, "policy"),
        ("GetBucketPolicyStatus", 200, "policyStatus"),
        ("GetBucketReplication", 404, "replication"),
        ("GetBucketRequestPayment", 200, "requestPayment"),
        ("GetBucketTagging", 200, "tagging"),
        ("GetBucketVersioning", 200, "versioning"),
        ("GetBucketWebsite", 404, "website"),
        ("GetObjectLockConfiguration", 200, "object-lock"),
        ("GetPublicAccessBlock", 200, "publicAccessBlock"),
    ]
    .map(|(name, status, what)| row(name, About::Bucket, status, Call::get(&format!("/{bucket}?{what}"))))
    .to_vec();
    rows.push(row("GetBucketLocation", About::Presence, 200, Call::get(&format!("/{bucket}?location"))));
    rows.push(row("HeadBucket", About::Presence, 200, Call::head(&format!("/{bucket}"))));
    rows.push(row("ListBuckets", About::Account, 200, Call::get("/")));
    rows
}

fn bucket_writes(at: &Place) -> Vec<Row> {
    let bucket = &at.bucket;
    let delete = |what: &str| Call::delete(&format!("/{bucket}?{what}"));
    let put = |what: &str, body: &str| Call::put(&format!("/{bucket}?{what}")).body(body.to_owned());
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    [
        ("CreateBucket", 200, make(bucket, if at.policy { "public-read-write" } else { "private" })),
        ("DeleteBucket", 409, Call::delete(&format!("/{bucket}"))), // it is not empty
        ("DeleteBucketCors", 204, delete("cors")),
        ("DeleteBucketEncryption", 204, delete("encryption")),
        ("DeleteBucketLifecycle", 204, delete("lifecycle")),
        ("DeleteBucketOwnershipControls", 204, delete("ownershipControls")),
        ("DeleteBucketPolicy", 204, delete("policy")),
        ("DeleteBucketTagging", 204, delete("tagging")),
        ("DeletePublicAccessBlock", 204, delete("publicAccessBlock")),
        ("PutBucketAcl", 200, put("acl", "").header("x-amz-acl", "authenticated-read")),
        ("PutBucketCors", 200, put("cors", &CORS.replace("GET", "PUT"))),
        ("PutBucketEncryption", 200, put("encryption", ENCRYPTION)),
        ("PutBucketLifecycleConfiguration", 200, put("lifecycle", &LIFECYCLE.replace("old/", "new/"))),
        ("PutBucketNotificationConfiguration", 200, put("notification", "<NotificationConfiguration/>")),
        ("PutBucketOwnershipControls", 200, put("ownershipControls", OWNERSHIP)),
        ("PutBucketPolicy", 204, put("policy", &wide_policy(bucket).replace("s3:*", "s3:GetObject"))),
        ("PutBucketTagging", 200, put("tagging", OTHER_TAGGING)),
        ("PutBucketVersioning", 200, put("versioning", enabled)),
        ("PutObjectLockConfiguration", 200, put("object-lock", lock)),
        ("PutPublicAccessBlock", 200, put("publicAccessBlock", &BLOCK.replace("false", "true"))),
    ]
    .map(|(name, status, call)| row(name, About::Bucket, status, call))
    .to_vec()
}

/// A browser's form that stores a file under the key, signed by version 4 with all that its policy must name.
fn form(bucket: &str, key: &str, keys: &Keys, token: Option<&str>) -> Call {
    let moment = Moment::at(OffsetDateTime::now_utc());
    let mut fields = vec![
        ("key", key.to_owned()),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential", format!("{}/{}", keys.id, moment.scope())),
        ("x-amz-date", moment.date.clone()),
    ];
    fields.extend(token.map(|token| ("x-amz-security-token", token.to_owned())));
    let conditions: Vec<_> = fields.iter().map(|(name, value)| format!(r#",{{"{name}":"{value}"}}"#)).collect();
    let conditions = conditions.concat();
    let policy =
        format!(r#"{{"expiration":"2999-01-01T00:00:00Z","conditions":[{{"bucket":"{bucket}"}}{conditions}]}}"#);
    let policy = base64::engine::general_purpose::STANDARD.encode(policy);
    fields.push(("x-amz-signature", moment.sign(keys, &policy)));
    fields.push(("policy", policy));
    form_of(bucket, &fields)
}

/// A form with these fields and a file.
fn form_of(bucket: &str, fields: &[(&str, String)]) -> Call {
    let mut body = String::new();
    for (name, value) in fields {
        write!(body, "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").unwrap();
    }
    body += "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nhello\r\n--b--\r\n";
    let call = Call::post(&format!("/{bucket}")).anonymous().body(body);
    call.header("content-type", "multipart/form-data; boundary=b")
}
