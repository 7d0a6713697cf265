//! The server that damaged requests go to: buckets of a key of their own, objects beside them that nothing may change, and clients
//! whose correct requests go on.

use super::request::{Door, name_length};
use crate::races::checksum::crc32c;
use crate::sandbox::Sandbox;
use anyhow::{Context as _, Result, ensure};
use cistern_tests::http::Connection;
use cistern_tests::{Call, Content, Keys, Pipeline, S3, Server};
use std::collections::BTreeMap;

/// The buckets that damaged requests are about: plain, with versions, with object lock.
const BUCKETS: [&str; 3] = ["fuzz", "fuzz-old", "fuzz-locked"];
/// Objects that are there, whatever was asked before: names and lengths.
const OBJECTS: [(&str, usize); 4] = [("a", 1000), ("ü b/c+d", 10), ("dir/big", 300_000), ("dir/empty", 0)];
const CANARIES: usize = 6;

/// What stands for the names in requests.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    pub(crate) owner: Keys,
    pub(crate) session: Keys,
    names: BTreeMap<String, String>,
}

impl Values {
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.names.insert(name.to_owned(), value.to_owned());
    }

    /// Bytes with the values in the place of their names. Unknown names are left.
    pub(crate) fn fill(&self, template: &[u8]) -> Vec<u8> {
        let mut filled = Vec::with_capacity(template.len() + 512);
        let mut at = 0;
        while let Some(found) = template[at..].windows(2).position(|window| window == b"<<") {
            filled.extend_from_slice(&template[at..at + found]);
            at += found;
            let length = name_length(&template[at..]).unwrap_or(1);
            let name = template.get(at + 2..(at + length).saturating_sub(2)).unwrap_or_default();
            match self.names.get(std::str::from_utf8(name).unwrap_or_default()) {
                Some(value) => filled.extend_from_slice(value.as_bytes()),
                None => filled.extend_from_slice(&template[at..at + length]),
            }
            at += length;
        }
        filled.extend_from_slice(&template[at..]);
        filled
    }
}

/// A server with all that requests are about.
pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) values: Values,
    canaries: Vec<(String, String, Vec<u8>)>,
    _sandbox: Sandbox,
}

impl House {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::new();
        let server = sandbox.start();
        let key = |name: &str| {
            let wanted = format!(r#"{{"name":"{name}","owner":"{name}","permission":"admin"}}"#);
            let made = server.api("POST", "/cistern/keys", wanted.as_bytes()).unwrap().ok().unwrap();
            serde_json::from_value::<Keys>(made.json().unwrap()["result"].clone()).unwrap()
        };
        let owner = key("fuzz");
        let values = Values { session: owner.clone(), owner, names: BTreeMap::new() };
        let mut house = Self { server, values, canaries: Vec::new(), _sandbox: sandbox };
        house.prepare().unwrap();
        house
    }

    /// The address of a listener.
    pub(crate) fn host(&self, door: Door) -> &str {
        match door {
            Door::S3 => self.server.s3_host(),
            Door::Management => self.server.management_host(),
            Door::Ingest => self.server.ingest_host(),
        }
    }

    fn prepare(&mut self) -> Result<()> {
        let mut s3 = S3::connect(self.server.s3_host(), &self.values.owner)?;
        for bucket in BUCKETS {
            let locked = if bucket == "fuzz-locked" { "true" } else { "false" };
            let call = Call::new("PUT", &format!("/{bucket}")).header("x-amz-bucket-object-lock-enabled", locked);
            s3.send(&call)?.ok()?;
        }
        tend(&mut self.values, &mut s3)?;
        let wanted = serde_json::json!({
            "bucket": "fuzz", "parentAccessKeyId": self.values.owner.access_key_id,
            "permission": "object-read-write", "ttlSeconds": 86_400,
        });
        let made = self.server.api("POST", "/r2/temp-access-credentials", wanted.to_string().as_bytes())?.ok()?;
        let made = made.json()?["result"].clone();
        let text = |name: &str| made[name].as_str().map(str::to_owned).with_context(|| format!("no {name}: {made}"));
        self.values.session = Keys { access_key_id: text("accessKeyId")?, secret_access_key: text("secretAccessKey")? };
        self.values.set("SESSION", &text("sessionToken")?);
        self.values.set("OWNER", &self.values.owner.access_key_id.clone());
        self.values.set("TOKEN", self.server.api_token());
        self.values.set("ACCOUNT", self.server.account_id());
        self.values.set("HOST", self.server.s3_host());
        let mut root = self.server.s3()?;
        root.create_bucket("events")?;
        // small batches: what waits to be written is no growth
        let flags = ["--destination-bucket=events", "--batch-size=1MB", "--batch-timeout-secs=1"];
        let pipeline = Pipeline::create(&self.server, "clicks", &flags)?;
        // of its own, as damage may well make another request a deletion
        let steady = Pipeline::create(&self.server, "steady", &flags)?;
        self.values.set("STEADY", &steady.token.context("no send token")?);
        self.values.set("SEND", &pipeline.token.context("no send token")?);
        self.keep_canaries(&mut root)
    }

    fn keep_canaries(&mut self, root: &mut S3) -> Result<()> {
        root.create_bucket("canary")?;
        for number in 0..CANARIES {
            let length = [10, 20_000, 1_000_000][number % 3];
            let (key, body) = (format!("canary {number}"), Content { seed: 77 + number as u64, length }.bytes());
            let answer = root.send(&Call::new("PUT", &format!("/canary/{key}")).body(&body))?.ok()?;
            self.canaries.push((key, answer.header("etag").context("no etag")?.to_owned(), body));
        }
        Ok(())
    }

    /// Whether the objects beside are what they were.
    pub(crate) fn check_canaries(&self, s3: &mut S3) -> Result<()> {
        let keys: Vec<&str> = self.canaries.iter().map(|(key, ..)| key.as_str()).collect();
        ensure!(s3.keys("canary", "")? == keys, "the listing of the canaries has changed");
        for (key, etag, body) in &self.canaries {
            let read = s3.send(&Call::new("GET", &format!("/canary/{key}")))?.ok()?;
            ensure!(read.body == *body && read.header("etag") == Some(etag), "{key} has changed");
        }
        Ok(())
    }

    /// Correct requests, one of each kind, whose answers are checked.
    pub(crate) fn correct_requests(&self, s3: &mut S3, number: u64) -> Result<()> {
        let key = format!("steady/{}", number % 50);
        let body = Content { seed: number, length: usize::try_from(number * 97 % 40_000)? }.bytes();
        let path = format!("/canary-steady/{key}");
        if number == 0 {
            s3.create_bucket("canary-steady")?;
        }
        let put =
            s3.send(&Call::new("PUT", &path).header("x-amz-checksum-crc32c", &crc32c(&body)).body(&body))?.ok()?;
        let read = s3.send(&Call::new("GET", &path))?.ok()?;
        ensure!(read.body == body && read.header("etag") == put.header("etag"), "{key} is not what was written");
        ensure!(s3.keys("canary-steady", &key)?.contains(&key), "{key} is not listed");
        if number.is_multiple_of(5) {
            s3.delete("canary-steady", &key)?;
            ensure!(s3.get("canary-steady", &key)?.is_none(), "{key} is still there");
        }
        let verified = self.server.api("GET", "/r2/buckets/canary", b"")?.ok()?;
        ensure!(verified.json()?["success"] == true, "{}", verified.text());
        let token = [("authorization".to_owned(), format!("Bearer {}", self.values.names["STEADY"]))];
        let mut ingest = Connection::open(self.server.ingest_host())?;
        let answer = ingest.send("POST", "/steady", &token, br#"[{"a":1},{"a":2}]"#)?.ok()?;
        ensure!(answer.json()?["result"]["committed"] == 2, "{}", answer.text());
        Ok(())
    }
}

/// Puts back what requests are about, and makes an upload for the next ones.
pub(crate) fn tend(values: &mut Values, s3: &mut S3) -> Result<()> {
    for bucket in BUCKETS {
        for call in [
            Call::new("PUT", &format!("/{bucket}")),
            Call::new("DELETE", &format!("/{bucket}")).query("policy", ""),
            Call::new("DELETE", &format!("/{bucket}")).query("encryption", ""),
            Call::new("DELETE", &format!("/{bucket}")).query("publicAccessBlock", ""),
        ] {
            let answer = s3.send(&call)?;
            ensure!(answer.status < 500, "{call:?}: {} {}", answer.status, answer.text());
        }
        for (key, length) in OBJECTS {
            let body = Content { seed: length as u64, length }.bytes();
            s3.put(bucket, key, &body).with_context(|| format!("put back /{bucket}/{key}"))?;
        }
    }
    let on = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    s3.send(&Call::new("PUT", "/fuzz-old").query("versioning", "").body(on))?.ok()?;
    // not asked for again: a damaged request may delete it meanwhile
    let version = s3.send(&Call::new("PUT", "/fuzz-old/a").body(b"a version"))?.ok()?;
    values.set("VERSION", version.header("x-amz-version-id").context("no version id")?);
    values.set("ETAG", version.header("etag").context("no etag")?.trim_matches('"'));
    let begun = s3.send(&Call::new("POST", "/fuzz/upload").query("uploads", ""))?.ok()?;
    let upload = begun.xml("UploadId");
    let part = Call::new("PUT", "/fuzz/upload").query("partNumber", &1).query("uploadId", &upload).body(b"part");
    let tag = s3.send(&part)?.ok()?.header("etag").context("no etag")?.trim_matches('"').to_owned();
    values.set("UPLOAD", &upload);
    values.set("PART", &tag);
    Ok(())
}
