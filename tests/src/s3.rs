//! Signed S3 requests on one connection, and contents that a seed names.

use crate::http::{Connection, Response, Slash, percent_encode, request_head};
use crate::sigv4::{Keys, Payload, Signer, Unsigned, canonical_query};
use crate::wait::unix_seconds;
use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::fmt::Write as _;

/// One S3 request to make; [`S3::send`] sends it.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    method: &'a str,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: &'a [u8],
    payload: Option<Payload<'a>>,
    at: Option<i64>,
}

impl<'a> Call<'a> {
    /// A request of `method` for `path` (`/bucket/key`, not encoded).
    pub fn new(method: &'a str, path: &str) -> Self {
        let path = percent_encode(path, Slash::Keep);
        Self { method, path, query: Vec::new(), headers: Vec::new(), body: &[], payload: None, at: None }
    }

    /// With a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// With a body; its SHA-256 is signed unless [`Call::payload`] says otherwise.
    #[must_use]
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }

    /// With another word about the body in the signature.
    #[must_use]
    pub fn payload(mut self, payload: Payload<'a>) -> Self {
        self.payload = Some(payload);
        self
    }

    /// Signed as if it were `at`, in seconds since 1970.
    #[must_use]
    pub fn at(mut self, at: i64) -> Self {
        self.at = Some(at);
        self
    }
}

/// An S3 client on one connection with one key.
#[derive(Debug)]
pub struct S3 {
    host: String,
    connection: Connection,
    signer: Signer,
}

impl S3 {
    /// Connects to `host` (address and port) as `keys`.
    pub fn connect(host: &str, keys: &Keys) -> Result<Self> {
        let connection = Connection::open(host)?;
        Ok(Self { host: host.to_owned(), connection, signer: Signer::new(keys.clone()) })
    }

    /// The connection itself, to send what no client would.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The request's target and signed headers.
    pub fn prepare(&mut self, call: &Call<'_>) -> (String, Vec<(String, String)>) {
        let at = call.at.unwrap_or_else(unix_seconds);
        let request = Unsigned { method: call.method, host: &self.host, path: &call.path, query: &call.query, at };
        let payload = call.payload.unwrap_or(Payload::Signed(call.body));
        let headers = self.signer.sign(request, &call.headers, payload);
        let query = canonical_query(&call.query);
        let target = if query.is_empty() { call.path.clone() } else { format!("{}?{query}", call.path) };
        (target, headers)
    }

    /// Sends a request and reads the answer, whatever its status.
    pub fn send(&mut self, call: &Call<'_>) -> Result<Response> {
        let (target, headers) = self.prepare(call);
        self.connection.send(call.method, &target, &headers, call.body)
    }

    /// The request as bytes: its signed head, and its body.
    pub fn prepare_whole<'a>(&mut self, call: &Call<'a>) -> (Vec<u8>, &'a [u8]) {
        let (target, headers) = self.prepare(call);
        (request_head(&self.host, call.method, &target, &headers, call.body.len()), call.body)
    }

    /// The target (path and query) of a presigned request.
    pub fn presign(&mut self, method: &str, path: &str, at: i64, expires_seconds: u64) -> String {
        let path = percent_encode(path, Slash::Keep);
        let request = Unsigned { method, host: &self.host, path: &path, query: &[], at };
        format!("{path}?{}", self.signer.presign(request, expires_seconds))
    }

    /// Makes a bucket; anything but success is an error.
    pub fn create_bucket(&mut self, bucket: &str) -> Result<()> {
        self.send(&Call::new("PUT", &format!("/{bucket}")))?.ok().map(drop)
    }

    /// Stores an object; anything but success is an error.
    pub fn put(&mut self, bucket: &str, key: &str, body: &[u8]) -> Result<()> {
        self.send(&Call::new("PUT", &format!("/{bucket}/{key}")).body(body))?.ok().map(drop)
    }

    /// Stores an object in a storage class; anything but success is an error.
    pub fn put_in_class(&mut self, bucket: &str, key: &str, body: &[u8], class: &str) -> Result<()> {
        let call = Call::new("PUT", &format!("/{bucket}/{key}")).header("x-amz-storage-class", class);
        self.send(&call.body(body))?.ok().map(drop)
    }

    /// Copies an object onto itself into another storage class, as clients move one; anything but success is an error.
    pub fn move_to_class(&mut self, bucket: &str, key: &str, class: &str) -> Result<()> {
        let call = Call::new("PUT", &format!("/{bucket}/{key}")).header("x-amz-storage-class", class);
        let call = call.header("x-amz-copy-source", &format!("/{bucket}/{}", percent_encode(key, Slash::Keep)));
        let response = self.send(&call)?.ok()?;
        anyhow::ensure!(response.xml("Code").is_empty(), "the copy answered 200 with {}", response.text());
        Ok(())
    }

    /// Reads an object; `None` when there is none.
    pub fn get(&mut self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let response = self.send(&Call::new("GET", &format!("/{bucket}/{key}")))?;
        if response.status == 404 && response.xml("Code") == "NoSuchKey" {
            return Ok(None);
        }
        Ok(Some(response.ok()?.body))
    }

    /// Deletes an object; anything but success is an error.
    pub fn delete(&mut self, bucket: &str, key: &str) -> Result<()> {
        self.send(&Call::new("DELETE", &format!("/{bucket}/{key}")))?.ok().map(drop)
    }

    /// All keys of a bucket that begin with `prefix`, page by page.
    pub fn keys(&mut self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut token = String::new();
        loop {
            let mut call = Call::new("GET", &format!("/{bucket}")).query("list-type", &2).query("prefix", prefix);
            if !token.is_empty() {
                call = call.query("continuation-token", &token);
            }
            let page = self.send(&call)?.ok()?;
            keys.extend(page.xml_all("Key").iter().map(|key| xml_unescape(key)));
            token = xml_unescape(&page.xml("NextContinuationToken"));
            if token.is_empty() {
                return Ok(keys);
            }
        }
    }

    /// Stores an object in parts of the lengths given, the rest in a last part.
    pub fn put_in_parts(&mut self, bucket: &str, key: &str, body: &[u8], part_bytes: usize) -> Result<()> {
        let path = format!("/{bucket}/{key}");
        let upload = self.send(&Call::new("POST", &path).query("uploads", ""))?.ok()?.xml("UploadId");
        let mut list = String::from("<CompleteMultipartUpload>");
        for (part, number) in body.chunks(part_bytes).zip(1..) {
            let call = Call::new("PUT", &path).query("partNumber", &number).query("uploadId", &upload).body(part);
            let response = self.send(&call)?.ok()?;
            let etag = response.header("etag").unwrap_or_default();
            write!(list, "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")?;
        }
        list.push_str("</CompleteMultipartUpload>");
        let call = Call::new("POST", &path).query("uploadId", &upload).body(list.as_bytes());
        let response = self.send(&call)?.ok()?;
        anyhow::ensure!(response.xml("Code").is_empty(), "completion answered 200 with {}", response.text());
        Ok(())
    }
}

fn xml_unescape(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    text.replace("&#39;", "'").replace("&#34;", "\"").replace("&amp;", "&")
}

/// Bytes that a seed and a length name: the journal keeps these two numbers instead of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Which random bytes.
    pub seed: u64,
    /// How many.
    pub length: usize,
}

impl Content {
    /// The bytes.
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        SmallRng::seed_from_u64(self.seed).fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_the_same_each_time_and_another_seed_is_another() {
        let one = Content { seed: 7, length: 100 };
        assert_eq!(one.bytes(), one.bytes());
        assert_ne!(one.bytes(), Content { seed: 8, ..one }.bytes());
    }

    #[test]
    fn xml_texts_are_read_as_written() {
        assert_eq!(xml_unescape("a &lt;b&gt; &amp;amp; c"), "a <b> &amp; c");
    }
}
