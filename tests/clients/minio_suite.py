"""What an application does with the MinIO client for Python. usage: minio_suite.py [WORD]"""

import datetime
import io
import json
import urllib.request
import uuid

import minio
from minio.commonconfig import ENABLED, ComposeSource, CopySource, Filter, Tags
from minio.deleteobjects import DeleteObject
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from minio.retention import GOVERNANCE, Retention
from minio.versioningconfig import VersioningConfig

import suite
from suite import MIB, content, s3

client = minio.Minio(suite.HOST, access_key=suite.KEY, secret_key=suite.SECRET, secure=False, region=suite.REGION)


def put(bucket, key, data, **how):
    return client.put_object(bucket, key, io.BytesIO(data), len(data), **how)


def get(bucket, key, **how):
    answer = client.get_object(bucket, key, **how)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def refused(code, call, *arguments, **how):
    try:
        call(*arguments, **how)
    except minio.error.S3Error as error:
        assert error.code == code, error
        return
    raise AssertionError(f"{call.__name__} was not refused with {code}")


def check_buckets_are_made_listed_and_removed(bucket):
    made = f"minio-{uuid.uuid4().hex[:12]}"
    client.make_bucket(made)
    assert client.bucket_exists(made) and {made, bucket} <= {entry.name for entry in client.list_buckets()}
    client.remove_bucket(made)
    assert not client.bucket_exists(made)
    put(bucket, "a", b"a")
    refused("BucketNotEmpty", client.remove_bucket, bucket)
    refused("NoSuchBucket", put, made, "a", b"a")


def check_a_client_that_knows_no_region_finds_it(bucket):
    unaware = minio.Minio(suite.HOST, access_key=suite.KEY, secret_key=suite.SECRET, secure=False)
    put(bucket, "a", b"found")
    assert unaware.get_object(bucket, "a").read() == b"found"


def check_odd_keys_are_written_read_listed_copied_and_removed(bucket):
    keys = [*suite.ODD_NAMES, "two//slashes", "/leading", "trailing/", "...", " space ", "tab\tin", "a" * 1024]
    for seed, key in enumerate(keys):
        data = content(seed, 60 + seed)
        put(bucket, key, data)
        assert get(bucket, key) == suite.body(bucket, key) == data, key
        client.copy_object(bucket, "copy", CopySource(bucket, key))
        assert get(bucket, "copy") == data, key
        assert client.stat_object(bucket, key).size == len(data)
    listed = [entry.object_name for entry in client.list_objects(bucket, recursive=True)]
    assert listed == sorted([*keys, "copy"], key=str.encode), listed
    errors = list(client.remove_objects(bucket, [DeleteObject(key) for key in keys]))
    assert not errors and suite.keys(bucket) == ["copy"], errors


def check_lists_are_grouped_and_go_on(bucket):
    for n in range(12):
        put(bucket, f"photos/{n:02}/a", b"x")
    put(bucket, "z", b"x")
    grouped = {entry.object_name: entry.is_dir for entry in client.list_objects(bucket)}
    assert grouped == {"photos/": True, "z": False}, grouped
    assert len(list(client.list_objects(bucket, "photos/"))) == 12
    after = client.list_objects(bucket, "photos/", recursive=True, start_after="photos/09/a")
    assert [entry.object_name for entry in after] == ["photos/10/a", "photos/11/a"]
    first_version = client.list_objects(bucket, recursive=True, use_api_v1=True)
    assert len(list(first_version)) == 13


def check_metadata_tags_and_ranges(bucket):
    tags = Tags.new_object_tags()
    tags["team"] = "red + blue"
    put(bucket, "a", content(1, 1000), content_type="text/csv", metadata={"colour": "blue"}, tags=tags)
    found = client.stat_object(bucket, "a")
    assert (found.content_type, found.metadata["x-amz-meta-colour"], found.size) == ("text/csv", "blue", 1000)
    assert client.get_object_tags(bucket, "a") == tags
    client.delete_object_tags(bucket, "a")
    assert not client.get_object_tags(bucket, "a")
    assert get(bucket, "a", offset=10, length=90) == content(1, 1000)[10:100]


def check_a_large_body_goes_in_parts_also_of_unknown_length(bucket):
    data = content(1, 22 * MIB + 7)
    done = client.put_object(bucket, "known", io.BytesIO(data), len(data), part_size=5 * MIB)
    assert done.etag.endswith("-5")
    client.put_object(bucket, "unknown", io.BytesIO(data), -1, part_size=6 * MIB)
    assert get(bucket, "known") == data and get(bucket, "unknown") == data
    file, back = suite.folder() / "file", suite.folder() / "back"
    file.write_bytes(data)
    client.fput_object(bucket, "file", str(file))
    client.fget_object(bucket, "file", str(back))
    assert back.read_bytes() == data


def check_objects_are_composed_of_others(bucket):
    parts = {"a b+1": content(1, 5 * MIB), "two": content(2, 6 * MIB), "end": b"end"}
    for key, data in parts.items():
        put(bucket, key, data)
    sources = [ComposeSource(bucket, "a b+1"), ComposeSource(bucket, "two", offset=1, length=5 * MIB), ComposeSource(bucket, "end")]
    client.compose_object(bucket, "all", sources)
    assert get(bucket, "all") == parts["a b+1"] + parts["two"][1 : 5 * MIB + 1] + b"end"


def check_presigned_addresses_and_forms(bucket):
    address = client.presigned_put_object(bucket, "a b+ü")
    urllib.request.urlopen(urllib.request.Request(address, data=b"by address", method="PUT"))
    assert urllib.request.urlopen(client.presigned_get_object(bucket, "a b+ü")).read() == b"by address"
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=1)
    policy = minio.datatypes.PostPolicy(bucket, until)
    policy.add_starts_with_condition("key", "form/")
    policy.add_content_length_range_condition(1, 100)
    fields = client.presigned_post_policy(policy) | {"key": "form/a"}
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    parts.append('--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nfrom a form\r\n--b--\r\n')
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    request = urllib.request.Request(f"{suite.ENDPOINT}/{bucket}", data="".join(parts).encode(), headers=headers)
    urllib.request.urlopen(request)
    assert get(bucket, "form/a") == b"from a form"


def check_versions_locks_and_retention(bucket):
    vault = f"{bucket}-vault"
    client.make_bucket(vault, object_lock=True)
    assert client.get_bucket_versioning(vault).status == ENABLED
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    one = put(vault, "a", b"one", retention=Retention(GOVERNANCE, until), legal_hold=True).version_id
    two = put(vault, "a", b"two").version_id
    assert client.is_object_legal_hold_enabled(vault, "a", one)
    assert client.get_object_retention(vault, "a", one).mode == GOVERNANCE
    refused("AccessDenied", client.remove_object, vault, "a", version_id=one)
    client.disable_object_legal_hold(vault, "a", one)
    listed = [(entry.version_id, entry.is_latest) for entry in client.list_objects(vault, include_version=True)]
    assert listed == [(two, "true"), (one, "false")], listed
    assert get(vault, "a", version_id=one) == b"one"
    s3.delete_object(Bucket=vault, Key="a", VersionId=one, BypassGovernanceRetention=True)
    client.remove_object(vault, "a", version_id=two)
    client.remove_bucket(vault)


def check_a_bucket_is_set_up(bucket):
    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    assert client.get_bucket_versioning(bucket).status == ENABLED
    rule = Rule(ENABLED, rule_filter=Filter(prefix="tmp/"), rule_id="tmp", expiration=Expiration(days=3))
    client.set_bucket_lifecycle(bucket, LifecycleConfig([rule]))
    assert client.get_bucket_lifecycle(bucket).rules[0].expiration.days == 3
    tags = Tags.new_bucket_tags()
    tags["team"] = "red"
    client.set_bucket_tags(bucket, tags)
    assert client.get_bucket_tags(bucket) == tags
    allow = {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/*"]}
    client.set_bucket_policy(bucket, json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    put(bucket, "a", b"public")
    anonymous = minio.Minio(suite.HOST, secure=False, region=suite.REGION)
    assert anonymous.get_object(bucket, "a").read() == b"public"
    refused("AccessDenied", anonymous.put_object, bucket, "b", io.BytesIO(b"b"), 1)
    client.delete_bucket_policy(bucket)
    client.delete_bucket_lifecycle(bucket)
    client.delete_bucket_tags(bucket)
    assert client.get_bucket_lifecycle(bucket) is None and client.get_bucket_tags(bucket) is None
    refused("NoSuchBucketPolicy", client.get_bucket_policy, bucket)


suite.main(globals())
