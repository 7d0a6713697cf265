"""What people do with rclone. usage: rclone_suite.py [WORD]"""

import contextlib
import http.client
import json
import urllib.parse
import urllib.request
import uuid

import suite
from suite import MIB, content, output, refused, s3

HOW = {"environment": {
    "RCLONE_CONFIG": "", "RCLONE_CONFIG_S_TYPE": "s3", "RCLONE_CONFIG_S_PROVIDER": "Other",
    "RCLONE_CONFIG_S_ENV_AUTH": "true", "RCLONE_CONFIG_S_ENDPOINT": suite.ENDPOINT,
    "RCLONE_CONFIG_S_REGION": suite.REGION, "RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1",
}}
PARTS = ["--s3-upload-cutoff=8M", "--s3-chunk-size=8M"]
ANSWER_LIMIT_SECONDS = 60


def rclone(*arguments, **how):
    return output("rclone", *arguments, **HOW, **how).decode()


def listed(place):
    """{path: entry} of `rclone lsjson`."""
    return {entry["Path"]: entry for entry in json.loads(rclone("lsjson", "--recursive", "--files-only", "--hash", place))}


def times(bucket):
    """{key: time} of all objects."""
    return {entry["Key"]: entry["LastModified"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]}


@contextlib.contextmanager
def served(protocol, place, *arguments):
    """The port of 127.0.0.1 at which `rclone serve` offers a place, until the block ends."""
    port = suite.free_port()
    with suite.serving(port, "rclone", "serve", protocol, f"--addr=127.0.0.1:{port}", *arguments, place, **HOW):
        yield port


def asked(port, method, name, data=None, headers=None):
    """(status, headers, bytes) of one request about a file by its name."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_LIMIT_SECONDS)
    with contextlib.closing(link):
        link.request(method, "/" + urllib.parse.quote(name), body=data, headers=headers or {})
        answer = link.getresponse()
        return answer.status, answer.headers, answer.read()


def check_buckets_are_made_listed_and_removed(bucket):
    made = f"rclone-{uuid.uuid4().hex[:12]}"
    rclone("mkdir", f"S:{made}")
    assert {made, bucket} <= {line.split()[-1] for line in rclone("lsd", "S:").splitlines()}
    rclone("rmdir", f"S:{made}")
    assert made not in rclone("lsd", "S:")
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    assert "BucketNotEmpty" in refused("rclone", "rmdir", f"S:{bucket}", **HOW)
    assert "directory not found" in refused("rclone", "lsf", f"S:{made}", **HOW)


def check_a_tree_of_odd_names_is_copied_checked_and_brought_back(bucket):
    tree, files = suite.odd_tree()
    rclone("copy", tree, f"S:{bucket}/tree")
    suite.same(suite.objects_below(bucket, "tree/"), files)
    rclone("check", tree, f"S:{bucket}/tree")
    rclone("check", "--download", tree, f"S:{bucket}/tree")
    found = listed(f"S:{bucket}/tree")
    assert {path: entry["Size"] for path, entry in found.items()} == {path: len(data) for path, data in files.items()}
    written = times(bucket)
    rclone("copy", tree, f"S:{bucket}/tree")
    assert times(bucket) == written, "a second copy finds something to do"
    back = suite.folder()
    rclone("sync", f"S:{bucket}/tree", back)
    suite.same(suite.files_below(back), files)


def check_a_difference_is_seen(bucket):
    tree, _ = suite.odd_tree()
    rclone("copy", tree, f"S:{bucket}/tree")
    s3.put_object(Bucket=bucket, Key="tree/a b.txt", Body=bytes(101))
    s3.delete_object(Bucket=bucket, Key="tree/plain.txt")
    assert "2 differences found" in refused("rclone", "check", tree, f"S:{bucket}/tree", **HOW)


def check_a_sync_removes_what_is_gone_and_brings_what_changed(bucket):
    tree, files = suite.odd_tree()
    rclone("sync", tree, f"S:{bucket}")
    (tree / "a b.txt").unlink()
    (tree / "plus+sign.txt").write_bytes(b"changed")
    rclone("sync", tree, f"S:{bucket}")
    del files["a b.txt"]
    suite.same(suite.objects_below(bucket, ""), files | {"plus+sign.txt": b"changed"})


def check_objects_are_copied_and_moved_within_the_server_under_odd_names(bucket):
    tree, files = suite.odd_tree()
    rclone("copy", tree, f"S:{bucket}/from")
    rclone("sync", f"S:{bucket}/from", f"S:{bucket}/to")
    rclone("check", f"S:{bucket}/from", f"S:{bucket}/to")
    rclone("move", f"S:{bucket}/to", f"S:{bucket}/moved")
    suite.same(suite.objects_below(bucket, "moved/"), files)
    assert suite.keys(bucket, "to/") == []


def check_a_large_file_goes_in_parts_is_copied_in_parts_and_comes_back(bucket):
    file, back = suite.folder() / "large.bin", suite.folder() / "back.bin"
    file.write_bytes(content(1, 24 * MIB + 77))
    rclone("copyto", *PARTS, file, f"S:{bucket}/large.bin")
    assert s3.head_object(Bucket=bucket, Key="large.bin")["ETag"].endswith('-4"')
    rclone("copyto", "--s3-copy-cutoff=10M", f"S:{bucket}/large.bin", f"S:{bucket}/copy.bin")
    assert s3.head_object(Bucket=bucket, Key="copy.bin")["ETag"].endswith('-3"')
    hashes = {path: entry["Hashes"]["md5"] for path, entry in listed(f"S:{bucket}").items()}
    assert hashes["large.bin"] == hashes["copy.bin"], hashes
    rclone("copyto", f"S:{bucket}/copy.bin", back)
    assert back.read_bytes() == file.read_bytes()


def check_a_stream_of_unknown_length_comes_in_and_goes_out(bucket):
    for length in (10, 11 * MIB + 3):
        data = content(length, length)
        output("rclone", "rcat", "--streaming-upload-cutoff=1M", f"S:{bucket}/a stream", stdin=data, **HOW)
        assert suite.body(bucket, "a stream") == data
        assert output("rclone", "cat", f"S:{bucket}/a stream", **HOW) == data


def check_times_and_metadata(bucket):
    file = suite.folder() / "a.csv"
    file.write_bytes(b"1,2\n")
    rclone("copyto", "--metadata", "--metadata-set=colour=blue", "--header-upload=Content-Type: text/csv", file,
           f"S:{bucket}/a.csv")
    found = s3.head_object(Bucket=bucket, Key="a.csv")
    assert (found["ContentType"], found["Metadata"]["colour"]) == ("text/csv", "blue"), found
    rclone("touch", "--timestamp=2020-01-02T03:04:05", f"S:{bucket}/a.csv")
    assert "2020-01-02 03:04:05" in rclone("lsl", f"S:{bucket}/a.csv")
    assert suite.body(bucket, "a.csv") == b"1,2\n"


def check_links_unfinished_uploads_and_counts(bucket):
    s3.put_object(Bucket=bucket, Key="a b+c.txt", Body=b"by address")
    assert urllib.request.urlopen(rclone("link", "--expire=1m", f"S:{bucket}/a b+c.txt").strip()).read() == b"by address"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="unfinished")["UploadId"]
    told = json.loads(rclone("backend", "list-multipart-uploads", f"S:{bucket}"))
    assert [entry["UploadId"] for entry in told[bucket]] == [upload], told
    rclone("backend", "cleanup", "-o", "max-age=0s", f"S:{bucket}")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    told = json.loads(rclone("size", "--json", f"S:{bucket}"))
    assert (told["count"], told["bytes"]) == (1, 10), told


def check_versions_are_shown_and_purged(bucket):
    assert rclone("backend", "versioning", f"S:{bucket}", "Enabled").strip() == "Enabled"
    for text in (b"one", b"two"):
        rclone("rcat", f"S:{bucket}/a.txt", stdin=text)
    names = rclone("lsf", "--s3-versions", f"S:{bucket}").split()
    assert len(names) == 2 and "a.txt" in names, names
    old = next(name for name in names if name != "a.txt")
    assert rclone("cat", "--s3-versions", f"S:{bucket}/{old}") == "one"
    rclone("backend", "cleanup-hidden", f"S:{bucket}")
    assert [entry["IsLatest"] for entry in s3.list_object_versions(Bucket=bucket)["Versions"]] == [True]
    assert suite.body(bucket, "a.txt") == b"two"


def check_files_are_written_read_moved_and_deleted_through_webdav(bucket):
    name, moved, other = "a b+c ü.bin", "moved é.bin", "by boto3.bin"
    for length in (10, 11 * MIB + 3):
        data = content(length, length)
        with served("webdav", f"S:{bucket}", "--vfs-cache-mode=off", "--dir-cache-time=0s") as port:
            assert asked(port, "PUT", name, data)[0] == 201
            assert suite.body(bucket, name) == data
            assert asked(port, "GET", name)[::2] == (200, data)
            to = f"http://127.0.0.1:{port}/{urllib.parse.quote(moved)}"
            assert asked(port, "MOVE", name, headers={"Destination": to})[0] == 201
            suite.same(suite.objects_below(bucket, ""), {moved: data})
            assert (asked(port, "GET", name)[0], asked(port, "GET", moved)[2]) == (404, data)
            s3.put_object(Bucket=bucket, Key=other, Body=data[::-1])
            assert asked(port, "GET", other)[::2] == (200, data[::-1])
            status, headers, part = asked(port, "GET", other, headers={"Range": "bytes=2-6"})
            assert (status, part, headers["Content-Range"]) == (206, data[::-1][2:7], f"bytes 2-6/{length}")
            assert asked(port, "DELETE", moved)[0] == 204
            assert suite.keys(bucket) == [other]
            assert asked(port, "GET", moved)[0] == 404
            assert asked(port, "DELETE", other)[0] == 204
    assert suite.keys(bucket) == []


def check_restic_backs_up_and_restores_through_rclone(bucket):
    tree, files = suite.odd_tree()
    (tree / "large.bin").write_bytes(content(1, 24 * MIB))
    files["large.bin"] = content(1, 24 * MIB)
    with served("restic", f"S:{bucket}/deep/er") as port:
        how = {"environment": {"RESTIC_REPOSITORY": f"rest:http://127.0.0.1:{port}/", "RESTIC_PASSWORD": "secret",
                               "RESTIC_CACHE_DIR": str(suite.folder())}}
        output("restic", "init", **how)
        assert "already" in refused("restic", "init", **how)
        output("restic", "backup", tree, **how)
        output("restic", "check", "--read-data", **how)
        back = suite.folder()
        output("restic", "restore", "latest", "--target", back, **how)
        suite.same(suite.files_below(back / tree.relative_to("/")), files)
        assert output("restic", "list", "locks", **how).strip() == b"", "a lock is left"
    stored = suite.keys(bucket)
    assert "deep/er/config" in stored and all(key.startswith("deep/er/") for key in stored), stored
    assert sum(len(data) for data in suite.objects_below(bucket, "deep/er/data/").values()) > 24 * MIB


suite.main(globals())
