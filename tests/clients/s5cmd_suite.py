"""What people do with s5cmd. usage: s5cmd_suite.py [WORD]"""

import json
import urllib.request
import uuid

import suite
from suite import MIB, content, output, refused, s3

HOW = {"environment": {"S3_ENDPOINT_URL": suite.ENDPOINT}}


def s5cmd(*arguments, **how):
    return output("s5cmd", *arguments, **HOW, **how).decode()


def check_buckets_are_made_listed_and_removed(bucket):
    made = f"s5cmd-{uuid.uuid4().hex[:12]}"
    s5cmd("mb", f"s3://{made}")
    assert {f"s3://{made}", f"s3://{bucket}"} <= {line.split()[-1] for line in s5cmd("ls").splitlines()}
    s5cmd("rb", f"s3://{made}")
    assert f"s3://{made}" not in s5cmd("ls")
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    assert "BucketNotEmpty" in refused("s5cmd", "rb", f"s3://{bucket}", **HOW)
    assert "NoSuchBucket" in refused("s5cmd", "ls", f"s3://{made}/", **HOW)


def check_a_tree_of_odd_names_goes_there_and_back(bucket):
    tree, files = suite.odd_tree()
    assert len(s5cmd("cp", f"{tree}/", f"s3://{bucket}/tree/").splitlines()) == len(files)
    suite.same(suite.objects_below(bucket, "tree/"), files)
    assert s5cmd("sync", f"{tree}/", f"s3://{bucket}/tree/") == "", "a sync finds something to do"
    listed = [json.loads(line)["key"] for line in s5cmd("--json", "ls", f"s3://{bucket}/tree/*").splitlines()]
    assert {key.removeprefix(f"s3://{bucket}/tree/") for key in listed} == files.keys()
    back = suite.folder()
    s5cmd("cp", f"s3://{bucket}/tree/*", f"{back}/")
    suite.same(suite.files_below(back), files)


def check_a_sync_removes_what_is_gone_and_brings_what_changed(bucket):
    tree, files = suite.odd_tree()
    s5cmd("sync", f"{tree}/", f"s3://{bucket}/")
    (tree / "a b.txt").unlink()
    (tree / "plus+sign.txt").write_bytes(b"changed")
    s5cmd("sync", "--delete", f"{tree}/", f"s3://{bucket}/")
    del files["a b.txt"]
    suite.same(suite.objects_below(bucket, ""), files | {"plus+sign.txt": b"changed"})


def check_objects_are_copied_within_the_server_under_odd_names(bucket):
    _, files = suite.odd_tree()
    for name, data in files.items():
        s3.put_object(Bucket=bucket, Key=f"from/{name}", Body=data)
    s5cmd("cp", f"s3://{bucket}/from/*", f"s3://{bucket}/to/")
    suite.same(suite.objects_below(bucket, "to/"), files)
    s5cmd("mv", f"s3://{bucket}/to/*", f"s3://{bucket}/moved/")
    suite.same(suite.objects_below(bucket, "moved/"), files)
    assert suite.keys(bucket, "to/") == []


def check_a_large_file_goes_in_parallel_parts_and_comes_back(bucket):
    file, back = suite.folder() / "large.bin", suite.folder() / "back.bin"
    file.write_bytes(content(1, 32 * MIB + 77))
    s5cmd("cp", "--part-size=5", "--concurrency=4", file, f"s3://{bucket}/large.bin")
    assert s3.head_object(Bucket=bucket, Key="large.bin")["ETag"].endswith('-7"')
    s5cmd("cp", "--part-size=5", "--concurrency=4", f"s3://{bucket}/large.bin", back)
    assert back.read_bytes() == file.read_bytes()


def check_headers_and_metadata(bucket):
    file = suite.folder() / "a.csv"
    file.write_bytes(b"1,2\n")
    s5cmd("cp", "--content-type=text/csv", "--cache-control=max-age=7", "--metadata=colour=blue", file,
          f"s3://{bucket}/a.csv")
    found = s3.head_object(Bucket=bucket, Key="a.csv")
    assert (found["ContentType"], found["CacheControl"], found["Metadata"]) == ("text/csv", "max-age=7", {"colour": "blue"})
    told = json.loads(s5cmd("head", f"s3://{bucket}/a.csv"))
    assert (told["content_type"], told["size"], told["metadata"]) == ("text/csv", 4, {"colour": "blue"}), told


def check_streams_and_presigned_addresses(bucket):
    s5cmd("pipe", f"s3://{bucket}/a stream", stdin=b"from a pipe\n")
    assert suite.body(bucket, "a stream") == b"from a pipe\n"
    assert s5cmd("cat", f"s3://{bucket}/a stream") == "from a pipe\n"
    address = s5cmd("presign", "--expire=1m", f"s3://{bucket}/a stream").strip()
    assert urllib.request.urlopen(address).read() == b"from a pipe\n"


def check_versions_are_kept_listed_and_removed(bucket):
    address = f"s3://{bucket}/a"
    s5cmd("bucket-version", "--set", "Enabled", f"s3://{bucket}")
    for text in (b"one", b"two"):
        s5cmd("pipe", address, stdin=text)
    s5cmd("rm", address)
    listed = [line.split() for line in s5cmd("ls", "--all-versions", f"{address}*").splitlines()]
    assert len(listed) == 3, listed
    read = [s5cmd("cat", f"--version-id={version}", address) for *_, size, _, version in listed if size != "0"]
    assert sorted(read) == ["one", "two"], listed
    s5cmd("rm", "--all-versions", f"s3://{bucket}/*")
    assert "Versions" not in s3.list_object_versions(Bucket=bucket)


def check_all_is_counted_and_removed(bucket):
    tree, files = suite.odd_tree()
    s5cmd("cp", f"{tree}/", f"s3://{bucket}/")
    told = json.loads(s5cmd("--json", "du", f"s3://{bucket}/*"))
    assert (told["size"], told["count"]) == (sum(map(len, files.values())), len(files)), told
    assert len(s5cmd("rm", f"s3://{bucket}/*").splitlines()) == len(files)
    assert suite.keys(bucket) == []


suite.main(globals())
