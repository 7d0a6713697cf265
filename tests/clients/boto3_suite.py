"""What an application does with boto3: every function named check_* is one check, on a bucket of its own.

usage: boto3_suite.py [WORD]     only the checks whose name has WORD (address and key from the AWS_ variables)

Prints one line a check; exits 1 when one failed.
"""

import base64
import datetime
import hashlib
import io
import json
import os
import random
import sys
import traceback
import urllib.error
import urllib.request
import uuid

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1024 * 1024
s3 = boto3.client("s3", config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}))


def refused(code, call, **arguments):
    """The call must be refused with that S3 code; answers the HTTP status."""
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"{call.__name__} was not refused with {code}")


def fetch(bucket, key, **arguments):
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


def manage(method, path, body=None):
    """A call of the management API; answers its result."""
    address, token = os.environ["CISTERN_API_URL"], os.environ["CISTERN_API_TOKEN"]
    headers = {"authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{address}/client/v4{path}", method=method, headers=headers)
    request.data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["result"]


def post_form(made, content):
    """Posts a file named a.txt as a browser would; answers the status."""
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
             for name, value in made["fields"].items()]
    parts.append(b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n')
    body = b"".join([*parts, content, b"\r\n--b--\r\n"])
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return urllib.request.urlopen(urllib.request.Request(made["url"], data=body, headers=headers)).status


def check_temporary_credentials_reach_their_prefix_only(bucket):
    account = manage("GET", "/accounts")[0]["id"]
    wanted = {
        "bucket": bucket,
        "parentAccessKeyId": os.environ["AWS_ACCESS_KEY_ID"],
        "permission": "object-read-write",
        "ttlSeconds": 900,
        "prefixes": ["in/"],
    }
    made = manage("POST", f"/accounts/{account}/r2/temp-access-credentials", wanted)
    held = boto3.client(
        "s3",
        aws_access_key_id=made["accessKeyId"],
        aws_secret_access_key=made["secretAccessKey"],
        aws_session_token=made["sessionToken"],
        config=s3.meta.config,
    )
    held.put_object(Bucket=bucket, Key="in/a", Body=b"a")
    assert held.get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"a"
    assert [entry["Key"] for entry in held.list_objects_v2(Bucket=bucket, Prefix="in/")["Contents"]] == ["in/a"]
    address = held.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "in/a"}, ExpiresIn=60)
    assert urllib.request.urlopen(address).read() == b"a"
    assert refused("AccessDenied", held.put_object, Bucket=bucket, Key="out/a", Body=b"a") == 403
    assert refused("AccessDenied", held.list_objects_v2, Bucket=bucket) == 403
    form = held.generate_presigned_post(bucket, "in/form")
    assert post_form(form, b"formed") == 204 and fetch(bucket, "in/form") == b"formed"


def check_a_new_bucket_is_listed_and_empty(bucket):
    assert bucket in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def check_a_bucket_with_an_object_is_not_deleted(bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    assert refused("BucketNotEmpty", s3.delete_bucket, Bucket=bucket) == 409
    assert fetch(bucket, "a") == b"a"


def check_an_object_keeps_body_headers_and_metadata(bucket):
    headers = {
        "ContentType": "text/csv",
        "ContentEncoding": "identity",
        "ContentDisposition": 'attachment; filename="a.csv"',
        "ContentLanguage": "de",
        "CacheControl": "max-age=60",
    }
    put = s3.put_object(Bucket=bucket, Key="dir/a b+ü.csv", Body=b"1,2\n", Metadata={"colour": "blue"}, **headers)
    assert put["ETag"] == '"' + hashlib.md5(b"1,2\n").hexdigest() + '"'
    for answer in (s3.get_object, s3.head_object):
        found = answer(Bucket=bucket, Key="dir/a b+ü.csv")
        assert {name: found[name] for name in headers} == headers, found
        assert found["Metadata"] == {"colour": "blue"}
        assert (found["ContentLength"], found["ETag"]) == (4, put["ETag"])


def check_ranges_are_those_of_the_object(bucket):
    body = random.Random(1).randbytes(3 * MIB + 7)
    s3.put_object(Bucket=bucket, Key="r", Body=body)
    for start, end in [(0, 0), (0, 99), (MIB - 1, MIB), (3 * MIB, 3 * MIB + 6), (3 * MIB, 9 * MIB), (5, 2 * MIB)]:
        answer = s3.get_object(Bucket=bucket, Key="r", Range=f"bytes={start}-{end}")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert answer["Body"].read() == body[start : end + 1], (start, end)
    assert fetch(bucket, "r", Range="bytes=-7") == body[-7:]
    assert refused("InvalidRange", s3.get_object, Bucket=bucket, Key="r", Range=f"bytes={4 * MIB}-") == 416


def check_conditions_of_reads_and_writes(bucket):
    first = s3.put_object(Bucket=bucket, Key="c", Body=b"1")["ETag"]
    assert refused("304", s3.get_object, Bucket=bucket, Key="c", IfNoneMatch=first) == 304
    assert refused("PreconditionFailed", s3.get_object, Bucket=bucket, Key="c", IfMatch='"0"') == 412
    assert refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="c", Body=b"2", IfNoneMatch="*") == 412
    assert fetch(bucket, "c") == b"1"
    s3.put_object(Bucket=bucket, Key="c", Body=b"2", IfMatch=first)
    assert refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="c", Body=b"3", IfMatch=first) == 412
    assert fetch(bucket, "c") == b"2"


def check_what_was_written_is_replaced_and_deleted(bucket):
    for body in (b"old", b"new"):
        s3.put_object(Bucket=bucket, Key="k", Body=body)
        assert fetch(bucket, "k") == body
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")
    assert refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="k") == 404
    assert refused("404", s3.head_object, Bucket=bucket, Key="k") == 404


def check_lists_are_sorted_paged_and_grouped(bucket):
    keys = sorted([f"photos/{year}/{n:02}" for year in (2024, 2025) for n in range(12)] + ["a&b<c>", "index.html", "ä"])
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    in_order = sorted(keys, key=str.encode)
    for operation in ("list_objects", "list_objects_v2"):
        pages = list(s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 5}))
        assert [entry["Key"] for page in pages for entry in page.get("Contents", [])] == in_order, operation
        assert len(pages) == 6, operation
        grouped = getattr(s3, operation)(Bucket=bucket, Delimiter="/")
        assert [entry["Prefix"] for entry in grouped["CommonPrefixes"]] == ["photos/"]
        assert [entry["Key"] for entry in grouped["Contents"]] == ["a&b<c>", "index.html", "ä"]
        years = getattr(s3, operation)(Bucket=bucket, Delimiter="/", Prefix="photos/")
        assert [entry["Prefix"] for entry in years["CommonPrefixes"]] == ["photos/2024/", "photos/2025/"]
    after = s3.list_objects_v2(Bucket=bucket, StartAfter="photos/2025/10")
    assert [entry["Key"] for entry in after["Contents"]] == ["photos/2025/11", "ä"]
    assert s3.list_objects_v2(Bucket=bucket, Prefix="nothing/")["KeyCount"] == 0


def check_many_are_deleted_at_once(bucket):
    for n in range(30):
        s3.put_object(Bucket=bucket, Key=f"d{n}", Body=b"x")
    gone = [{"Key": f"d{n}"} for n in range(29)] + [{"Key": "never-there"}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": gone})
    assert len(answer["Deleted"]) == 30 and not answer.get("Errors"), answer
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["d29"]


def check_copies_carry_bytes_and_metadata(bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"body", Metadata={"a": "1"}, ContentType="text/plain")
    source = {"Bucket": bucket, "Key": "from"}
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source)
    found = s3.get_object(Bucket=bucket, Key="to")
    assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (b"body", {"a": "1"}, "text/plain")
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source, Metadata={"b": "2"}, MetadataDirective="REPLACE")
    assert s3.head_object(Bucket=bucket, Key="to")["Metadata"] == {"b": "2"}
    source["Key"] = "nowhere"
    assert refused("NoSuchKey", s3.copy_object, Bucket=bucket, Key="to", CopySource=source) == 404
    assert fetch(bucket, "to") == b"body"


def check_checksums_are_stored_and_checked(bucket):
    body = b"checked body"
    for algorithm, digest in (("SHA256", hashlib.sha256), ("SHA1", hashlib.sha1)):
        right = base64.b64encode(digest(body).digest()).decode()
        field = f"Checksum{algorithm}"
        put = s3.put_object(Bucket=bucket, Key=algorithm, Body=body, ChecksumAlgorithm=algorithm)
        assert put[field] == right
        assert s3.head_object(Bucket=bucket, Key=algorithm, ChecksumMode="ENABLED")[field] == right
        wrong = base64.b64encode(digest(b"another").digest()).decode()
        status = refused("BadDigest", s3.put_object, Bucket=bucket, Key="wrong", Body=body, **{field: wrong})
        assert status == 400
    s3.put_object(Bucket=bucket, Key="CRC32", Body=body, ChecksumAlgorithm="CRC32")
    assert fetch(bucket, "CRC32", ChecksumMode="ENABLED") == body
    assert refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="wrong") == 404


def check_a_stream_of_unknown_kind_goes_in_chunks_with_a_trailer(bucket):
    body = random.Random(2).randbytes(700_000)
    s3.put_object(Bucket=bucket, Key="stream", Body=io.BytesIO(body))
    assert fetch(bucket, "stream") == body


def check_a_large_upload_in_parallel_parts_reads_back_whole_and_in_ranges(bucket):
    body = random.Random(3).randbytes(64 * MIB + 123)
    parts = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(body), bucket, "big", Config=parts)
    head = s3.head_object(Bucket=bucket, Key="big")
    assert head["ContentLength"] == len(body) and head["ETag"].endswith('-9"'), head
    received = io.BytesIO()
    s3.download_fileobj(bucket, "big", received, Config=parts)
    assert hashlib.sha256(received.getvalue()).digest() == hashlib.sha256(body).digest()
    for start in (8 * MIB - 5, 16 * MIB - 1, 64 * MIB + 100):
        assert fetch(bucket, "big", Range=f"bytes={start}-{start + 22}") == body[start : start + 23], start


def check_multipart_by_hand_lists_copies_completes_and_aborts(bucket):
    part = random.Random(4).randbytes(5 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=part)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", Metadata={"a": "1"})["UploadId"]
    at = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    tags = [s3.upload_part(PartNumber=1, Body=part, **at)["ETag"]]
    source = {"Bucket": bucket, "Key": "source"}
    tags.append(s3.upload_part_copy(PartNumber=2, CopySource=source, **at)["CopyPartResult"]["ETag"])
    tags.append(s3.upload_part(PartNumber=3, Body=b"end", **at)["ETag"])
    listed = s3.list_parts(**at)["Parts"]
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in listed] == list(zip((1, 2, 3), (len(part), len(part), 3), tags))
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    assert refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="m") == 404
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    done = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **at)
    assert done["ETag"].endswith('-3"')
    found = s3.get_object(Bucket=bucket, Key="m")
    assert found["Body"].read() == part + part + b"end" and found["Metadata"] == {"a": "1"}
    at["UploadId"] = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    s3.upload_part(PartNumber=1, Body=part, **at)
    s3.abort_multipart_upload(**at)
    assert refused("NoSuchUpload", s3.list_parts, **at) == 404
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def check_presigned_addresses_put_and_get_and_expire_with_their_signature(bucket):
    arguments = {"Bucket": bucket, "Key": "shared"}
    put = s3.generate_presigned_url("put_object", arguments, ExpiresIn=60)
    plain = {"Content-Type": "application/octet-stream"}
    urllib.request.urlopen(urllib.request.Request(put, data=b"by address", headers=plain, method="PUT"))
    get = s3.generate_presigned_url("get_object", arguments, ExpiresIn=60)
    assert urllib.request.urlopen(get).read() == b"by address"
    try:
        urllib.request.urlopen(get[:-4] + ("0000" if get[-4:] != "0000" else "1111"))
        raise AssertionError("a changed signature was accepted")
    except urllib.error.HTTPError as error:
        assert error.code == 403


def check_unknown_names_are_not_found(bucket):
    assert refused("NoSuchBucket", s3.get_object, Bucket=f"{bucket}-no", Key="a") == 404
    assert refused("NoSuchBucket", s3.put_object, Bucket=f"{bucket}-no", Key="a", Body=b"") == 404
    assert refused("NoSuchBucket", s3.list_objects_v2, Bucket=f"{bucket}-no") == 404
    assert refused("NoSuchBucket", s3.delete_bucket, Bucket=f"{bucket}-no") == 404
    upload = {"UploadId": "nothing-of-ours", "PartNumber": 1}
    assert refused("NoSuchUpload", s3.upload_part, Bucket=bucket, Key="a", Body=b"", **upload) == 404


def versioned(bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def check_every_version_comes_back_and_a_delete_hides_them(bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"before")
    versioned(bucket)
    written = [s3.put_object(Bucket=bucket, Key="a", Body=body)["VersionId"] for body in (b"one", b"two")]
    for version, body in zip(["null", *written], (b"before", b"one", b"two")):
        assert fetch(bucket, "a", VersionId=version) == body
    marker = s3.delete_object(Bucket=bucket, Key="a")
    assert marker["DeleteMarker"] and marker["VersionId"] not in written
    assert refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="a") == 404
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
    listed = [(entry["VersionId"], entry["IsLatest"]) for page in pages for entry in page.get("Versions", [])]
    assert listed == [(written[1], False), (written[0], False), ("null", False)], listed
    s3.delete_object(Bucket=bucket, Key="a", VersionId=marker["VersionId"])
    assert fetch(bucket, "a") == b"two"
    source = {"Bucket": bucket, "Key": "a", "VersionId": written[0]}
    s3.copy_object(Bucket=bucket, Key="a", CopySource=source)
    assert fetch(bucket, "a") == b"one"


def check_a_locked_version_stays_until_it_is_let_go(bucket):
    vault = f"{bucket}-vault"
    s3.create_bucket(Bucket=vault, ObjectLockEnabledForBucket=True)
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    version = s3.put_object(Bucket=vault, Key="a", Body=b"kept", **lock)["VersionId"]
    s3.delete_object(Bucket=vault, Key="a")
    assert refused("AccessDenied", s3.delete_object, Bucket=vault, Key="a", VersionId=version) == 403
    assert fetch(vault, "a", VersionId=version) == b"kept"
    shown = s3.get_object_retention(Bucket=vault, Key="a", VersionId=version)["Retention"]
    assert shown["Mode"] == "GOVERNANCE" and abs((shown["RetainUntilDate"] - until).total_seconds()) < 1
    s3.delete_object(Bucket=vault, Key="a", VersionId=version, BypassGovernanceRetention=True)
    empty(vault)


def check_tags_are_kept_and_counted(bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"", Tagging="team=blue&stage=raw")
    tags = s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"]
    assert tags == [{"Key": "stage", "Value": "raw"}, {"Key": "team", "Value": "blue"}], tags
    assert s3.get_object(Bucket=bucket, Key="a")["TagCount"] == 2
    s3.delete_object_tagging(Bucket=bucket, Key="a")
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == []


def check_a_policy_lets_everybody_read_and_nothing_else(bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"public")
    anonymous = boto3.client("s3", config=Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}))
    assert refused("AccessDenied", anonymous.get_object, Bucket=bucket, Key="a") == 403
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    assert anonymous.get_object(Bucket=bucket, Key="a")["Body"].read() == b"public"
    assert refused("AccessDenied", anonymous.list_objects_v2, Bucket=bucket) == 403
    assert refused("AccessDenied", anonymous.put_object, Bucket=bucket, Key="b", Body=b"") == 403
    s3.delete_bucket_policy(Bucket=bucket)
    assert refused("AccessDenied", anonymous.get_object, Bucket=bucket, Key="a") == 403


def check_pages_of_other_origins_are_told_what_they_may(bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"for pages")
    rule = {"AllowedOrigins": ["https://*.example"], "AllowedMethods": ["GET"], "ExposeHeaders": ["etag"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    address = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a"}, ExpiresIn=60)
    answer = urllib.request.urlopen(urllib.request.Request(address, headers={"Origin": "https://app.example"}))
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    urllib.request.urlopen(urllib.request.Request(address, headers=asks, method="OPTIONS"))
    try:
        asks["Access-Control-Request-Method"] = "PUT"
        urllib.request.urlopen(urllib.request.Request(address, headers=asks, method="OPTIONS"))
        raise AssertionError("a preflight for PUT was allowed")
    except urllib.error.HTTPError as error:
        assert error.code == 403


def check_a_browsers_form_uploads_as_it_was_presigned(bucket):
    conditions = [["content-length-range", 1, 100]]
    made = s3.generate_presigned_post(bucket, "form/${filename}", Conditions=conditions, ExpiresIn=60)

    assert post_form(made, b"from a browser") == 204
    assert fetch(bucket, "form/a.txt") == b"from a browser"
    try:
        post_form(made, bytes(101))
        raise AssertionError("a file over the limit was taken")
    except urllib.error.HTTPError as error:
        assert error.code == 400


def check_an_upload_tells_its_parts_and_their_checksums(bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a", ChecksumAlgorithm="SHA256")["UploadId"]
    bodies = [bytes([1]) * (5 * MIB), b"rest"]
    parts = []
    for number, body in enumerate(bodies, 1):
        part = s3.upload_part(Bucket=bucket, Key="a", UploadId=upload, PartNumber=number, Body=body,
                              ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="a", UploadId=upload, MultipartUpload={"Parts": parts})
    names = ["ETag", "ObjectParts", "ObjectSize", "Checksum"]
    told = s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=names)
    assert told["ObjectSize"] == 5 * MIB + 4 and told["ETag"].endswith("-2")
    assert [part["Size"] for part in told["ObjectParts"]["Parts"]] == [5 * MIB, 4]
    assert [part["ChecksumSHA256"] for part in told["ObjectParts"]["Parts"]] == [p["ChecksumSHA256"] for p in parts]
    second = s3.get_object(Bucket=bucket, Key="a", PartNumber=2)
    assert second["Body"].read() == b"rest" and second["ChecksumSHA256"] == parts[1]["ChecksumSHA256"]


def empty(bucket):
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for entry in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
    s3.delete_bucket(Bucket=bucket)


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    checks = [(name, check) for name, check in globals().items() if name.startswith("check_") and word in name]
    failed = 0
    for name, check in checks:
        bucket = f"boto3-{uuid.uuid4().hex[:12]}"
        try:
            s3.create_bucket(Bucket=bucket)
            check(bucket)
            empty(bucket)
            print(f"passed {name}")
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(failed > 0 or not checks)


main()
