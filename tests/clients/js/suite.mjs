// What an application does with the AWS SDK for JavaScript, version 3: each function in `checks` is one check, on a bucket of
// its own.
//
// usage: suite.mjs [WORD]     only the checks whose name has WORD (address and key from the AWS_ variables)
//
// Prints one line a check and `N passed, N failed`; exits 1 when one failed. The SDK comes from .node (`cargo xtask setup`).

import assert from "node:assert/strict";
import { createCipheriv, createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const require = createRequire(new URL("../../../.node/", import.meta.url));
const sdk = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");

const MIB = 1024 * 1024;
const settings = { endpoint: process.env.AWS_ENDPOINT_URL_S3, region: "auto", forcePathStyle: true, maxAttempts: 1 };
const client = new sdk.S3Client(settings);

/** Sends the command of that name. */
function s3(name, input) {
  return client.send(new sdk[`${name}Command`](input));
}

/** The call must be refused with that code. */
async function refused(code, name, input) {
  try {
    await s3(name, input);
  } catch (error) {
    assert.equal(error.name, code, `${name}: ${error}`);
    return error;
  }
  throw new Error(`${name} was not refused with ${code}`);
}

/** Bytes that a seed and a length name. */
function content(seed, length) {
  return createCipheriv("aes-128-ctr", Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(length));
}

function sameBytes(found, expected, what) {
  assert.ok(Buffer.compare(found, expected) === 0, `${what}: ${found.length} bytes that are not the ${expected.length} written`);
}

async function read(bucket, key, more = {}) {
  const answer = await s3("GetObject", { Bucket: bucket, Key: key, ...more });
  return Buffer.from(await answer.Body.transformToByteArray());
}

async function keys(bucket, prefix = "") {
  const found = [];
  for await (const page of sdk.paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: prefix })) {
    found.push(...(page.Contents ?? []).map((entry) => entry.Key));
  }
  return found;
}

function inByteOrder(names) {
  return [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

const ODD_KEYS = [
  "plain.txt", "a b.txt", "plus+sign", "both + and space", "per%cent%20x%2F", "ünï/日本–語", "😀", "quote'&<>\"", "#hash",
  "question?mark", "[b]{c}^`|", "star*", "back\\slash", "~=b;c,d@e$f!g(h)", "two//slashes", "/leading", "trailing/", "...",
  "dots/./and/../up", " space around ", "tab\tin", "line\nfeed", "k".repeat(1024),
];

const checks = {
  async a_bucket_is_listed_headed_and_told_apart(bucket) {
    assert.ok((await s3("ListBuckets", {})).Buckets.some((entry) => entry.Name === bucket));
    await s3("HeadBucket", { Bucket: bucket });
    await refused("NotFound", "HeadBucket", { Bucket: `${bucket}-no` });
    await refused("NoSuchBucket", "ListObjectsV2", { Bucket: `${bucket}-no` });
    await refused("BucketAlreadyOwnedByYou", "CreateBucket", { Bucket: bucket }).catch((error) => {
      if (!/was not refused/.test(error.message)) throw error; // some regions of S3 answer 200 to the owner
    });
  },

  async odd_keys_are_written_read_listed_copied_and_deleted(bucket) {
    for (const [seed, key] of ODD_KEYS.entries()) {
      const body = content(seed, 60 + seed);
      await s3("PutObject", { Bucket: bucket, Key: key, Body: body });
      sameBytes(await read(bucket, key), body, key);
      await s3("CopyObject", { Bucket: bucket, Key: "copy", CopySource: encodeURIComponent(`${bucket}/${key}`) });
      sameBytes(await read(bucket, "copy"), body, `copy of ${key}`);
    }
    const listed = await s3("ListObjectsV2", { Bucket: bucket, EncodingType: "url" });
    const decoded = listed.Contents.map((entry) => decodeURIComponent(entry.Key.replaceAll("+", " ")));
    assert.deepEqual(decoded, inByteOrder([...ODD_KEYS, "copy"]));
    assert.deepEqual(await keys(bucket), inByteOrder([...ODD_KEYS, "copy"]));
    const gone = await s3("DeleteObjects", { Bucket: bucket, Delete: { Objects: ODD_KEYS.map((Key) => ({ Key })) } });
    assert.deepEqual(inByteOrder(gone.Deleted.map((entry) => entry.Key)), inByteOrder(ODD_KEYS));
    assert.deepEqual(await keys(bucket), ["copy"]);
  },

  async a_carriage_return_in_a_key_survives_an_encoded_list_and_deletes_what_was_meant(bucket) {
    for (const Key of ["return\rin", "return\nin"]) await s3("PutObject", { Bucket: bucket, Key, Body: "x" });
    const listed = await s3("ListObjectsV2", { Bucket: bucket, EncodingType: "url" }); // plain XML cannot tell them apart
    assert.deepEqual(listed.Contents.map((entry) => decodeURIComponent(entry.Key)), ["return\nin", "return\rin"]);
    await s3("DeleteObjects", { Bucket: bucket, Delete: { Objects: [{ Key: "return\rin" }] } });
    assert.deepEqual(await keys(bucket), ["return\nin"]);
  },

  async a_copy_source_may_name_a_space_by_plus(bucket) {
    await s3("PutObject", { Bucket: bucket, Key: "a b", Body: "spaced" });
    await s3("CopyObject", { Bucket: bucket, Key: "copy", CopySource: `${bucket}/a+b` });
    assert.equal((await read(bucket, "copy")).toString(), "spaced");
  },

  async headers_metadata_and_tags_come_back(bucket) {
    const headers = {
      ContentType: "text/csv", ContentEncoding: "identity", ContentLanguage: "de", CacheControl: "max-age=7",
      ContentDisposition: 'attachment; filename="a.csv"', Metadata: { colour: "blue", empty: "" },
    };
    const expires = new Date("2030-01-02T03:04:05Z");
    await s3("PutObject", { Bucket: bucket, Key: "a", Body: "1,2\n", Expires: expires, Tagging: "team=red%20%2B%20blue", ...headers });
    for (const name of ["HeadObject", "GetObject"]) {
      const found = await s3(name, { Bucket: bucket, Key: "a" });
      for (const [header, value] of Object.entries(headers)) assert.deepEqual(found[header], value, `${name} ${header}`);
      assert.equal(found.ExpiresString, expires.toUTCString());
      assert.equal(found.ContentLength, 4);
    }
    const tags = (await s3("GetObjectTagging", { Bucket: bucket, Key: "a" })).TagSet;
    assert.deepEqual(tags, [{ Key: "team", Value: "red + blue" }]);
    const set = [{ Key: "ü", Value: "a=b+c/@" }];
    await s3("PutObjectTagging", { Bucket: bucket, Key: "a", Tagging: { TagSet: set } });
    assert.deepEqual((await s3("GetObjectTagging", { Bucket: bucket, Key: "a" })).TagSet, set);
    const asked = { ResponseContentType: "text/weird", ResponseCacheControl: "no-store" };
    const answer = await s3("GetObject", { Bucket: bucket, Key: "a", ...asked });
    assert.deepEqual([answer.ContentType, answer.CacheControl], ["text/weird", "no-store"]);
    answer.Body.destroy();
  },

  async ranges_are_those_of_the_object(bucket) {
    const body = content(1, 300_000);
    await s3("PutObject", { Bucket: bucket, Key: "r", Body: body });
    for (const [start, end] of [[0, 0], [99, 65_536], [299_999, 299_999], [5, 900_000]]) {
      const answer = await s3("GetObject", { Bucket: bucket, Key: "r", Range: `bytes=${start}-${end}` });
      assert.equal(answer.ContentRange, `bytes ${start}-${Math.min(end, 299_999)}/300000`);
      sameBytes(Buffer.from(await answer.Body.transformToByteArray()), body.subarray(start, end + 1), `from ${start}`);
    }
    sameBytes(await read(bucket, "r", { Range: "bytes=-7" }), body.subarray(-7), "the end");
    await refused("InvalidRange", "GetObject", { Bucket: bucket, Key: "r", Range: "bytes=300000-" });
  },

  async writes_and_reads_are_conditional(bucket) {
    const at = { Bucket: bucket, Key: "c" };
    const first = (await s3("PutObject", { ...at, Body: "1", IfNoneMatch: "*" })).ETag;
    assert.equal((await refused("PreconditionFailed", "PutObject", { ...at, Body: "2", IfNoneMatch: "*" })).$metadata.httpStatusCode, 412);
    const racing = Array.from({ length: 8 }, (_, n) => s3("PutObject", { ...at, Body: `racer ${n}`, IfMatch: first }));
    const won = (await Promise.allSettled(racing)).filter((done) => done.status === "fulfilled");
    assert.equal(won.length, 1, "exactly one of racing writers wins");
    assert.equal((await s3("HeadObject", at)).ETag, won[0].value.ETag);
    await refused("PreconditionFailed", "GetObject", { ...at, IfMatch: first });
    await assert.rejects(s3("GetObject", { ...at, IfNoneMatch: won[0].value.ETag }), (error) => error.$metadata.httpStatusCode === 304);
    await refused("PreconditionFailed", "DeleteObject", { ...at, IfMatch: first });
    await s3("DeleteObject", { ...at, IfMatch: won[0].value.ETag });
    await refused("NoSuchKey", "GetObject", at);
    await refused("NotFound", "HeadObject", at);
  },

  async checksums_are_made_kept_and_checked(bucket) {
    const body = content(1, 100_000);
    for (const algorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
      const put = await s3("PutObject", { Bucket: bucket, Key: algorithm, Body: body, ChecksumAlgorithm: algorithm });
      const field = `Checksum${algorithm}`;
      assert.ok(put[field], algorithm);
      const head = await s3("HeadObject", { Bucket: bucket, Key: algorithm, ChecksumMode: "ENABLED" });
      assert.equal(head[field], put[field]);
      sameBytes(await read(bucket, algorithm, { ChecksumMode: "ENABLED" }), body, algorithm);
    }
    const sha256 = createHash("sha256").update(body).digest("base64");
    assert.equal((await s3("HeadObject", { Bucket: bucket, Key: "SHA256", ChecksumMode: "ENABLED" })).ChecksumSHA256, sha256);
    const wrong = createHash("sha256").update("another").digest("base64");
    await refused("BadDigest", "PutObject", { Bucket: bucket, Key: "wrong", Body: body, ChecksumSHA256: wrong });
    await refused("BadDigest", "PutObject", { Bucket: bucket, Key: "wrong", Body: body, ContentMD5: createHash("md5").digest("base64") });
    assert.ok(!(await keys(bucket)).includes("wrong"));
    // The trailer of a stream is checked as well.
    await s3("PutObject", { Bucket: bucket, Key: "stream", Body: Readable.from([body]), ContentLength: body.length, ChecksumAlgorithm: "SHA256" });
    assert.equal((await s3("HeadObject", { Bucket: bucket, Key: "stream", ChecksumMode: "ENABLED" })).ChecksumSHA256, sha256);
  },

  async streams_go_in_and_come_out(bucket, folder) {
    const body = content(2, 3 * MIB + 5);
    const file = join(folder, "in"), back = join(folder, "out");
    await writeFile(file, body);
    await s3("PutObject", { Bucket: bucket, Key: "file", Body: createReadStream(file) });
    const answer = await s3("GetObject", { Bucket: bucket, Key: "file" });
    await pipeline(answer.Body, createWriteStream(back));
    sameBytes(await readFile(back), body, "the file");
    // A reader that goes away in the middle leaves the connection, and the server, in order.
    const abort = new AbortController();
    const cut = await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: "file" }), { abortSignal: abort.signal });
    cut.Body.once("data", () => cut.Body.destroy());
    await new Promise((resolve) => cut.Body.once("close", resolve));
    sameBytes(await read(bucket, "file"), body, "the object");
  },

  async an_upload_goes_in_parallel_parts_from_a_stream_of_unknown_length(bucket) {
    const body = content(3, 24 * MIB + 77);
    const stream = new PassThrough();
    const params = { Bucket: bucket, Key: "a b+ü%.bin", Body: stream, ContentType: "text/weird", Metadata: { colour: "blue" } };
    const upload = new Upload({ client, params, partSize: 5 * MIB, queueSize: 4, tags: [{ Key: "team", Value: "red" }] });
    let told = 0;
    upload.on("httpUploadProgress", (progress) => { told = progress.loaded; });
    for (let start = 0; start < body.length; start += 700_001) stream.write(body.subarray(start, start + 700_001));
    stream.end();
    const done = await upload.done();
    assert.match(done.ETag, /-5"$/);
    assert.equal(told, body.length);
    const head = await s3("HeadObject", { Bucket: bucket, Key: params.Key });
    assert.deepEqual([head.ContentLength, head.ContentType, head.Metadata], [body.length, "text/weird", { colour: "blue" }]);
    sameBytes(await read(bucket, params.Key), body, "the object");
    sameBytes(await read(bucket, params.Key, { PartNumber: 3 }), body.subarray(10 * MIB, 15 * MIB), "part 3");
    assert.deepEqual((await s3("GetObjectTagging", { Bucket: bucket, Key: params.Key })).TagSet, [{ Key: "team", Value: "red" }]);
  },

  async an_upload_is_aborted_and_leaves_nothing(bucket) {
    const upload = new Upload({ client, params: { Bucket: bucket, Key: "a", Body: content(4, 16 * MIB) }, partSize: 5 * MIB, queueSize: 1 });
    upload.on("httpUploadProgress", () => upload.abort());
    await assert.rejects(upload.done(), { name: "AbortError" });
    assert.deepEqual(await keys(bucket), []);
    for (let tries = 0; (await s3("ListMultipartUploads", { Bucket: bucket })).Uploads; tries++) {
      assert.ok(tries < 50, "the upload is still there"); // the SDK aborts it in the background
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  },

  async parts_are_listed_copied_and_completed(bucket) {
    const part = content(5, 5 * MIB);
    await s3("PutObject", { Bucket: bucket, Key: "source é", Body: part });
    const at = { Bucket: bucket, Key: "m" };
    at.UploadId = (await s3("CreateMultipartUpload", { ...at, ChecksumAlgorithm: "CRC32C" })).UploadId;
    const CopySource = encodeURIComponent(`${bucket}/source é`);
    const one = (await s3("UploadPartCopy", { ...at, PartNumber: 1, CopySource })).CopyPartResult;
    const two = await s3("UploadPart", { ...at, PartNumber: 2, Body: part, ChecksumAlgorithm: "CRC32C" });
    const three = await s3("UploadPart", { ...at, PartNumber: 3, Body: "end", ChecksumAlgorithm: "CRC32C" });
    const listed = [];
    for await (const page of sdk.paginateListParts({ client, pageSize: 1 }, at)) listed.push(...(page.Parts ?? []));
    assert.deepEqual(listed.map((entry) => entry.Size), [part.length, part.length, 3]);
    const Parts = [one, two, three].map(({ ETag, ChecksumCRC32C }, n) => ({ ETag, ChecksumCRC32C, PartNumber: n + 1 }));
    await s3("CompleteMultipartUpload", { ...at, MultipartUpload: { Parts } });
    sameBytes(await read(bucket, "m"), Buffer.concat([part, part, Buffer.from("end")]), "the object");
    const told = await s3("GetObjectAttributes", { Bucket: bucket, Key: "m", ObjectAttributes: ["ObjectParts", "ObjectSize"] });
    assert.deepEqual([told.ObjectSize, told.ObjectParts.TotalPartsCount], [2 * part.length + 3, 3]);
  },

  async addresses_are_presigned_for_get_put_head_and_delete(bucket) {
    const at = { Bucket: bucket, Key: "a b+ü/%.txt" };
    const signed = (name, more = {}) => getSignedUrl(client, new sdk[`${name}Command`]({ ...at, ...more }), { expiresIn: 60 });
    const put = await fetch(await signed("PutObject", { ContentType: "text/csv" }), { method: "PUT", body: "1,2\n", headers: { "content-type": "text/csv" } });
    assert.equal(put.status, 200, await put.text());
    const got = await fetch(await signed("GetObject", { ResponseContentType: "text/weird" }));
    assert.deepEqual([got.status, got.headers.get("content-type"), await got.text()], [200, "text/weird", "1,2\n"]);
    assert.equal((await s3("HeadObject", at)).ContentType, "text/csv");
    // What stands for headers is in the query.
    const described = await signed("PutObject", { Metadata: { color: "r\u00fcd" }, StorageClass: "STANDARD_IA" });
    assert.equal((await fetch(described, { method: "PUT", body: "3,4\n" })).status, 200);
    const { Metadata, StorageClass } = await s3("HeadObject", at);
    assert.deepEqual([Object.keys(Metadata), StorageClass], [["color"], "STANDARD_IA"]);
    assert.equal((await fetch(await signed("HeadObject"), { method: "HEAD" })).headers.get("content-length"), "4");
    const address = await signed("GetObject");
    assert.equal((await fetch(address.replace(/(Signature=)..../, "$10000"))).status, 403);
    assert.equal((await fetch(address, { method: "DELETE" })).status, 403);
    assert.equal((await fetch(await signed("DeleteObject"), { method: "DELETE" })).status, 204);
    assert.equal((await fetch(address)).status, 404);
  },

  async pages_follow_one_another(bucket) {
    const names = Array.from({ length: 60 }, (_, n) => `${n % 3}/${String(n).padStart(3, "0")} +ü`);
    await Promise.all(names.map((Key) => s3("PutObject", { Bucket: bucket, Key, Body: Key })));
    const found = [], prefixes = [];
    let pages = 0;
    for await (const page of sdk.paginateListObjectsV2({ client, pageSize: 7 }, { Bucket: bucket })) {
      found.push(...page.Contents.map((entry) => entry.Key));
      pages += 1;
    }
    assert.deepEqual([found, pages], [inByteOrder(names), 9]);
    for await (const page of sdk.paginateListObjectsV2({ client, pageSize: 1 }, { Bucket: bucket, Delimiter: "/" })) {
      prefixes.push(...(page.CommonPrefixes ?? []).map((entry) => entry.Prefix));
    }
    assert.deepEqual(prefixes, ["0/", "1/", "2/"]);
    const after = await s3("ListObjectsV2", { Bucket: bucket, Prefix: "2/", StartAfter: "2/050 +ü", FetchOwner: true });
    assert.deepEqual(after.Contents.map((entry) => entry.Key), ["2/053 +ü", "2/056 +ü", "2/059 +ü"]);
    assert.ok(after.Contents[0].Owner.ID);
  },

  async versions_are_kept_and_waiters_wait(bucket) {
    await s3("PutBucketVersioning", { Bucket: bucket, VersioningConfiguration: { Status: "Enabled" } });
    const at = { Bucket: bucket, Key: "v" };
    const one = (await s3("PutObject", { ...at, Body: "one" })).VersionId;
    const two = (await s3("PutObject", { ...at, Body: "two" })).VersionId;
    const marker = await s3("DeleteObject", at);
    assert.equal(marker.DeleteMarker, true);
    await sdk.waitUntilObjectNotExists({ client, minDelay: 1, maxDelay: 1, maxWaitTime: 5 }, at);
    const listed = await s3("ListObjectVersions", { Bucket: bucket });
    assert.deepEqual(listed.Versions.map((entry) => entry.VersionId), [two, one]);
    assert.equal((await read(bucket, "v", { VersionId: one })).toString(), "one");
    const gone = await s3("DeleteObjects", { Bucket: bucket, Delete: { Objects: [{ Key: "v", VersionId: marker.VersionId }] } });
    assert.equal(gone.Deleted[0].DeleteMarker, true);
    await sdk.waitUntilObjectExists({ client, minDelay: 1, maxDelay: 1, maxWaitTime: 5 }, at);
    assert.equal((await read(bucket, "v")).toString(), "two");
  },

  async many_are_deleted_at_once(bucket) {
    const names = Array.from({ length: 40 }, (_, n) => `d${n}`);
    await Promise.all(names.map((Key) => s3("PutObject", { Bucket: bucket, Key, Body: "x" })));
    const gone = [...names.slice(1), "never there"].map((Key) => ({ Key }));
    assert.equal((await s3("DeleteObjects", { Bucket: bucket, Delete: { Objects: gone } })).Deleted.length, 40);
    assert.deepEqual(await keys(bucket), ["d0"]);
    const quiet = await s3("DeleteObjects", { Bucket: bucket, Delete: { Objects: [{ Key: "d0" }], Quiet: true } });
    assert.deepEqual([quiet.Deleted, quiet.Errors], [undefined, undefined]);
  },
};

async function empty(bucket) {
  const at = { Bucket: bucket };
  for (let page; page === undefined || page.IsTruncated; ) {
    page = await s3("ListObjectVersions", { ...at, KeyMarker: page?.NextKeyMarker, VersionIdMarker: page?.NextVersionIdMarker });
    const Objects = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])].map(({ Key, VersionId }) => ({ Key, VersionId }));
    if (Objects.length > 0) assert.equal((await s3("DeleteObjects", { ...at, Delete: { Objects } })).Errors, undefined);
  }
  await s3("DeleteBucket", at);
}

const word = process.argv[2] ?? "";
const chosen = Object.entries(checks).filter(([name]) => name.includes(word));
let failed = 0;
for (const [name, check] of chosen) {
  const bucket = `js-${randomUUID().slice(0, 13)}`;
  const folder = await mkdtemp(join(tmpdir(), "cistern-js-"));
  const start = Date.now();
  try {
    await s3("CreateBucket", { Bucket: bucket });
    await check(bucket, folder);
    await empty(bucket);
    console.log(`passed ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}\n${error.stack}`);
  } finally {
    await rm(folder, { recursive: true });
  }
}
client.destroy();
console.log(`${chosen.length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 || chosen.length === 0 ? 1 : 0;
